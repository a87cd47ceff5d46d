# The shipped model's file missing, damaged, unreadable or replaced: an error that says so, never another answer.
use strict;
use warnings;
use File::Basename qw(basename dirname);
use File::Copy qw(copy);
use File::Path qw(make_path);
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
my ($install_path, $file, $good) = own_installation("$dir/tree");
my $size = -s $good;

my $node = fsi_node('model_file', 'jit = off', install_path => $install_path);
make_tiny("$dir/tiny", 3);
my $sha256 = (split /\n/, $node->safe_psql('postgres', qq{
	CREATE EXTENSION fsi_intent;
	CREATE DATABASE without;
	SELECT fsi_import_model('tiny', '$dir/tiny')}))[-1];
my ($other) = glob $node->data_dir . "/fsi_intent/*_$sha256.fsi";

my $ask = q{SELECT string_agg(intent || float8send(score)::text, ',' ORDER BY msg, intent)
	FROM unnest(ARRAY['where is my parcel?', '我要退款', '']) msg, fsi_scores(msg, ARRAY['refund', 'track order', '天气'])};
my $expected = $node->safe_psql('postgres', $ask);
ok(length $expected, 'there is an answer');

sub put
{
	put_model($_[0], $file);
	return;
}

sub changed
{
	my ($change) = @_;
	copy($good, "$dir/changed") or die;
	open my $f, '+<:raw', "$dir/changed" or die;
	$change->($f);
	close $f or die;
	put("$dir/changed");
}

sub flip
{
	my ($f, $at) = @_;
	my $byte;
	seek $f, $at, 0;
	read $f, $byte, 1;
	seek $f, $at, 0;
	print $f chr(ord($byte) ^ 1);
}

# A new connection gets the error, and lives on; so does one after a restart.
sub refused
{
	my ($what, $state, $hint, %more) = @_;
	for my $when ('', $more{restart} ? ' after a restart' : ())
	{
		$node->restart if $when;
		my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$ask;\n$ask;\nSELECT 'alive'", on_error_stop => 0);
		is($out, 'alive', "$what: no answer, and the session lives on$when");
		my $both = () = $err =~ /^.*ERROR:  $state: /mg;
		is($both, 2, "$what: $state, each time$when") or diag($err);
		like($err, qr/HINT:  $hint/, "$what: says what to do$when");
	}
	put($good);
	is($node->safe_psql('postgres', $ask), $expected, "$what: restored, the same bits");
}
my $reinstall = qr{Install (?:fsi_intent|or import the model) again};

unlink $file or die;
my ($rc, $out, $err) = $node->psql('without', 'CREATE EXTENSION fsi_intent');
like($err, qr/ERROR:  could not read model file .*No such file/, 'missing: CREATE EXTENSION says so');
is($node->safe_psql('without', "SELECT count(*) FROM pg_extension WHERE extname = 'fsi_intent'"), 0, 'and leaves nothing');
refused('missing', '58P01', $reinstall, restart => 1);

for my $length (0, 1, 64, 4096, int($size / 2), $size - 1)
{
	changed(sub { truncate $_[0], $length or die });
	refused("cut to $length bytes", 'XX001', $reinstall);
}
changed(sub { seek $_[0], 0, 2; print { $_[0] } "x" });
refused('a byte too many', 'XX001', $reinstall);

for my $at (0, 8, 200, 5000, int($size / 3), int($size / 2), $size - 1)
{
	changed(sub { flip($_[0], $at) });
	refused("bit changed at $at", '(?:XX001|0A000)', qr/./);
}
# The same in the file that was checked already: its times tell.
open my $f, '+<:raw', $file or die;
flip($f, int($size / 4));
close $f;
refused('changed in place', 'XX001', $reinstall, restart => 1);

put($other);
refused('other weights', '55000', qr/Install the version of fsi_intent/, restart => 1);

mkdir "$file.dir";
unlink $file;
rename "$file.dir", $file or die;
($rc, $out, $err) = $node->psql('postgres', $ask);
like($err, qr/ERROR:  /, 'a folder instead of the file');
rmdir $file or die;
put($good);

SKIP:
{
	skip 'root reads any file', 4 if $> == 0;
	chmod 0, $file;
	refused('unreadable', '42501', $reinstall);
}

# A session that has mapped the model keeps it, whatever comes in its place; a broken one goes well after the repair.
($rc, $out, $err) = $node->psql('postgres', "$ask;\n\\! cp '$other' '$file.new' && mv '$file.new' '$file'\n$ask;");
is($out, "$expected\n$expected", 'a live session keeps its weights');
($rc, $out, $err) = $node->psql('postgres', "$ask;\n\\! cp '$good' '$file.new' && mv '$file.new' '$file'\n$ask;", on_error_stop => 0);
like($err, qr/holds other weights/, 'a new one is refused');
is($out, $expected, 'until the file is repaired');

# An index that was built with the right weights is neither extended nor rebuilt with others.
my $label = q{fsi_classify(msg, ARRAY['refund', 'track order'])};
$node->safe_psql('postgres', qq{
	CREATE TABLE t (msg text);
	INSERT INTO t VALUES ('my money please'), ('where is it');
	CREATE INDEX t_label ON t (($label))});
put($other);
for my $sql (q{INSERT INTO t VALUES ('x')}, 'REINDEX INDEX t_label')
{
	($rc, $out, $err) = $node->psql('postgres', $sql);
	like($err, qr/holds other weights/, "refused: $sql");
}
put($good);
is($node->safe_psql('postgres', "REINDEX INDEX t_label; SELECT count(*) FROM t"), 2, 'and goes well again');

# Installed elsewhere, the model's file is where the extension's other files are.
SKIP:
{
	skip 'extension_control_path has come with PostgreSQL 18', 2 if $node->pg_version < 18;
	my $share = dirname(dirname($good));
	make_path("$dir/elsewhere/extension/fsi_intent");
	copy($_, "$dir/elsewhere/extension") or die "$_: $!" for glob "$share/fsi_intent*[.]{control,sql}";
	rename $file, "$dir/elsewhere/extension/fsi_intent/" . basename($file) or die;
	$node->append_conf('postgresql.conf', "extension_control_path = '$dir/nowhere:$dir/elsewhere:\$system'");
	$node->reload;
	is($node->safe_psql('postgres', $ask), $expected, 'a model beside a control file found elsewhere');
	is($node->safe_psql('without', "CREATE EXTENSION fsi_intent; $ask"), $expected, 'for a new database, too');
}
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'no backend has crashed');

$node->stop;
done_testing();

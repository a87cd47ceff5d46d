# pg_upgrade brings models and what rests on them; a server with other weights of the shipped model changes over afterwards.
# A dump takes what that server has.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
my ($option) = slurp_file('README.md') =~ /\*\*Upgrade\.\*\*.*?`pg_dump (--\S+)`/s;
my ($former_path, undef, $former) = own_installation("$dir/former");
my ($path, $file) = own_installation("$dir/new");
my $old = fsi_node('old', undef, install_path => $former_path);
make_tiny("$dir/tiny", 3, 256, 'segments');

my $label = q{fsi_classify(msg, ARRAY['refund', 'track order', 'cancel'])};
my $by_tiny = q{fsi_classify(msg, ARRAY['refund', 'track order', 'cancel'], '{"model": "tiny"}')};
my $sha256 = $old->safe_psql('postgres', qq{
	CREATE EXTENSION fsi_intent;
	SELECT fsi_import_model('tiny', '$dir/tiny')});
$sha256 = (split /\n/, $sha256)[-1];
$old->safe_psql('postgres', qq{
	CREATE TABLE t (id int PRIMARY KEY, msg text, intent text GENERATED ALWAYS AS ($label) STORED, CHECK ($label <> ''),
		by_tiny text GENERATED ALWAYS AS ($by_tiny) STORED);
	INSERT INTO t SELECT g, 'where is it ' || md5(g::text) FROM generate_series(1, 60) g;
	CREATE INDEX t_label ON t (($label));
	CREATE MATERIALIZED VIEW m AS SELECT id, $label AS intent FROM t;
	CREATE TABLE p (msg text) PARTITION BY LIST ($label);
	CREATE TABLE p_refund PARTITION OF p FOR VALUES IN ('refund');
	CREATE TABLE p_others PARTITION OF p DEFAULT;
	INSERT INTO p SELECT msg FROM t});
my $all = q{SELECT string_agg(intent || by_tiny, ',' ORDER BY id) FROM t};
my $answers = "SELECT string_agg($label || $by_tiny, ',' ORDER BY id) FROM t";
my $at_first = $old->safe_psql('postgres', $all);
my ($tiny) = glob $old->data_dir . "/fsi_intent/*_$sha256.fsi";
put_model($tiny, "$dir/tiny.fsi");
$old->stop;

sub upgraded
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => $path);
	$node->init(extra => [ '-E', 'UTF8', '--locale', 'C.UTF-8' ]);
	chdir $dir or die;
	command_ok([ "$path/bin/pg_upgrade", '-d', $old->data_dir, '-D', $node->data_dir, '-b', "$former_path/bin", '-B', "$path/bin",
		'-s', $node->host, '-p', $old->port, '-P', $node->port ], "$name: pg_upgrade");
	$node->start;
	return $node;
}

my $same = upgraded('same');
is($same->safe_psql('postgres', $answers), $at_first, 'with the same weights: the same answers');
is($same->safe_psql('postgres', q{SELECT string_agg(DISTINCT stale::text, ',') FROM fsi_check()}), 0, 'nothing is stale');
for my $how ([ 'as_it_is' ], [ 'via_root', $option ])
{
	my ($what, @options) = @$how;
	command_ok([ 'pg_dump', '-Fc', '-f', "$dir/$what", @options, '-d', $same->connstr('postgres') ], "dump $what");
}
$same->stop;

put_model("$dir/tiny.fsi", $file);
my $other = upgraded('other');
my ($rc, $out, $err) = $other->psql('postgres', $answers);
like($err, qr/holds other weights.*fsi_rebuild/s, 'with other weights: none of them');
is($other->safe_psql('postgres', $all), $at_first, 'what is kept is kept');
$other->safe_psql('postgres', 'SELECT * FROM fsi_rebuild()');
my $now = $other->safe_psql('postgres', $answers);
isnt($now, $at_first, 'fsi_rebuild() changes over');
is($other->safe_psql('postgres', $all), $now, 'with what is kept');
is($other->safe_psql('postgres', q{SELECT string_agg(DISTINCT stale::text, ',') FROM fsi_check()}), 0, 'all of it');

# A dump brings no weights of the shipped model.
$other->safe_psql('postgres', "CREATE DATABASE $_") for qw(as_it_is via_root);
command_fails_like([ 'pg_restore', '-e', '-d', $other->connstr('as_it_is'), "$dir/as_it_is" ], qr/violates partition constraint/,
	'a dump, restored with other weights: rows are in the wrong partition');
command_ok([ 'pg_restore', '-e', '-d', $other->connstr('via_root'), "$dir/via_root" ], "with the manual's option they are not");
is($other->safe_psql('via_root', $all), $now, 'a dump, restored with other weights: their answers');
is($other->safe_psql('via_root', q{SELECT string_agg(DISTINCT stale::text, ',') FROM fsi_check()}), 0, 'nothing is stale there');
is($other->safe_psql('via_root', 'SELECT count(*) FROM p'), 60, 'and no row is lost');
$other->stop;
done_testing();

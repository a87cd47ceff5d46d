# Memory that is refused where files of models are looked for: an error before the transaction commits, none after; where
# one is mapped: an error that does not blame the file; while the library is loaded: an error, and the next call loads it;
# while a model is trained, from any piece of memory on: it is seen to have ended.
use strict;
use warnings;
use Fcntl;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 11);
system_or_bail($ENV{CC} // 'cc', '-shared', '-fPIC', '-o', "$dir/no_memory.so", 'test/data/no_memory.c', '-ldl');

# Memory is refused from the opening of the folder that many on.
sub refuse_at
{
	my ($n) = @_;
	sysopen my $file, "$dir/refuse", O_RDWR | O_CREAT or die $!;
	syswrite $file, pack('l', $n);
	close $file;
	return;
}

refuse_at(0);
my $node;
{
	local $ENV{LD_PRELOAD} = "$dir/no_memory.so";
	local $ENV{FSI_NO_MEMORY} = "$dir/refuse";
	$node = fsi_node('no_memory', 'restart_after_crash = on');
}
$node->safe_psql('postgres', "CREATE EXTENSION fsi_intent; SELECT fsi_import_model('tiny', '$dir/tiny')");
my $cache = $node->data_dir . '/fsi_intent';
my ($file) = glob "$cache/*.fsi";
# Enough names that a list of them takes memory from the system.
append_to_file("$cache/other-$_", '') for 1 .. 3000;

my ($failed, $answers) = (0, 0);
for my $n (1 .. 40)
{
	refuse_at(1000 + $n);
	my ($rc, $out, $err) = $node->psql('postgres', q{SELECT left(fsi_version(), 0); SELECT left(fsi_version(), 0);
		SET fsi_intent.batch_rows = 100; SELECT fsi_classify(m, ARRAY['refund', 'track order']) FROM (VALUES ('where is my parcel')) v(m)},
		on_error_stop => 0);
	$failed++ if $err =~ /^psql:<stdin>:1: ERROR:  (out of memory|could not load library)/;
	$answers++ if $out =~ /^track order$/m && $err !~ /:[2-9]: /;
}
cmp_ok($failed, '>', 15, 'memory is refused while the library is loaded');
is($answers, 40, 'and the session goes on: the next call loads it');

refuse_at(-1);
my ($rc, $out, $err) = $node->psql('postgres', q{\set VERBOSITY verbose
	SELECT fsi_classify('where is my parcel', ARRAY['refund', 'track order'])});
like($err, qr/ERROR:  53200: could not map model file "small-1.fsi": Cannot allocate memory/, 'a file that cannot be mapped');
unlike($err, qr/HINT/, 'is not to be installed again');

# Once before it begins.
refuse_at(1);
($rc, $out, $err) = $node->psql('postgres', q{
	SELECT fsi_drop_model('tiny');
	SELECT fsi_classify('where is my parcel', ARRAY['refund', 'track order'])}, on_error_stop => 0);
like($err, qr/ERROR:  out of memory/, 'the folder is read first: an error');
is($out, 'track order', 'the session goes on');
ok(-e $file, 'nothing has happened');

# Once at the end, when nothing may fail any more.
refuse_at(2);
($rc, $out, $err) = $node->psql('postgres', q{SELECT fsi_drop_model('tiny')});
is("$rc $err", '0 ', 'the folder is read when it has been committed: no error');
ok(!-e $file, 'the file has gone');
is($node->safe_psql('postgres', q{SELECT string_agg(name, ',') FROM fsi_models}), 'small-1', 'and the model');
# A training is refused a piece of memory, and all that it asks for from then on.
sub refuse_rest
{
	my ($n) = @_;
	sysopen my $file, "$dir/refuse", O_RDWR | O_CREAT or die $!;
	syswrite $file, pack('l5', $n, 1, $n > 0 ? 1 << 30 : 0, 0, $n);
	close $file;
	return;
}
refuse_rest(0);
$node->safe_psql('postgres', qq{SELECT fsi_import_model('tiny', '$dir/tiny');
	CREATE TABLE rows AS SELECT 'message ' || g AS prompt, CASE WHEN g % 2 = 0 THEN 'refund' ELSE 'track order' END AS response
	FROM generate_series(1, 12) g});
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $ended = q{SELECT string_agg(DISTINCT state || ' ' || coalesce(pid::text, ''), ',') FROM fsi_training};
my $train = q{CALL fsi_train('trained', 'rows', '{"model": "tiny", "max_steps": 2, "save_steps": 0, "replace": true}')};
# OpenBLAS's own library does not survive that while it is loaded.
$session->query($train);
my ($tries, $refused, %states) = (0, 0);
for (my $n = 1; $n < 2000; $n += 3)
{
	refuse_rest($n);
	$session->{stderr} = '';
	$session->query($train);
	my $done = (unpack 'l4', slurp_file("$dir/refuse"))[3] == 0;
	refuse_rest(0);
	last if $done;
	$tries++;
	$refused++ if $session->{stderr} =~ /ERROR:  out of memory/;
	$states{ $session->query($ended) }++;
}
$session->quit;
cmp_ok($tries, '>', 30, 'a training is refused memory');
cmp_ok($refused, '>', $tries / 2, 'and fails');
is(join(' ', grep { !/^(?:failed |finished |failed ,finished )?$/ } keys %states), '', 'it is seen to have ended');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'no backend has crashed');

$node->stop;
done_testing();

# What fsi_stats says of several backends, workers, errors and crashes; the memory of the last messages under load.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 7);

my $node = fsi_node('stats', "restart_after_crash = on\njit = off\nmax_worker_processes = 8\nmax_parallel_workers_per_gather = 0");
$node->safe_psql('postgres', qq{
	CREATE EXTENSION fsi_intent;
	SELECT fsi_import_model('tiny', '$dir/tiny');
	CREATE TABLE msg AS SELECT g AS id, 'message ' || g AS txt FROM generate_series(1, 400) g;
	ALTER TABLE msg SET (parallel_workers = 2);
	ANALYZE msg;
});
my $label = q{fsi_classify(txt, ARRAY['refund', 'cancel'], '{"model": "tiny"}')};
my $total = "SELECT rows FROM fsi_stats WHERE scope = 'total'";
my $reset = 'SELECT fsi_stats_reset()';

# Every backend's, also when it is gone.
$node->safe_psql('postgres', $reset);
$node->safe_psql('postgres', "SELECT count($label) FROM msg WHERE id <= 100 * $_") for 1 .. 3;
is($node->safe_psql('postgres', $total), 600, 'rows of three connections that are gone');
is($node->safe_psql('postgres', "SELECT rows, prefix_misses FROM fsi_stats WHERE scope = 'backend'"), '0|0', 'which are not those of this one');
is($node->safe_psql('postgres', "SELECT prefix_misses, prefix_hits + prefix_misses >= 3, set_misses FROM fsi_stats WHERE scope = 'total'"),
	'3|t|3', 'each computed the prompt once');

# An error, a cancelled statement, a rolled back transaction: what was done was done.
$node->safe_psql('postgres', $reset);
my ($rc, $out, $err) = $node->psql('postgres', "BEGIN; SELECT count($label) FROM msg; ROLLBACK; SELECT count($label), 1 / (count(*) - 400) FROM msg",
	on_error_stop => 0);
like($err, qr/division by zero/, 'an error after 400 rows');
is($node->safe_psql('postgres', $total), 800, 'which are counted, as are those of a transaction that was rolled back');

# The totals are fed while a statement runs, and get the rest when its backend is told to end.
$node->safe_psql('postgres', $reset);
my $long = start($node,
	q{SELECT count(fsi_classify('long ' || i, ARRAY['refund', 'cancel'], '{"model": "tiny"}')) FROM (SELECT generate_series(1, 1000000000) AS i) s});
ok($node->poll_query_until('postgres', "SELECT rows > 0 FROM fsi_stats WHERE scope = 'total'"), 'a running statement is counted');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE query LIKE '%long%' AND pid <> pg_backend_pid()});
finish($long);
my ($before, $after) = split /\n/, $node->safe_psql('postgres', "$total; SELECT sum(1) FROM msg");
cmp_ok($before, '>', 0, 'and when it was terminated');

# Workers have counters of their own, which the totals have too.
my $parallel = 'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
	SET parallel_leader_participation = off; SET max_parallel_workers_per_gather = 2;';
$node->safe_psql('postgres', $reset);
my $plan = $node->safe_psql('postgres', "$parallel EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT count($label) FROM msg");
like($plan, qr/Workers Launched: 2/, 'two workers');
is($node->safe_psql('postgres', $total), 400, 'whose rows are in the totals');

# Shared memory goes with the server's processes: after a crash the totals begin anew, and work.
my $since = $node->safe_psql('postgres', "SELECT since FROM fsi_stats WHERE scope = 'total'");
my $victim = start($node,
	q{SELECT count(fsi_classify('doomed ' || i, ARRAY['refund', 'cancel'], '{"model": "tiny"}')) FROM (SELECT generate_series(1, 1000000000) AS i) s});
my $doomed = q{FROM pg_stat_activity WHERE query LIKE '%doomed%' AND state = 'active' AND pid <> pg_backend_pid()};
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 $doomed"), 'at work');
ok(kill_backend($node, $node->safe_psql('postgres', "SELECT pid $doomed")), 'the server is back');
finish($victim);
is($node->safe_psql('postgres', "$total"), 0, 'with totals that begin anew');
is($node->safe_psql('postgres', "SELECT since > '$since' FROM fsi_stats WHERE scope = 'total'"), 't', 'and say since when');
$node->safe_psql('postgres', "SELECT count($label) FROM msg");
is($node->safe_psql('postgres', $total), 400, 'and count again');

# The last messages are remembered in rings: texts of all lengths in an irregular order push each other out, and a text gets the
# label that a connection without a memory gives.
my $pool = q{SELECT p, repeat(chr(97 + p % 26) || chr(97 + p % 7) || ' ', 1 + (p * 7919) % (CASE WHEN p % 50 = 0 THEN 12000 ELSE 400 END)) || p AS txt
	FROM generate_series(1, 700) p};
my @asked = map { $node->safe_psql('postgres', qq{
	SET client_min_messages = error;
	CREATE TEMP TABLE pool AS $pool;
	WITH a AS MATERIALIZED (SELECT p, $label AS label FROM pool, generate_series(1, $_) n ORDER BY (p * 104729 + n * n * 31) % 7001)
	SELECT md5(string_agg(DISTINCT p || label, ',' ORDER BY p || label)), count(DISTINCT p || label) FROM a}) } 1, 8;
is($asked[1], $asked[0], 'asked many times, in any order');
like($asked[0], qr/\|700$/, 'one label a text');

# A text's vector is its model's own: another one of the same shape reads the text anew.
$node->safe_psql('postgres', "SELECT fsi_export_model('small-1', '$dir/other')");
open my $file, '+<:raw', "$dir/other/model.safetensors" or die $!;
read $file, my $length, 8;
read $file, my $header, unpack('Q<', $length);
my ($from, $to) = $header =~ /"fsi\.readout\.q":\{[^}]*"data_offsets":\[(\d+),(\d+)\]/ or die $header;
$from += 8 + length $header;
seek $file, $from, 0;
read $file, my $readout, $to - $from + 8 + length $header;
seek $file, $from, 0;
print $file pack('L<*', reverse unpack('L<*', $readout));
close $file or die $!;
$node->safe_psql('postgres', "SELECT fsi_import_model('other', '$dir/other')");
my ($shipped, $other) = map {
	qq{SELECT string_agg(intent || ' ' || score, ', ') FROM fsi_scores('will it rain', ARRAY['refund', 'weather'], '{"model": "$_"}')} } 'small-1', 'other';
my @scores = map { $node->safe_psql('postgres', $_) } $shipped, $other;
isnt($scores[0], $scores[1], 'two models score one text differently');
is($node->safe_psql('postgres', "$shipped; $other; $shipped"), join("\n", @scores[0, 1, 0]), 'in one session, about one text');

# Preloaded, the memory is asked for; a backend's counts are its own all the same.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'fsi_intent'");
$node->restart;
$node->safe_psql('postgres', "SELECT count($label) FROM msg");
is($node->safe_psql('postgres', "$total"), 400, 'preloaded: the totals');
is($node->safe_psql('postgres', q{SELECT rows, since = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
	FROM fsi_stats WHERE scope = 'backend'}), '0|t', "and the backend's, since it began");
$node->stop;

# Where locks have used up the shared memory that the server keeps spare, answers come all the same.
my $full = fsi_node('full', "jit = off\nmax_connections = 10\nmax_locks_per_transaction = 10");
($rc, $out, $err) = $full->psql('postgres', 'SELECT count(pg_advisory_lock(i)) FROM generate_series(1, 10000000) i');
like($err, qr/out of shared memory/, 'no more locks');
$full->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory'}) or die 'locks stay';
$full->safe_psql('postgres', 'CREATE EXTENSION fsi_intent');
is($full->safe_psql('postgres', q{SELECT fsi_classify('weather', ARRAY['refund', 'weather']);
	SELECT rows FROM fsi_stats WHERE scope = 'backend'}), "weather\n1", 'no shared memory is left, but there are answers');
$full->stop;

done_testing();

# The postmaster is killed in the middle of trainings, jobs and scans: their processes end by themselves, so that the
# server can be started again.
use strict;
use warnings;
use Fsi;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fsi_node('postmaster', "jit = off\nmax_parallel_workers_per_gather = 0\nautovacuum = off\nfsync = off");
$node->safe_psql('postgres', q{
	CREATE EXTENSION fsi_intent;
	CREATE TABLE labelled AS SELECT 'text ' || g AS text, 'kind ' || g % 2 AS intent FROM generate_series(1, 40) g;
	CREATE TABLE tickets AS SELECT 'message ' || g AS msg, NULL::text AS intent FROM generate_series(1, 300000) g;
	-- equal messages cost no pass of the model
	CREATE TABLE equals AS SELECT 'message' AS msg, g::text AS intent FROM generate_series(1, 3000000) g;
});

# Without an end, or as good as.
my $train = q{'SELECT * FROM labelled', '{"max_steps": 1000000000, "early_stopping_patience": 0, "save_steps": 100%s}'};
my %calls = (
	'a training' => "CALL fsi_train('here', " . sprintf($train, '') . ')',
	'a training in the background' => "CALL fsi_train('there', " . sprintf($train, ', "background": true') . ')',
	'a job with a worker' => q{CALL fsi_classify_table('tickets', 'msg', 'intent', ARRAY['refund', 'weather'], workers => 2, chunk_rows => 50)},
	'a job of equal messages' => q{CALL fsi_classify_table('equals', 'msg', 'intent', ARRAY['refund', 'weather'], chunk_rows => 1)},
	'a scan' => q{SELECT count(*) FROM tickets WHERE fsi_classify(msg, ARRAY['x', 'y']) = 'x'},
	'one call of many' => q{SELECT fsi_classify_many((SELECT array_agg(msg) FROM tickets), ARRAY['x', 'y'])},
);
my @sessions = map {
	IPC::Run::start([ 'psql', '-XAtqo', '/dev/null', '-d', $node->connstr('postgres'), '-c', $calls{$_} ], '<', \undef, '>', \my $out, '2>', \my $err,
		IPC::Run::timeout(300))
} sort keys %calls;
ok($node->poll_query_until('postgres', q{SELECT (SELECT count(*) FROM fsi_training WHERE step > 0) = 2 AND (SELECT count(*) FROM fsi_progress WHERE rows_done > 0) = 2
	AND (SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT % tickets%' AND pid <> pg_backend_pid()) = 2}),
	'all are at work');
my @pids = split /\n/, $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity
	WHERE pid <> pg_backend_pid() AND (backend_type = 'client backend' OR backend_type LIKE 'fsi_intent%')});
cmp_ok(scalar @pids, '>=', 7, 'seven processes or more');
$node->kill9;
my $left;
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	$left = grep { kill 0, $_ } @pids;
	last if !$left;
	select undef, undef, undef, 0.1;
}
is($left, 0, 'all have ended');
kill 'KILL', @pids if $left;
eval { $_->finish } for @sessions;
$node->start;
is($node->safe_psql('postgres', q{SELECT count(*) FROM fsi_progress WHERE state = 'interrupted'}), 2, 'the server is back, and the jobs can be gone on with');
$node->stop;
done_testing();

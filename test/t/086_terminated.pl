# A session that is terminated in a long call, and had its first temporary table after an earlier one: its end undoes the
# transaction first, and finds what the call has to let go of all the same.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 4, 64);
my $node = fsi_node('terminated', "jit = off\nrestart_after_crash = on");
system_or_bail('psql', '-Xqo', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-v', "tiny=$dir/tiny", '-d', $node->connstr('postgres'), '-f',
	'test/data/train_rows.sql');
$node->safe_psql('postgres', q{CREATE TABLE few AS SELECT 'message' AS msg, NULL::text AS intent;
	CREATE TABLE many AS SELECT 'message ' || g AS msg, NULL::text AS intent FROM generate_series(1, 1000) g});

sub job
{
	my ($table, $more) = @_;
	return qq[CALL fsi_classify_table('$table', 'msg', 'intent', ARRAY['refund', 'cancel']$more)];
}
for my $case ([ 'a job', job('many', ', chunk_rows => 1, rows_per_second => 1, workers => 2'), q{SELECT count(*) = 1 FROM fsi_progress WHERE state = 'running'} ],
	[ 'a training', q{CALL fsi_train('m', 'rows', '{"model": "tiny", "max_steps": 1000000, "eval_answers": 0}')},
		q{SELECT count(*) = 1 FROM fsi_training WHERE state = 'training' AND step > 10} ])
{
	my ($what, $call, $is_at_work) = @$case;
	my $offset = -s $node->logfile;
	my $s = start($node, job('few', ''), 'CREATE TEMP TABLE t (a int)', $call);
	ok($node->poll_query_until('postgres', $is_at_work), "$what: at work");
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE query LIKE 'CALL %' AND backend_type = 'client backend'});
	like(finish($s), qr/terminating connection due to administrator command/, "$what: terminated");
	is($node->safe_psql('postgres', q{SELECT (SELECT count(*) FROM fsi_progress WHERE state = 'running') + (SELECT count(*) FROM fsi_training WHERE pid IS NOT NULL)}),
		0, "$what: nobody is at work");
	unlike(slurp_file($node->logfile, $offset), qr/was terminated by signal/, "$what: the server stays up");
}

$node->stop;
done_testing();

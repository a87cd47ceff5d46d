# Long jobs meet crashes, cancelling, full houses, rewritten tables: what is finished stays and is not done again.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fsi_node('jobs', "jit = off\nrestart_after_crash = on\nmax_prepared_transactions = 1\nmax_worker_processes = 8\nautovacuum = off\nfsync = on");

# What a client asks for when it connects holds in workers too, or note() fails there.
$ENV{PGOPTIONS} = '-c my.client=psql';

# Each UPDATE leaves a line that lives and dies with its chunk. A row named in "gate" waits for advisory lock 1, so that
# a job stands still in the middle for as long as a session holds that lock; no clock is asked.
my $rows = 2000;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION fsi_intent;
	CREATE TABLE tickets (id int, msg text, intent text);
	CREATE TABLE log (id int, pid int);
	CREATE TABLE gate (id int);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \$\$
	BEGIN
		PERFORM current_setting('my.client');
		IF current_setting('my.local', true) = 'set' THEN
			RAISE 'the setting of a transaction that has ended';
		END IF;
		INSERT INTO log VALUES (NEW.id, pg_backend_pid());
		IF EXISTS (SELECT FROM gate WHERE gate.id = NEW.id) THEN
			PERFORM pg_advisory_xact_lock_shared(1);
		END IF;
		RETURN NEW;
	END \$\$;
	CREATE TRIGGER note BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION note();
});

my $question = q{ARRAY['refund', 'weather']};
sub call
{
	my ($more) = @_;
	return "CALL fsi_classify_table('tickets', 'msg', 'intent', $question, chunk_rows => 50" . ($more ? ", $more" : '') . ')';
}

sub fresh
{
	my (@gate) = @_;
	# In the order of their ids, so that rows at the gate far from each other are in chunks of their own.
	$node->safe_psql('postgres', qq{TRUNCATE tickets, log, gate;
		INSERT INTO tickets SELECT g, CASE WHEN g % 10 = 0 THEN NULL ELSE 'message ' || g END, 'old' FROM generate_series(1, $rows) g;}
		. join('', map { "INSERT INTO gate VALUES ($_);" } @gate));
}

my $gate;
sub close_gate
{
	$gate = start($node, 'SELECT pg_advisory_lock(1); SELECT pg_sleep(600)');
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted");
}
sub open_gate
{
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted");
	finish($gate);
}
sub at_gate
{
	my ($n) = @_;
	return $node->poll_query_until('postgres', "SELECT count(*) = $n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
}

sub all_right
{
	my ($what) = @_;
	is($node->safe_psql('postgres', "SELECT count(*) FROM tickets WHERE intent IS DISTINCT FROM fsi_classify(msg, $question)"), 0,
		"$what: answers");
	is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT id) FROM log'), "$rows|$rows", "$what: each row written once");
	is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM _fsi_job_chunk) + (SELECT count(*) FROM _fsi_job)'), 0, "$what: no job is left");
}

# Several processes, and what others see of them meanwhile.
fresh(1, 700);
close_gate();
my $job = start($node, q{DO $$ BEGIN SET LOCAL my.local = 'set'; } . call('workers => 3') . '; END $$');
ok(at_gate(2), 'two of three wait at the gate');
ok($node->poll_query_until('postgres', 'SELECT rows_done > 500 FROM fsi_progress'), 'the third goes on');
is($node->safe_psql('postgres', q{SELECT tbl, state, processes, pid = (SELECT pid FROM pg_stat_activity WHERE query LIKE 'DO%'),
	rows_per_second > 0, eta > now(), rows_total BETWEEN 1500 AND 3000 FROM fsi_progress}), 'tickets|running|3|t|t|t|t', 'fsi_progress shows the job');
my ($rc, $out, $err) = $node->psql('postgres', call());
like($err, qr/table "tickets" is being classified by another call.*PID \d+/s, 'one call at a time');
($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT fsi_discard_job(job) FROM fsi_progress");
like($err, qr/ERROR:  55006: job \d+ is at work\nDETAIL:  It is run by the process with PID \d+\.\nHINT:  Cancel it first\./, 'a job at work is not given up');
open_gate();
like(finish($job), qr/^NOTICE:  classified $rows rows of table "tickets" in [0-9.]+ s$/, 'the end is told');
all_right('three processes');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT pid) FROM log'), 3, 'three processes wrote');
unlike(slurp_file($node->logfile), qr/"fsi_intent worker" \(PID \d+\) exited with exit code [1-9]/, 'workers ended well');

# Cancelled: the workers go, the session's job can be gone on with.
sub interrupt
{
	my ($how) = @_;
	fresh(900, 1400);
	close_gate();
	my $s = start($node, call('workers => 2'));
	ok(at_gate(2), "$how: both are in the middle");
	my $done = $node->safe_psql('postgres', 'SELECT rows_done FROM fsi_progress');
	cmp_ok($done, '>', 0, "$how: something was done");
	return ($s, $done);
}
sub go_on
{
	my ($how, $done, $more) = @_;
	is($node->safe_psql('postgres', 'SELECT state, rows_done, processes FROM fsi_progress'), "interrupted|$done|0", "$how: seen");
	($rc, $out, $err) = $node->psql('postgres', call($more));
	like($err, qr/going on with job \d+: $done rows of table "tickets" are done/, "$how: gone on with");
	like($err, qr/classified @{[$rows - $done]} rows/, "$how: the rest");
	all_right($how);
}
my $done;
for my $how ('cancelled', 'terminated')
{
	($job, $done) = interrupt($how);
	my $function = $how eq 'cancelled' ? 'pg_cancel_backend' : 'pg_terminate_backend';
	$node->safe_psql('postgres', "SELECT $function(pid) FROM fsi_progress");
	like(finish($job), qr/canceling statement due to user request|terminating connection/, "$how: the call says so");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'fsi_intent worker'"),
		"$how: no worker stays");
	open_gate();
	go_on($how, $done, 'workers => 2');
}

# Crashes: of a worker, of the caller, of everything.
for my $how ('worker killed', 'caller killed', 'server stopped')
{
	($job, $done) = interrupt($how);
	if ($how eq 'server stopped')
	{
		$node->stop('immediate');
		ok($node->start, "$how: the server is back");
	}
	else
	{
		my $who = $how eq 'worker killed' ? "backend_type = 'fsi_intent worker'" : "query LIKE 'CALL%'";
		ok(kill_backend($node, $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE $who")), "$how: the server is back");
	}
	finish($job);
	finish($gate);
	go_on($how, $done, $how eq 'caller killed' ? '' : 'workers => 2');
}

# A worker that an administrator ends costs its chunk.
($job, $done) = interrupt('worker ended');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'fsi_intent worker'");
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'fsi_intent worker'"), 'worker ended: it is gone');
open_gate();
like(finish($job), qr/WARNING:  a background worker of job \d+ ended before its work was done/, 'worker ended: it is told');
all_right('worker ended');

# An error in a worker is the call's.
fresh(900, 1400);
close_gate();
$node->safe_psql('postgres', q{
	CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF (SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()) = 'fsi_intent worker' THEN
			RAISE 'not here' USING ERRCODE = 'P0666', DETAIL = 'Some detail.', HINT = 'Some hint.';
		END IF;
		RETURN NEW;
	END $$;
	CREATE TRIGGER zz_fail BEFORE UPDATE ON tickets FOR EACH ROW WHEN (NEW.id IN (900, 1400)) EXECUTE FUNCTION fail();
});
$job = start($node, call('workers => 2'));
ok(at_gate(2), 'error in a worker: both are in the middle');
open_gate();
like(finish($job), qr/ERROR:  not here\nDETAIL:  Some detail\.\nHINT:  Some hint\.\nCONTEXT:  .*background worker of job \d+/s, 'error in a worker: it is the call\'s');
$node->safe_psql('postgres', 'DROP TRIGGER zz_fail ON tickets');
# Chunks that are being written, here given up, are not rewritten meanwhile.
my $giver = $node->background_psql('postgres');
$giver->query('BEGIN');
$giver->query('SELECT fsi_discard_job(' . $node->safe_psql('postgres', 'SELECT job FROM fsi_progress') . ')');
($rc, $out, $err) = $node->psql('postgres', 'SET lock_timeout = 300; VACUUM FULL _fsi_job_chunk');
like($err, qr/^[^\n]*ERROR: [^\n]* lock timeout\n?$/, 'chunks that are written stay where they are');
$giver->query("PREPARE TRANSACTION 'given up'");
$giver->quit;
for my $sql (call(), 'SELECT fsi_discard_job(job) FROM fsi_progress')
{
	($rc, $out, $err) = $node->psql('postgres', $sql);
	like($err, qr/DETAIL:  It has no process: a prepared transaction holds it.*\nHINT:  Try again, or end the transaction: pg_prepared/, "given up and prepared: $sql");
}
$node->safe_psql('postgres', "ROLLBACK PREPARED 'given up'");
($rc, $out, $err) = $node->psql('postgres', call());
is($rc, 0, 'error in a worker: the next call goes on');
all_right('error in a worker');

# So it is while the call waits for its turn, however long.
fresh();
$job = start($node, call('workers => 2, rows_per_second => 0.01'));
ok($node->poll_query_until('postgres', q{SELECT (SELECT sum(rows_done) > 0 FROM fsi_progress)
	AND count(*) = 2 FROM pg_stat_activity WHERE wait_event = 'Extension'}), 'both wait for their turns');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'fsi_intent worker'");
like(finish($job), qr/ERROR:  canceling statement due to user request\nCONTEXT:  background worker of job \d+/, 'the worker is cancelled, and the call');
($rc, $out, $err) = $node->psql('postgres', call());
like($err, qr/going on with job/, 'its job can be gone on with');
all_right('cancelled worker');

# What a worker does is counted while it runs: autovacuum goes by it. It has the call's role, as a trigger sees it.
# The call stands still in its first chunk.
fresh();
close_gate();
$node->safe_psql('postgres', q{
	CREATE ROLE clerk;
	GRANT SELECT, UPDATE (intent) ON tickets TO clerk;
	GRANT SELECT ON gate TO clerk;
	GRANT INSERT ON log TO clerk;
	CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'user %, role %', current_user, current_setting('role'); END $$;
	CREATE TRIGGER zz_other BEFORE UPDATE ON tickets FOR EACH ROW
		WHEN (current_user <> 'clerk' OR current_setting('role') <> 'clerk') EXECUTE FUNCTION tell();
	CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
	BEGIN
		IF (SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()) = 'client backend' THEN
			PERFORM pg_advisory_xact_lock_shared(1);
		END IF;
		RETURN NEW;
	END $$;
	CREATE TRIGGER zz_stay BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION stay();
	SELECT pg_stat_reset_single_table_counters('tickets'::regclass);
});
{
	local $ENV{PGOPTIONS} = "$ENV{PGOPTIONS} -c role=clerk";
	$job = start($node, call('workers => 2'));
}
ok(at_gate(1), 'the call is in its first chunk');
($rc, $out, $err) = $node->psql('postgres', "SET statement_timeout = '30s'; " . call());
like($err, qr/column "intent" of table "tickets" is being written by another call.*PID \d+/s, "another role's job on the column is not begun");
# The place of a claimed chunk stays: nobody rewrites the table of chunks meanwhile.
($rc, $out, $err) = $node->psql('postgres', 'SET lock_timeout = 300; VACUUM FULL _fsi_job_chunk');
like($err, qr/lock timeout/, 'a claimed chunk stays where it is');
ok($node->poll_query_until('postgres', "SELECT n_tup_upd > 500 FROM pg_stat_user_tables WHERE relname = 'tickets'"), 'a worker tells what it did');
open_gate();
like(finish($job), qr/^NOTICE:  classified $rows rows/, 'a claimed chunk: the call goes on');
$node->safe_psql('postgres', 'DROP TRIGGER zz_stay ON tickets; DROP TRIGGER zz_other ON tickets; DROP OWNED BY clerk; DROP ROLE clerk');

# Rewritten, truncated, dropped and renamed in the middle.
sub meanwhile
{
	my ($what, $sql) = @_;
	fresh(1000);
	close_gate();
	my $s = start($node, call());
	ok(at_gate(1), "$what: in the middle");
	# It waits for the chunk to end, and the job for it.
	my $other = start($node, $sql);
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE relation = 'tickets'::regclass AND NOT granted}), "$what: in line");
	open_gate();
	is(finish($other), '', "$what: done");
	return finish($s);
}
like(meanwhile('rewritten', 'VACUUM FULL tickets'), qr/^NOTICE:  classified $rows rows/, 'rewritten');
all_right('rewritten');
like(meanwhile('rewritten in another order', 'CREATE INDEX backward ON tickets ((-id)); CLUSTER tickets USING backward'), qr/^NOTICE:  classified $rows rows/, 'clustered');
all_right('rewritten in another order');
$node->safe_psql('postgres', 'DROP INDEX backward');
like(meanwhile('renamed', 'ALTER TABLE tickets RENAME msg TO message; ALTER TABLE tickets RENAME TO calls'), qr/^NOTICE:  classified $rows rows/, 'renamed');
$node->safe_psql('postgres', 'ALTER TABLE calls RENAME TO tickets; ALTER TABLE tickets RENAME message TO msg');
all_right('renamed');
like(meanwhile('truncated', 'TRUNCATE tickets'), qr/^NOTICE:  classified \d+ rows/, 'truncated');
like(meanwhile('column dropped', 'ALTER TABLE tickets DROP COLUMN intent'), qr/ERROR:  a column of table "tickets" was dropped while it was being classified/, 'column dropped');
$node->safe_psql('postgres', 'ALTER TABLE tickets ADD intent text');
like(meanwhile('dropped', 'DROP TABLE tickets'), qr/ERROR:  the table was dropped while it was being classified/, 'dropped');

# A deadlock with another's update, who does not run at once when the chunk lets go of the row: it gets the row all the same.
$node->safe_psql('postgres', q{
	CREATE TABLE pair (id int, msg text, intent text);
	INSERT INTO pair VALUES (1, 'weather'), (2, 'weather');
	CREATE TABLE extra (id int);
	INSERT INTO extra VALUES (1);
	CREATE FUNCTION lock_extra() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_advisory_xact_lock_shared(1);
		PERFORM FROM extra FOR UPDATE;
		RETURN NEW;
	END $$;
	CREATE TRIGGER extra BEFORE UPDATE ON pair FOR EACH ROW WHEN (NEW.id = 2 AND NEW.intent IS NOT NULL) EXECUTE FUNCTION lock_extra();
});
close_gate();
$job = start($node, "SET deadlock_timeout = '10ms'", "CALL fsi_classify_table('pair', 'msg', 'intent', $question)");
ok(at_gate(1), 'deadlock: the job has row 1 and waits before row 2');
my $other = start($node, 'BEGIN', q{SET LOCAL deadlock_timeout = '60s'}, 'UPDATE extra SET id = 2', q{UPDATE pair SET msg = 'refund' WHERE id = 1}, 'COMMIT');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'UPDATE pair%' AND wait_event_type = 'Lock'}),
	'deadlock: another has what row 2 needs and waits for row 1');
my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'UPDATE pair%' AND pid <> pg_backend_pid()});
kill 'STOP', $pid;
open_gate();
ok($node->poll_query_until('postgres', q{SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE query LIKE 'CALL fsi_classify_table(''pair''%'}),
	'deadlock: the job lets go and does not take the row again at once');
kill 'CONT', $pid;
is(finish($other), '', 'deadlock: the other gets it');
like(finish($job), qr/^NOTICE:  classified 2 rows/, 'deadlock: the chunk is tried again');
is($node->safe_psql('postgres', 'SELECT string_agg(intent, \' \' ORDER BY id) FROM pair'), 'refund weather', 'deadlock: the answers');

# A partition whose detaching was interrupted is not seen by statements: a pass does not look for it either, or it would begin for ever.
$node->safe_psql('postgres', q{
	CREATE TABLE parts (msg text, intent text) PARTITION BY LIST (msg);
	CREATE TABLE part PARTITION OF parts FOR VALUES IN ('refund');
	CREATE TABLE gone PARTITION OF parts FOR VALUES IN ('weather');
	INSERT INTO parts VALUES ('refund'), ('weather');
});
my $reader = start($node, 'BEGIN', 'SELECT FROM parts', 'SELECT pg_sleep(600)');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE relation = 'parts'::regclass}), 'detaching: a reader');
$other = start($node, 'ALTER TABLE parts DETACH PARTITION gone CONCURRENTLY');
ok($node->poll_query_until('postgres', q{SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = 'gone'::regclass}), 'detaching: it waits');
for my $waits ([ $other, 'ALTER TABLE parts' ], [ $reader, 'SELECT pg_sleep' ])
{
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '$waits->[1]%' AND state = 'active'");
	like(finish($waits->[0]), qr/canceling statement/, 'detaching: interrupted');
}
($rc, $out, $err) = $node->psql('postgres', "SET statement_timeout = '30s'; CALL fsi_classify_table('parts', 'msg', 'intent', $question, workers => 2)");
like($err, qr/NOTICE:  classified 1 row /, 'detaching: the call ends');
is($node->safe_psql('postgres', q{SELECT (SELECT intent FROM part), (SELECT intent IS NULL FROM gone)}), 'refund|t', 'detaching: the partition is left alone');
$node->safe_psql('postgres', 'ALTER TABLE parts DETACH PARTITION gone FINALIZE; DROP TABLE parts, gone');

# What a role may set that has been taken on since: workers have it, though who connected may not.
my $me = $node->safe_psql('postgres', 'SELECT quote_ident(current_user)');
$node->safe_psql('postgres', qq{
	CREATE ROLE deputy LOGIN;
	GRANT $me TO deputy;
	CREATE TABLE quiet AS SELECT g AS id, 'message ' || g AS msg, NULL::text AS intent FROM generate_series(1, $rows) g;
	CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE 'no replica'; END \$\$;
	CREATE TRIGGER loud BEFORE UPDATE ON quiet FOR EACH ROW EXECUTE FUNCTION loud();
	CREATE TRIGGER stay BEFORE UPDATE ON quiet FOR EACH ROW EXECUTE FUNCTION stay();
	ALTER TABLE quiet ENABLE ALWAYS TRIGGER stay});
close_gate();
{
	local $ENV{PGUSER} = 'deputy';
	$job = start($node, "SET ROLE $me", 'SET session_replication_role = replica',
		"CALL fsi_classify_table('quiet', 'msg', 'intent', $question, chunk_rows => 50, workers => 2)");
}
ok(at_gate(1), 'settings of a role: the call is in its first chunk');
ok($node->poll_query_until('postgres', q{SELECT rows_done > 0 OR NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'fsi_intent worker') FROM fsi_progress}),
	'settings of a role: a worker has done some, or failed');
open_gate();
like(finish($job), qr/^NOTICE:  classified $rows rows/, 'settings of a role: workers have them');

# No room for workers: the caller alone.
$node->safe_psql('postgres', qq{
	CREATE TABLE tickets (id int, msg text, intent text);
	INSERT INTO tickets SELECT g, 'message ' || g FROM generate_series(1, $rows) g;
	CREATE TRIGGER note BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION note();
	TRUNCATE log, gate});
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
($rc, $out, $err) = $node->psql('postgres', call('workers => 8'));
like($err, qr/WARNING:  only \d of 7 background workers could be started/, 'few workers');
all_right('few workers');
unlike($err, qr/WARNING.*WARNING/s, 'few workers: said once');

# More jobs whose table is no more than there are locks, which any role may leave: the next calls delete some each.
my $left = 'SELECT count(*) FROM _fsi_job';
$node->safe_psql('postgres', q{INSERT INTO _fsi_job SELECT nextval('_fsi_job_id'), 4000000000, g, 10, 1, '{a,b}', NULL, NULL, 'x', '3', '{}', 1, 0,
	0, 0, now(), now() FROM generate_series(1, 20000) g});
fresh(1000);
for my $call (1, 2)
{
	($rc, $out, $err) = $node->psql('postgres', call());
	like($err, qr/NOTICE:  classified $rows rows/, "many jobs that are stale: call $call");
}
cmp_ok($node->safe_psql('postgres', $left), '<', 20000, 'some of them are gone');
$node->safe_psql('postgres', 'DELETE FROM _fsi_job');

# A pace: the time that rows should take at least, by the server's clock.
fresh();
my $seconds = $node->safe_psql('postgres', q{
	CREATE TABLE few AS SELECT * FROM tickets WHERE id <= 400;
	SELECT clock_timestamp() AS began \gset
	CALL fsi_classify_table('few', 'msg', 'intent', ARRAY['x', 'y'], chunk_rows => 1, rows_per_second => 200, workers => 2);
	SELECT extract(epoch FROM clock_timestamp() - :'began')});
cmp_ok($seconds, '>', 1.0, 'no faster than told, less a burst of a page a process');
# ... and no more than that: rows that the condition leaves out take no time, however many pages they have (600 here).
($rc, $out, $err) = $node->psql('postgres', q{
	CREATE TABLE wide (msg text, intent text, filler text);
	ALTER TABLE wide ALTER filler SET STORAGE PLAIN;
	INSERT INTO wide SELECT 'message', 'done', repeat('x', 5000) FROM generate_series(1, 600);
	SET statement_timeout = '60s';
	CALL fsi_classify_table('wide', 'msg', 'intent', ARRAY['x', 'y'], condition => 'intent IS NULL', chunk_rows => 1, rows_per_second => 2)});
like($err, qr/NOTICE:  classified 0 rows/, 'what has nothing to do does not wait for its turn');

# Memory does not grow with the chunks, in the caller nor in a worker: what each holds, now and then.
$node->safe_psql('postgres', q{
	CREATE TABLE many AS SELECT g AS id, 'hello ' || g % 10 AS msg, NULL::text AS intent FROM generate_series(1, 40000) g;
	CREATE TABLE held (id int, pid int, bytes int8);
	CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO held SELECT NEW.id, pg_backend_pid(), sum(total_bytes) FROM pg_backend_memory_contexts WHERE name <> 'CacheMemoryContext';
		RETURN NEW;
	END $$;
	CREATE TRIGGER hold BEFORE UPDATE ON many FOR EACH ROW WHEN (NEW.id % 500 = 0) EXECUTE FUNCTION hold();
	CALL fsi_classify_table('many', 'msg', 'intent', ARRAY['a', 'b'], chunk_rows => 50, workers => 2);
});
is($node->safe_psql('postgres', q{SELECT count(*) > 1, bool_and(n > 10), bool_and(grown < 500000)
	FROM (SELECT pid, count(*) AS n, max(bytes) - min(bytes) AS grown FROM held WHERE id > 10000 GROUP BY pid) p}), 't|t|t', 'memory is flat');

# Wrapped around: rows of the last time round that had the numbers which the job's own transactions get now.
$node->safe_psql('postgres', 'TRUNCATE tickets; TRUNCATE log');
$node->safe_psql('postgres', join '', 'SELECT pg_current_xact_id();',
	map { "INSERT INTO tickets SELECT g, 'message ' || g FROM generate_series($_ * 20 + 1, $_ * 20 + 20) g;" } 0 .. $rows / 20 - 1);
my ($first) = split /\|/, $node->safe_psql('postgres', 'SELECT min(xmin::text::bigint), max(xmin::text::bigint) FROM tickets');
$node->safe_psql('postgres', 'VACUUM (FREEZE)');
$node->safe_psql($_, 'VACUUM (FREEZE)') for qw(template1);
$node->stop;
my $next = $first + 40;
command_ok([ 'pg_resetwal', '-f', '-e', 1, '-x', $next, '-u', 3, $node->data_dir ], 'transaction numbers begin again');
$node->start;
($rc, $out, $err) = $node->psql('postgres', call());
is($rc, 0, 'a job in the next epoch') or diag($err);
is($node->safe_psql('postgres', "SELECT count(*) FROM tickets WHERE intent IS DISTINCT FROM fsi_classify(msg, $question)"), 0, 'no row is taken for finished');
my $same = $node->safe_psql('postgres', 'SELECT max(xmin::text::bigint) FROM tickets');
cmp_ok($same, '>', $first, 'though numbers came again');

$node->stop;
done_testing();

# Trainings meet kill -9, cancelling, terminated backends, a stopped server, full disks, each other, and standbys: what
# the last checkpoint has is never lost, and the end is the same, bit for bit.
use strict;
use warnings;
use File::Compare;
use File::Copy;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 4, 64);

my $node = fsi_node('train', "jit = off\nrestart_after_crash = on\nmax_worker_processes = 8\nmax_prepared_transactions = 2\nautovacuum = off\nfsync = on",
	allows_streaming => 1);
system_or_bail('psql', '-Xqo', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-v', "tiny=$dir/tiny", '-d', $node->connstr('postgres'), '-f',
	'test/data/train_rows.sql');
my $folder = $node->data_dir . '/fsi_intent';

sub call
{
	my ($name, $steps, $more) = @_;
	return "CALL fsi_train('$name', 'rows', '{\"model\": \"tiny\", \"max_steps\": $steps, \"learning_rate\": 0.001, "
		. "\"eval_steps\": 500, \"save_steps\": 50, \"early_stopping_patience\": 0, \"eval_answers\": 4" . ($more ? ", $more" : '') . "}')";
}

# The process at work on a model, once it is past a step.
sub pid_past
{
	my ($name, $step) = @_;
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM fsi_training WHERE model = '$name' AND pid IS NOT NULL AND step > $step")
		or die "no training of $name";
	return $node->safe_psql('postgres', "SELECT pid FROM fsi_training WHERE model = '$name'");
}
sub folders
{
	return scalar grep { m{/pgsql_tmp_train_} } glob("$folder/*");
}
sub export
{
	my ($name) = @_;
	$node->safe_psql('postgres', "SELECT fsi_export_model('$name', '$dir/out-$name')");
	return "$dir/out-$name/model.safetensors";
}
sub same_weights
{
	my ($name, $reference, $what) = @_;
	is(compare(export($name), $reference), 0, "$what: the same weights");
}

my $steps = 4000;
$node->safe_psql('postgres', call('reference', $steps));
my $reference = export('reference');
is(folders(), 0, 'no folder is left');

# What it looks like from outside: no snapshot is held, its neighbours are not waited for.
my $s = start($node, call('killed', $steps));
my $pid = pid_past('killed', 100);
is($node->safe_psql('postgres', "SELECT backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity WHERE pid = $pid"), 't',
	'no snapshot is held');
is($node->safe_psql('postgres', q{SELECT state IN ('training', 'saving', 'evaluating'), max_steps, tokens_per_second > 0, eta > now(), loss > 0,
	learning_rate > 0 FROM fsi_training WHERE model = 'killed'}), "t|$steps|t|t|t|t", 'fsi_training shows it at work');
# Where the texts go through the model before the first step, that is seen too.
my $frozen = start($node, q{CALL fsi_train('frozen', $$SELECT 'row ' || i || ': where is my parcel, it was due on Monday' AS text,
	CASE i % 2 WHEN 0 THEN 'even' ELSE 'odd' END AS intent FROM generate_series(1, 20000) i$$, '{"model": "small-1"}')});
$node->poll_query_until('postgres', q{SELECT state = 'encoding' AND tokens_per_second > 0 AND eta BETWEEN now() AND now() + '1 hour'
	AND step IS NULL FROM fsi_training WHERE model = 'frozen'}, 't') or die 'no text is encoded';
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM fsi_training WHERE model = 'frozen'});
like(finish($frozen), qr/canceling statement due to user request/, 'fsi_training shows how fast texts are encoded');
my ($rc, $out, $err) = $node->psql('postgres', call('killed', $steps));
like($err, qr/model "killed" is being trained by another call.*PID $pid/s, 'one call at a time for a name');
$node->safe_psql('postgres', "CREATE DATABASE neighbour; DROP DATABASE neighbour");
pass('a database is dropped meanwhile');

# kill -9: the server restarts, the call goes on from the last checkpoint.
kill_backend($node, $pid);
finish($s);
is(folders(), 1, 'kill -9: the folder is there');
like(finish(start($node, call('killed', $steps))), qr/going on with the training of model "killed" at step \d*[05]0 of $steps/, 'kill -9: gone on with');
same_weights('killed', $reference, 'kill -9');
is(folders(), 0, 'kill -9: no folder is left');

# Cancelled, several times.
for my $past (100, 1000)
{
	$s = start($node, call('canceled', $steps));
	$pid = pid_past('canceled', $past);
	is($node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)"), 't', "canceled past step $past");
	like(finish($s), qr/canceling statement due to user request/, "canceled past step $past: the call says so");
	is($node->safe_psql('postgres', q{SELECT state, pid IS NULL, message FROM fsi_training WHERE model = 'canceled'}),
		'canceled|t|canceling statement due to user request', "canceled past step $past: fsi_training says so");
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM fsi_models WHERE name = 'canceled'}), 0, 'a training that did not end is no model');
# A session that ends, and a server that is stopped at once.
$s = start($node, call('canceled', $steps));
$pid = pid_past('canceled', 1800);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
like(finish($s), qr/terminating connection/, 'terminated: the call says so');
is($node->safe_psql('postgres', q{SELECT state FROM fsi_training WHERE model = 'canceled'}), 'failed', 'terminated: fsi_training says so');
$s = start($node, call('canceled', $steps));
pid_past('canceled', 2600);
$node->stop('immediate');
finish($s);
$node->start;
$node->safe_psql('postgres', call('canceled', $steps));
same_weights('canceled', $reference, 'canceled, terminated and stopped');

# Interrupted, and no better than its base, of whose figures the checkpoint knows nothing.
my $worse = call('worse', $steps, '"model": "killed", "learning_rate": 1');
$s = start($node, $worse);
$pid = pid_past('worse', 100);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
finish($s);
like(finish(start($node, $worse)), qr/going on with .*held-out loss ([0-9.]+) \(at first \g1\), accuracy ([0-9.]+) \(at first \g2\), best at step 0$/ms,
	'gone on with, the base wins: its figures');
is($node->safe_psql('postgres', q{SELECT count(*) FROM fsi_training WHERE model = 'worse' AND eval_loss > 0 AND eval_accuracy >= 0 AND best_step = 0}),
	1, 'and in fsi_training');
# Other arguments are not those of the unfinished training.
$s = start($node, call('changed', $steps));
$pid = pid_past('changed', 100);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
finish($s);
for my $case ([ '"seed": 43', qr/the option "seed"\nDETAIL:  It has 42, the call has 43/ ], [ '"weight_decay": 0.1', qr/the option "weight_decay"/ ],
	[ '"warmup_ratio": 0.2', qr/the option "warmup_ratio"\nDETAIL:  It has 0\.1, the call has 0\.2/ ])
{
	(undef, undef, $err) = $node->psql('postgres', call('changed', $steps, $case->[0]));
	like($err, qr/model "changed" has an unfinished training that differs in $case->[1].*restart/s, "other options: $case->[0]");
}
$node->safe_psql('postgres', "INSERT INTO rows VALUES ('one more', 'refund')");
(undef, undef, $err) = $node->psql('postgres', call('changed', $steps));
like($err, qr/differs in the rows of its source/, 'other rows');
$node->safe_psql('postgres', "DELETE FROM rows WHERE prompt = 'one more'");
$node->safe_psql('postgres', "CREATE ROLE other; GRANT EXECUTE ON PROCEDURE fsi_train TO other; GRANT SELECT ON rows TO other");
# One that is to begin anew, but cannot, does not throw the old one away.
for my $where ("$dir/nowhere", "$dir/tiny/config.json")
{
	(undef, undef, $err) = $node->psql('postgres', call('changed', $steps, qq{"restart": true, "logging_dir": "$where"}));
	like($err, qr/could not create an event file in "\Q$where\E"/, 'a folder for TensorBoard that is none');
	is(scalar(() = glob("$folder/pgsql_tmp_train_*/last")), 1, 'the older checkpoint stays');
}
# Another role's is not gone on with, and not thrown away, but by who has its role.
for my $more ('', '"restart": true')
{
	(undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSET ROLE other; " . call('changed', $steps, $more));
	like($err, qr/ERROR:  42501: permission denied for the unfinished training of model "changed"\nDETAIL:  It is one of role/, "another role: $more");
	unlike($err, qr/restart/, 'without a hint that helps nobody');
}
my $me = $node->safe_psql('postgres', 'SELECT quote_ident(current_user)');
(undef, undef, $err) = $node->psql('postgres', "GRANT $me TO other; SET ROLE other; " . call('changed', $steps));
like($err, qr/differs in the role that called\nDETAIL:  It has \w+, the call has other\..*restart/s, 'a member of the role');
$node->safe_psql('postgres', "REVOKE $me FROM other");
# It is seen after a restart, by who may, and given up by them.
$node->restart;
is($node->safe_psql('postgres', q{SELECT model, role = current_user, pid, state, base FROM fsi_training}), 'changed|t||interrupted|', 'what can be gone on with is shown');
is($node->safe_psql('postgres', 'SET ROLE other; SELECT count(*) FROM fsi_training'), 0, "not another role's");
sub refused
{
	my ($sql, $pattern, $what) = @_;
	my (undef, undef, $said) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	like($said, $pattern, $what);
}
refused("SET ROLE other; SELECT fsi_discard_training('changed')", qr/ERROR:  42501: permission denied for the unfinished training of model "changed"/, "another role's stays");
$s = start($node, call('changed', $steps));
$pid = pid_past('changed', 0);
refused("SELECT fsi_discard_training('changed')", qr/ERROR:  55006: model "changed" is being trained.*PID $pid/s, 'so does one at work');
# While an error is told, what it holds is held: not the name of another role's model, for as long as it pleases the client.
refused("SET ROLE other; SELECT fsi_discard_training('changed')", qr/ERROR:  42501: permission denied/, "the name of another role's is not held");
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
finish($s);
is(folders(), 1, 'its folder is there');
$node->safe_psql('postgres', "SELECT fsi_discard_training('changed')");
is(folders(), 0, 'and gone when it is given up');
refused("SELECT fsi_discard_training('changed')", qr/ERROR:  42704: there is no unfinished training of model "changed"/, 'once');
# One that has no checkpoint yet leaves nothing.
$s = start($node, call('early', $steps, '"save_steps": 0, "eval_steps": 0') =~ s/"eval_steps": 500, "save_steps": 50, //r);
$pid = pid_past('early', 5);
is(folders(), 1, 'a training without a checkpoint');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
finish($s);
is(folders(), 0, 'leaves no folder when it is canceled');
# A weight of spelling that the held-out rows choose is another than the same one given.
sub labelled { sprintf q{CALL fsi_train('weighed', 'SELECT g || '' texts'' AS text, ''kind '' || g %% 2 AS intent FROM generate_series(1, 20) g', '{"max_steps": 20000, "save_steps": 5%s}')}, $_[0] }
$s = start($node, labelled(''));
$pid = pid_past('weighed', 20);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
finish($s);
(undef, undef, $err) = $node->psql('postgres', labelled(', "spelling_weight": 0.5'));
like($err, qr/differs in the option "spelling_weight"\nDETAIL:  It has at most 0.5, the call has 0.5/, 'chosen or given');
$node->safe_psql('postgres', labelled(', "restart": true') =~ s/20000/1/r);
# The layout of the shipped model goes on to the same bits, too, its readout alone and as a whole.
for my $case ([ 'readout', 2000, '"save_steps": 50, "eval_steps": 100' ], [ 'whole', 20, '"freeze": false, "max_ways": 2, "queries": 1, "save_steps": 2, "eval_steps": 10' ])
{
	my ($what, $last, $more) = @$case;
	my $one = q{CALL fsi_train('%s', 'SELECT ''text '' || g AS text, ''kind '' || g % 2 AS intent FROM generate_series(1, 40) g', }
		. "'{\"max_steps\": $last, \"early_stopping_patience\": 0, $more}')";
	$node->safe_psql('postgres', sprintf $one, "$what once");
	my $cut = start($node, sprintf $one, "$what cut");
	my $at = pid_past("$what cut", $last / 10);
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($at)");
	like(finish($cut), qr/canceling statement/, "$what: canceled");
	like(finish(start($node, sprintf $one, "$what cut")), qr/going on with the training/, "$what: gone on with");
	same_weights("$what cut", export("$what once"), "$what");
}

# A damaged checkpoint is an error, not a model.
$s = start($node, call('changed', $steps));
$pid = pid_past('changed', 100);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
finish($s);
my ($last) = glob("$folder/pgsql_tmp_train_*/last");
open my $f, '+<:raw', $last or die $!;
seek $f, 1000, 0;
print $f "\0\1\2\3";
close $f;
(undef, undef, $err) = $node->psql('postgres', call('changed', $steps));
like($err, qr/damaged.*HINT:.*restart/s, 'a damaged checkpoint');
$node->safe_psql('postgres', call('changed', $steps, '"restart": true'));
same_weights('changed', $reference, 'begun anew');

# A base backup leaves the folder out; a standby has the model.
$s = start($node, call('copied', $steps));
my $copied = pid_past('copied', 100);
kill 'STOP', $copied;
$node->backup('backup');
is(folders(), 1, 'a training is at work');
kill 'CONT', $copied;
is(scalar(grep { m{/pgsql_tmp_train_} } glob($node->backup_dir . '/backup/fsi_intent/*')), 0, 'a base backup leaves the folder out');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
finish($s);
$node->wait_for_catchup($standby);
my $ask = q{SELECT md5(string_agg(encode(float8send(score), 'hex'), ',' ORDER BY prompt, intent)) FROM rows,
	fsi_scores(prompt, ARRAY['refund', 'track order'], '{"model": "copied", "template": "{text}"}')};
is($standby->safe_psql('postgres', $ask), $node->safe_psql('postgres', $ask), 'the standby answers alike');
(undef, undef, $err) = $standby->psql('postgres', call('x', 1));
like($err, qr/cannot execute fsi_train\(\) in a read-only transaction/, 'a standby trains nothing');
# A session of the standby's sees a replacement when it has come: a transaction with an older snapshot goes on with the old weights.
$node->safe_psql('postgres', call('moving', 5));
$node->wait_for_catchup($standby);
my $reader = $standby->background_psql('postgres');
my $bits = q{SELECT md5(string_agg(s::text, ',' ORDER BY s::text)) FROM rows, fsi_scores(prompt, ARRAY['refund', 'track order'],
	'{"model": "moving", "template": "{text}"}') s};
my $older = $reader->query($bits);
is($reader->query("BEGIN ISOLATION LEVEL REPEATABLE READ; $bits"), $older, 'a reader of the standby');
$node->safe_psql('postgres', call('moving', 5, '"replace": true, "seed": 7'));
$node->wait_for_catchup($standby);
is($reader->query($bits), $older, 'in its transaction: the old weights');
$reader->query('COMMIT');
my $newer = $reader->query($bits);
isnt($newer, $older, 'after it: the new ones');
is($newer, $node->safe_psql('postgres', $bits), 'as on the primary');
is($reader->query("LOAD 'fsi_intent'; SET fsi_intent.debug_require_batch = on; SELECT count(fsi_classify(prompt, ARRAY['refund', 'track order'])) FROM rows"),
	40, 'batches on a standby');
$reader->quit;
$standby->stop;

# Memory does not grow with the checkpoints and evaluations: what a training holds between steps, told by the log.
sub held
{
	my ($backend) = @_;
	my $held = qr/fsi_intent training: \d+ total in \d+ blocks; \d+ free \(\d+ chunks\); (\d+) used/;
	my $offset = -s $node->logfile;
	$node->safe_psql('postgres', "SELECT pg_log_backend_memory_contexts($backend)");
	$node->wait_for_log($held, $offset);
	return (slurp_file($node->logfile, $offset) =~ $held)[0];
}
$s = start($node, call('flat', 1000000, '"save_steps": 1, "eval_steps": 5, "eval_answers": 0'));
$pid = pid_past('flat', 20);
my $before = held($pid);
pid_past('flat', 220);
cmp_ok(held($pid) - $before, '<', 10000, 'memory is flat');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
finish($s);
$node->safe_psql('postgres', "SELECT fsi_discard_training('flat')");

# In the background: what is wrong with the call is raised by it; the worker has the caller's role and no more; its end is
# told by the view and the log; it can be cancelled and is gone on with.
sub ended
{
	my ($name) = @_;
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM fsi_training WHERE model = '$name' AND pid IS NULL");
	return $node->safe_psql('postgres', "SELECT state, message FROM fsi_training WHERE model = '$name'");
}
for my $case ([ q{CALL fsi_train('bad', 'no_such', '{"background": true}')}, qr/relation "no_such" does not exist.*HINT:  .*no temporary tables.*background worker of fsi_train/s ],
	[ q{CALL fsi_train('bad', 'rows', '{"background": true, "no such": 1}')}, qr/unknown option "no such"/ ],
	[ q{CALL fsi_train('reference', 'rows', '{"background": true, "model": "tiny"}')}, qr/model "reference" already exists/ ])
{
	(undef, undef, $err) = $node->psql('postgres', $case->[0]);
	like($err, $case->[1], 'background: an error of the call');
}
$node->safe_psql('postgres', 'CREATE TABLE secret AS SELECT * FROM rows');
(undef, undef, $err) = $node->psql('postgres', q{SET ROLE other; CALL fsi_train('stolen', 'secret', '{"model": "tiny", "background": true}')});
like($err, qr/permission denied for table secret/, 'background: the rights of the caller');
$node->safe_psql('postgres', 'SET ROLE other; ' . call('behind', $steps, '"background": true'));
$pid = pid_past('behind', 100);
is($node->safe_psql('postgres', "SELECT backend_type, usename FROM pg_stat_activity WHERE pid = $pid"), 'fsi_intent training|'
	. $node->safe_psql('postgres', 'SELECT current_user'), 'background: a worker');
(undef, undef, $err) = $node->psql('postgres', 'SET ROLE other; ' . call('behind', $steps));
like($err, qr/is being trained by another call/, 'background: the name is held');
is($node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)"), 't', 'background: canceled');
like(ended('behind'), qr/^canceled\|canceling statement/, 'background: canceled, says the view');
$node->safe_psql('postgres', 'SET ROLE other; ' . call('behind', $steps, '"background": true'));
like(ended('behind'), qr/^finished\|trained model "behind": $steps steps/, 'background: gone on with to the end');
same_weights('behind', $reference, 'background');
is($node->safe_psql('postgres', q{SELECT imported_by, source FROM fsi_models WHERE name = 'behind'}), 'other|trained', "background: the caller's model");
like(slurp_file($node->logfile), qr/LOG:  trained model "behind"/, 'background: the log tells the end');

# A caller that goes before the training has begun takes the worker with it.
my $lock = $node->background_psql('postgres');
$lock->query('SELECT pg_advisory_lock(7)');
$s = start($node, q{CALL fsi_train('left alone', 'SELECT prompt || pg_advisory_xact_lock_shared(7) AS prompt, response FROM rows',
	'{"model": "tiny", "background": true}')});
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted});
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL fsi_train(''left alone%'});
like(finish($s), qr/terminating connection/, 'background: the caller goes');
like(ended('left alone'), qr/^failed\|the process was terminated/, 'background: so does the worker, which has not begun');
$lock->quit;

# A long description, here of blanks that a tokenizer leaves out, does not make a long plan, which whoever looks at trainings reads.
make_tiny("$dir/tiny_segments", 4, 64, 'segments');
$node->safe_psql('postgres', "SELECT fsi_import_model('tiny segments', '$dir/tiny_segments')");
sub described
{
	return q{CALL fsi_train('described', 'SELECT prompt AS text, response AS intent FROM rows', jsonb_build_object('model', 'tiny segments',
		'max_steps', 1000000, 'save_steps', 1, 'early_stopping_patience', 0, 'descriptions', jsonb_build_object('refund', 'money' || repeat(' ', 20000) || '} . shift() . q{')))};
}
$s = start($node, described('back'));
$pid = pid_past('described', 1);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
like(finish($s), qr/canceling statement/, 'a long description: canceled');
cmp_ok(-s (glob "$folder/pgsql_tmp_train_*/plan")[0], '<', 10000, 'a long description: a short plan');
(undef, undef, $err) = $node->psql('postgres', described('again'));
like($err, qr/differs in the option "descriptions"\nDETAIL:  It has \{"refund": "money.{1,1000}\nHINT/, 'a long description: another one');
$node->safe_psql('postgres', "SELECT fsi_discard_training('described')");

# The extension is dropped and created anew meanwhile: the folder is still that of the one training.
$node->safe_psql('postgres', 'CREATE DATABASE again');
system_or_bail('psql', '-Xqo', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-v', "tiny=$dir/tiny", '-d', $node->connstr('again'), '-f',
	'test/data/train_rows.sql');
$node->safe_psql('again', call('outlived', 1000000, '"background": true'));
$node->safe_psql('again', qq{DROP EXTENSION fsi_intent CASCADE; CREATE EXTENSION fsi_intent; SELECT fsi_import_model('tiny', '$dir/tiny')});
(undef, undef, $err) = $node->psql('again', call('outlived', 1000000));
like($err, qr/model "outlived" is being trained by another call/, 'a training outlives the extension');
$node->safe_psql('postgres', 'DROP DATABASE again WITH (FORCE)');

# What trainings of a database that is no more have left is removed by several calls at once.
for my $i (1 .. 300)
{
	my $left = sprintf '%s/pgsql_tmp_train_999999_%016x', $folder, $i;
	mkdir $left or die $!;
	append_to_file("$left/$_", '') for qw(plan last best);
}
my @sweepers = map { start($node, call("sweeper $_", 1)) } 1 .. 3;
unlike(join('', map { finish($_) } @sweepers), qr/WARNING:  could not/, 'removed together');
is(scalar(() = glob("$folder/pgsql_tmp_train_999999_*")), 0, 'all of it');

# A disk that fills while a checkpoint is written: the old one stays good. The limit of a file's size stands for it, above
# the size of a WAL segment and below that of the shipped model's checkpoint.
SKIP:
{
	skip 'prlimit is not there', 6 if system('prlimit --version >/dev/null 2>&1') != 0;
	my $big = q{CALL fsi_train('full', 'SELECT prompt AS text, response AS intent FROM rows', '{"freeze": false, "max_steps": 20,
		"per_device_train_batch_size": 1, "max_ways": 2, "max_shots": 0, "queries": 1, "eval_split": 0, "save_steps": %d, "logging_steps": 1}')};
	$s = start($node, sprintf $big, 1);
	$pid = pid_past('full', 0);
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_ls_dir('fsi_intent') d, pg_ls_dir('fsi_intent/' || d) f
		WHERE d LIKE 'pgsql\_tmp\_train%' AND f = 'last'});
	my ($saved) = glob("$folder/pgsql_tmp_train_*/last");
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
	like(finish($s), qr/canceling statement/, 'a full disk: canceled');
	copy($saved, "$dir/last") or die $!;
	my $limited = $node->background_psql('postgres', on_error_stop => 0);
	my $backend = $limited->query('SELECT pg_backend_pid()');
	system("prlimit --pid $backend --fsize=33554432") == 0 or die 'prlimit';
	$limited->query(sprintf $big, 1);
	like($limited->{stderr}, qr/could not write checkpoint.*File too large/, 'a full disk is told');
	$limited->quit;
	is(compare($saved, "$dir/last"), 0, 'a full disk: the checkpoint is what it was');
	is(scalar(() = glob("$folder/pgsql_tmp_train_*/*.tmp*")), 0, 'a full disk: nothing half done is left');
	like(finish(start($node, sprintf $big, 0)), qr/going on with the training of model "full" at step \d+ of 20/, 'a full disk: gone on with');
	is($node->safe_psql('postgres', q{SELECT source FROM fsi_models WHERE name = 'full'}), 'trained', 'a full disk: trained in the end');
}

# The figures of a few held-out rows are told with a word about their number.
(undef, undef, $err) = $node->psql('postgres', call('few', 1));
like($err, qr/trained model "few".*\nDETAIL:  Only 4 rows are held out: these figures say little\./, 'few held-out rows');
(undef, undef, $err) = $node->psql('postgres', call('not so few', 1, '"eval_split": 0.5'));
like($err, qr/trained model "not so few"[^\n]*\z/, 'twenty of them');
(undef, undef, $err) = $node->psql('postgres', call('none', 1, '"eval_split": 0'));
like($err, qr/no rows are held out.*trained model "none"[^\n]*\z/s, 'none');

# TensorBoard's files where the caller wants them stay there.
mkdir "$dir/logs";
$node->safe_psql('postgres', call('logged', 20, "\"logging_dir\": \"$dir/logs\""));
my @events = glob("$dir/logs/events.out.tfevents.*");
is(scalar @events, 1, 'an event file');
is(sprintf('%o', (stat $events[0])[2] & 07777), '644', 'it is for others to read');
like(slurp_file($events[0]), qr/brain.Event:2.*eval\/loss.*train\/loss.*train\/learning_rate/s, 'it has the tags');

# A model is replaced while another transaction builds on its name, which is not to be seen from outside: that one fails.
my $seed = 100;
sub replaced
{
	return $node->psql('postgres', 'SET lock_timeout = 500; ' . call('logged', 5, '"replace": true, "seed": ' . ++$seed));
}
my $answer = q{fsi_classify(prompt, ARRAY['refund', 'track order'], '{"model": "logged", "template": "{text}"}')};
my $builder = $node->background_psql('postgres', on_error_stop => 0);
sub builds
{
	my ($what, @statements) = @_;
	$builder->{stderr} = '';
	$builder->query($_) for @statements;
	like($builder->{stderr}, qr/model "logged" was replaced while this transaction used it\nDETAIL:  The answers of (index|materialized view) public.kept would be/, $what);
	is($node->safe_psql('postgres', q{SELECT to_regclass('kept') IS NULL}), 't', "$what: it is not there");
}
$builder->query("SELECT count($answer) FROM rows");
$builder->query($_) for 'BEGIN', "CREATE INDEX kept ON rows ($answer)";
is((replaced())[0], 0, 'replaced during a build');
builds('an index that is committed later', 'COMMIT');
$builder->query($_) for 'BEGIN', "CREATE INDEX kept ON rows ($answer) WHERE prompt = 'of no row'";
is((replaced())[0], 0, 'replaced during a build for which this process asks nothing');
builds('an index that parallel workers alone may have filled', 'COMMIT');
$builder->query($_) for qq{CREATE FUNCTION answered(prompt text) RETURNS text IMMUTABLE PARALLEL SAFE COST 100000 LANGUAGE plpgsql AS \$\$BEGIN
	RETURN public.$answer; END\$\$}, 'ALTER TABLE rows SET (parallel_workers = 2)',
	'SET parallel_leader_participation = off; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0';
for my $call ($answer, 'answered(prompt)')
{
	$builder->query($_) for 'BEGIN', "CREATE MATERIALIZED VIEW kept AS SELECT $call FROM rows";
	is((replaced())[0], 0, 'replaced while parallel workers fill a view');
	builds('a materialized view that parallel workers alone have filled', 'COMMIT');
}
$builder->query($_) for qq{CREATE FUNCTION all_answers() RETURNS SETOF text LANGUAGE plpgsql AS \$\$BEGIN
	RETURN QUERY SELECT public.$answer FROM public.rows; END\$\$}, 'SELECT FROM all_answers()', 'BEGIN',
	'CREATE MATERIALIZED VIEW kept AS SELECT * FROM all_answers() AS answer';
is((replaced())[0], 0, 'replaced while a function fills a view by a plan that it has kept');
builds('a materialized view by a plan from a former transaction', 'COMMIT');
# The model's name is told by a column or a parameter.
my $options = q{'{"model": "logged", "template": "{text}"}'};
$builder->query($_) for "CREATE TABLE asks AS SELECT prompt, CAST($options AS jsonb) AS options FROM rows", 'ALTER TABLE asks SET (parallel_workers = 2)',
	q{CREATE FUNCTION answers_by(options jsonb) RETURNS SETOF text LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$BEGIN
	RETURN QUERY SELECT public.fsi_classify(prompt, ARRAY['refund', 'track order'], answers_by.options) FROM public.rows; END$$};
my $told = q{fsi_classify(prompt, ARRAY['refund', 'track order'], options)};
for my $kept ("MATERIALIZED VIEW kept AS SELECT $told FROM asks", "MATERIALIZED VIEW kept AS SELECT * FROM answers_by($options) AS answer",
	"INDEX kept ON asks ($told) WHERE prompt = 'of no row'")
{
	$builder->query($_) for 'BEGIN', "CREATE $kept";
	is((replaced())[0], 0, "replaced: $kept");
	builds($kept, 'COMMIT');
}
$builder->query('RESET ALL');

# So it is where a trigger makes it in a background worker, which runs no portal.
$node->safe_psql('postgres', qq{CREATE TABLE todo AS SELECT 'refund' AS msg, NULL::text AS intent FROM generate_series(1, 1000);
	CREATE FUNCTION makes_view() RETURNS trigger LANGUAGE plpgsql SET parallel_leader_participation = off SET parallel_setup_cost = 0
		SET parallel_tuple_cost = 0 AS \$\$BEGIN
		IF (SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()) = 'fsi_intent worker' THEN
			CREATE MATERIALIZED VIEW kept AS SELECT $answer FROM rows;
		END IF;
		PERFORM pg_advisory_xact_lock_shared(1);
		RETURN NULL; END\$\$;
	CREATE TRIGGER makes_view AFTER UPDATE ON todo FOR EACH STATEMENT EXECUTE FUNCTION makes_view()});
$builder->query('SELECT pg_advisory_lock(1)');
$s = start($node, q{CALL fsi_classify_table('todo', 'msg', 'intent', ARRAY['refund', 'track order'], workers => 2, chunk_rows => 100)});
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'fsi_intent worker' AND wait_event = 'advisory'})
	or die 'no worker waits';
is((replaced())[0], 0, 'replaced while a trigger has made a view');
$builder->query('SELECT pg_advisory_unlock(1)');
like(finish($s), qr/ERROR:  model "logged" was replaced while this transaction used it\nDETAIL:  The answers of materialized view public.kept/,
	'a materialized view that a background worker has made');
is($node->safe_psql('postgres', q{SELECT to_regclass('kept') IS NULL}), 't', 'it is not there');

$builder->query($_) for 'BEGIN', "CREATE INDEX kept ON rows (fsi_embed(prompt, 'logged')) WHERE prompt = 'of no row'";
is((replaced())[0], 0, 'replaced during another such build');
builds('an index on vectors', 'COMMIT');
$builder->query($_) for 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT count(*) FROM rows';
is((replaced())[0], 0, 'replaced before a build with an older snapshot');
builds('an index by an older snapshot', "CREATE INDEX kept ON rows ($answer)", 'COMMIT');
$builder->query($_) for 'BEGIN', "CREATE INDEX kept ON rows ($answer)";
is((replaced())[0], 0, 'replaced before a build is prepared');
builds('an index that is prepared', "PREPARE TRANSACTION 'kept'");
$builder->{stderr} = '';
$builder->query($_) for 'BEGIN', "CREATE TABLE answers AS SELECT $answer FROM rows";
is((replaced())[0], 0, 'replaced while a transaction stores answers');
$builder->query('COMMIT');
is($builder->{stderr}, '', 'they are nothing that rests on the name');
$builder->query($_) for 'BEGIN', "CREATE INDEX kept ON rows ($answer)", "PREPARE TRANSACTION 'kept'";
like((replaced())[2], qr/lock timeout/, 'a prepared build is waited for');
$builder->query("COMMIT PREPARED 'kept'");
like((replaced())[2], qr/model "logged" cannot stand for other weights\nDETAIL:  The answers of index public.kept rest on it/, 'and is found');
is($builder->{stderr}, '', 'without an error of its own');
$builder->quit;

done_testing();

# The file of an imported model: gone after a rollback, noticed when it is cut short or written to under a session.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 8);
my $node = fsi_node('import_files', 'max_prepared_transactions = 2');
$node->safe_psql('postgres', 'CREATE EXTENSION fsi_intent');
my $cache = $node->data_dir . '/fsi_intent';
my $import = "SELECT fsi_import_model('tiny', '$dir/tiny') IS NOT NULL";
sub files { return scalar(() = glob "$cache/*.fsi") }

$node->safe_psql('postgres', "BEGIN; $import; ROLLBACK");
is(files(), 0, 'rolled back: no file');
$node->safe_psql('postgres', "BEGIN; SAVEPOINT a; SAVEPOINT b; $import; RELEASE b; ROLLBACK TO a; COMMIT");
is(files(), 0, 'rolled back to a savepoint: no file');
$node->safe_psql('postgres', "BEGIN; SAVEPOINT a; $import; RELEASE a; SAVEPOINT b; ROLLBACK TO b; COMMIT");
is(files(), 1, 'committed: the file stays');
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', "CREATE EXTENSION fsi_intent; BEGIN; $import; ROLLBACK");
is(files(), 1, 'rolled back in another database: its own goes');

my ($file) = glob "$cache/*.fsi";
my $ask = q{SELECT fsi_classify('where is it', ARRAY['refund', 'cancel'], '{"model": "tiny"}') IS NOT NULL};
for my $change ([ 'cut short', "truncate -s 4096 '$file'" ], [ 'emptied', ": > '$file'" ],
	[ 'written to', "printf x | dd of='$file' bs=1 seek=20000 conv=notrunc status=none" ])
{
	my ($what, $command) = @$change;
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$ask;\n\\! $command\n$ask;\nSELECT 'alive'", on_error_stop => 0);
	like($err, qr/ERROR:  XX001: .*changed in place/, "$what: an error");
	is($out, "t\nalive", "$what: no answer, no crash");
	is($node->safe_psql('postgres', $ask), 't', "$what: the next session has it from the database");
}
my ($rc, $out, $err) = $node->psql('postgres', "$ask;\n\\! touch '$file'\n$ask;\n");
is("$out$err", "t\nt", 'touched: still the same');
# A file that ends before the size that it had: no errno says why.
SKIP:
{
	my $short = '/sys/kernel/uevent_seqnum';
	skip "$short is not there", 1 unless -s $short;
	mkdir "$dir/short" or die $!;
	symlink $short, "$dir/short/config.json" or die $!;
	(undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT fsi_import_model('short', '$dir/short')");
	like($err, qr/ERROR:  58030: file ".*" became shorter while it was read/, 'a file that becomes shorter: an error of reading');
}
# It cannot be written again: an error, and nothing of it is left.
SKIP:
{
	skip 'prlimit is not there', 5 if system('prlimit --version >/dev/null 2>&1') != 0;
	unlink $file or die $!;
	my $limited = $node->background_psql('postgres', on_error_stop => 0);
	my $backend = $limited->query('SELECT pg_backend_pid()');
	system("prlimit --pid $backend --fsize=16384") == 0 or die 'prlimit';
	$limited->query($ask);
	like($limited->{stderr}, qr/File too large/, 'a full disk: an error');
	is(scalar(() = glob "$cache/pgsql_tmp_import_*"), 0, 'a full disk: nothing half written is left');
	# What cannot be a model is not copied first.
	system_or_bail('truncate', '-s', '3G', "$dir/sparse.fsi");
	$limited->query("SELECT fsi_import_model('sparse', '$dir/sparse.fsi')");
	like($limited->{stderr}, qr/ERROR:  file is not a packed model/, 'a large file of another kind: an error before a byte is written');
	like($limited->{stderr}, qr/HINT:  Name the folder, not a file in it/, 'and what to name instead');
	$limited->quit;
	is($node->safe_psql('postgres', $ask), 't', 'a full disk: the next session has it from the database');
}

# No file stays of a model that is gone.
my $drop = q{SELECT fsi_drop_model('tiny')};
sub sessions
{
	return map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. $_[0];
}
{
	my ($one, $two) = sessions(2);
	$one->query("BEGIN; $drop");
	is($two->query($ask), 't', 'dropped, not committed: others use it');
	$one->query('COMMIT');
	is(files(), 0, 'dropped while another used it: no file');
	$one->query($import);
	$two->quit;
	($two) = sessions(1);
	$two->query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
	$one->query($drop);
	is($two->query($ask), 't', 'dropped: an old snapshot uses it');
	is(files(), 0, 'and leaves no file');
	$two->query('COMMIT');
	$one->query("BEGIN; $import; PREPARE TRANSACTION 'p'; ROLLBACK PREPARED 'p'");
	is(files(), 1, 'a prepared import is rolled back');
	$one->quit;
	($one) = sessions(1);
	$one->query($ask);
	is(files(), 0, 'the next look-up of any model removes its file');
	$one->query("BEGIN; $import; PREPARE TRANSACTION 'p'");
	$two->query(q{SELECT fsi_classify('x', ARRAY['a', 'b'])});
	is(files(), 1, 'a prepared import keeps its file');
	$one->query("COMMIT PREPARED 'p'; BEGIN; $drop; PREPARE TRANSACTION 'p'");
	$two->quit;
	($two) = sessions(1);
	is($two->query($ask), 't', 'a prepared drop: others use it');
	$one->query("COMMIT PREPARED 'p'");
	$two->query($ask);
	like($two->{stderr}, qr/model "tiny" does not exist/, 'committed: they do not');
	is(files(), 0, 'and no file stays');
	$_->quit for $one, $two;
}
$node->safe_psql('second', $import);
$node->safe_psql('postgres', 'DROP DATABASE second');
is(files(), 1, 'a database is dropped');
$node->safe_psql('postgres', $import);
is(files(), 1, 'the next import elsewhere removes its file');
$node->safe_psql('postgres', "DROP EXTENSION fsi_intent; CREATE EXTENSION fsi_intent");
is(files(), 0, 'the extension is dropped and created: no file');
# A session lets go of a model that was dropped or replaced.
SKIP:
{
	skip 'needs /proc/PID/maps', 6 unless -r "/proc/$$/maps";
	my ($one, $two) = sessions(2);
	my $pid = $one->query('SELECT pg_backend_pid()');
	my $mapped = sub {
		return scalar(grep { m{/fsi_intent/.*\.fsi} && !m{/small-} } split /\n/, slurp_file("/proc/$pid/maps")) . ' '
			. scalar(grep { (readlink($_) // '') =~ m{/fsi_intent/.*\.fsi} && readlink($_) !~ m{/small-} } glob "/proc/$pid/fd/*");
	};
	for my $i (1 .. 3)
	{
		system_or_bail($^X, 'test/data/tiny_gpt2.pl', "$dir/tiny$i", 20 + $i);
		$two->query("SELECT fsi_import_model('tiny$i', '$dir/tiny$i')");
		$one->query("SELECT fsi_classify('where is it', ARRAY['refund', 'cancel'], '{\"model\": \"tiny$i\"}'), fsi_embed('x', 'tiny$i')");
	}
	is($mapped->(), '3 3', 'three models are mapped');
	$two->query("SELECT fsi_drop_model('tiny' || g) FROM generate_series(1, 2) g");
	is($one->query(q{SELECT fsi_classify('where is it', ARRAY['refund', 'cancel'], '{"model": "tiny3"}') IS NOT NULL}), 't', 'two are dropped');
	is($mapped->(), '1 1', 'one is mapped');
	$two->query("SELECT fsi_import_model('base', '$dir/tiny1'); CREATE TABLE rows (prompt text, response text);
		INSERT INTO rows SELECT 'question ' || g, CASE WHEN g % 2 = 0 THEN 'refund' ELSE 'cancel' END FROM generate_series(1, 8) g;");
	my $answers = '';
	for my $i (1 .. 4)
	{
		$two->query(qq{CALL fsi_train('rep', 'SELECT * FROM rows', '{"model": "base", "replace": true, "max_steps": 1, "seed": $i, "eval_split": 0}')});
		$answers .= $one->query(q{SELECT fsi_classify('where is it', ARRAY['refund', 'cancel'], '{"model": "rep"}') IS NOT NULL});
	}
	is($answers, 'tttt', 'a name stands for four models in turn');
	is($mapped->(), '2 2', 'the last of them is mapped');
	# As CREATE EXTENSION does, here where it is recorded already.
	my $shipped = sub { return scalar grep { (readlink($_) // '') =~ m{/small-[^/]*\.fsi$} } glob "/proc/$pid/fd/*" };
	my $before = $shipped->();
	$one->query('SELECT _fsi_pin_shipped()') for 1 .. 3;
	is($shipped->() - $before . ' ' . (() = $one->{stderr} =~ /ERROR:  duplicate key/g), '0 3', 'the shipped model that cannot be recorded is let go of');
	$_->quit for $one, $two;
}
# A replacement waits for a prepared transaction that has used the name, others do not wait for the replacement.
{
	my ($one, $two) = sessions(2);
	my $pid = $one->query('SELECT pg_backend_pid()');
	my $train = q{CALL fsi_train('waits', 'SELECT * FROM rows', '{"model": "base", "replace": true, "max_steps": 1, "eval_split": 0, "seed": %d}')};
	$two->query(sprintf $train, 1);
	$two->query(q{BEGIN; CREATE TABLE used AS SELECT fsi_classify('x', ARRAY['refund', 'cancel'], '{"model": "waits"}'); PREPARE TRANSACTION 'p'});
	$one->query_until(qr/sent/, "\\echo sent\n" . sprintf($train, 2) . ";\n");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = $pid"),
		'a replacement waits for a prepared transaction');
	is($two->query("SET lock_timeout = '20s'; SELECT fsi_import_model('waits not', '$dir/tiny3') IS NOT NULL"), 't', 'an import does not');
	my $before = $two->query(q{SELECT sha256 FROM fsi_models WHERE name = 'waits'});
	$two->query("COMMIT PREPARED 'p'");
	isnt($one->query(q{SELECT sha256 FROM fsi_models WHERE name = 'waits'}), $before, 'then it goes on');
	$_->quit for $one, $two;
}
# Models come and go while the indexes of their tables are made anew, which waits for older snapshots, an import's for one.
make_tiny("$dir/tiny9", 9);
for my $table ('_fsi_model_catalog', '_fsi_model_chunk')
{
	my ($one, $two) = sessions(2);
	my $waits = q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND locktype = 'virtualxid'};
	$one->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
	my $reindex = start($node, "REINDEX TABLE CONCURRENTLY $table");
	ok($node->poll_query_until('postgres', $waits), "$table: new indexes wait for a snapshot");
	$two->query(qq{SET lock_timeout = '20s'; BEGIN; SELECT fsi_import_model('meanwhile', '$dir/tiny9')});
	is($two->{stderr}, '', 'an import waits for nobody');
	is(finish(start($node, 'SET lock_timeout = 300', "SELECT fsi_drop_model('waits not')")) =~ /lock timeout/, 1, 'who drops another waits for it');
	$one->query('COMMIT');
	ok($node->poll_query_until('postgres', $waits), 'they wait for the import');
	$two->query(q{SELECT fsi_drop_model('meanwhile'); COMMIT});
	is(finish($reindex) . $two->{stderr}, '', 'none is in the way of another');
	$_->quit for $one, $two;
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_index WHERE NOT indisvalid}), 0, 'no index is left half made');
# The process ends in the middle of an import.
{
	my ($one, $two) = sessions(2);
	my $pid = $one->query('SELECT pg_backend_pid()');
	$two->query("BEGIN; $import");
	$one->query_until(qr/sent/, "\\echo sent\n$import;\n");
	$node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid");
	ok(-e "$cache/pgsql_tmp_import_$pid", 'an import waits');
	is($two->query("SELECT pg_terminate_backend($pid, 10000)"), 't', 'its process is terminated');
	is(scalar(() = glob "$cache/pgsql_tmp_import_*"), 0, 'and leaves no file');
	$two->query('ROLLBACK');
	eval { $one->quit };
	$two->quit;
}
# What a crash has left, though another program's process has that number now: this one, for example.
append_to_file("$cache/pgsql_tmp_import_$_", 'x') for $$, "$$.tmp-$$";
$node->safe_psql('postgres', q{SELECT fsi_classify('x', ARRAY['a', 'b'])});
is(scalar(() = glob "$cache/pgsql_tmp_import_*"), 0, 'what a crash has left goes with the next look-up');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'no backend has crashed');
$node->stop;
done_testing();

# An unfinished training is given up when the transaction that discards it commits, and not before. One whose role is dropped
# is not lost.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 4, 64);
my $node = fsi_node('train_given_up', "jit = off\nmax_prepared_transactions = 2\nfsync = off");
system_or_bail('psql', '-Xqo', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-v', "tiny=$dir/tiny", '-d', $node->connstr('postgres'), '-f',
	'test/data/train_rows.sql');

# For ever, unless it is stopped; with one checkpoint a step.
sub call
{
	my ($name, $more) = @_;
	return "CALL fsi_train('$name', 'rows', '{\"model\": \"tiny\", \"max_steps\": 1000000, \"eval_steps\": 0, \"save_steps\": 1" . ($more // '') . "}')";
}
sub interrupted
{
	my ($name) = @_;
	my $s = start($node, call($name));
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM fsi_training WHERE model = '$name' AND step > 3") or die $name;
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM fsi_training WHERE model = '$name'");
	like(finish($s), qr/canceling statement/, "$name: canceled");
}
sub folders
{
	return scalar(() = glob($node->data_dir . '/fsi_intent/pgsql_tmp_train_*'));
}
sub says
{
	my ($sql, $pattern, $what) = @_;
	my (undef, undef, $said) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	like($said, $pattern, $what);
}

interrupted('mine');
$node->restart;				# else the view tells how it ended, whatever is left of it
my $left = q{SELECT 'left: ' || count(*) FROM fsi_training};
my $discard = q{SELECT fsi_discard_training('mine')};
for my $case ([ 'a rollback', "BEGIN; $discard; $left; ROLLBACK" ], [ "a savepoint's", "BEGIN; SAVEPOINT s; $discard; $left; ROLLBACK TO s; $left; COMMIT" ],
	[ 'an error', "BEGIN; $discard; $left; SELECT 1 / 0" ])
{
	my ($what, $sql) = @$case;
	my (undef, $out, undef) = $node->psql('postgres', $sql);
	like($out, qr/^\s*left: 0/, "$what: the transaction itself sees it gone");
	is($node->safe_psql('postgres', $left), 'left: 1', "$what keeps it");
	is(folders(), 1, "$what: its folder is there");
}
says("BEGIN; $discard; $discard", qr/ERROR:  42704: there is no unfinished training of model "mine"/, 'once in a transaction');
says("BEGIN; $discard; PREPARE TRANSACTION 'p'", qr/ERROR:  0A000: cannot PREPARE a transaction that has discarded a training/, 'not prepared');
is(folders(), 1, 'it is still there');
my $giver = $node->background_psql('postgres', on_error_stop => 0);
$giver->query("BEGIN; SAVEPOINT s; $discard; RELEASE s");
is($node->safe_psql('postgres', $left), 'left: 0', 'others do not see it any more');
says($discard, qr/ERROR:  55006: model "mine" is being trained by another call\nDETAIL:  It is run by the process with PID \d+/, 'and wait for the end');
$giver->query('COMMIT');
is(folders(), 0, 'committed: its folder is gone');
is($giver->query($left), 'left: 0', 'committed: it is gone');
# Discarded and begun anew by one transaction: the folder is the new one's.
interrupted('anew');
my $s = start($node, q{DO $$ BEGIN PERFORM fsi_discard_training('anew'); } . call('anew') . '; END $$');
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM fsi_training WHERE model = 'anew' AND pid IS NOT NULL AND step > 3}) or die;
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM fsi_training WHERE model = 'anew'});
unlike(finish($s), qr/going on/, 'discarded, and begun anew');
is(folders(), 1, 'the folder is there, of the new one');
is($giver->query(q{BEGIN; SELECT fsi_discard_training('anew'); COMMIT}), '', 'given up');
is(folders(), 0, 'and gone');
# Its place on the way out is taken by what cannot go.
my $pid = $giver->query('SELECT pg_backend_pid()');
my $taken = $node->data_dir . "/fsi_intent/pgsql_tmp_train_0_$pid";
interrupted('in place');
mkdir $_ or die "$_: $!" for $taken, "$taken/folder";
is($giver->query(q{SELECT fsi_discard_training('in place')}) . $giver->{stderr}, '', 'given up where it is');
is(folders(), 1, 'gone but for what stood in the way');
# One that cannot go is not gone on with by another plan.
interrupted('stays');
my ($stays) = grep { $_ ne $taken } glob($node->data_dir . '/fsi_intent/pgsql_tmp_train_*');
mkdir "$stays/folder" or die $!;
$giver->{stderr} = '';
$giver->query(call('stays', ', "seed": 7, "restart": true'));
like($giver->{stderr}, qr/WARNING:  could not remove directory.*ERROR:  could not create directory/s, 'what cannot be removed is not written to');
rmdir $_ or die "$_: $!" for "$stays/folder", "$taken/folder", $taken, $stays;
$giver->quit;

# The role is dropped while it trains: the end says so, and another role's call of the same kind goes on there, and makes it its own.
$node->safe_psql('postgres', 'CREATE ROLE gone; GRANT EXECUTE ON PROCEDURE fsi_train TO gone; GRANT SELECT ON rows TO gone');
sub of_gone
{
	my ($last) = @_;
	return qq{CALL fsi_train('of gone', 'SELECT prompt, response FROM rows', '{"model": "tiny", "max_steps": $last, "save_steps": 1, "eval_steps": 0}')};
}
$s = start($node, 'SET ROLE gone', of_gone(3000));
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM fsi_training WHERE model = 'of gone' AND step > 3}) or die;
$node->safe_psql('postgres', 'REVOKE ALL ON PROCEDURE fsi_train FROM gone; REVOKE ALL ON rows FROM gone; DROP ROLE gone');
like(finish($s), qr/ERROR:  the role that trains model "of gone" has been dropped\nHINT:  The same call/, 'a role dropped while it trains');
like($node->safe_psql('postgres', q{SELECT role, state, message FROM fsi_training WHERE model = 'of gone'}),
	qr/^unknown \(OID=\d+\)\|failed\|the role that trains/, 'the view tells, too');
$node->safe_psql('postgres', 'CREATE ROLE other; GRANT EXECUTE ON PROCEDURE fsi_train TO other; GRANT SELECT ON rows TO other');
says(of_gone(3001), qr/differs in the option "max_steps"/, 'another call is not the same');
like(finish(start($node, of_gone(3000))), qr/NOTICE:  going on with the training of model "of gone" at step 3000 of 3000/, 'the same call by another role');
is($node->safe_psql('postgres', q{SELECT imported_by = current_user FROM fsi_models WHERE name = 'of gone'}), 't', 'whose model it is');

done_testing();

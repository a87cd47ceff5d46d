# What rests on a model's name may be dropped at any time by others: nobody who looks for it minds.
use strict;
use warnings;
use Fsi;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 3, 256, 'segments');
my $node = fsi_node('dropped_meanwhile');
my $call = q{fsi_classify(msg, ARRAY['refund', 'cancel'], '{"model": "mine"}')};
$node->safe_psql('postgres', qq{
	CREATE EXTENSION fsi_intent;
	SELECT fsi_import_model('tiny', '$dir/tiny');
	CREATE TABLE labelled AS SELECT 'text ' || g AS text, CASE g % 2 WHEN 0 THEN 'refund' ELSE 'cancel' END AS intent
		FROM generate_series(1, 40) g});

sub train
{
	my ($seed) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', qq{
		SET client_min_messages = error;
		CALL fsi_train('mine', 'labelled', '{"model": "tiny", "max_steps": 2, "eval_split": 0, "freeze": false, "learning_rate": 0.1,
			"seed": $seed, "replace": true, "rebuild": true}')});
	return $err;
}

is(train(0), '', 'trained');

# While others make and drop things again and again, do something; what they complain of.
sub meanwhile
{
	my ($make, $drop, $do) = @_;
	my $others = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
		"DO \$\$ BEGIN LOOP $make; COMMIT; $drop; COMMIT; END LOOP; END \$\$" ],
		'>', \my $out, '2>', \my $err, IPC::Run::timeout(180));
	$do->();
	$others->kill_kill;
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE query ~ '^DO'});
	return $err =~ s/.*terminating connection due to administrator command.*//sr;
}

my $tables = qq{
	CREATE TABLE a (msg text, intent text GENERATED ALWAYS AS ($call) STORED);
	CREATE TABLE b (msg text) PARTITION BY LIST ($call);
	CREATE TABLE b_all PARTITION OF b DEFAULT};
is(meanwhile($tables, 'DROP TABLE a, b', sub {
	is(join('', map { train($_) } 1 .. 30), '', 'replaced while tables are made and dropped');
}), '', 'by somebody who is not disturbed');

$node->safe_psql('postgres', 'CREATE TABLE c (msg text); CREATE DOMAIN d AS text');
my $parts = qq{
	ALTER TABLE c ADD intent text GENERATED ALWAYS AS ($call) STORED, ADD CONSTRAINT asked CHECK ($call <> '');
	ALTER DOMAIN d ADD CONSTRAINT asked CHECK (${\($call =~ s/msg/VALUE/r)} <> '')};
is(meanwhile($parts, 'ALTER TABLE c DROP intent, DROP CONSTRAINT asked; ALTER DOMAIN d DROP CONSTRAINT asked', sub {
	my ($rc, $out, $err) = $node->psql('postgres', q{
		DO $$ BEGIN FOR i IN 1 .. 400 LOOP PERFORM fsi_check(), fsi_rebuild('mine'); COMMIT; END LOOP; END $$});
	is($err, '', 'checked and rebuilt while columns and constraints are made and dropped');
}), '', 'by somebody who is not disturbed');
$node->safe_psql('postgres', 'DROP TABLE IF EXISTS a, b, c');
is($node->safe_psql('postgres', q{SELECT coalesce(sum(stale), 0) FROM fsi_check()}), 0, 'nothing is stale');

# An index that REINDEX CONCURRENTLY has replaced since it was listed goes while its table's lock is waited for.
$node->safe_psql('postgres', qq{
	CREATE TABLE first (msg text); CREATE TABLE second (msg text);
	CREATE INDEX first_asked ON first ($call); CREATE INDEX second_asked ON second ($call)});
my %session = map { $_ => $node->background_psql('postgres') } qw(snapshot first second third);
sub until_phase
{
	my ($phase) = @_;
	$node->poll_query_until('postgres', "SELECT phase = '$phase' FROM pg_stat_progress_create_index") or die $phase;
	return;
}
sub until_waiting
{
	my ($table) = @_;
	$node->poll_query_until('postgres', qq{SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
		WHERE NOT granted AND relation = '$table'::regclass AND query ~ 'fsi_rebuild')}) or die $table;
	return;
}
$session{snapshot}->query_safe($_) for 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT';
my $reindex = start($node, 'REINDEX INDEX CONCURRENTLY second_asked');
until_phase('waiting for old snapshots');
$session{first}->query_safe($_) for 'BEGIN', 'LOCK TABLE first';
my $rebuild = start($node, q{SELECT object FROM fsi_rebuild('mine')});
until_waiting('first');
$session{second}->query_safe($_) for 'BEGIN', 'LOCK TABLE second IN ACCESS SHARE MODE';
$session{snapshot}->query_safe('COMMIT');
until_phase('waiting for readers before marking dead');
$session{third}->query_safe($_) for 'BEGIN', 'LOCK TABLE second IN ACCESS SHARE MODE';
$session{second}->query_safe('COMMIT');
until_phase('waiting for readers before dropping');
$session{first}->query_safe('COMMIT');
until_waiting('second');
$session{third}->query_safe('COMMIT');
is(finish($rebuild), '', 'rebuilt while an index is made anew concurrently');
is(finish($reindex), '', 'by somebody who is not disturbed');
$_->quit for values %session;
done_testing();

# The owner of a database owns its schema public, too, and with it the names there: no function of his runs as the superuser who
# has created the extension there.
use strict;
use warnings;
use Fsi;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fsi_node('schema_owner');
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE app OWNER app');
$node->safe_psql('app', 'CREATE EXTENSION fsi_intent');
my @psql = ('psql', '-XAtq', '-U', 'app', '-d', $node->connstr('app'));
run_log([ @psql, '-c', q{
	CREATE SCHEMA trap;
	CREATE FUNCTION trap.fsi_dependents(OUT model text, OUT sha256 text, OUT kind text, OUT object text, OUT relation regclass,
		OUT classid oid, OUT objid oid, OUT objsubid int) RETURNS SETOF record
		LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'caught %', current_user; RETURN; END $$} ]);
# One session gives the schemas each other's names, to and fro, while another has the function called.
my $swap = IPC::Run::start([ @psql, '-c', q{
	DO $$ BEGIN
		LOOP
			ALTER SCHEMA public RENAME TO other; ALTER SCHEMA trap RENAME TO public; COMMIT;
			ALTER SCHEMA public RENAME TO trap; ALTER SCHEMA other RENAME TO public; COMMIT;
		END LOOP;
	END $$} ], '>', \my $out, '2>', \my $err, IPC::Run::timeout(180));
my ($stdout, $stderr);
IPC::Run::run([ @psql, '-c', q{
	DO $$
	DECLARE
		stop timestamptz := clock_timestamp() + '8 s';
	BEGIN
		WHILE clock_timestamp() < stop LOOP
			BEGIN
				PERFORM fsi_check();
			EXCEPTION WHEN undefined_function THEN
			END;
			COMMIT;
		END LOOP;
	END $$} ], '>', \$stdout, '2>', \$stderr, IPC::Run::timeout(180));
is($stderr, '', 'names are swapped while fsi_check() is called');
$swap->kill_kill;
done_testing();

# A backend's life: cancelled, killed, with flat memory.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 4);

my $node = fsi_node('backend', "restart_after_crash = on\njit = off");
$node->safe_psql('postgres', qq{
	CREATE EXTENSION fsi_intent;
	CREATE EXTENSION amcheck;
	SELECT fsi_import_model('tiny', '$dir/tiny');
});

SKIP:
{
	skip 'libraries tell their versions with PostgreSQL 18', 1 if $node->pg_version < 18;
	is($node->safe_psql('postgres', q{LOAD 'fsi_intent';
		SELECT 'fsi_intent ' || version = split_part(fsi_version(), ',', 1) FROM pg_get_loaded_modules() WHERE module_name = 'fsi_intent'}),
		't', 'the library tells its name and version');
}

# Rights that the role which creates the extension gives to others by default do not open what is closed to PUBLIC.
$node->safe_psql('postgres', 'CREATE DATABASE granted; CREATE ROLE app; CREATE ROLE other');
is($node->safe_psql('granted', q{
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO app;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO app;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON ROUTINES TO app;
	CREATE EXTENSION fsi_intent;
	SELECT (SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE c.relname ~ 'fsi_' AND a.grantee = 'app'::regrole)
		+ (SELECT count(*) FROM pg_proc p, aclexplode(p.proacl) a WHERE p.proname ~ 'fsi_' AND a.grantee = 'app'::regrole
			AND NOT has_function_privilege('other', p.oid, 'EXECUTE'));
	SET ROLE app;
	SELECT fsi_classify('x', ARRAY['a']) FROM fsi_models;
	SELECT has_function_privilege('fsi_drop_model(text)', 'EXECUTE');
}), "0\na\nf", 'default privileges open nothing');
is($node->safe_psql('granted', q{
	DROP EXTENSION fsi_intent;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC;
	ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC;
	CREATE EXTENSION fsi_intent;
	SELECT DISTINCT a.privilege_type FROM pg_class c, aclexplode(c.relacl) a WHERE c.relname ~ 'fsi_' AND a.grantee = 0;
	SET ROLE app;
	SELECT fsi_classify('x', ARRAY['a']);
}), "SELECT\na", 'nor do those of PUBLIC, and the functions that all may call stay with whom they are given to');

# Operators of whoever owns the schema are not what the script means.
is($node->safe_psql('granted', q{
	DROP EXTENSION fsi_intent;
	CREATE ROLE owner;
	CREATE SCHEMA owned AUTHORIZATION owner;
	SET ROLE owner;
	CREATE FUNCTION owned.f(oid, int4) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE ''run by %'', current_user; END';
	CREATE FUNCTION owned.f(text, regclass) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE ''run by %'', current_user; END';
	CREATE FUNCTION owned.f(float8, int4) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE ''run by %'', current_user; END';
	CREATE OPERATOR owned.<> (FUNCTION = owned.f, LEFTARG = oid, RIGHTARG = int4);
	CREATE OPERATOR owned.|| (FUNCTION = owned.f, LEFTARG = text, RIGHTARG = regclass);
	CREATE OPERATOR owned.> (FUNCTION = owned.f, LEFTARG = float8, RIGHTARG = int4);
	RESET ROLE;
	CREATE EXTENSION fsi_intent SCHEMA owned;
	SELECT count(*) FROM pg_depend WHERE objid IN (SELECT oid FROM pg_rewrite WHERE ev_class::regclass::text ~ 'fsi_')
		AND refclassid = 'pg_operator'::regclass;
}), '0', "the extension's own script and views use PostgreSQL's operators alone");

# Every long call can be cancelled, and the session goes on. How late is told, not judged: the machine may be busy.
my %long = (
	'many intents' => q{SELECT count(*) FROM fsi_scores('x', ARRAY(SELECT 'some name of intent number ' || i FROM generate_series(1, 9000) i))},
	'many examples' => q{SELECT fsi_classify('x', ARRAY['a', 'b'], (SELECT jsonb_build_object('examples', fsi_examples(md5(i::text), 'a'))
		FROM generate_series(1, 50000) i))},
	'many rows' => q{SELECT count(fsi_classify('message ' || i, ARRAY['refund', 'weather'])) FROM generate_series(1, 10000000) i},
	'a large batch' => q{SELECT cardinality(fsi_classify_many(ARRAY(SELECT 'hello you there ' || i FROM generate_series(1, 300000) i), ARRAY['refund', 'weather']))},
	'long texts' => q{SELECT count(fsi_classify(repeat('hello ', 100000) || i, ARRAY['refund', 'weather'])) FROM generate_series(1, 100000) i},
	'tokens of a huge text' => q{SELECT cardinality(fsi_tokens(repeat('abc def ', 30000000)))},
	'rows of a prompt model' => q{SELECT count(fsi_classify('it ' || i, ARRAY['refund', 'cancel'], '{"model": "tiny"}')) FROM generate_series(1, 100000000) i},
);
for my $what (sort keys %long)
{
	my ($rc, $out, $err) = $node->psql('postgres', "SET client_min_messages = error; SET statement_timeout = '300ms';
		SELECT extract(epoch FROM clock_timestamp()); $long{$what}", on_error_stop => 0);
	my $late = time - $out - 0.3;
	like($err, qr/canceling statement due to statement timeout/, "cancelled: $what");
	note(sprintf '%s: %.0f ms late', $what, 1000 * $late);
}
is($node->safe_psql('postgres', qq{
	DO \$\$ BEGIN
		FOR i IN 1 .. 5 LOOP
			BEGIN
				SET LOCAL statement_timeout = 0;
				PERFORM fsi_classify('x', ARRAY['a', NULL]);
			EXCEPTION WHEN null_value_not_allowed THEN NULL;
			END;
		END LOOP;
	END \$\$;
	SELECT fsi_classify('weather', ARRAY['refund', 'weather'])}), 'weather', 'errors leave the session sound');

# A backend killed in the middle of an UPDATE takes nothing with it.
$node->safe_psql('postgres', q{
	CREATE TABLE tickets (id int PRIMARY KEY, msg text, intent text);
	INSERT INTO tickets SELECT g, md5(g::text) FROM generate_series(1, 3000) g;
	CREATE INDEX tickets_intent ON tickets (fsi_classify(msg, ARRAY['refund', 'weather']));
});
my $update = q{UPDATE tickets SET msg = msg || 'x', intent = fsi_classify(msg, ARRAY['refund', 'weather'])};
my $victim = start($node, $update);
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'UPDATE%' AND state = 'active'"),
	'an UPDATE is at work');
my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE query LIKE 'UPDATE%'");
ok(kill_backend($node, $pid), 'the server is back');
finish($victim);
is($node->safe_psql('postgres', 'SELECT count(intent) FROM tickets'), 0, 'nothing of the UPDATE is left');
is($node->safe_psql('postgres', "SELECT bt_index_check('tickets_intent', true)"), '', 'the index is sound');
is($node->safe_psql('postgres', q{SELECT fsi_classify('weather', ARRAY['refund', 'weather'], '{"model": "tiny"}') IS NOT NULL}), 't', 'imported models answer, too');

# Memory does not grow with the rows, once there was a full batch.
SKIP:
{
	skip 'needs /proc', 2 unless -r '/proc/self/status';
	my $status = q{SELECT regexp_replace(pg_read_file('/proc/self/status'), '.*RssAnon:\s*(\d+).*', '\1')::int};
	my @rss = split /\n/, $node->safe_psql('postgres', join ';', map {
			(qq{SELECT count(fsi_classify('it ' || i, ARRAY['refund', 'cancel'], '{"model": "tiny"}')) > 0 FROM generate_series(1, $_) i},
				qq{SELECT count(fsi_classify('it ' || i, ARRAY['refund', 'cancel'])) > 0 FROM generate_series(1, $_ / 50) i}, $status) } 20000, 80000);
	cmp_ok($rss[5], '<', $rss[2] + 2048, "flat: $rss[2] kB after 20,000 rows, $rss[5] kB after 80,000");

	# Nor does planning take the square of the number of filters.
	my $filters = join ' AND ', map { "fsi_classify(msg, ARRAY['refund', 'x$_']) <> 'y'" } 1 .. 2000;
	my $peak = q{SELECT regexp_replace(pg_read_file('/proc/self/status'), '.*VmHWM:\s*(\d+).*', '\1')::int};
	my ($before, $after) = map { /^(\d+)$/ ? $1 : () } split /\n/, $node->safe_psql('postgres', join ';', "LOAD 'fsi_intent'", $peak,
		"EXPLAIN (COSTS off) SELECT FROM tickets WHERE $filters", $peak);
	cmp_ok($after, '<', $before + 300 * 1024, "planning 2,000 filters: $before kB before, $after kB after");
}

done_testing();

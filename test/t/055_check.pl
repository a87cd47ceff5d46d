# fsi_check() while a model is replaced, and after: it waits for an index that is made anew, and compares it with the weights that this was
# made with.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/one", 1);
make_tiny("$dir/two", 2);

my $node = fsi_node('check', 'jit = off');
sub train
{
	my ($base, $more) = @_;
	return qq[CALL fsi_train('m', 'rows', '{"model": "$base", "max_steps": 1, "eval_answers": 0$more}')];
}
my $classify = q[fsi_classify(msg, ARRAY['refund', 'track order', 'cancel'], '{"model": "m"}')];
$node->safe_psql('postgres', qq{
	CREATE EXTENSION fsi_intent;
	SELECT fsi_import_model('one', '$dir/one'), fsi_import_model('two', '$dir/two');
	CREATE TABLE rows AS SELECT 'message ' || g AS prompt, CASE WHEN g % 3 = 0 THEN 'refund' ELSE 'track order' END AS response FROM generate_series(1, 8) g;
});
$node->safe_psql('postgres', train('one', ''));
$node->safe_psql('postgres', qq{
	CREATE TABLE kept AS SELECT 'message ' || md5(g::text) AS msg, NULL::text AS was FROM generate_series(1, 100) g;
	UPDATE kept SET was = $classify;
	CREATE INDEX kept_intent ON kept ($classify);
	CREATE TABLE slow (msg text, intent text GENERATED ALWAYS AS ($classify) STORED);
	INSERT INTO slow SELECT msg FROM kept;
	CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END';
	CREATE TRIGGER wait BEFORE UPDATE ON slow FOR EACH ROW EXECUTE FUNCTION wait();
});

# The index is made anew, the column waits for the gate, the check for the index.
my $gate = start($node, 'SELECT pg_advisory_lock(1)', 'SELECT pg_sleep(600)');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND granted}), 'the gate is shut');
my $trainer = start($node, train('two', ', "replace": true, "rebuild": true'));
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}), 'the index is made anew');
my $check = start($node, q{SELECT object, rows, stale FROM fsi_check('m') ORDER BY 1});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE relation = 'kept_intent'::regclass AND NOT granted}), 'the check waits for it');
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'});
like(finish($gate), qr/canceling statement/, 'the gate is opened');
unlike(finish($trainer), qr/ERROR/, 'the model is replaced');
is(finish($check), '', 'it is checked');
is($check->{out}, "public.kept_intent|100|0\npublic.slow.intent|100|0\n", 'nothing is stale');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM kept WHERE was <> $classify"), '>', 0, 'though answers are others now');

# Expressions of indexes and partition keys are kept by sessions with what calls of constants have answered.
my $differs = $node->safe_psql('postgres', "SELECT min(msg) FROM kept WHERE was <> $classify");
my $constant = $classify =~ s/msg/'$differs'/r;
my @sessions = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 3;
my ($writer, $reader, $replacer) = @sessions;
my $insert = q{INSERT INTO spelled VALUES ('a '); INSERT INTO placed VALUES ('a ');};
$writer->query(qq{
	CREATE TABLE spelled (msg text);
	CREATE INDEX spelled_constant ON spelled ((msg || $constant));
	CREATE TABLE placed (msg text) PARTITION BY LIST ((msg || $constant));
	CREATE TABLE placed_refund PARTITION OF placed FOR VALUES IN ('a refund');
	CREATE TABLE placed_order PARTITION OF placed FOR VALUES IN ('a track order');
	CREATE TABLE placed_cancel PARTITION OF placed FOR VALUES IN ('a cancel');});
$_->query($insert) for @sessions;
my $look = "SELECT count(*) FROM spelled WHERE msg || $constant = 'a refund'; SELECT count(*) FROM placed WHERE msg || $constant = 'a refund';";
$reader->query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM rows;");
# Who has ended a transaction, and asks nothing since, holds no snapshot.
my $held = q{SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND query = '%s'};
my $connect = $node->connstr('postgres');
$writer->query('SELECT pg_advisory_lock(2);');
my @enders = map { start($node, 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT count(*) FROM rows', 'SELECT pg_advisory_xact_lock(2)',
	(split / *; */, $look), $_, qq{\\! psql -XAtq -d "$connect" -c "} . sprintf($held, $_) . '"') } qw(COMMIT ROLLBACK);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}), 'two have a snapshot');
$replacer->query(train('one', ', "replace": true, "rebuild": true') . ';');
$reader->query("SELECT count(*) FROM slow; $look COMMIT;");
$writer->query('SELECT pg_advisory_unlock(2);');
is(finish($_), '', 'it ends') for @enders;
like($_->{out}, qr/\n0\n\z/, 'and holds none') for @enders;
$_->query($insert) for @sessions;
$_->quit for @sessions;
is($node->safe_psql('postgres', q{SELECT object, rows, stale FROM fsi_check('m') WHERE object ~ 'spelled|placed' ORDER BY 1}),
	"public.placed|6|0\npublic.spelled_constant|6|0", 'all are made anew, and nobody adds to them by the former weights');

# What a check has counted it lets go of: who makes anew what that rests on may hold what is to be counted next.
$node->safe_psql('postgres', qq{
	CREATE FUNCTION gated(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(3); RETURN msg; END';
	CREATE TABLE first (msg text CHECK ($classify <> ''));
	CREATE INDEX first_intent ON first ($classify);
	CREATE TABLE second (msg text, intent text GENERATED ALWAYS AS ($classify) STORED);
	CREATE INDEX second_intent ON second ($classify);
	CREATE TABLE third (msg text, intent text GENERATED ALWAYS AS (${\($classify =~ s/msg/gated(msg)/r)}) STORED);
	INSERT INTO first VALUES ('a'); INSERT INTO second VALUES ('a'); INSERT INTO third VALUES ('a');
});
$gate = start($node, 'SELECT pg_advisory_lock(3)', 'SELECT pg_sleep(600)');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND granted}), 'a gate is shut');
$check = start($node, q{SELECT object, rows, stale FROM fsi_check('m') WHERE object ~ 'first|second|third'});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted}), 'the check has counted what is before it');
$trainer = start($node, train('two', ', "replace": true, "rebuild": true'));
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM pg_locks WHERE NOT granted}), 'that is made anew');
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'});
like(finish($gate), qr/canceling statement/, 'the gate is opened');
is(finish($check), '', 'neither waits for the other: the check');
unlike(finish($trainer), qr/ERROR/, 'the rebuild');
is($check->{out} =~ s/.*\|0\n//gr, '', 'nothing is stale there');
$node->safe_psql('postgres', 'DROP TABLE first, second, third');

# Who builds an index concurrently holds its table and waits for all older snapshots: a training that waits for the table has none.
my $writes = $node->background_psql('postgres', on_error_stop => 0);
$writes->query("BEGIN; INSERT INTO kept (msg) VALUES ('late')");
my $builder = start($node, "CREATE INDEX CONCURRENTLY kept_again ON kept ($classify)");
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted}), 'a build waits for a writer');
$trainer = start($node, train('one', ', "replace": true, "rebuild": true'));
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM pg_locks WHERE NOT granted}), 'and a training for the table');
$writes->query('COMMIT');
$writes->quit;
is(finish($builder), '', 'neither waits for the other: the build');
unlike(finish($trainer), qr/ERROR/, 'the training');
is($node->safe_psql('postgres', q{SELECT object, rows, stale FROM fsi_check('m') WHERE object ~ 'kept_again'}), 'public.kept_again|101|0',
	'the index has the new answers');

# Who has read a table with an index to make anew, and written elsewhere, commits meanwhile.
$node->safe_psql('postgres', 'CREATE TABLE log (found bigint)');
my $other = $node->background_psql('postgres', on_error_stop => 0);
$other->query("BEGIN; INSERT INTO log SELECT count(*) FROM kept WHERE $classify = 'refund'");
$trainer = start($node, train('two', ', "replace": true, "rebuild": true'));
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted}), 'a training waits for a reader');
$other->query('COMMIT');
is($other->{stderr}, '', 'who commits');
unlike(finish($trainer), qr/ERROR/, 'the training goes on');
$other->quit;

# Who has read a materialized view reads what is below it meanwhile, as REFRESH does.
$node->safe_psql('postgres', qq{
	CREATE MATERIALIZED VIEW seen AS SELECT msg, $classify AS intent FROM kept;
	CREATE MATERIALIZED VIEW seen_again AS SELECT * FROM seen});
$other = $node->background_psql('postgres', on_error_stop => 0);
$other->query('BEGIN; SELECT count(*) FROM seen_again');
$trainer = start($node, train('one', ', "replace": true, "rebuild": true'));
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted}), 'a training waits for who has read a view');
$other->query("SELECT count(*) FROM seen; SELECT count(*) FROM kept WHERE $classify = 'refund'; COMMIT");
is($other->{stderr}, '', 'who reads on');
unlike(finish($trainer), qr/ERROR/, 'the training goes on then');
$other->query('BEGIN; SELECT count(*) FROM seen_again');
my $rebuild = start($node, q{SELECT object, changed FROM fsi_rebuild('m') WHERE kind = 'materialized view'});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted}), 'so does a rebuild without new weights');
$other->query('SELECT count(*) FROM seen; COMMIT');
is($other->{stderr}, '', 'who reads on from a view to another');
is(finish($rebuild) . $rebuild->{out}, "public.seen|\npublic.seen_again|\n", 'the rebuild goes on then');
$other->quit;
$node->safe_psql('postgres', 'DROP MATERIALIZED VIEW seen CASCADE');

# What a function names without its schema: on the caller's path, as where rows are written; core makes indexes without it from 17 on.
$node->safe_psql('postgres', q{
	CREATE SCHEMA own;
	CREATE FUNCTION own.intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN ARRAY[''refund'', ''cancel'']; END';
	CREATE FUNCTION own.label(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN public.fsi_classify(msg, intents()); END';
	CREATE TABLE own.kept (msg text);
	CREATE INDEX label ON own.kept (own.label(msg));
	SET search_path = own;
	INSERT INTO own.kept VALUES ('refund');
});
my ($code, $out, $err) = $node->psql('postgres', q{
	SET search_path = own, public;
	SELECT rows, stale FROM fsi_check() WHERE object = 'own.label';
});
my $core_alone = $node->pg_version >= 17;
is("$code $out", $core_alone ? '0 |' : '0 1|0', 'an index over a function that names another of its schema');
like($err, $core_alone ? qr/WARNING:  could not check index own.label, skipping it: function intents\(\) does not exist/ : qr/^$/, 'as REINDEX would find it');

$node->stop;
done_testing();

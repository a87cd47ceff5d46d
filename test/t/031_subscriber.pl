# Logical replication: a subscriber computes generated columns by its own model, and waits for one that it lacks; where the
# extension's own tables are published, too, models go over, and what a plan has of a replaced one is forgotten.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/one", 1);
make_tiny("$dir/two", 2);

my $publisher = fsi_node('publisher', undef, allows_streaming => 'logical');
my $subscriber = fsi_node('subscriber', 'wal_retrieve_retry_interval = 200ms');
my $connect = $publisher->connstr . ' dbname=postgres';
my $label = q[fsi_classify(msg, ARRAY['refund', 'track order', 'cancel'], '{"model": "m"}')];
my $rows = q{SELECT string_agg(id || intent, ',' ORDER BY id) FROM t};
for my $node ($publisher, $subscriber)
{
	$node->safe_psql('postgres', qq{
		CREATE EXTENSION fsi_intent;
		CREATE TABLE t (id int PRIMARY KEY, msg text, intent text GENERATED ALWAYS AS ($label) STORED);
		CREATE TABLE labelled (prompt text, response text)});
}
$publisher->safe_psql('postgres', qq{
	SELECT fsi_import_model('m', '$dir/one');
	INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 20) g;
	CREATE PUBLICATION one FOR TABLE t});
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION one CONNECTION '$connect' PUBLICATION one");
$subscriber->wait_for_log(qr/ERROR:  model "m" does not exist/);
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM t'), 0, 'without the model no row comes');
$subscriber->safe_psql('postgres', "SELECT fsi_import_model('m', '$dir/one')");
$subscriber->wait_for_subscription_sync($publisher, 'one');
$publisher->safe_psql('postgres', q{UPDATE t SET msg = msg || '!' WHERE id > 15});
$publisher->wait_for_catchup('one');
is($subscriber->safe_psql('postgres', $rows), $publisher->safe_psql('postgres', $rows), 'with it all do, with the same answers');
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION one');

# The catalogs are the same by now.
$publisher->safe_psql('postgres', q{CREATE PUBLICATION "all" FOR ALL TABLES;
	INSERT INTO labelled SELECT 'message ' || g, CASE WHEN g % 3 = 0 THEN 'refund' ELSE 'track order' END FROM generate_series(1, 8) g});
$subscriber->safe_psql('postgres', qq{CREATE SUBSCRIPTION "all" CONNECTION '$connect' PUBLICATION "all" WITH (copy_data = false)});
my $constants = q{SELECT fsi_generate('where is my parcel', 'm', 20)};
my $session = $subscriber->background_psql('postgres', on_error_stop => 0);
my $former = $session->query("SET plan_cache_mode = force_generic_plan; PREPARE constants AS $constants; EXECUTE constants;");
$publisher->safe_psql('postgres', qq[SELECT fsi_import_model('two', '$dir/two');
	CALL fsi_train('m', 'labelled', '{"model": "two", "max_steps": 1, "eval_answers": 0, "replace": true, "rebuild": true}')]);
$publisher->wait_for_catchup('all');
my $now = $publisher->safe_psql('postgres', $constants);
isnt($now, $former, 'a model is replaced: other answers');
is($subscriber->safe_psql('postgres', $constants), $now, 'by the subscriber, too');
is($session->query('EXECUTE constants;'), $now, 'and by a plan from before');
is($subscriber->safe_psql('postgres', $rows), $publisher->safe_psql('postgres', $rows), 'rows that were computed again are equal');
$publisher->safe_psql('postgres', q{SELECT fsi_drop_model('m')});
$publisher->wait_for_catchup('all');
$session->{stderr} = '';
$session->query('EXECUTE constants;');
like($session->{stderr}, qr/model "m" does not exist/, 'and one that is dropped is gone');
$session->quit;

$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION "all"');
$_->stop for $subscriber, $publisher;
done_testing();

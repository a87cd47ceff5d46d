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
my $others = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', qq{
	DO \$\$ BEGIN
		LOOP
			CREATE TABLE a (msg text, intent text GENERATED ALWAYS AS ($call) STORED);
			CREATE TABLE b (msg text) PARTITION BY LIST ($call);
			CREATE TABLE b_all PARTITION OF b DEFAULT;
			COMMIT;
			DROP TABLE a, b;
			COMMIT;
		END LOOP;
	END \$\$} ], '>', \my $out, '2>', \my $err, IPC::Run::timeout(180));
is(join('', map { train($_) } 1 .. 30), '', 'replaced while tables are made and dropped');
$others->kill_kill;
is($err, '', 'by somebody who is not disturbed');
is($node->safe_psql('postgres', q{SELECT coalesce(sum(stale), 0) FROM fsi_check()}), 0, 'nothing is stale');
done_testing();

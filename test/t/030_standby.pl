# A standby gives the same labels, and writes an imported model's file for itself from what replication brought.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 5);
make_tiny("$dir/early", 6);

my $primary = fsi_node('primary', undef, allows_streaming => 1);
$primary->safe_psql('postgres', q{
	CREATE EXTENSION fsi_intent;
	CREATE TABLE tickets AS SELECT 'please do thing number ' || g || md5(g::text) AS msg FROM generate_series(1, 30) g;
});
$primary->safe_psql('postgres', "SELECT fsi_import_model('early', '$dir/early')");
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# Imported after the backup: the file cannot have come with it.
my $sha256 = $primary->safe_psql('postgres', "SELECT fsi_import_model('tiny', '$dir/tiny')");
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

my $file = 'fsi_intent/' . $primary->safe_psql('postgres', 'SELECT oid FROM pg_database WHERE datname = current_database()') . "_$sha256.fsi";
my $cached = $standby->data_dir . "/$file";
ok(!-e $cached, 'no file yet on the standby');
for my $options ('{}', '{"model": "tiny"}')
{
	my $query = "SELECT string_agg(intent || float8send(score)::text, ',' ORDER BY msg, intent)
		FROM tickets, fsi_scores(msg, ARRAY['refund', 'track order', 'cancel'], '$options')";
	my $expected = $primary->safe_psql('postgres', $query);
	is($standby->safe_psql('postgres', $query), $expected, "same bits on the standby with $options");
}
ok(-e $cached, 'the standby has written the file');
is(-s $cached, -s $primary->data_dir . "/$file", 'of the same size');

my ($rc, $out, $err) = $standby->psql('postgres', "SELECT fsi_import_model('other', '$dir/tiny')");
like($err, qr/cannot execute fsi_import_model\(\) in a read-only transaction/, 'no imports on a standby');

# A base backup has the stamps of files that were checked where they were; they make way for those of its own.
$standby->safe_psql('postgres', q{SELECT fsi_classify('x', ARRAY['refund'], '{"model": "early"}')});
is(scalar(my @stamps = glob $standby->data_dir . '/fsi_intent/checked-*'), 3, 'a stamp for each file');

# A damaged copy is replaced, a lost folder comes back.
append_to_file($cached, 'x');
is($standby->safe_psql('postgres', q{SELECT fsi_classify('x', ARRAY['refund'], '{"model": "tiny"}')}), 'refund', 'a damaged copy: an answer all the same');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM fsi_scores('x', ARRAY['refund', 'cancel'], '{"model": "tiny"}')}), 2,
	'a damaged copy: scores, too');
is(-s $cached, -s $primary->data_dir . "/$file", 'a damaged copy is written again');

# What waits to be replayed ends a call in its midst, before it has seen that the word is too long.
$standby->append_conf('postgresql.conf', 'max_standby_streaming_delay = 0');
$standby->reload;
$primary->safe_psql('postgres', 'CREATE TABLE going ()');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
my $session = start($standby, 'BEGIN', q{SELECT fsi_tokens('x') WHERE NOT EXISTS (SELECT FROM going)},
	q{SELECT cardinality(fsi_tokens(repeat('é', 60000000) || left(pg_try_advisory_lock(1)::text, 0)))});
ok($standby->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory'}), 'a call on the standby');
$primary->safe_psql('postgres', 'DROP TABLE going');
like(finish($session), qr/ERROR:  canceling statement due to conflict with recovery/, 'makes way for what is to be replayed');

# Dropped on the primary, gone on the standby.
$primary->safe_psql('postgres', q{SELECT fsi_drop_model('tiny')});
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
($rc, $out, $err) = $standby->psql('postgres', q{SELECT fsi_classify('x', ARRAY['refund', 'cancel'], '{"model": "tiny"}')});
like($err, qr/model "tiny" does not exist/, 'dropped on the primary, gone on the standby');
ok(!-e $cached, 'and its file with it');

# Promoted, it imports by itself.
# A job that the primary has not finished: whether it is at work is not seen on the standby, and that it is not once there is no primary.
$primary->psql('postgres', q{CREATE TABLE job AS SELECT 'message ' || g AS msg, NULL::text AS intent, g FROM generate_series(1, 10) g;
	CALL fsi_classify_table('job', 'msg', 'intent', ARRAY['refund', 'cancel'], condition => '1 / (g - 10) < 2')});
$primary->wait_for_catchup($standby);
my $job = q{SELECT tbl, state FROM fsi_progress};
is($primary->safe_psql('postgres', $job), 'job|interrupted', 'a job of the primary');
is($standby->safe_psql('postgres', $job), 'job|', 'as the standby sees it');

$standby->promote;
is($standby->safe_psql('postgres', $job), 'job|interrupted', 'a job after promotion');
is($standby->safe_psql('postgres', "SELECT fsi_import_model('tiny', '$dir/tiny')"), $sha256, 'imported after promotion');
is($standby->safe_psql('postgres', q{SELECT fsi_classify('x', ARRAY['refund'], '{"model": "tiny"}')}), 'refund', 'imported after promotion: it answers');

done_testing();

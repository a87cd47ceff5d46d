# A dump carries imported models, and restores them before the tables whose generated columns ask them.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 8);

my $node = fsi_node('dump');
$node->safe_psql('postgres', 'CREATE DATABASE source');
$node->safe_psql('postgres', 'CREATE DATABASE target');
my $call = q{fsi_classify(msg, ARRAY['refund', 'track order', 'cancel'], '{"model": "tiny"}')};
$node->safe_psql('source', qq{
	CREATE ROLE keeper IN ROLE pg_read_server_files;
	CREATE ROLE leaver IN ROLE pg_read_server_files;
	CREATE EXTENSION fsi_intent;
	SET ROLE keeper;
	SELECT fsi_import_model('kept', '$dir/tiny');
	SET ROLE leaver;
	SELECT fsi_import_model('left', '$dir/tiny');
	RESET ROLE;
	SELECT fsi_import_model('tiny', '$dir/tiny');
	CREATE TABLE a_table (id int, msg text, intent text GENERATED ALWAYS AS ($call) STORED);
	INSERT INTO a_table SELECT g, md5(g::text) FROM generate_series(1, 20) g;
	CREATE INDEX a_index ON a_table ($call);
});
my $query = 'SELECT string_agg(intent, $$,$$ ORDER BY id) FROM a_table';
my $expected = $node->safe_psql('source', $query);
my $sha256 = $node->safe_psql('source', q{SELECT sha256 FROM fsi_models WHERE name = 'tiny'});

command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", '-d', $node->connstr('source') ], 'dump');
# Another server would not have this file.
unlink glob($node->data_dir . "/fsi_intent/*_$sha256.fsi") or die;
$node->safe_psql('postgres', 'DROP ROLE leaver');
command_ok([ 'pg_restore', '-e', '-d', $node->connstr('target'), "$dir/dump" ], 'restore');

is($node->safe_psql('target', $query), $expected, 'same labels');
is($node->safe_psql('target', q{SELECT name, source FROM fsi_models ORDER BY name}),
	"kept|imported\nleft|imported\nsmall-1|shipped\ntiny|imported", 'all models');
# A model is of the role that has the importing one's name when it is restored.
my ($ret, $stdout, $stderr) = $node->psql('target', q{CREATE ROLE leaver IN ROLE pg_read_server_files; SET ROLE leaver; SELECT fsi_drop_model('left')});
like($stderr, qr/must be superuser or the role that imported model "left"/, 'restored without its role: a later one of that name is another');
is($node->safe_psql('target', q{SET ROLE keeper; SELECT fsi_drop_model('kept')}), '', 'restored with its role: that may drop it');
$node->safe_psql('target', q{SELECT fsi_drop_model('left')});
is($node->safe_psql('target', "SELECT bool_and($call = intent) FROM a_table"), 't', 'and they answer as before');
is($node->safe_psql('target', q{SELECT fsi_model_info('tiny')->>'sha256'}), $sha256, 'same identity');

# The owner of a database needs more than that for a dump of it, as the manual says.
my ($grant, $without) = slurp_file('README.md') =~ /permission denied for table _fsi_model_catalog.*?`(GRANT [^`]* TO app)`.*?`pg_dump (-T [^`]*)`/s;
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE owned OWNER app');
$node->safe_psql('owned', 'CREATE EXTENSION fsi_intent');
my @dump = ('pg_dump', '-U', 'app', '-f', "$dir/owned.sql", '-d', $node->connstr('owned'));
command_fails_like(\@dump, qr/permission denied for table _fsi_model_catalog/, 'dump by an owner of the database alone');
command_ok([ @dump, map { s/'//gr } split ' ', $without ], 'without the models');
$node->safe_psql('owned', $grant);
command_ok(\@dump, 'and with them, when it may read them');

# A model that was dropped before the dump stays a name that is taken.
$node->safe_psql('target', q{DROP TABLE a_table; SELECT fsi_drop_model('tiny')});
$node->safe_psql('postgres', 'CREATE DATABASE later');
command_ok([ 'pg_dump', '-f', "$dir/later.sql", '-d', $node->connstr('target') ], 'dump without it');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('later'), '-f', "$dir/later.sql" ], 'restore without it');
make_tiny("$dir/other", 9);
my ($rc, $out, $err) = $node->psql('later', "SELECT fsi_import_model('tiny', '$dir/other')");
like($err, qr/has stood for other weights/, 'a name stands for one model for ever');

done_testing();

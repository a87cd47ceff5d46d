# A dump goes into a second cluster of its own, with nothing of the first one's data directory: models, generated
# columns and indexes come back, where no schema's name sorts before the extension's; an EUC_CN database too.
use strict;
use warnings;
use utf8;
use Encode qw(encode);
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 8);

my ($old, $new) = map { fsi_node($_) } 'old', 'new';
for my $node ($old, $new)
{
	$node->safe_psql('postgres', 'CREATE DATABASE app');
	$node->safe_psql('postgres', "CREATE DATABASE euc_cn TEMPLATE template0 ENCODING 'EUC_CN' LOCALE 'C'");
}

# pg_dump writes tables' data in the order of their schemas' names; the extension's must come first.
my $call = q{fsi_classify(msg, ARRAY['refund', 'track order', 'cancel'], '{"model": "tiny"}')};
$old->safe_psql('app', qq{
	CREATE SCHEMA aardvark;
	CREATE EXTENSION fsi_intent SCHEMA aardvark;
	SELECT aardvark.fsi_import_model('tiny', '$dir/tiny');
	CREATE SCHEMA abacus;
	CREATE TABLE abacus.early (id int, msg text, intent text GENERATED ALWAYS AS (aardvark.$call) STORED);
	INSERT INTO abacus.early SELECT g, md5(g::text) FROM generate_series(1, 20) g;
	CREATE INDEX early_index ON abacus.early (aardvark.$call);
	CREATE TABLE public.late (id int, msg text, intent text GENERATED ALWAYS AS (aardvark.$call) STORED,
		CHECK (aardvark.$call IS NOT NULL));
	INSERT INTO public.late SELECT * FROM (SELECT id + 100, msg FROM abacus.early) s;
	CREATE MATERIALIZED VIEW abacus.seen AS SELECT intent, count(*) FROM abacus.early GROUP BY 1;
});
my $query = q{SELECT string_agg(intent, ',' ORDER BY id) FROM (SELECT id, intent FROM abacus.early UNION ALL SELECT id, intent FROM public.late) s};
my $expected = $old->safe_psql('app', $query);

for my $how ([ 'custom', '-Fc' ], [ 'plain', '-Fp' ])
{
	my ($what, $format) = @$how;
	my $file = "$dir/dump$format";
	command_ok([ 'pg_dump', $format, '-f', $file, '-d', $old->connstr('app') ], "$what: dump");
	$new->safe_psql('postgres', 'DROP DATABASE app');
	$new->safe_psql('postgres', 'CREATE DATABASE app');
	# Not even what the restore before has unpacked.
	unlink glob $new->data_dir . '/fsi_intent/*';
	my @restore = $format eq '-Fp' ? ('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', $file, '-d') :
		('pg_restore', '-e', $file, '-d');
	command_ok([ @restore, $new->connstr('app') ], "$what: restore");
	is($new->safe_psql('app', $query), $expected, "$what: same labels");
	is($new->safe_psql('app', "SELECT bool_and(aardvark.$call = intent) FROM abacus.early"), 't', "$what: and the same model");
}

# A schema or a table that sorts first: the manual's way, as it stands there, with its database "app" and file app.dump.
my ($manual) = slurp_file('README.md') =~ /^```sh\n(pg_restore --section.*?)^```$/ms;
$old->safe_psql('postgres', 'CREATE DATABASE early');
$old->safe_psql('early', qq{
	CREATE EXTENSION fsi_intent;
	SELECT fsi_import_model('tiny', '$dir/tiny');
	CREATE SCHEMA aaa;
	CREATE TABLE aaa.t (id int, msg text, intent text GENERATED ALWAYS AS ($call) STORED);
	INSERT INTO aaa.t SELECT g, md5(g::text) FROM generate_series(1, 20) g;
	CREATE INDEX ON aaa.t ($call);
	CREATE TABLE "Tickets" (LIKE aaa.t INCLUDING GENERATED);
	INSERT INTO "Tickets" SELECT id, msg FROM aaa.t;
});
my ($tables) = run_command([ 'pg_dump', '--data-only', '-n', 'public', '-e', 'fsi_intent', '-d', $old->connstr('early') ]);
like($tables, qr/^COPY public\."Tickets".*^COPY public\._fsi_model_catalog/ms, 'early table: a capital letter sorts before an underscore');
command_ok([ 'pg_dump', '-Fc', '-f', "$dir/app.dump", '-d', $old->connstr('early') ], 'early schema: dump');
for my $how ([ 'in one go', "pg_restore -e -d app app.dump" ], [ "the manual's way", $manual ])
{
	my ($what, $commands) = @$how;
	$new->safe_psql('postgres', 'DROP DATABASE app');
	$new->safe_psql('postgres', 'CREATE DATABASE app');
	unlink glob $new->data_dir . '/fsi_intent/*';
	local ($ENV{PGHOST}, $ENV{PGPORT}) = ($new->host, $new->port);
	my $command = [ 'sh', '-e', '-c', "cd '$dir'\n$commands" ];
	if ($commands eq $manual)
	{
		command_ok($command, "early schema: $what");
	}
	else
	{
		command_fails_like($command, qr/model "tiny" does not exist/, "early schema: $what is too early");
	}
}
my $early = 'SELECT string_agg(intent, $$,$$ ORDER BY id), count(*) FROM aaa.t';
is($new->safe_psql('app', $early), $old->safe_psql('early', $early), 'early schema: same labels');
is($new->safe_psql('app', q{SELECT count(*) FROM pg_indexes WHERE schemaname = 'aaa'}), 1, 'early schema: and the index');
is($new->safe_psql('app', $early =~ s/aaa.t/"Tickets"/r), $old->safe_psql('early', $early), 'early table: same labels');

# EUC_CN: labels, options and generated column in the database's encoding.
sub ask
{
	my ($node, $sql) = @_;
	my ($rc, $out, $err) = $node->psql('euc_cn', encode('UTF-8', "SET client_encoding = 'UTF8'; $sql"));
	diag($err) if $err =~ /ERROR/;
	return $out;
}
my $label = q{fsi_classify(msg, ARRAY['退款', '查快递', '天气'], '{"other": "其他", "descriptions": {"退款": "要回我的钱"}, "examples": [{"text": "下雨吗", "intent": "天气"}]}')};
ask($old, qq{CREATE EXTENSION fsi_intent;
	CREATE TABLE t (id int, msg text, intent text GENERATED ALWAYS AS ($label) STORED);
	INSERT INTO t VALUES (1, '我要退款'), (2, '我的快递在哪里'), (3, '明天下雨吗'), (4, 'my money please');
	CREATE INDEX t_label ON t (($label))});
my $rows = q{SELECT string_agg(id || msg || intent, ',' ORDER BY id) FROM t};
my $before = ask($old, $rows);
like($before, qr/\xe9\x80\x80\xe6\xac\xbe/, 'EUC_CN: there is a label');
command_ok([ 'pg_dump', '-Fc', '-f', "$dir/euc", '-d', $old->connstr('euc_cn') ], 'EUC_CN: dump');
command_ok([ 'pg_restore', '-e', '-d', $new->connstr('euc_cn'), "$dir/euc" ], 'EUC_CN: restore');
is(ask($new, $rows), $before, 'EUC_CN: same rows');
is(ask($new, "SELECT bool_and($label = intent), count(*) FROM t"), 't|4', 'EUC_CN: as it would answer now');
is(ask($new, "SET enable_seqscan = off; SELECT id FROM t WHERE $label = '天气'"), 3, 'EUC_CN: found through the index');

$_->stop for $old, $new;
done_testing();

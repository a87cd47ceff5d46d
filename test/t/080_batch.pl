# The batch node in a server's life: preloading, parallel workers, other extensions' hooks, cancelling, memory.
use strict;
use warnings;
use Fsi;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fsi_node('batch', "jit = off\nshared_preload_libraries = 'pg_stat_statements'");

# How to preload is said once, and is right.
my (undef, undef, $err) = $node->psql('postgres', 'CREATE EXTENSION fsi_intent; CREATE EXTENSION pg_stat_statements');
like($err, qr/HINT:  ALTER DATABASE postgres SET session_preload_libraries = fsi_intent;/, 'CREATE EXTENSION names the line that preloads');
my $explain = q{EXPLAIN (COSTS OFF) SELECT fsi_classify(msg, ARRAY['refund', 'weather']) FROM tickets};
$node->safe_psql('postgres', q{
	CREATE TABLE tickets (id int PRIMARY KEY, msg text);
	INSERT INTO tickets SELECT g, 'message ' || md5(g::text) FROM generate_series(1, 2000) g;
	ALTER TABLE tickets SET (parallel_workers = 2);
	ANALYZE tickets;
});
unlike($node->safe_psql('postgres', $explain), qr/FsiBatch/, 'not preloaded: not in the first statement');
like($node->safe_psql('postgres', "SELECT fsi_version() IS NULL; $explain"), qr/FsiBatch/, 'but in the second');
# The first statement knows nothing of the planner hook, the second does.
my $strict = "SET fsi_intent.debug_require_batch = on; SELECT count(fsi_classify('message ' || i, ARRAY['a', 'b'])) FROM generate_series(1, 3) i";
like(($node->psql('postgres', $strict))[2], qr/ERROR:  calls would be answered row by row\nDETAIL:.*planned before the library was loaded/,
	'which debug_require_batch refuses');
is($node->safe_psql('postgres', "LOAD 'fsi_intent'; $strict"), '3', 'unless the library is there');
is($node->safe_psql('postgres', q{SET fsi_intent.debug_require_batch = on; SELECT fsi_classify('is it raining?', ARRAY['refund', 'weather'])}), 'weather',
	'or there are no rows');
my ($line) = $err =~ /HINT:  (.*;)/;
$node->safe_psql('postgres', $line);
like($node->safe_psql('postgres', $explain), qr/FsiBatch/, 'preloaded: in the first');
$node->safe_psql('postgres', 'CREATE DATABASE "Odd name"');
$node->append_conf('postgresql.conf', q{session_preload_libraries = '$libdir/auto_explain'});
$node->reload;
(undef, undef, $err) = $node->psql('Odd name', 'CREATE EXTENSION fsi_intent');
like($err, qr/ALTER DATABASE "Odd name" SET session_preload_libraries = "\$libdir\/auto_explain", fsi_intent;/, 'beside a library by its path');
($line) = $err =~ /HINT:  (.*;)/;
$node->safe_psql('Odd name', $line);
$node->safe_psql('postgres', 'DROP DATABASE "Odd name"; CREATE DATABASE "Odd name"');
$node->append_conf('postgresql.conf', "session_preload_libraries = ''");
$node->reload;
$node->safe_psql('postgres', q{ALTER DATABASE "Odd name" SET session_preload_libraries = auto_explain});
(undef, undef, $err) = $node->psql('Odd name', 'CREATE EXTENSION fsi_intent');
like($err, qr/ALTER DATABASE "Odd name" SET session_preload_libraries = auto_explain, fsi_intent;/, 'beside other libraries');
($line) = $err =~ /HINT:  (.*;)/;
$node->safe_psql('Odd name', $line);
(undef, undef, $err) = $node->psql('Odd name', 'DROP EXTENSION fsi_intent; CREATE EXTENSION fsi_intent');
is($err, '', 'nothing is said where it is preloaded');

# Parallel workers: their counts are the node's.
sub batch_nodes
{
	my ($plan, @found) = @_;
	push @found, $plan if ($plan->{'Custom Plan Provider'} // '') eq 'FsiBatch';
	push @found, batch_nodes($_) for @{ $plan->{Plans} // [] };
	return @found;
}
my $parallel = 'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;';
my $query = q{SELECT id, fsi_classify(msg, ARRAY['refund', 'weather']) AS intent FROM tickets};
for my $leader ('on', 'off')
{
	my $json = $node->safe_psql('postgres', "$parallel SET parallel_leader_participation = $leader;
		EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) $query");
	my $plan = decode_json($json)->[0]{Plan};
	is($plan->{'Node Type'}, 'Gather', "parallel, leader $leader");
	my @found = batch_nodes($plan);
	is(scalar @found, 1, "leader $leader: one batch node");
	is($found[0]{Messages}, 2000, "leader $leader: all rows are counted");
	cmp_ok($found[0]{Batches}, '<', 1000, "leader $leader: in batches");
	cmp_ok($found[0]{Tokens}, '>', 4000, "leader $leader: their tokens are counted");
}
like($node->safe_psql('postgres', "EXPLAIN (ANALYZE, FORMAT YAML) $query"), qr/Custom Plan Provider: "FsiBatch".*Messages: 2000/s, 'EXPLAIN in YAML shows node and counts');
# What fails in a worker fails for all, also while the leader is at work on rows of its own.
$node->safe_psql('postgres', q{
	CREATE TABLE long AS SELECT g AS id, md5(g::text) || ' where is it ' || md5((g + 1)::text) AS msg,
		CASE g WHEN 1500 THEN ARRAY[''] ELSE ARRAY['red', 'green', 'blue'] END AS own FROM generate_series(1, 3000) g;
	ALTER TABLE long SET (parallel_workers = 2);
	ANALYZE long;
});
for my $i (1 .. 6)
{
	like(($node->psql('postgres', "$parallel SET statement_timeout = '60s'; SELECT count(fsi_classify(msg || $i, own)) FROM long"))[2],
		qr/^(psql:<stdin>:\d+: )?ERROR:  intents\[1\] must not be empty/, "a worker's error, $i");
}
is($node->safe_psql('postgres', "$parallel CREATE TABLE answers AS $query;
	SET fsi_intent.enable_batch = off; SET max_parallel_workers_per_gather = 0;
	SELECT count(*) FROM ($query) q JOIN answers a USING (id) WHERE a.intent = q.intent"), 2000, 'the answers are the same');

# MERGE with rows that the source lacks evaluates its join condition again, for each row, where EXPLAIN does not show it.
SKIP:
{
	skip 'MERGE has learned of them with PostgreSQL 17', 6 if $node->pg_version < 17;
	$node->safe_psql('postgres', q{
		CREATE TABLE said AS SELECT g AS id, CASE WHEN g % 2 = 0 THEN 'I want my money back ' ELSE 'is it raining? ' END || g AS msg FROM generate_series(1, 20) g;
		CREATE TABLE merged AS SELECT g AS id, 'old' AS note FROM generate_series(5, 24) g;
		ANALYZE said, merged;
	});
	my $result = q{SELECT string_agg(id || ' ' || note, ', ' ORDER BY id) FROM merged; ROLLBACK};
	my $merge = sub {
		my ($source, $condition, $note) = @_;
		return "MERGE INTO merged t USING $source s ON t.id = s.id $condition WHEN MATCHED THEN UPDATE SET note = $note
			WHEN NOT MATCHED BY SOURCE AND t.id < 23 THEN UPDATE SET note = 'gone' WHEN NOT MATCHED BY SOURCE THEN DELETE";
	};
	my $own = sub { return join ', ', map { "$_ " . ($_ > 20 ? 'gone' : $_[$_ % 2]) } 5 .. 22 };
	my $joined = $merge->('said', q{AND fsi_classify(s.msg, ARRAY['refund', 'weather']) = 'refund'}, q{'both'});
	my $asked = $merge->(q{(SELECT id, fsi_classify(msg, ARRAY['refund', 'weather']) AS intent FROM said OFFSET 0)}, '', 's.intent');
	for my $case ([ 'in its condition', $joined, $own->('both', 'gone') ], [ 'in its source', $asked, $own->('refund', 'weather') ])
	{
		my ($where, $sql, $want) = @$case;
		is($node->safe_psql('postgres', "BEGIN; $sql; $result"), $want, "MERGE with a call $where");
		like($node->safe_psql('postgres', "EXPLAIN (COSTS OFF) $sql"), qr/FsiBatch/, 'which a batch node answers');
	}
	like(($node->psql('postgres', "SET fsi_intent.debug_require_batch = on; $joined"))[2],
		qr/ERROR:  calls would be answered row by row\nDETAIL:.* outside its batch nodes/, 'but not all of those in its condition');
	is($node->safe_psql('postgres', "SET fsi_intent.debug_require_batch = on; BEGIN; $asked; $result"), $own->('refund', 'weather'),
		'as it does those in its source');
}

# A virtual column is computed where it is asked for, also below an aggregate and in what a JSON_TABLE reads; RETURNING has both rows.
SKIP:
{
	skip 'virtual columns and RETURNING old have come with PostgreSQL 18', 6 if $node->pg_version < 18;
	$node->safe_psql('postgres', q{
		CREATE TABLE computed (id int PRIMARY KEY, msg text, note text, low text GENERATED ALWAYS AS (lower(msg)), n int GENERATED ALWAYS AS (id % 3));
		INSERT INTO computed SELECT g, CASE WHEN g % 2 = 0 THEN 'I want my MONEY back ' ELSE 'Is it raining? ' END || g, 'old' || g FROM generate_series(1, 20) g});
	my $intent = sub { return "fsi_classify($_[0], ARRAY['refund', 'weather'])" };
	for my $sql ('UPDATE computed SET note = ' . $intent->('low') . q{ WHERE n < 2 RETURNING id, old.note, new.note, old.low},
		'SELECT n, ' . $intent->('low') . ', count(*), min(low || ' . $intent->('msg || n') . ') FROM computed GROUP BY 1, 2 ORDER BY 1, 2',
		'SELECT j.m, ' . $intent->('j.m') . q{ FROM computed, JSON_TABLE(to_jsonb(computed), '$' COLUMNS (m text PATH '$.low')) j ORDER BY 1})
	{
		my $answers = $node->safe_psql('postgres', "SET fsi_intent.debug_require_batch = on; BEGIN; $sql; ROLLBACK");
		like($answers, qr/refund.*weather/s, 'answers of virtual columns');
		is($answers, $node->safe_psql('postgres', "SET fsi_intent.enable_batch = off; BEGIN; $sql; ROLLBACK"), 'the same as row by row');
	}
}

# The nodes above, an aggregate too, are not taken for disabled because one below is.
SKIP:
{
	skip 'EXPLAIN tells of disabled nodes with PostgreSQL 18', 1 if $node->pg_version < 18;
	my $plan = $node->safe_psql('postgres', q{SET enable_seqscan = off; SET max_parallel_workers_per_gather = 0;
		EXPLAIN (COSTS OFF) SELECT fsi_classify(msg, ARRAY['a', 'b']), count(fsi_classify(msg || '!', ARRAY['a', 'b'])) FROM long GROUP BY 1 ORDER BY 2});
	is_deeply([ $plan =~ /(\S+) on \S+\n *Disabled: true/g, $plan =~ /Disabled/g ], [ 'Scan', 'Disabled' ], 'a disabled scan is the only disabled node');
}

# Other hooks.
my ($rc, $out);
($rc, $out, $err) = $node->psql('postgres', "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on;
	SET auto_explain.log_level = notice; SET max_parallel_workers_per_gather = 0; SELECT count(*) FROM ($query LIMIT 20) q WHERE intent <> ''");
like($err, qr/FsiBatch.*Messages: 20\b/s, 'auto_explain shows it');
like($node->safe_psql('postgres', 'SELECT max(calls) FROM pg_stat_statements WHERE query LIKE $$%fsi_classify%$$'), qr/^\d+$/, 'pg_stat_statements counts it');

# Cancelled in the middle, and the session goes on.
($rc, $out, $err) = $node->psql('postgres', q{SET statement_timeout = '300ms'; SET fsi_intent.debug_require_batch = on;
	SELECT count(fsi_classify(msg || i, ARRAY['refund', 'weather'])) FROM tickets, generate_series(1, 10000) i;
	RESET statement_timeout; SELECT count(fsi_classify(msg, ARRAY['refund', 'weather'])) FROM tickets}, on_error_stop => 0);
like($err, qr/canceling statement due to statement timeout/, 'cancelled in the middle of a batch node');
is($out, 2000, 'cancelled: the session goes on');

# Memory does not grow with the rows.
SKIP:
{
	skip 'needs /proc', 1 unless -r '/proc/self/status';
	my $status = q{SELECT regexp_replace(pg_read_file('/proc/self/status'), '.*RssAnon:\s*(\d+).*', '\1')::int};
	my $rows = q{SELECT count(fsi_classify(msg, ARRAY['refund', 'weather', 'x' || i])) > 0 FROM tickets, generate_series(1, %d) i};
	my ($few, $many) = grep { /^\d+$/ } split /\n/, $node->safe_psql('postgres', 'SET fsi_intent.debug_require_batch = on; '
		. join(';', map { sprintf($rows, $_), $status } 1, 10));
	cmp_ok($many, '<', $few + 2048, "flat: $few kB after 2,000 rows, $many kB after 20,000");
}

$node->stop;
done_testing();

# A message's label and score bits depend on nothing but its arguments: not on its neighbours, the cache, the plan,
# the worker, the connection or the CPU level.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fsi_node('equal_bits', q{
jit = off
max_worker_processes = 8
max_parallel_workers = 4
});

# Generated messages of both languages and of 1 to some 60 words; every seventh has occurred before.
$node->safe_psql('postgres', q{
	CREATE EXTENSION fsi_intent;
	CREATE TABLE message (id int PRIMARY KEY, msg text NOT NULL);
	INSERT INTO message
	SELECT i, (SELECT string_agg((CASE WHEN n % 3 = 0
			THEN ARRAY['退款', '我的订单', '在哪里', '请', '取消', '天气', '卡丢了', '发票', '，', '谢谢']
			ELSE ARRAY['refund', 'my parcel', 'WHERE', 'please', 'cancel', 'weather?', 'lost card', 'Rechnung', '...', E'\n42'] END)
			[1 + (n * 7919 + w * 104729 + n * w * 31) % 10], CASE n % 3 WHEN 0 THEN '' ELSE ' ' END)
		FROM generate_series(1, 1 + n * n % (CASE WHEN n % 20 = 0 THEN 60 ELSE 9 END)) w)
	FROM (SELECT i, CASE i % 7 WHEN 0 THEN i - 6 ELSE i END AS n FROM generate_series(1, 140) i) s;
	ANALYZE message;
});

my $intents = q{ARRAY['refund', 'track order', 'cancel', '天气', '挂失']};
my $options = q{'{"other": "none", "descriptions": {"refund": "money back"}, "examples": [
	{"text": "my card is gone", "intent": "挂失"}, {"text": "下雨吗", "intent": "天气"}]}'};
my $scores = qq{fsi_scores(msg, $intents, $options)};
my $label = qq{fsi_classify(msg, $intents, $options)};
# Labels and bits of all messages, one line.
my $digest = qq{SELECT md5(string_agg(id || intent || float8send(score)::text, ',' ORDER BY id, intent COLLATE "C"))
	FROM message, $scores};
my $labels = qq{SELECT md5(string_agg($label, ',' ORDER BY id)) FROM message};

my $bits = $node->safe_psql('postgres', $digest);
my $words = $node->safe_psql('postgres', $labels);
isnt($node->safe_psql('postgres', "SELECT count(DISTINCT $label) > 1 FROM message"), 'f', 'there is more than one answer');
is($node->safe_psql('postgres', $digest), $bits, 'in another connection');
is($node->safe_psql('postgres', "$digest; $digest"), "$bits\n$bits", 'a second time in one connection');
is($node->safe_psql('postgres', qq{SELECT bool_and($label = (SELECT intent FROM $scores LIMIT 1)) FROM message}), 't',
	'the answer is the first of the scores');

# Each alone, as a constant; each in a batch, whatever its place.
is($node->safe_psql('postgres', qq{
	CREATE TEMP TABLE alone (id int, label text);
	DO \$do\$ DECLARE m record; l text;
	BEGIN
		FOR m IN SELECT * FROM message LOOP
			EXECUTE format(\$q\$SELECT fsi_classify(%L, $intents, $options)\$q\$, m.msg) INTO l;
			INSERT INTO alone VALUES (m.id, l);
		END LOOP;
	END \$do\$;
	SELECT md5(string_agg(label, ',' ORDER BY id)) FROM alone}), $words, 'each message alone');
for my $order ('id', 'msg COLLATE "C"', 'length(msg), id DESC')
{
	is($node->safe_psql('postgres', qq{
		SELECT md5(string_agg(label, ',' ORDER BY id)) FROM (
			SELECT unnest(array_agg(id ORDER BY $order)) AS id,
				unnest(fsi_classify_many(array_agg(msg ORDER BY $order), $intents, $options)) AS label FROM message) s}),
		$words, "in a batch by $order");
}

# Prepared, with a generic plan and arguments.
is($node->safe_psql('postgres', qq{
	SET plan_cache_mode = force_generic_plan;
	PREPARE ask (text[], jsonb) AS SELECT md5(string_agg(id || intent || float8send(score)::text, ',' ORDER BY id, intent COLLATE "C"))
		FROM message, fsi_scores(msg, \$1, \$2);
	EXECUTE ask ($intents, $options);
	EXECUTE ask (ARRAY['a', 'b'], '{}');
	EXECUTE ask ($intents, $options)}) =~ /^(\w+)\n(\w+)\n(\w+)$/ && "$1 $3", "$bits $bits", 'prepared, around another question');

# Examples enough for an index of them, in three orders.
my $many = q{(SELECT jsonb_build_object('examples', jsonb_agg(jsonb_build_object('text', msg,
	'intent', (ARRAY['refund', '天气', '挂失'])[1 + id % 3]) ORDER BY %s)) FROM message)};
my @orders = map { (my $q = $digest) =~ s/\Q$options\E/sprintf $many, $_/e; $node->safe_psql('postgres', $q) }
	'id', 'id DESC', 'md5(msg), id';
is($orders[1], $orders[0], '140 examples backwards: the same bits');
is($orders[2], $orders[0], '140 examples in another order: the same bits');
isnt($orders[0], $bits, 'but not as without them');

# Next to nothing kept: the setting is there once the library is loaded.
is($node->safe_psql('postgres', "SELECT fsi_version() IS NULL; SET fsi_intent.cache_size = '1MB'; SHOW fsi_intent.cache_size;
	SELECT count(fsi_classify('x', ARRAY['name ' || i, 'b'])) FROM generate_series(1, 1000) i; $digest"), "f\n1MB\n1000\n$bits",
	'with a small cache, full of other sets');

# Each worker has a model and a cache of its own.
my $parallel = 'SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
	SET max_parallel_workers_per_gather = 3; ALTER TABLE message SET (parallel_workers = 3);';
my $rows = "SELECT id, $label AS label FROM message";
like($node->safe_psql('postgres', "$parallel EXPLAIN $rows"), qr/Gather.*Parallel Seq Scan/s, 'a parallel plan');
like($node->safe_psql('postgres', "$parallel EXPLAIN (ANALYZE, TIMING OFF) $rows"), qr/Workers Launched: [1-9]/, 'a parallel plan gets workers');
is($node->safe_psql('postgres', "$parallel WITH r AS MATERIALIZED ($rows) SELECT md5(string_agg(label, ',' ORDER BY id)) FROM r"),
	$words, 'the same labels from workers');
like($node->safe_psql('postgres', "$parallel EXPLAIN $digest"), qr/Gather.*Parallel Seq Scan/s, 'scores in a parallel plan');
is($node->safe_psql('postgres', "$parallel $digest"), $bits, 'the same bits from workers');

# Every CPU level that this machine has.
my $cpu = -r '/proc/cpuinfo' ? slurp_file('/proc/cpuinfo') : '';
my $levels = 0;
for my $level (split /,/, $node->safe_psql('postgres', q{SELECT fsi_version() IS NULL;
	SELECT array_to_string(enumvals, ',') FROM pg_settings WHERE name = 'fsi_intent.simd'}) =~ s/^f\n//r)
{
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT fsi_version() IS NULL; SET fsi_intent.simd = '$level'; $digest");
	if ($rc != 0)
	{
		my ($flag) = { 'avx2' => 'avx2', 'avx-vnni' => 'avx_vnni', 'avx512-vnni' => 'avx512_vnni' }->{$level};
		like($err, qr/simd/, "$level: not on this machine");
		unlike($cpu, qr/\b\Q$flag\E\b/, "$level: nor among its processors' flags") if defined $flag;
		next;
	}
	is($out, "f\n$bits", "at level $level");
	$levels++;
}
cmp_ok($levels, '>', 1, "$levels levels compared");

$node->stop;
done_testing();

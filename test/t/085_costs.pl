# The planner is told what the model that a call names costs.
use strict;
use warnings;
use Fsi;
use List::Util qw(min);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 3);

my $node = fsi_node('costs', 'max_locks_per_transaction = 512');
$node->safe_psql('postgres', q{
	CREATE EXTENSION fsi_intent;
	CREATE TABLE msg AS SELECT 'where is my parcel'::text AS txt FROM generate_series(1, 1000) g;
	ANALYZE msg;
});

sub cost
{
	my ($options) = @_;
	my $plan = $node->safe_psql('postgres', "EXPLAIN SELECT fsi_classify(txt, ARRAY['refund', 'weather'], $options) FROM msg");
	return $plan =~ /cost=[\d.]+\.\.([\d.]+)/ ? $1 : die $plan;
}

my $shipped = cost(q{'{}'});
is(cost(q{'{"model": "tiny"}'}), $shipped, 'a model that is not there costs what the shipped one does');
$node->safe_psql('postgres', "SELECT fsi_import_model('tiny', '$dir/tiny')");
my $tiny = cost(q{'{"model": "tiny"}'});
cmp_ok($tiny, '<', $shipped / 10, 'a tiny one costs little');
cmp_ok(cost(q{(SELECT jsonb_build_object('model', 'tiny'))}), '>=', $shipped, 'if the name is known');
is(cost(q{'{"model": "small-1"}'}), $shipped, 'the shipped one has a name too');

# The planner never opens the model's file: it asks the catalog alone, also when the name has come to mean another model.
is($node->safe_psql('postgres', qq{
	EXPLAIN (COSTS off) SELECT fsi_classify(txt, ARRAY['refund', 'weather'], '{"model": "tiny"}') FROM msg;
	SELECT fsi_drop_model('tiny')}), "Seq Scan on msg\n", 'planned, and dropped, in one session');
is(cost(q{'{"model": "tiny"}'}), $shipped, 'a dropped one costs what the shipped one does');

# A session that does nothing but plan hears of a drop, too.
$node->safe_psql('postgres', "SELECT fsi_import_model('small', '$dir/tiny')");
my $plan = q{EXPLAIN SELECT fsi_classify(txt, ARRAY['refund', 'weather'], '{"model": "small"}') FROM msg};
my @costs = $node->safe_psql('postgres', "$plan; SELECT fsi_drop_model('small'); $plan") =~ /cost=[\d.]+\.\.([\d.]+)/g;
is_deeply([ @costs[0, 1] ], [ $tiny, $shipped ], 'dropped between two plans');

# Who does not call it plans as fast with the library as without, also over many partitions with indexes of expressions. In
# CPU time, of which a busy machine takes none away.
my @expressions = ('upper(txt)', 'lower(txt)', 'md5(txt)', 'initcap(txt)', 'reverse(txt)', 'ltrim(txt)');
$node->safe_psql('postgres', q{
	CREATE TABLE parts (id int, txt text) PARTITION BY RANGE (id);
	SELECT format('CREATE TABLE part%s PARTITION OF parts FOR VALUES FROM (%1$s) TO (%s)', i, i + 1) FROM generate_series(1, 1000) i
	\gexec
} . join('', map { "CREATE INDEX ON parts ($_);" } @expressions) . q{
	INSERT INTO parts SELECT i, i FROM generate_series(1, 1000) i;
	ANALYZE parts;
});
my $filter = 'EXPLAIN SELECT FROM parts WHERE ' . join ' AND ', map { "$_ = '1'" } @expressions;

# CPU seconds of a query in one part of the server, "planner" or "executor", three times in a session.
sub seconds
{
	my ($part, $first, $query) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', join ';', $first, 'SET client_min_messages = log', "SET log_${part}_stats = on",
		($query) x 3);
	my @seconds;
	push @seconds, $1 + $2 while $err =~ /^!\s+([\d.]+) s user, ([\d.]+) s system, [\d.]+ s elapsed/mg;
	return @seconds;
}

my %least;
for (1 .. 3)
{
	for my $first ('SELECT', "LOAD 'fsi_intent'")
	{
		my @seconds = seconds('planner', $first, $filter);
		is(scalar @seconds, 3, "planned three times after $first");
		$least{$first} = min($least{$first} // (), @seconds);
	}
}
cmp_ok($least{"LOAD 'fsi_intent'"}, '<', 2 * $least{SELECT}, "with the library $least{q{LOAD 'fsi_intent'}} s, without $least{SELECT} s");

# What is shown of a prompt costs its length, not examples times intents.
$node->safe_psql('postgres', q{
	CREATE TABLE shown AS SELECT n, ARRAY(SELECT 'intent ' || i FROM generate_series(1, n) i) AS intents,
		(SELECT jsonb_build_object('examples', fsi_examples('text ' || i, 'intent ' || 1 + i % n)) FROM generate_series(1, 100000) i) AS options
	FROM unnest(ARRAY[2, 9000]) n});
my %prompt = map { $_ => min(seconds('executor', 'SELECT', "SELECT length(fsi_prompt('x', intents, options)) FROM shown WHERE n = $_")) } 2, 9000;
cmp_ok($prompt{9000}, '<', 4 * $prompt{2}, "100,000 examples of 9,000 intents $prompt{9000} s, of two $prompt{2} s");

$node->stop;
done_testing();

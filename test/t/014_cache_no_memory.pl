# Memory that is refused to the cache of encoded texts: where its table would grow nothing happens, and all is found; where
# a call is refused any piece of memory it ends with an error, and what was kept before is there for the next call.
use strict;
use warnings;
use Fcntl;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
system_or_bail($ENV{CC} // 'cc', '-shared', '-fPIC', '-o', "$dir/no_memory.so", 'test/data/no_memory.c', '-ldl');

# Of pieces of memory from $low to $high bytes all are refused, or only the $n-th; $high 0: none.
sub refuse
{
	my ($n, $low, $high) = @_;
	sysopen my $file, "$dir/refuse", O_RDWR | O_CREAT or die $!;
	syswrite $file, pack('l4', $n, $low, $high, 0);
	close $file;
	return;
}
sub refused
{
	return (unpack 'l4', slurp_file("$dir/refuse"))[3];
}

refuse(0, 0, 0);
my $node;
{
	local $ENV{LD_PRELOAD} = "$dir/no_memory.so";
	local $ENV{FSI_NO_MEMORY} = "$dir/refuse";
	$node = fsi_node('cache_no_memory', "restart_after_crash = on\nautovacuum = off\njit = off");
}

# Examples wait in a table, to build them takes memory of all sizes: some texts, named by a kind and numbers.
$node->safe_psql('postgres', q{
	CREATE EXTENSION fsi_intent;
	CREATE TABLE shown (kind text, examples jsonb);
	INSERT INTO shown SELECT kind, jsonb_build_object('examples', jsonb_agg(jsonb_build_object('text', kind || ' ' || g,
		'intent', CASE WHEN g % 2 = 0 THEN 'refund' ELSE 'track order' END) ORDER BY g))
	FROM (VALUES ('many', 1000) UNION ALL SELECT 'few ' || k, 10 FROM generate_series(1, 1000) k) v(kind, n), generate_series(1, n) g GROUP BY kind});
my ($session, $other) = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 2;
# Other intents make another set of the same texts.
my ($set, $other_set) = (q{'refund', 'track order'}, q{'track order', 'refund'});
sub call
{
	my ($kind, $intents) = @_;
	return qq{SELECT fsi_classify('where is my parcel', ARRAY[$intents], examples) FROM shown WHERE kind = '$kind'};
}
# All bits of its answer.
sub scores
{
	my ($kind, $intents) = @_;
	return qq{SELECT string_agg(encode(float8send(score), 'hex'), ',' ORDER BY intent) FROM shown,
		fsi_scores('where is my parcel', ARRAY[$intents], examples) WHERE kind = '$kind'};
}
# What the other session, which is refused nothing, answers.
sub right
{
	my ($sql) = @_;
	return scalar $other->query($sql);
}
# How many texts a statement finds and encodes, what it answers, and how often it was refused memory as refuse() says.
sub ask
{
	my ($sql, @refuse) = @_;
	my $count = q{SELECT segment_hits || ' ' || segment_misses FROM fsi_stats WHERE scope = 'backend'};
	my ($hits, $misses) = split / /, $session->query($count);
	$session->{stderr} = '';
	refuse(@refuse) if @refuse;
	my $answer = $session->query($sql);
	my $refused = refused();
	refuse(0, 0, 0);
	my ($more_hits, $more_misses) = split / /, $session->query($count);
	return ($more_hits - $hits, $more_misses - $misses, $answer, $refused);
}

# A table of 1024 places: with more texts it would have 2048, of 8 bytes each, and what the allocator puts before them.
# Nothing else takes as much.
is_deeply([ ask(scores('many', $set)) ], [ 0, 1002, right(scores('many', $set)), 0 ], 'nearly as many texts as the table has places');
my ($wrong, $refused) = (0, 0);
for my $n (1 .. 8)
{
	my @got = ask(call("few $n", $set), 0, 16385, 16384 + 128);
	$wrong++ if "@got[0, 1, 2]" ne '2 10 ' . right(call("few $n", $set));
	$refused += $got[3];
}
is($wrong, 0, 'then more');
cmp_ok($refused, '>', 10, 'which was refused the memory to grow');
is_deeply([ ask(scores('many', $other_set)) ], [ 1002, 0, right(scores('many', $set)), 0 ], 'it has them all');
is_deeply([ ask(scores("few $_", $other_set)) ], [ $_ == 9 ? (2, 10) : (12, 0), right(scores("few $_", $set)), 0 ], "few $_: also when it grows")
	for 1, 9, 8;

# Any piece of memory, one after the other, until none is asked for any more.
my ($failed, $lost, $n) = (0, 0, 10);
$wrong = 0;
while ($n < 1000)
{
	my (undef, undef, undef, $refused) = ask(call("few $n", $set), $n - 9, 1, 1 << 30);
	last unless $refused;
	if ($session->{stderr} =~ /ERROR:  (.*)/)
	{
		$failed++;
		like($1, qr/^out of memory/, "piece $n") if $1 !~ /^out of memory/;
	}
	my ($hits, $misses, $answer) = ask(scores("few $n", $other_set));
	$lost++ if $hits < 2 || $hits + $misses != 12;
	$wrong++ if $answer ne right(scores("few $n", $set));
	$n++;
}
cmp_ok($failed, '>', 20, 'calls that are refused memory fail');
is($lost, 0, 'what was kept before is there for the next call');
is($wrong, 0, 'which has the right answer');
is_deeply([ ask(scores('many', $set)) ], [ 0, 0, right(scores('many', $set)), 0 ], 'the first set is still there');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'no backend has crashed');
$_->quit for $session, $other;
$node->stop;
done_testing();

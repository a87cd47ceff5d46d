# The server's clock is set back by an hour, and by years, while a job keeps to its pace: the job goes on, and its view is read.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
system_or_bail($ENV{CC} // 'cc', '-shared', '-fPIC', '-o', "$dir/clock.so", 'test/data/clock.c', '-ldl');
my $node = do
{
	local $ENV{LD_PRELOAD} = "$dir/clock.so";
	local $ENV{FSI_CLOCK} = "$dir/clock";
	fsi_node('jobs_clock', "jit = off\nautovacuum = off");
};
# A row a page, a page a chunk.
$node->safe_psql('postgres', q{
	CREATE EXTENSION fsi_intent;
	CREATE TABLE tickets (msg text, intent text, filler text);
	ALTER TABLE tickets ALTER filler SET STORAGE PLAIN;
	INSERT INTO tickets SELECT 'message ' || g, NULL, repeat('x', 5000) FROM generate_series(1, 12) g;
});
sub set_clock
{
	my ($seconds) = @_;
	open my $f, '>', "$dir/clock.new" or die $!;
	print $f $seconds;
	close $f;
	rename "$dir/clock.new", "$dir/clock" or die $!;
}
sub done
{
	my ($more) = @_;
	return $node->poll_query_until('postgres', "SELECT rows_done > $more FROM fsi_progress");
}

set_clock(0);
my $job = start($node, q{CALL fsi_classify_table('tickets', 'msg', 'intent', ARRAY['a', 'b'], chunk_rows => 1, rows_per_second => 2)});
ok(done(0), 'a job has begun');
set_clock(-3600);
ok(done(2), 'it goes on where the clock is set back');
is($node->safe_psql('postgres', 'SELECT rows_per_second IS NULL, eta IS NULL FROM fsi_progress'), 't|t', 'its pace is unknown');
set_clock(3600 * 24 * 365 * 50);
ok(done(4), 'and where it is set forward');
# It has done little for a very long time then: a time to come that no timestamp holds is not told.
$node->safe_psql('postgres', 'UPDATE _fsi_job_chunk SET end_block = end_block + 1000000 WHERE NOT done AND no = 12');
like($node->safe_psql('postgres', 'SELECT rows_per_second > 0, eta IS NULL FROM fsi_progress'), qr/^t\|t$/, 'its end is too far ahead to be told');
like(finish($job), qr/^NOTICE:  classified 12 rows/, 'to its end');
$node->stop;
done_testing();

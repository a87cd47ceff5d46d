# What the tests of servers share: a cluster, a tiny model to import, a session that is at work while the test goes on.
package Fsi;
use strict;
use warnings;
use parent 'Exporter';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(fsi_node make_tiny start finish kill_backend restarted);

# A started cluster in UTF-8. $conf: lines for postgresql.conf, or nothing; %more: what new() and init() take.
sub fsi_node
{
	my ($name, $conf, %more) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => delete $more{install_path});
	$node->init(%more, extra => [ '-E', 'UTF8', '--locale', 'C.UTF-8' ]);
	$node->append_conf('postgresql.conf', $conf) if $conf;
	$node->start;
	return $node;
}

# A folder with a tiny GPT-2. @more: its seed and whatever else test/data/tiny_gpt2.pl takes.
sub make_tiny
{
	my ($folder, @more) = @_;
	system_or_bail($^X, 'test/data/tiny_gpt2.pl', $folder, @more);
	return;
}

# A session at work on statements, up to the first error; what it says is collected.
sub start
{
	my ($node, @sql) = @_;
	my %s = (out => '', err => '');
	$s{run} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), map { ('-c', $_) } @sql ],
		'<', \undef, '>', \$s{out}, '2>', \$s{err}, IPC::Run::timeout(180));
	return \%s;
}

# Wait for its end, three minutes at most; returns what it has complained of.
sub finish
{
	my ($s) = @_;
	IPC::Run::finish($s->{run});
	return $s->{err};
}

# kill -9; the server ends all other sessions too, and is back afterwards.
sub kill_backend
{
	my ($node, $pid) = @_;
	my $offset = -s $node->logfile;
	kill 'KILL', $pid;
	return restarted($node, $offset);
}

# Whether the server is back after a crash that it logs from that offset on: until then it may take one session more.
sub restarted
{
	my ($node, $offset) = @_;
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $offset);
	return $node->poll_query_until('postgres', 'SELECT true');
}

1;

# What the tests of servers share: a cluster, a tiny model to import, a session that is at work while the test goes on.
package Fsi;
use strict;
use warnings;
use parent 'Exporter';
use File::Basename qw(basename dirname);
use File::Copy qw(copy);
use File::Path qw(make_path);
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(fsi_node make_tiny own_installation put_model start finish kill_backend restarted);

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

sub installed
{
	my $path = `pg_config --$_[0]`;
	chomp $path;
	return $path;
}

# A tree of the server's programs in a new folder, since we may not write where the extension is installed.
# Returns the install_path of a cluster, the shipped model's file in it, and the file that it is a copy of.
sub own_installation
{
	my ($tree) = @_;
	my ($bindir, $libdir, $sharedir) = map { installed($_) } qw(bindir pkglibdir sharedir);
	my $prefix = $bindir;
	$prefix = dirname($prefix) until "$sharedir/" =~ m{^\Q$prefix\E/} && "$libdir/" =~ m{^\Q$prefix\E/};
	my ($bin, $lib, $share) = map { $tree . substr($_, length $prefix) } $bindir, $libdir, $sharedir;
	make_path($bin, dirname($lib), "$share/extension/fsi_intent");
	for my $program (qw(postgres initdb pg_ctl))
	{
		copy("$bindir/$program", "$bin/$program") or die "$program: $!";
		chmod 0755, "$bin/$program";
	}
	symlink $_, "$bin/" . basename($_) for grep { !-e "$bin/" . basename($_) } glob "$bindir/*";
	symlink $libdir, $lib;
	symlink $_, "$share/" . basename($_) for grep { basename($_) ne 'extension' } glob "$sharedir/*";
	symlink $_, "$share/extension/" . basename($_) for grep { basename($_) ne 'fsi_intent' } glob "$sharedir/extension/*";
	my $good = (glob "$sharedir/extension/fsi_intent/small-*.fsi")[0];
	my $file = "$share/extension/fsi_intent/" . basename($good);
	copy($good, $file) or die "$file: $!";
	return (dirname($bin), $file, $good);
}

# Files are put in place by a rename, as make install does.
sub put_model
{
	my ($from, $file) = @_;
	copy($from, "$file.new") or die "$from: $!";
	rename "$file.new", $file or die "$file: $!";
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
	# Not by asking it: psql that is turned away may be gone before it is given the question (SIGPIPE).
	$node->wait_for_log(qr/all server processes terminated; reinitializing.*database system is ready to accept connections/s, $offset);
	return 1;
}

1;

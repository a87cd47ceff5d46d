# Many connections share one copy of the weights; imports that a crash cut short leave nothing; the extension lives
# in any schema and goes without a trace.
use strict;
use warnings;
use Fsi;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 11);

my $node = fsi_node('connections', "jit = off\nmax_connections = 40\nrestart_after_crash = on");
$node->safe_psql('postgres', 'CREATE EXTENSION fsi_intent');
my $classify = q{SELECT fsi_classify('where is my parcel', ARRAY['refund', 'track order', 'weather'])};

# The first answer of a connection, by the server's clock.
my @first;
for (1 .. 5)
{
	push @first, $node->safe_psql('postgres', qq{
		CREATE TEMP TABLE t AS SELECT clock_timestamp() AS began;
		CREATE TEMP TABLE a AS $classify;
		SELECT round(1000 * extract(epoch FROM clock_timestamp() - began), 1) FROM t});
}
note("first answer of a connection, ms: @first");

# Connections that have each classified once, and stay: what is theirs alone, and what they share.
SKIP:
{
	skip 'needs /proc/PID/smaps', 4 unless -r "/proc/$$/smaps";
	my @session;
	for my $i (1 .. 20)
	{
		my %s = (in => "$classify AS a \\gset\n\\echo ready :a\n", out => '', err => '');
		$s{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$s{in}, '>', \$s{out}, '2>', \$s{err},
			IPC::Run::timeout(60));
		push @session, \%s;
	}
	for my $s (@session)
	{
		IPC::Run::pump($s->{run}) until $s->{out} =~ /ready/;
	}
	my @pid = split /\n/, $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
	is(scalar @pid, 20, '20 connections have classified');
	my ($most, $pss, $own, $shared, $seen) = (0, 0, 0, 0, 0);
	for my $pid (@pid)
	{
		my $model = 0;
		my $private = 0;
		for my $line (split /\n/, slurp_file("/proc/$pid/smaps"))
		{
			$model = $line =~ /\.fsi$/ if $line =~ /^[0-9a-f]+-[0-9a-f]+ /;
			$private += $1 if $line =~ /^Private_(?:Clean|Dirty):\s+(\d+)/;
			$pss += $1 if $line =~ /^Pss:\s+(\d+)/;
			$seen += $1, next if $model && $line =~ /^Rss:\s+(\d+)/;
			$own += $1 if $model && $line =~ /^Private_\w+:\s+(\d+)/;
			$shared += $1 if $model && $line =~ /^Shared_\w+:\s+(\d+)/;
		}
		$most = $private if $private > $most;
	}
	note(sprintf 'per connection, kB: Pss %.0f, private at most %d; the mapped model: resident %.0f, shared %.0f, private %.0f',
		$pss / 20, $most, $seen / 20, $shared / 20, $own / 20);
	cmp_ok($most, '<', 16 * 1024, 'private memory of a connection');
	cmp_ok($shared, '>', 0, 'the weights are shared');
	cmp_ok($own, '<=', 20 * 64, 'and nobody has a copy');
	for my $s (@session)
	{
		$s->{in} .= "\\q\n";
		IPC::Run::finish($s->{run});
	}
}

# A backend killed in the middle of an import: no row, no file that stays.
my $cache = $node->data_dir . '/fsi_intent';
my $shipped = $node->safe_psql('postgres', q{SELECT setting FROM pg_config WHERE name = 'SHAREDIR'}) . '/extension/fsi_intent';
my ($packed) = glob "$shipped/*.fsi";
my $import = start($node, 'BEGIN', "SELECT fsi_import_model('copy', '$packed') IS NOT NULL", 'SELECT pg_sleep(300)');
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), 'imported, not committed');
my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
# As if it had been killed a moment earlier, too.
append_to_file("$cache/pgsql_tmp_import_$pid", 'half a file');
ok(kill_backend($node, $pid), 'the server is back');
finish($import);
is($node->safe_psql('postgres', 'SELECT string_agg(name, $$,$$) FROM fsi_models'), 'small-1', 'the import has not happened');
is($node->safe_psql('postgres', 'SELECT count(*) FROM _fsi_model_chunk'), 0, 'nor its chunks');
my ($rc, $stdout, $stderr) = $node->psql('postgres', q{SELECT fsi_classify('x', ARRAY['a', 'b'], '{"model": "copy"}')});
like($stderr, qr/model "copy" does not exist/, 'nor its name');
$node->safe_psql('postgres', "SELECT fsi_import_model('tiny', '$dir/tiny')");
ok(!-e "$cache/pgsql_tmp_import_$pid", 'the next import removes what the killed one has left');
is(scalar(() = glob "$cache/pgsql_tmp_import_*"), 0, 'and leaves nothing itself');

# A cancelled import leaves nothing either.
my $before = join ' ', sort glob "$cache/*";
($rc, $stdout, $stderr) = $node->psql('postgres', "SET statement_timeout = 5; SELECT fsi_import_model('slow', '$packed')");
like($stderr, qr/canceling statement due to statement timeout/, 'an import is cancelled');
is(join(' ', sort glob "$cache/*"), $before, 'and leaves no file');

# Any schema, no search path; dropped and created again.
$node->safe_psql('postgres', 'CREATE DATABASE elsewhere');
$node->safe_psql('elsewhere', 'CREATE SCHEMA "My Tools"; CREATE EXTENSION fsi_intent SCHEMA "My Tools"');
my $label = q{"My Tools".fsi_classify(msg, ARRAY['refund', 'track order'])};
is($node->safe_psql('elsewhere', qq{
	SET search_path = '';
	CREATE TABLE public.t (msg text, intent text GENERATED ALWAYS AS ($label) STORED);
	CREATE INDEX t_label ON public.t (($label));
	INSERT INTO public.t VALUES ('my money please'), ('where is it'), (NULL);
	SELECT bool_and(intent = $label) FROM public.t;
	SELECT "My Tools".fsi_import_model('tiny', '$dir/tiny') IS NOT NULL;
	SELECT "My Tools".fsi_classify('it', ARRAY['refund', 'cancel'], '{"model": "tiny"}') IS NOT NULL}), "t\nt\nt", 'in a schema of its own');
$node->safe_psql('elsewhere', 'REINDEX DATABASE elsewhere; VACUUM FULL ANALYZE t');
($rc, $stdout, $stderr) = $node->psql('elsewhere', 'DROP EXTENSION fsi_intent');
like($stderr, qr/cannot drop extension fsi_intent because other objects depend on it/, 'needed, so not dropped');
is($node->safe_psql('elsewhere', qq{
	SET client_min_messages = error;
	SELECT "My Tools".fsi_classify('x', ARRAY['refund']);
	DROP EXTENSION fsi_intent CASCADE;
	SELECT count(*) FROM pg_class WHERE relname ~ 'fsi';
	SELECT count(*) FROM pg_proc WHERE proname ~ 'fsi';
	CREATE EXTENSION fsi_intent;
	SELECT fsi_classify('x', ARRAY['refund']);
	SELECT string_agg(name, ',') FROM fsi_models}), "refund\n0\n0\nrefund\nsmall-1", 'dropped, and created again, in one session');

$node->stop;
done_testing();

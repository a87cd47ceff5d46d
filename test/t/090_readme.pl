# The manual's SQL runs as it stands there, and names what exists.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $readme = slurp_file('README.md');
my $node = fsi_node('readme', "client_encoding = 'UTF8'");

my $models = PostgreSQL::Test::Utils::tempdir;
my $seed = 0;
for my $name ($readme =~ m{fsi_import_model\('[^']+', '/srv/models/([^']+)'\)}g)
{
	next if -e "$models/$name";
	$seed++;
	make_tiny("$models/$name", $seed);
}

# Template files: the manual's own.
my $data = PostgreSQL::Test::Utils::tempdir;
mkdir "$data/templates";
my ($template) = $readme =~ /^(prompt_template:.*?^--- \[define prompt template end\] ---\n)/ms;
append_to_file("$data/templates/shop_template.txt", $template);

$node->safe_psql('postgres', 'CREATE DATABASE manual');
$node->safe_psql('manual', 'CREATE EXTENSION fsi_intent');

# In the order of the manual, in one database; what creates the extension gets a database of its own. The manual opens with a
# look ahead: that comes last.
my @blocks = $readme =~ /^```sql\n(.*?)^```$/msg;
push @blocks, shift @blocks;
# What stands in a block of its own below one of SQL is what psql prints.
my %printed = $readme =~ /^```sql\n((?:(?!^```).)*?)^```\n\n```\n((?:(?!^```).)*?)^```$/msg;
cmp_ok(scalar(keys %printed), '>', 0, 'the manual shows an answer');
my $n = 0;
for my $sql (@blocks)
{
	my ($first) = $sql =~ /^(.*)$/m;
	my $printed = $printed{$sql};
	my $database = 'manual';
	$sql =~ s{/srv/models}{$models}g;
	$sql =~ s{/srv/data}{$data}g;
	$sql =~ s/DATABASE mydb/DATABASE manual/;
	$n++;
	if ($sql =~ /CREATE EXTENSION/)
	{
		$database = "fresh_$n";
		$node->safe_psql('postgres', "CREATE DATABASE $database");
	}
	my ($rc, $out, $err) = $node->psql($database, $sql, on_error_stop => 1);
	ok($rc == 0 && $err !~ /ERROR|WARNING/, "block $n: $first") or diag($err);
	next if !defined $printed;
	my ($rows) = $printed =~ /^[-+]+\n(.*)/ms;
	is($out, join("\n", map { join '|', map { s/^\s+|\s+$//gr } split /\|/ } split /\n/, $rows), "block $n: what it prints");
}
cmp_ok($n, '>', 10, 'the manual has SQL');
my @pairs = map { scalar(() = slurp_file("$data/$_.jsonl") =~ /^\{"prompt":"intent recognition.*\}$/mg) } 'train', 'valid';
is("@pairs", '36 18', 'three prompts a row in train.jsonl and valid.jsonl');

# Functions, options and settings: all of ours are in the manual, and it names no others.
my $ours = $node->safe_psql('manual', q{
	SELECT DISTINCT p.proname FROM pg_depend d
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'fsi_intent' AND d.deptype = 'e'
	JOIN pg_proc p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass
	WHERE p.proname ~ '^fsi' ORDER BY 1});
for my $name (split /\n/, $ours)
{
	like($readme, qr/`\Q$name\E\b/, "$name is in the manual");
}
my %named = map { $_ => 1 } $readme =~ /\b(fsi_[a-z_]+)\(/g;
my %exists = map { $_ => 1 } split /\n/, $ours;
is(join(' ', grep { !$exists{$_} } sort keys %named), '', 'functions in the manual exist');

my ($rc, $out, $err) = $node->psql('manual', q{SELECT fsi_classify('x', ARRAY['a'], '{"no such": 1}')});
my %option = map { $_ => 1 } ($err =~ /HINT:\s+Options are (.*)/)[0] =~ /"(\w+)"/g;
my ($table) = $readme =~ /^## Options\n(.*?)^## /ms;
my %row = map { $_ => 1 } $table =~ /^\| `(\w+)` \|/mg;
is(join(' ', sort keys %row), join(' ', sort keys %option), 'options in the manual are those that there are');

my $settings = $node->safe_psql('manual', q{
	SELECT fsi_version() IS NULL;
	SELECT name FROM pg_settings WHERE name LIKE 'fsi_intent.%' AND name NOT LIKE '%.debug%' ORDER BY name});
$settings =~ s/^f\n//;
($table) = $readme =~ /^## Settings\n(.*?)^## /ms;
is(join("\n", sort $table =~ /^\| `(fsi_intent\.\w+)` \|/mg), $settings, 'settings in the manual are those that there are');

$node->stop;
done_testing();

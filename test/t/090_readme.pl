# The manual's SQL runs as it stands there, and names what exists.
use strict;
use warnings;
use Encode qw(decode);
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

# Tables of options, each with what an unknown one brings up.
sub section
{
	my ($title) = @_;
	return ($readme =~ /^## \Q$title\E\n(.*?)^## /ms)[0];
}
sub first_column
{
	my ($text) = @_;
	return map { /`(\w+)`/g } $text =~ /^\| (`\w+`(?:, `\w+`)*) \|/mg;
}
for my $case (
	[ 'Options', q{SELECT fsi_classify('x', ARRAY['a'], '{"no such": 1}')}, section('Options') ],
	[ 'fsi_prompts', q{SELECT fsi_prompts('history', 'x', '{"no such": 1}')}, section('Few-shot prompts') =~ /^(\| option \|.*?)\n\n/ms ],
	[ 'fsi_train', q{CALL fsi_train('x', 'history', '{"no such": 1}')}, section('Fine-tuning') =~ /^(\| key \|.*?)\n\n/ms ])
{
	my ($name, $sql, $table) = @$case;
	my ($rc, $out, $err) = $node->psql('manual', $sql);
	my @options = ($err =~ /HINT:\s+Options are (.*)/)[0] =~ /"(\w+)"/g;
	is(join(' ', sort(first_column($table))), join(' ', sort @options), "options in the manual are those that there are: $name");
}

# Arguments of fsi_classify_table, with their defaults.
my ($table) = section('Many rows') =~ /^(\| argument \|.*?)\n\n/ms;
my %default;
for my $line ($table =~ /^\| (`.*)$/mg)
{
	my ($names, $value) = $line =~ /^(\S.*?) \| (?:`(.*?)`)? ?\|/;
	$default{$_} = $value // '' for $names =~ /`(\w+)`/g;
}
is(join("\n", map { "$_|$default{$_}" } sort keys %default), $node->safe_psql('manual', q{
	SELECT name, regexp_replace(coalesce(pg_get_function_arg_default(p.oid, no::int), ''), '::.*', '')
	FROM pg_proc p, unnest(proargnames) WITH ORDINALITY a(name, no) WHERE proname = 'fsi_classify_table' ORDER BY name COLLATE "C"}),
	'arguments of fsi_classify_table and their defaults');

# Columns of views and of functions that return rows.
my $columns = $node->safe_psql('manual', q{
	SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
	WHERE c.relkind = 'v' AND c.relname ~ '^fsi_'
	UNION
	SELECT p.proname, a.name FROM pg_proc p, unnest(proargnames, proargmodes) a(name, mode)
	WHERE p.proname ~ '^fsi_' AND a.mode IN ('o', 't')
	ORDER BY 1, 2});
my %where = (fsi_progress => 'Many rows', fsi_training => 'Fine-tuning', fsi_stats => 'Statistics', fsi_prompts => 'Few-shot prompts');
for my $line (split /\n/, $columns)
{
	my ($of, $column) = split /\|/, $line;
	my $text = section($where{$of} // ($of =~ /^fsi_evaluate/ ? 'Measure it' : 'Functions'));
	$column =~ s/^(outside|wrong)_rate$/_rate/;
	like($text, qr/\b\Q$column\E\b/, "column $column of $of is in the manual");
}

my $settings = $node->safe_psql('manual', q{
	SELECT fsi_version() IS NULL;
	SELECT name, current_setting(name) FROM pg_settings WHERE name LIKE 'fsi_intent.%' AND name NOT LIKE '%.debug%' ORDER BY name});
$settings =~ s/^f\n//;
my %setting = section('Settings') =~ /^\| `(fsi_intent\.\w+)` \| `(\w+)` \|/mg;
is(join("\n", map { "$_|$setting{$_}" } sort keys %setting), $settings, 'settings in the manual are those that there are, with their defaults');

# What EXPLAIN says of a batch node.
my $plan = $node->safe_psql('manual', q{
	LOAD 'fsi_intent';
	EXPLAIN (ANALYZE, BUFFERS off, FORMAT yaml) SELECT fsi_classify(msg, ARRAY['a', 'b']) FROM labelled});
my ($properties) = $plan =~ /^(    Messages: .*?)^    Plans:/ms;
like(section('Many rows'), qr/`\Q$_\E`/, "$_ is in the manual") for $properties =~ /^    ([\w ]+): /mg;

# The headings that it points to are there, and its lines are no longer than they may be.
my $text = $readme =~ s/^```.*?^```$//msgr;
sub anchors
{
	my ($of) = @_;
	return map { lc($_) =~ s/[^\w\- ]//gr =~ s/ /-/gr => 1 } ($of =~ s/^```.*?^```$//msgr) =~ /^#+ (.*)$/mg;
}
my %there = anchors($readme);
for my $anchor ($text =~ /\]\(#([^)\s]+)\)/g)
{
	ok($there{$anchor}, "#$anchor: the heading");
}
is(join("\n", grep { !/^\|/ && length(decode('UTF-8', $_)) > 120 } split /\n/, $readme), '', 'no line has more than 120 characters');

$node->stop;
done_testing();

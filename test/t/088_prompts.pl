# fsi_prompts on files: the published generator's job with COPY, its progress, memory that stays flat, and where the
# published templates are at hand, all of them.
use strict;
use warnings;
use Fsi;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX qw(mkfifo);
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 13, 1024);
my $node = fsi_node('prompts', "client_encoding = 'UTF8'\nlog_temp_files = 0");
$node->safe_psql('postgres', qq{CREATE EXTENSION fsi_intent; SELECT fsi_import_model('tiny', '$dir/tiny')});
sub sql { return $node->safe_psql('postgres', $_[0]) }

# ---- train.jsonl and valid.jsonl of a list of subsets

my $end = '--- [define prompt template end] ---';
my %template = (
	colours => "prompt_template:\n{text}\nwhich colour? {examples}\n\nresponse_template:\n{intent}\n\nkwargs:\n"
	  . "{\"example_template\": \"{intent}\", \"example_sep\": \", \", \"max_n_shot\": 1}\n\n$end\n",
	'动物' => "prompt_template:\n动物识别。\n{examples}\n文本：{text}\n动物：\n\nresponse_template:\n{intent}\n\nkwargs:\n"
	  . "{\"example_template\": \"\\n文本：{text}\\n动物：{intent}\\n\", \"example_sep\": \"---\"}\n\n$end\n");
mkdir "$dir/templates";
while (my ($name, $text) = each %template)
{
	append_to_file("$dir/templates/${name}_template.txt", $text);
}
sql(q{
	CREATE TABLE seed (text text, intent text, split text, source text);
	INSERT INTO seed SELECT format('"%s" \ %s', i, c), c, CASE i % 4 WHEN 0 THEN 'test' ELSE 'train' END, 'colours'
		FROM generate_series(1, 40) i, unnest(ARRAY['red', 'green', 'blue']) c;
	INSERT INTO seed SELECT format('%s 号%s', i, c), c, CASE i % 4 WHEN 0 THEN 'test' ELSE 'train' END, '动物'
		FROM generate_series(1, 40) i, unnest(ARRAY['狗', '猫']) c});
my $templates = qq{(SELECT jsonb_object_agg(replace(f, '_template.txt', ''), pg_read_file('$dir/templates/' || f))
	FROM pg_ls_dir('$dir/templates') f)};
my %n = (train => 3 * 5 * 30, test => 3 * 5 * 10);
for my $split ('train', 'test')
{
	sql(qq{COPY (SELECT row_to_json(fsi_prompts('SELECT * FROM seed WHERE split = ''$split''', $templates, '{"samples": 3}')))
		TO '$dir/$split.jsonl' WITH (FORMAT csv, DELIMITER E'\\x02', QUOTE E'\\x01')});
	my @lines = split /\n/, slurp_file("$dir/$split.jsonl");
	my @rows = map { decode_json($_) } @lines;
	is(scalar @rows, $n{$split}, "$split.jsonl: a pair for each row and sample");
	is(scalar(grep { $_->{split} ne $split || $_->{prompt} eq '' || $_->{response} ne $_->{intent} } @rows), 0,
		"$split.jsonl: whole objects");
	is(scalar(grep { $_->{prompt} =~ /^"\d+" \\ \w+\nwhich colour\? \w+(, \w+)+$/ } @rows), 3 / 5 * $n{$split},
		"$split.jsonl: quotes, backslashes and line ends come through");
}

# ---- progress: the pipe is full and nobody reads it

mkfifo("$dir/pipe", 0600) or die "mkfifo: $!";
my $copy = $node->background_psql('postgres');
$copy->{stdin} .= qq{COPY (SELECT row_to_json(fsi_prompts('seed', $templates, '{"samples": 100}')))
	TO '$dir/pipe' WITH (FORMAT csv, DELIMITER E'\\x02', QUOTE E'\\x01');\n};
$copy->{run}->pump_nb;
open my $pipe, '<', "$dir/pipe" or die "$dir/pipe: $!";
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_progress_copy WHERE tuples_processed > 100}),
	'pg_stat_progress_copy counts the pairs');
my $lines = 0;
$lines++ while <$pipe>;
is($lines, 100 * 200, 'and all of them come');
$copy->quit;

# ---- memory

sql(q{CREATE TABLE long AS SELECT i, md5(i::text) || repeat(' word', 400) || i AS text, 'intent ' || i % 10 AS intent
	FROM generate_series(1, 20000) i});
my $text = $template{colours};
my $before = -s $node->logfile;
my $used = sql(qq{
	BEGIN;
	SET LOCAL work_mem = '1MB';
	DECLARE c CURSOR FOR SELECT (s.p).response FROM (SELECT fsi_prompts('long', \$t\$$text\$t\$)) s(p);
	MOVE 5000 FROM c;
	SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name = 'SRF multi-call context';
	COMMIT});
cmp_ok($used, '<', 5_000_000, "44 MB of texts: $used bytes of memory");
cmp_ok($used, '>', 20000 * 28, 'the rest is counted');
like(slurp_file($node->logfile, $before), qr/temporary file: .*, size 4\d{7}\b/, 'the texts are in a temporary file');
is(sql(q{SELECT count(*) FROM pg_ls_tmpdir()}), '0', 'which is gone');

# ---- the published templates

my $shared = ($ENV{FSI_SHARED} // '') . '/data/seed';
SKIP:
{
	skip "the published templates are not at $shared", 1 unless -r "$shared/labels.json";
	sql(qq{
		CREATE TABLE file (subset text, line jsonb);
		CREATE TABLE labels AS SELECT pg_read_file('$shared/labels.json')::jsonb AS l});
	for my $subset ('snips_built_in_intents', 'smp2019_task1_domain', 'banking77')
	{
		sql(qq{
			CREATE TEMP TABLE lines (line jsonb);
			COPY lines FROM '$shared/$subset.jsonl' WITH (FORMAT csv, DELIMITER E'\\x02', QUOTE E'\\x01');
			INSERT INTO file SELECT '$subset', line FROM lines});
	}
	sql(q{CREATE VIEW row AS SELECT line->>'text' AS text, line->>'label' AS intent, line->>'split' AS split, subset AS source FROM file});
	my $all = qq{ARRAY(SELECT pg_read_file('$shared/templates/' || f) FROM pg_ls_dir('$shared/templates') f ORDER BY f)};
	my $names = q{jsonb_build_object('labels', l->'labels', 'descriptions', l->'descriptions')};
	my $options = qq{$names || '{"model": "tiny"}'};
	for my $faithful ('false', 'true')
	{
		is(sql(qq{SELECT count(DISTINCT template), count(*) = 12 * 322, bool_and(prompt <> '' AND response <> ''),
				bool_and(NOT prompt ~ '\\{(examples|text|intent|intent_symbol|not_applicable|intent_description)\\}'),
				bool_and(intents IS NULL OR response = ANY(intents) OR ($faithful AND not_applicable))
			FROM labels, fsi_prompts('SELECT * FROM row WHERE source = ''snips_built_in_intents''', $all,
				$names || '{"samples": 12, "faithful": $faithful}')}), '403|t|t|t|t',
			"all 403 templates, faithful $faithful");
	}
	my $own = qq{(SELECT jsonb_object_agg(replace(f, '_template.txt', ''), pg_read_file('$shared/templates/' || f))
		FROM pg_ls_dir('$shared/templates') f)};
	my %first;
	for my $faithful ('false', 'true')
	{
		my $row = sql(qq{SELECT round(avg((response IN ('1', 'a', 'A'))::int), 2), round(avg((length(response) = 1 AND response ~ '[A-Z]')::int), 2)
			FROM labels, fsi_prompts('SELECT * FROM row WHERE source = ''banking77'' AND split = ''test''', $own,
				$options || '{"faithful": $faithful}')
			WHERE NOT not_applicable AND length(response) <= 2});
		$first{$faithful} = [ split /\|/, $row ];
	}
	# measured on the original: 94 of 100
	cmp_ok($first{true}[0], '>', 0.9, "banking77 as it was: the right symbol is the first in $first{true}[0]");
	cmp_ok($first{false}[0], '<', 0.3, "mended: in $first{false}[0]");
	cmp_ok($first{true}[1], '>', 0.25, "as it was: $first{true}[1] of the symbols are upper-case letters");
	is($first{false}[1] + 0, 0, 'mended: none');
	is(sql(qq{SELECT count(*) = (SELECT count(*) FROM row WHERE source <> 'banking77'), count(DISTINCT source), bool_and(intent_version IS NOT NULL)
		FROM labels, fsi_prompts('SELECT * FROM row WHERE source <> ''banking77''', $own, $options || '{"faithful": true}')}),
		'f|2|t', 'subsets with their own templates and names');
}

unlike(slurp_file($node->logfile), qr/temporary file leak|terminated by signal|PANIC/, 'no leak, no crash');
$node->stop;
done_testing();

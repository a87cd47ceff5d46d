# Databases of other encodings: converted to UTF-8 and back, equal labels; what is no text is an error with its place.
use strict;
use warnings;
use utf8;
use Encode qw(encode);
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 6);

my $node = PostgreSQL::Test::Cluster->new('encodings');
$node->init(extra => [ '-E', 'UTF8', '--locale', 'C' ]);
$node->start;
for my $encoding ('UTF8', 'LATIN1', 'EUC_CN', 'SQL_ASCII')
{
	$node->safe_psql('postgres', "CREATE DATABASE \"in_$encoding\" TEMPLATE template0 ENCODING '$encoding' LOCALE 'C'");
	$node->safe_psql("in_$encoding", 'CREATE EXTENSION fsi_intent');
}

# The client speaks UTF-8 to each; SQL_ASCII passes bytes through.
sub ask
{
	my ($encoding, $sql) = @_;
	my ($rc, $out, $err) = $node->psql("in_$encoding", encode('UTF-8', "SET client_encoding = 'UTF8'; $sql"));
	return ($out, $err);
}

my %question = (
	LATIN1 => "'où est mon café', ARRAY['café', 'météo', 'père'], '{\"other\": \"à part\", \"descriptions\": {\"météo\": \"été, hiver\"}}'",
	EUC_CN => "'我要退款', ARRAY['退款', '查快递', '天气'], '{\"other\": \"其他\", \"examples\": [{\"text\": \"下雨吗\", \"intent\": \"天气\"}]}'",
);
for my $encoding ('LATIN1', 'EUC_CN')
{
	my $sql = "SELECT string_agg(intent || ' ' || float8send(score)::text, ',' ORDER BY score DESC) FROM fsi_scores($question{$encoding})";
	my ($expected) = ask('UTF8', $sql);
	ok(length $expected, "$encoding: there is an answer in UTF8");
	for my $other ($encoding, 'SQL_ASCII')
	{
		my ($out, $err) = ask($other, $sql);
		is($out, $expected, "$other gives the same bits and spelling as UTF8") or diag($err);
	}
	($expected) = ask('UTF8', "SELECT fsi_prompt($question{$encoding})");
	is((ask($encoding, "SELECT fsi_prompt($question{$encoding})"))[0], $expected, "$encoding: fsi_prompt");
}

# fsi_prompts: texts, templates, names and what comes out.
my %rows = (
	LATIN1 => [ 'à', q{('où', 'café'), ('là', 'café'), ('été', 'météo'), ('ça', 'météo')}, q{{"café": "crème", "météo": "grêle"}} ],
	EUC_CN => [ '答', q{('我要', '退款'), ('钱', '退款'), ('下雨', '天气'), ('风', '天气')}, q{{"退款": "要钱", "天气": "多云"}} ]);
for my $encoding ('LATIN1', 'EUC_CN')
{
	my ($word, $values, $labels) = @{ $rows{$encoding} };
	my $sql = qq{SELECT string_agg(p::text, '|') FROM fsi_prompts(
		\$q\$SELECT * FROM (VALUES $values) v(text, intent)\$q\$, E'prompt_template:\\n{text} $word {examples}\\nresponse_template:\\n{intent}\\n'
		|| E'kwargs:\\n{"example_template": "{text} $word {intent}"}\\n--- [define prompt template end] ---', '{"labels": $labels}') p};
	my ($expected) = ask('UTF8', $sql);
	like($expected, qr/\Q@{[ encode('UTF-8', $word) ]}\E/, "$encoding: there are prompts in UTF8");
	for my $other ($encoding, 'SQL_ASCII')
	{
		my ($out, $err) = ask($other, $sql);
		is($out, $expected, "$other gives the same prompts") or diag($err);
	}
}

# Whole tables with workers, batches, evaluation and training: the same answers and bits.
my %labelled = (
	LATIN1 => [ 'autre café', [ 'je veux être remboursé', 'remboursé' ], [ 'où est mon colis', 'suivi où' ], [ 'le café était froid', 'qualité' ] ],
	EUC_CN => [ '其他', [ '我要退款', '退款' ], [ '快递到哪了', '查快递' ], [ '明天下雨吗', '天气' ] ]);
for my $encoding ('LATIN1', 'EUC_CN')
{
	my ($other, @rows) = @{ $labelled{$encoding} };
	my $values = join ', ', map { "($_, '$rows[$_][0]', '$rows[$_][1]')" } 0 .. $#rows;
	my $intents = 'ARRAY[' . join(', ', map { "'$_->[1]'" } @rows) . ']';
	my %got;
	for my $e ('UTF8', $encoding)
	{
		for my $sql ("CREATE TABLE work AS SELECT g AS id, t || ' ' || g AS msg, i AS intent, NULL::text AS answer
				FROM generate_series(1, 60) g JOIN (VALUES $values) v(n, t, i) ON n = g % 3",
			"CALL fsi_classify_table('work', 'msg', 'answer', $intents, '{\"other\": \"$other\"}', condition => \$q\$msg <> '$rows[0][1]'\$q\$,
				workers => 2, chunk_rows => 10)",
			"CALL fsi_train('$other', 'SELECT msg AS text, intent FROM work', '{\"max_steps\": 5, \"replace\": true,
				\"descriptions\": {\"$rows[0][1]\": \"$rows[0][0]\"}}')",
			"SELECT count(answer) || string_agg(answer, ',' ORDER BY id) FROM work",
			"LOAD 'fsi_intent'; SET fsi_intent.debug_require_batch = on;
				SELECT string_agg(fsi_classify(msg, $intents, '{\"other\": \"$other\"}'), ',' ORDER BY id) FROM work",
			"SELECT accuracy, log_loss FROM fsi_evaluate('SELECT msg AS text, intent FROM work')",
			"SELECT string_agg(intent || float8send(score)::text, ',' ORDER BY score DESC)
				FROM fsi_scores('$rows[1][0]', $intents, '{\"model\": \"$other\"}')",
			'DROP TABLE work')
		{
			my ($out, $err) = ask($e, $sql);
			unlike($err, qr/ERROR|could not start/, "$e: " . encode('UTF-8', substr($sql, 0, 28))) or diag($err);
			$got{$e} .= "$out\n";
		}
	}
	like($got{UTF8}, qr/^60.*\n.+\n.+\n.+\n/m, "$encoding: there are answers in UTF8");
	is($got{$encoding}, $got{UTF8}, "$encoding: the same answers and bits");
}

# Errors name intents in the database's encoding.
my ($out, $err) = ask('LATIN1', "SELECT fsi_classify('x', ARRAY['CAFÉ', 'café'])");
like($err, qr/intents "CAF\xc3\x89" and "caf\xc3\xa9" are the same/, 'LATIN1: an error names the intents');
($out, $err) = ask('EUC_CN', "SELECT fsi_classify('x', ARRAY['a', repeat('退款', 1000)])");
like($err, qr/intent "(\xe9\x80\x80\xe6\xac\xbe)+\.\.\." has \d+ tokens/, 'EUC_CN: a long intent is cut between characters');

# Bytes that are no UTF-8, where nothing else has looked at them.
for my $call ("fsi_classify(E'abc\\xff', ARRAY['a', 'b'])", "fsi_classify_many(ARRAY['a', E'abc\\xff'], ARRAY['a', 'b'])",
	"fsi_embed(E'abc\\xff')", "fsi_tokens(E'abc\\xff')", "fsi_classify('x', ARRAY['a', E'abc\\xff'])",
	"fsi_classify('x', ARRAY['a', 'b'], jsonb_build_object('other', E'abc\\xff'))",
	"fsi_classify('x', ARRAY['a', 'b'], jsonb_build_object('examples', jsonb_build_array(jsonb_build_object('text', E'abc\\xff', 'intent', 'a'))))")
{
	($out, $err) = ask('SQL_ASCII', "\\set VERBOSITY verbose\nSELECT $call");
	like($err, qr/ERROR:  22021: .* at byte 3: 0xff/, "SQL_ASCII: $call");
}
($out, $err) = ask('SQL_ASCII', "SELECT fsi_classify(E'abc\\xe4\\xb8', ARRAY['a', 'b'])");
like($err, qr/at byte 3: 0xe4/, 'SQL_ASCII: a character that is cut off');
my $template = q{E'prompt_template:\\n{text}\\nresponse_template:\\n{intent}\\nkwargs:\\n{}\\n--- [define prompt template end] ---'};
for my $arguments (qq{\$q\$SELECT E'abc\\xff' AS text, 'a' AS intent\$q\$, $template}, q{'x', E'abc\\xff'},
	qq{'x', $template, jsonb_build_object('labels', jsonb_build_object('a', E'abc\\xff'))})
{
	($out, $err) = ask('SQL_ASCII', "\\set VERBOSITY verbose\nSELECT fsi_prompts($arguments)");
	like($err, qr/ERROR:  22021: .* at byte 3: 0xff/, "SQL_ASCII: fsi_prompts($arguments)");
}

# Text that the model makes may lack a place in the database's encoding.
ask('LATIN1', "SELECT fsi_import_model('tiny', '$dir/tiny')");
my ($all, $failed) = (0, 0);
for my $seed (1 .. 10)
{
	($out, $err) = ask('LATIN1', "SELECT length(fsi_generate('where is', 'tiny', 8, 1.5, seed => $seed)) >= 0");
	$all++ if $out eq 't';
	$failed++ if $err =~ /has no equivalent in encoding "LATIN1"/;
}
is($all + $failed, 10, 'LATIN1: generated text, or an error that names the character');

# A name must stay one when a dump brings it to a database in UTF-8.
($out, $err) = ask('LATIN1', "SELECT fsi_import_model(repeat('é', 32), '$dir/tiny')");
like($err, qr/must have 1 to 63 bytes\nDETAIL:  In UTF-8 it has 64 bytes/, 'LATIN1: a name that is too long in UTF-8');
ask('LATIN1', "SELECT fsi_import_model(repeat('é', 31), '$dir/tiny')");
my $longest = q{SELECT fsi_classify('x', ARRAY['a'], jsonb_build_object('model', repeat('é', 31)))};
is((ask('LATIN1', $longest))[0], 'a', 'LATIN1: the longest name');
$node->safe_psql('postgres', "CREATE DATABASE later TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'");
command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", '-d', $node->connstr('in_LATIN1') ], 'LATIN1: dump');
command_ok([ 'pg_restore', '-e', '-d', $node->connstr('later'), "$dir/dump" ], 'LATIN1: restore in UTF-8');
is($node->safe_psql('later', encode('UTF-8', $longest)), 'a', 'LATIN1: the longest name, in UTF-8');

# Neither does a training find out at its end that its name is no text.
for my $call ("SELECT fsi_import_model(E'caf\\xe9', '$dir/tiny')", q{CALL fsi_train(E'caf\xe9', 'SELECT 1', '{"max_steps": 1}')})
{
	($out, $err) = ask('SQL_ASCII', "\\set VERBOSITY verbose\n$call");
	like($err, qr/ERROR:  22021: .* at byte 3: 0xe9/, "SQL_ASCII: $call");
}

done_testing();

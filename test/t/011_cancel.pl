# pg_cancel_backend() from another session, in the middle of one call of each kind: the call ends there, not when
# its work is done, and its session goes on with sound caches.
use strict;
use warnings;
use Fsi;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
make_tiny("$dir/tiny", 4, 30000);

my $node = fsi_node('cancel', "jit = off\nmax_parallel_workers_per_gather = 0");
$node->safe_psql('postgres', qq{
	CREATE EXTENSION fsi_intent;
	SELECT fsi_import_model('tiny', '$dir/tiny');
	CREATE TABLE options AS SELECT jsonb_build_object('examples', fsi_examples('text ' || md5(i::text), 'a')) AS o
		FROM generate_series(1, 100000) i;
	CREATE TABLE wide (intents text[]);
	ALTER TABLE wide ALTER intents SET STORAGE PLAIN;
	INSERT INTO wide SELECT ARRAY[repeat('a', 7500), i::text] FROM generate_series(1, 10000) i;
	CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C';
});
$node->safe_psql('latin', 'CREATE EXTENSION fsi_intent');

# Each call stands between two sequences in one expression, where nothing else looks at interrupts: "started" says
# that it has begun, "finished" would say that it ran to its end. Both survive the rollback.
my $started = q{left(nextval('started')::text, 0)};
my $template = q{E'prompt_template:\n{text}\n{examples}\nresponse_template:\n{intent}\nkwargs:\n{"example_template": "{text} {intent}", '
	|| E'"max_n_shot": 1000, "min_n_shot": 1000}\n--- [define prompt template end] ---'};

# A source without an end; in its rows, what says that the call has begun.
sub evaluate
{
	my ($function, $arguments) = @_;
	return qq{SELECT nextval('finished' || left(rows::text, 0)) FROM $function(\$\$
		SELECT 'message ' || i || $started AS text, i % 2 AS intent FROM (SELECT generate_series(1, 100000000) AS i) s\$\$,
		$arguments)};
}

my @calls = (
	[ 'rows of fsi_classify' => qq{
		SELECT fsi_classify('message ' || i || $started, ARRAY['refund', 'weather']) FROM generate_series(1, 100000000) i} ],
	# Arguments of a batch, of which the last one would be an error.
	[ 'rows read ahead' => q{LOAD 'fsi_intent'; SET fsi_intent.batch_rows = 10000; SET work_mem = '1GB'; SET fsi_intent.debug_require_batch = on;
		SELECT fsi_classify(length(ln(i)::text) || unistr(CASE WHEN i > 9999.5 THEN '\z' ELSE '' END), ARRAY['refund', 'weather'])
		FROM (SELECT i::numeric(1000, 400) AS i FROM generate_series(1, 10000) i OFFSET 0) s LIMIT (SELECT 9999 + nextval('started'))} ],
	# Its arguments are of one length and differ at the end, so that to compare them takes half a minute.
	[ 'rows that differ in their intents' => q{LOAD 'fsi_intent'; SET fsi_intent.batch_rows = 10000; SET work_mem = '1GB'; SET fsi_intent.debug_require_batch = on;
		SELECT fsi_classify('x', intents) FROM (SELECT intents FROM wide OFFSET 0) s LIMIT (SELECT 9999 + nextval('started'))} ],
	[ 'one fsi_classify_multi' => qq{SELECT nextval('finished' || left(cardinality(
		fsi_classify_multi('x' || $started, ARRAY(SELECT 'some name of intent number ' || i FROM generate_series(1, 9000) i)))::text, 0))} ],
	[ 'one fsi_classify_many' => qq{SELECT nextval('finished' || left(cardinality(
		fsi_classify_many(texts || ('hello' || $started), ARRAY['refund', 'weather']))::text, 0))
		FROM (SELECT array_agg('message ' || i) AS texts FROM generate_series(1, 500000) i OFFSET 0) s} ],
	[ 'fsi_generate' => qq{SELECT nextval('finished' || left(fsi_generate('where is' || $started, 'tiny', 29000), 0))} ],
	[ 'fsi_tokens of a huge text' => qq{SELECT nextval('finished' || left(cardinality(fsi_tokens(t || $started))::text, 0))
		FROM (SELECT repeat('abc def ', i) AS t FROM generate_series(40000000, 40000000) i OFFSET 0) s} ],
	[ 'fsi_tokens of one word' => qq{SELECT nextval('finished' || left(cardinality(fsi_tokens(t || $started))::text, 0))
		FROM (SELECT repeat('é', i) AS t FROM generate_series(30000000, 30000000) i OFFSET 0) s} ],
	[ 'fsi_tokens of a huge text in LATIN1' => qq{SELECT nextval('finished' || left(cardinality(fsi_tokens(t || $started))::text, 0))
		FROM (SELECT repeat(chr(233) || ' b', i) AS t FROM generate_series(60000000, 60000000) i OFFSET 0) s}, 'latin' ],
	[ 'preparation of 100,000 examples' => qq{SELECT nextval('finished' || left(
		fsi_classify('x' || $started, ARRAY['a', 'b'], o), 0)) FROM (SELECT o || '{"other": "none"}' AS o FROM options OFFSET 0) s} ],
	[ 'preparation of 9,000 intents' => qq{SELECT nextval('finished' || left(
		fsi_classify('x' || $started, ARRAY(SELECT 'some name of intent number ' || i FROM generate_series(1, 9000) i)), 0))} ],
	[ 'fsi_prompts that reads its rows' => qq{SELECT nextval('finished' || left(count(*)::text, 0)) FROM fsi_prompts(
		'SELECT i AS text, i % 2 AS intent FROM generate_series(1, 20000000) i' || $started, $template)} ],
	[ 'fsi_prompts that shortens a prompt of 20 MB' => qq{SELECT nextval('finished' || left(count(*)::text, 0)) FROM fsi_prompts(
		'SELECT repeat(''word '', 2000) || i AS text, i % 2 AS intent FROM generate_series(1, 2002) i' || $started, $template)} ],
	[ 'fsi_evaluate' => evaluate('fsi_evaluate', q{ARRAY['0', '1']}) ],
	[ 'fsi_evaluate while it reads the labels' => evaluate('fsi_evaluate', 'NULL') ],
	[ 'fsi_evaluate_generation' => evaluate('fsi_evaluate_generation', q{ARRAY['0', '1'], '{"model": "tiny"}'}) ],
	[ 'fsi_train while it reads its rows' => qq{CALL fsi_train('never', \$\$
		SELECT 'message ' || i || $started AS text, i % 2 AS intent FROM (SELECT generate_series(1, 100000000) AS i) s\$\$)} ],
);

for my $call (@calls)
{
	my ($what, $sql, $db) = @$call;
	$db //= 'postgres';
	$node->safe_psql($db, 'DROP SEQUENCE IF EXISTS started, finished; CREATE SEQUENCE started; CREATE SEQUENCE finished');
	my ($out, $err) = ('', '');
	my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($db), '-v', 'VERBOSITY=verbose',
			'-c', 'SELECT pg_backend_pid()', '-c', $sql, '-c', q{SELECT fsi_classify('weather', ARRAY['refund', 'weather'])} ],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(180));
	IPC::Run::pump($session) until $out =~ /\n/;
	my ($pid) = $out =~ /^(\d+)/;
	$out = '';
	ok($node->poll_query_until($db, 'SELECT is_called FROM started'), "$what: at work");
	is($node->safe_psql($db, "SELECT pg_cancel_backend($pid)"), 't', "$what: told to stop");
	my $told = time;
	IPC::Run::finish($session);
	cmp_ok(time - $told, '<', 10, "$what: soon");
	like($err, qr/^ERROR:  57014: canceling statement due to user request$/m, "$what: cancelled");
	is($node->safe_psql($db, 'SELECT is_called FROM finished'), 'f', "$what: before it was done");
	is($out, "weather\n", "$what: the session goes on");
}

# A transaction's time limit ends a call, too: in its midst, before it has seen that the word is too long.
SKIP:
{
	skip 'transaction_timeout has come with PostgreSQL 17', 1 if $node->pg_version < 17;
	my (undef, undef, $err) = $node->psql('postgres', q{SET transaction_timeout = '500ms'; SELECT cardinality(fsi_tokens(repeat('é', 30000000)))});
	like($err, qr/FATAL:  terminating connection due to transaction timeout/, 'a call takes longer than its transaction may');
}

unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'no backend has crashed');
$node->stop;
done_testing();

-- fsi_classify_multi: every intent that holds on its own, alone and in the batch node.

\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/test/sql/fails.psql
\pset null (null)

-- a message that is an example holds; order and spelling of the intents are the caller's, duplicates one
\set examples '{"examples": [{"text": "zqx 17", "intent": "alpha"}, {"text": "hello there", "intent": "beta"}, {"text": "good bye", "intent": "gamma"}]}'
SELECT fsi_classify_multi('zqx 17', ARRAY['alpha', 'beta', 'gamma'], :'examples');
SELECT fsi_classify_multi('zqx 17', ARRAY['gamma', ' alpha ', 'beta', 'alpha'], :'examples');
SELECT fsi_classify_multi(NULL, ARRAY['a', 'b']), fsi_classify_multi('x', NULL), fsi_classify_multi('x', ARRAY['a', 'b'], NULL);
-- all, none, and "other" where none holds
SELECT fsi_classify_multi('zqx 17', ARRAY['alpha', 'beta', 'gamma'], '{"min_score": 0}') @> '{alpha,beta,gamma}' AS all,
	fsi_classify_multi('zqx 17', ARRAY['alpha', 'beta', 'gamma'], '{"min_score": 1}') AS none,
	fsi_classify_multi('zqx 17', ARRAY['alpha', 'beta', 'gamma'], '{"min_score": 1, "other": "none of these"}') AS other;
-- one intent alone holds or does not
SELECT fsi_classify_multi('zqx 17', ARRAY['alpha'], '{"min_score": 0}'), fsi_classify_multi('zqx 17', ARRAY['alpha'], '{"min_score": 1}');

-- What holds is what fsi_scores() gives so much where it is the only intent beside "other".
CREATE TABLE multi_msg AS SELECT i AS id, CASE WHEN i % 11 = 0 THEN NULL ELSE (ARRAY['where is my parcel', 'I want my money back', 'hello', '退款', 'is it raining'])[1 + i % 5] ||
	(ARRAY['', ' and ', ' 另外 '])[1 + i % 3] || (ARRAY['', 'cancel my order', 'my parcel is broken', 'what is the weather'])[1 + i % 4] END AS txt
FROM generate_series(1, 200) i;
\set intents 'ARRAY[''refund'', ''track order'', ''weather'', ''complaint'', ''cancel order'']'
SELECT t AS min_score, count(*), bool_and(same) AS same, max(n) > 0 AS any FROM unnest(ARRAY[0, 0.2, 0.4, 0.6, 0.9]) t, LATERAL (
	SELECT fsi_classify_multi(txt, :intents, o) = m AS same, cardinality(m) AS n
	FROM multi_msg, LATERAL (SELECT jsonb_build_object('min_score', t, 'other', 'none') AS o) o, LATERAL (
		SELECT coalesce(array_agg(intent ORDER BY p DESC, intent COLLATE "C") FILTER (WHERE p >= t AND intent <> 'none'), '{none}') AS m
		FROM (SELECT s.intent, s.score AS p FROM unnest(:intents) i, fsi_scores(txt, ARRAY[i], o) s) s) m
	WHERE txt IS NOT NULL) x GROUP BY t ORDER BY t;
-- without examples an intent's score does not depend on what stands beside it
SELECT bool_and((fsi_classify_multi(txt, :intents) @> ARRAY['refund']) = (fsi_classify_multi(txt, ARRAY['refund']) @> ARRAY['refund'])) AS alone FROM multi_msg;
-- with examples it does: what the other intents' examples say counts against it
SELECT count(*) > 0 AS differ FROM multi_msg, unnest(ARRAY[0.2, 0.4, 0.5, 0.6, 0.8]) t, LATERAL (
	SELECT jsonb_build_object('min_score', t, 'examples', '[{"text": "give it back", "intent": "refund"}]'::jsonb) AS one,
		jsonb_build_object('min_score', t, 'examples', '[{"text": "give it back", "intent": "refund"}, {"text": "it did not come", "intent": "track order"}]'::jsonb) AS two) o
WHERE (fsi_classify_multi(txt, ARRAY['refund'], one) = '{}') <> NOT fsi_classify_multi(txt, ARRAY['refund', 'track order'], two) @> '{refund}';
SELECT array_position(fsi_classify_multi('hello', ARRAY['b', 'a', 'c'], '{"min_score": 0}'), NULL), array_dims(fsi_classify_multi('hello', ARRAY['b', 'a', 'c'], '{"min_score": 0}'));

-- the same in the batch node
LOAD 'fsi_intent';
SET max_parallel_workers_per_gather = 0;
EXPLAIN (COSTS OFF) SELECT fsi_classify_multi(txt, :intents) FROM multi_msg;
SET fsi_intent.debug_require_batch = on;
CREATE TEMP TABLE batched AS SELECT id, fsi_classify_multi(txt, :intents) AS a, fsi_classify(txt, :intents) AS b,
	fsi_classify_multi(txt, ARRAY['refund', 'weather'], jsonb_build_object('min_score', id % 3 / 2.0)) AS c FROM multi_msg;
SET fsi_intent.debug_require_batch = off;
SET fsi_intent.enable_batch = off;
CREATE TEMP TABLE single AS SELECT id, fsi_classify_multi(txt, :intents) AS a, fsi_classify(txt, :intents) AS b,
	fsi_classify_multi(txt, ARRAY['refund', 'weather'], jsonb_build_object('min_score', id % 3 / 2.0)) AS c FROM multi_msg;
RESET fsi_intent.enable_batch;
SELECT count(*), count(a), count(b), count(c), count(*) FILTER (WHERE cardinality(a) > 1) > 10 AS several, count(*) FILTER (WHERE a = '{}') > 0 AS none,
	bool_and(a @> ARRAY[b]) FILTER (WHERE a <> '{}') AS best_holds FROM batched;
SELECT count(*) AS differ FROM (TABLE batched EXCEPT TABLE single) d;
SELECT count(*) > 10 AS some, count(*) = (SELECT count(*) FROM single WHERE a && ARRAY['refund', 'weather']) AS same
FROM multi_msg WHERE fsi_classify_multi(txt, :intents) && ARRAY['refund', 'weather'];
-- without min_score an intent holds from 0.5 on
SELECT bool_and(fsi_classify_multi(txt, :intents) = fsi_classify_multi(txt, :intents, '{"min_score": 0.5}')) AS same,
	bool_or(fsi_classify_multi(txt, :intents) <> fsi_classify_multi(txt, :intents, '{"min_score": 0.55}')) AS other_than_more FROM multi_msg;
-- what it remembers is no answer of fsi_classify's, nor the other way round
SELECT bool_and(fsi_classify(txt, :intents) = (SELECT b FROM single s WHERE s.id = m.id)) AS same FROM multi_msg m WHERE txt IS NOT NULL;

-- mistakes
SELECT call, f.code, f.message, f.hint FROM unnest(ARRAY[$$'x', '{}'$$, $$'x', '{a,NULL}'$$, $$'x', ARRAY['']$$, $$'x', '{{a},{b}}'$$, $$'x', '{a,b}', '[]'$$, $$'x', '{a,b}', '{"min_score": 2}'$$,
	$$'x', '{a,b}', '{"other": "a"}'$$, $$'x', '{a,b}', '{"model": "nowhere"}'$$]) call, LATERAL pg_temp.fails('SELECT fsi_classify_multi(' || call || ')') f;

-- an index on it
CREATE INDEX multi_idx ON multi_msg USING gin (fsi_classify_multi(txt, ARRAY['refund', 'weather']));
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM multi_msg WHERE fsi_classify_multi(txt, ARRAY['refund', 'weather']) @> '{refund}';
RESET enable_seqscan;
DROP TABLE multi_msg;

-- ---------------------------------------------------------------- a prompt model

\getenv abs_builddir PG_ABS_BUILDDIR
\setenv tiny :abs_builddir/tiny_multi
\setenv make_tiny :abs_srcdir/test/data/tiny_gpt2.pl
\! rm -rf "$tiny" && perl "$make_tiny" "$tiny" 9
\set tiny :abs_builddir /tiny_multi
SELECT fsi_import_model('tiny_multi', :'tiny') IS NOT NULL AS imported;
\x on
SELECT * FROM pg_temp.fails($$SELECT fsi_classify_multi('where is it', ARRAY['refund', 'cancel'], '{"model": "tiny_multi"}')$$);
\x off
SELECT bool_and(fsi_classify_multi(txt, ARRAY['refund', 'cancel', 'track order'], o) = m) AS same
FROM unnest(ARRAY['where is it', 'hello', '退款']) txt, unnest(ARRAY[0, 0.3, 0.5, 0.7]) t,
	LATERAL (SELECT jsonb_build_object('model', 'tiny_multi', 'other', 'none', 'min_score', t) AS o) o, LATERAL (
	SELECT coalesce(array_agg(intent ORDER BY p DESC, intent COLLATE "C") FILTER (WHERE p >= t AND intent <> 'none'), '{none}') AS m
	FROM (SELECT intent, score / (score + max(score) FILTER (WHERE intent = 'none') OVER ()) AS p FROM fsi_scores(txt, ARRAY['refund', 'cancel', 'track order'], o)) s) m;

-- Free generation. This model's weights are random; the labels are what it happens to write, for some rows the right one.
-- What is longer than the longest label is none. (Seed 9: no label has a special token in it, which fsi_generate() would not show.)
\set options '{"model": "tiny_multi", "template": "{text}"}'
CREATE TEMP TABLE label AS
SELECT intent, row_number() OVER (ORDER BY intent COLLATE "C") AS no, count(*) OVER () AS n,
	max(cardinality(fsi_tokens(intent, 'tiny_multi')) - 2) OVER () AS tokens
FROM (SELECT DISTINCT regexp_replace(answer, '\s', '', 'g') AS intent
	FROM (SELECT fsi_generate('message number ' || i, 'tiny_multi', 12) AS answer FROM generate_series(1, 300) i) a
	WHERE cardinality(fsi_tokens(answer, 'tiny_multi')) BETWEEN 3 AND 13) d;
CREATE TEMP TABLE free AS
SELECT text, CASE WHEN i % 3 > 0 AND own.intent IS NOT NULL THEN own.intent ELSE any_one.intent END AS intent, own.intent AS writes
FROM (SELECT i, 'message number ' || i AS text FROM generate_series(1, 300) i) w
JOIN label any_one ON any_one.no = 1 + i % any_one.n
LEFT JOIN label own ON own.intent = regexp_replace(fsi_generate(text, 'tiny_multi', any_one.tokens::int), '\s', '', 'g')
	AND fsi_generate(text, 'tiny_multi', any_one.tokens::int) = fsi_generate(text, 'tiny_multi', any_one.tokens::int + 1);
SELECT rows, skipped, e.correct, wrong, outside, accuracy = e.correct::float8 / rows AS accuracy, accuracy_low < accuracy AND accuracy < accuracy_high AS interval,
	wrong_rate = wrong::float8 / rows AS wrong_rate, outside_rate = outside::float8 / rows AS outside_rate,
	(e.correct, wrong, outside) = (c.correct, c.another, c.none) AS as_written
FROM fsi_evaluate_generation('free', options => :'options') e, (SELECT count(*) FILTER (WHERE writes = intent) AS correct,
	count(*) FILTER (WHERE writes <> intent) AS another, count(*) FILTER (WHERE writes IS NULL) AS none FROM free) c;
-- the same evaluation as for any model
SELECT e.rows, e.correct = (SELECT count(*) FROM free WHERE fsi_classify(text, (SELECT array_agg(DISTINCT intent) FROM free), :'options') = intent) AS correct
FROM fsi_evaluate('free', options => :'options') e;
-- an answer is the label that is spelled like it, not one that differs in white space alone and stands before it
CREATE TEMP TABLE said AS
SELECT text, answer AS intent
FROM (SELECT 'message number ' || i AS text, fsi_generate('message number ' || i, 'tiny_multi', 12) AS answer FROM generate_series(1, 300) i) a
WHERE cardinality(fsi_tokens(answer, 'tiny_multi')) BETWEEN 3 AND 13;
CREATE TEMP TABLE rival AS
SELECT DISTINCT ON (intent) intent, spaced
FROM said, generate_series(1, 9) p, LATERAL (SELECT left(intent, p) || ' ' || substr(intent, p + 1) AS spaced) s
WHERE substr(intent, p, 2) ~ '^\w\w$' AND NOT 1 = ANY (fsi_tokens(spaced, 'tiny_multi')) AND fsi_tokens(spaced, 'tiny_multi') <> fsi_tokens(intent, 'tiny_multi')
ORDER BY intent, p;
SELECT (SELECT bool_and(spaced < intent COLLATE "C") FROM rival) AS before, rows > 0 AS rows, rows = correct AS correct
FROM fsi_evaluate_generation('TABLE said', (SELECT array_agg(intent) || array_agg(spaced) FROM rival), :'options');
SELECT fsi_drop_model('tiny_multi');

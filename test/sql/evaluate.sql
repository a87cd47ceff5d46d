-- fsi_evaluate and its kin: sources, the figures against plain SQL over the same answers, mistakes.

\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/test/sql/fails.psql
\pset null (null)
CREATE SCHEMA evaluate;
SET search_path = evaluate, public;

-- Messages that are examples themselves are found again; so the answers are known, and some labels are wrong on purpose.
CREATE TABLE known (split text, intent text, id int, text text);
INSERT INTO known SELECT CASE WHEN i <= 20 THEN 'test' ELSE 'train' END,
	CASE WHEN i % 10 = 0 THEN 'beta' WHEN i = 21 THEN NULL ELSE (ARRAY['alpha', 'beta', 'gamma'])[1 + i % 3] END, i,
	CASE WHEN i <> 22 THEN (ARRAY['zqx 17', 'hello there', 'good bye'])[1 + i % 3] END
FROM generate_series(1, 25) i;
\set examples '{"examples": [{"text": "zqx 17", "intent": "alpha"}, {"text": "hello there", "intent": "beta"}, {"text": "good bye", "intent": "gamma"}]}'

SELECT rows, skipped, correct, round(accuracy::numeric, 6) AS accuracy, round(accuracy_low::numeric, 6) AS low,
	round(accuracy_high::numeric, 6) AS high, round(macro_f1::numeric, 6) AS macro_f1, coverage, out_of_scope, auroc
FROM fsi_evaluate('known', NULL, :'examples');
SELECT intent, rows, answered, correct, round(precision::numeric, 3) AS precision, round(recall::numeric, 3) AS recall, round(f1::numeric, 3) AS f1
FROM fsi_evaluate_intents('known', options => :'examples');
SELECT * FROM fsi_evaluate_confusion('known', options => :'examples');
SELECT rows, skipped, correct FROM fsi_evaluate('known', options => :'examples', split => 'test');
SELECT rows, skipped, correct FROM fsi_evaluate('known', options => :'examples', split => 'train');
-- an intent that no row has is a candidate like any other
SELECT intent, rows, answered, correct, precision, recall, f1
FROM fsi_evaluate_intents('known', ARRAY['beta', 'gamma', 'alpha', 'zzzzzzzzzz'], :'examples') WHERE rows = 0;

-- ---------------------------------------------------------------- the figures, computed once more

CREATE TABLE rows AS SELECT i AS id, 'please tell me about my ' || w || ' number ' || i AS text,
	(ARRAY['refund', 'delivery', 'complaint', 'other things'])[1 + (i * 7 + i / 3) % 4] AS intent
FROM generate_series(1, 400) i, LATERAL (SELECT (ARRAY['late delivery', 'money', '退款', 'complaint', 'weather', 'refund'])[1 + i % 6] AS w) w;
\set intents 'ARRAY[''refund'', ''delivery'', ''complaint'']'
\set options '{"other": "other things", "min_score": 0.4}'
CREATE TABLE scored AS
SELECT r.id, r.intent, fsi_classify(text, :intents, :'options') AS answer, s.*
FROM rows r, LATERAL (
	SELECT max(score) AS score, (array_agg(s.intent))[1] AS best, max(score) FILTER (WHERE s.intent <> 'other things') AS inside,
		max(score) FILTER (WHERE s.intent = r.intent) AS gold,
		sum((score - (s.intent = r.intent)::int) ^ 2) AS brier
	FROM fsi_scores(text, :intents, :'options') s) s;

SELECT e.rows = c.rows AS rows, e.correct = c.correct AS correct, e.accuracy = c.accuracy AS accuracy,
	abs(e.log_loss - c.log_loss) < 1e-12 AS log_loss, abs(e.brier - c.brier) < 1e-12 AS brier,
	abs(e.coverage - c.coverage) < 1e-12 AS coverage, e.out_of_scope = c.out_of_scope AS out_of_scope,
	abs(e.auroc - a.auroc) < 1e-12 AS auroc, abs(e.calibration_error - b.calibration_error) < 1e-12 AS calibration_error,
	e.correct BETWEEN 1 AND 399 AS not_trivial, e.auroc BETWEEN 0.01 AND 0.99 AS nor_this
FROM fsi_evaluate('rows', :intents, :'options') e,
	(SELECT count(*) AS rows, count(*) FILTER (WHERE answer = intent) AS correct, avg((answer = intent)::int)::float8 AS accuracy,
		avg(-ln(gold)) AS log_loss, avg(brier) AS brier, avg((answer <> 'other things')::int) AS coverage,
		count(*) FILTER (WHERE intent = 'other things') AS out_of_scope FROM scored) c,
	(SELECT avg(CASE WHEN i.inside > o.inside THEN 1 WHEN i.inside = o.inside THEN 0.5 ELSE 0 END) AS auroc
		FROM scored i, scored o WHERE i.intent <> 'other things' AND o.intent = 'other things') a,
	(SELECT sum(gap) / 400 AS calibration_error
		FROM (SELECT abs(sum(score) - count(*) FILTER (WHERE best = intent)) AS gap FROM scored GROUP BY ceil(score * 10)) g) b;

SELECT bool_and(e.rows = c.rows AND e.answered = c.answered AND e.correct = c.correct) AS counts,
	bool_and(e.precision IS NOT DISTINCT FROM c.correct::float8 / nullif(c.answered, 0)) AS precision, bool_and(e.recall = c.correct::float8 / c.rows) AS recall,
	bool_and(abs(e.f1 - 2.0 * c.correct / (c.rows + c.answered)) < 1e-12) AS f1,
	abs(avg(e.f1) - (SELECT macro_f1 FROM fsi_evaluate('rows', :intents, :'options'))) < 1e-12 AS macro_f1
FROM fsi_evaluate_intents('rows', :intents, :'options') e
JOIN (SELECT l.intent, count(*) FILTER (WHERE s.intent = l.intent) AS rows, count(*) FILTER (WHERE answer = l.intent) AS answered,
	count(*) FILTER (WHERE s.intent = l.intent AND answer = l.intent) AS correct
	FROM scored s, (SELECT DISTINCT intent FROM scored) l GROUP BY l.intent) c USING (intent);

SELECT count(*) AS differ FROM (
	(SELECT intent, answer, rows FROM fsi_evaluate_confusion('rows', :intents, :'options')
	EXCEPT SELECT intent, answer, count(*) FROM scored GROUP BY 1, 2)
	UNION ALL (SELECT intent, answer, count(*) FROM scored GROUP BY 1, 2
	EXCEPT SELECT intent, answer, rows FROM fsi_evaluate_confusion('rows', :intents, :'options'))) d;

SELECT count(*) AS bins, sum(c.rows) AS rows, bool_and(c.rows = s.n) AS counts, bool_and(c.score IS NOT DISTINCT FROM s.score OR abs(c.score - s.score) < 1e-12) AS score,
	bool_and(c.accuracy IS NOT DISTINCT FROM s.accuracy OR abs(c.accuracy - s.accuracy) < 1e-12) AS accuracy
FROM fsi_evaluate_calibration('rows', :intents, :'options', bins => 7) c, LATERAL (
	SELECT count(*) AS n, avg(score) AS score, avg((best = intent)::int)::float8 AS accuracy FROM scored
	WHERE score > low AND score <= high) s;
SELECT low, high FROM fsi_evaluate_calibration('rows', bins => 4) ORDER BY low;

-- thresholds are what min_score would do
SELECT count(*) AS thresholds, min(min_score), max(min_score), count(DISTINCT answered) > 3 AS differ FROM fsi_evaluate_thresholds('rows', :intents, :'options');
SELECT t.min_score, t.coverage = e.coverage AS coverage, t.accuracy = e.accuracy AS accuracy, abs(t.macro_f1 - e.macro_f1) < 1e-12 AS macro_f1,
	t.answered = p.answered AS answered, t.precision IS NOT DISTINCT FROM p.precision AS precision, t.out_of_scope_recall = o.recall AS recall
FROM fsi_evaluate_thresholds('rows', :intents, :'options', thresholds => ARRAY[0.4, 0, 0.7, 1]) t,
	LATERAL (SELECT jsonb_build_object('other', 'other things', 'min_score', t.min_score) AS o) b,
	LATERAL fsi_evaluate('rows', :intents, b.o) e,
	LATERAL (SELECT coalesce(sum(answered), 0) AS answered, sum(correct)::float8 / nullif(sum(answered), 0)::float8 AS precision
		FROM fsi_evaluate_intents('rows', :intents, b.o) WHERE intent <> 'other things') p,
	LATERAL (SELECT recall FROM fsi_evaluate_intents('rows', :intents, b.o) WHERE intent = 'other things') o;

-- without "other", a score below min_score is no answer
SELECT rows, correct, accuracy, coverage, macro_f1, out_of_scope, auroc FROM fsi_evaluate('known', NULL, :'examples'::jsonb || '{"min_score": 1}');
SELECT intent, answer, rows FROM fsi_evaluate_confusion('known', NULL, :'examples'::jsonb || '{"min_score": 1}');
SELECT min_score, answered, coverage, precision, accuracy, out_of_scope_recall FROM fsi_evaluate_thresholds('known', NULL, :'examples', thresholds => '{0,1}');
-- all rows out of scope, or none: nothing to tell apart
SELECT rows, out_of_scope, auroc FROM fsi_evaluate('SELECT text, ''none'' AS intent FROM rows LIMIT 10', :intents, '{"other": "none"}');
SELECT rows, out_of_scope, auroc FROM fsi_evaluate('known', ARRAY['alpha', 'beta', 'gamma'], '{"other": "none"}');
-- labels of the source, but for the one that "other" names
SELECT count(*), count(*) FILTER (WHERE intent = 'other things') AS other FROM fsi_evaluate_intents('rows', options => '{"other": " other things"}');

-- ---------------------------------------------------------------- sources

CREATE TABLE "Odd ""Name. " (intent varchar(20), "text" name, big text, "Text" int);
INSERT INTO "Odd ""Name. " VALUES ('a', 'hello', repeat('x', 100), 1), ('b', 'bye', NULL, 2);
CREATE VIEW v AS SELECT text, intent FROM rows WHERE id <= 30;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TEMP TABLE temporary (text text, intent mood);
INSERT INTO temporary VALUES ('fine', 'good'), ('awful', 'bad'), (NULL, 'bad'), ('unlabelled', NULL);
CREATE MATERIALIZED VIEW mv AS TABLE v;
CREATE TABLE parts (text text, intent text) PARTITION BY LIST (intent);
CREATE TABLE part_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE part_b PARTITION OF parts DEFAULT;
INSERT INTO parts VALUES ('x', 'a'), ('y', 'b');
SELECT source, rows, skipped FROM unnest(ARRAY[
	'rows', 'evaluate.rows', ' ROWS ', '"rows"', 'evaluate . "rows"', '"Odd ""Name. "', 'v', 'mv', 'parts', 'temporary', 'pg_temp.temporary',
	'SELECT * FROM rows', 'select intent, text from rows', '  (SELECT text, intent FROM rows) ; ', '/* all */ TABLE rows -- of them',
	'WITH r AS (SELECT * FROM rows) SELECT r.* FROM r', 'SELECT i::text AS text, i % 2 AS intent, now() FROM generate_series(1, 10) i',
	'SELECT column1 AS text, column2 AS intent FROM (VALUES(''x'',''a''),(''y'',''b'')) v', 'SELECT text, intent FROM v UNION ALL SELECT text, intent FROM v',
	'SELECT text, intent FROM rows ORDER BY random() LIMIT 100', 'SELECT text, intent FROM rows TABLESAMPLE SYSTEM (100)']) AS source,
	LATERAL fsi_evaluate(source);

SELECT source, f.code, f.message, f.detail FROM unnest(ARRAY[
	'', '  ', '-- nothing', ';', 'nowhere', 'evaluate.nowhere', 'no.such.table', '"unfinished', 'rows; rows', 'SELECT 1; SELECT 2',
	'hello world', 'SELECT', 'select text, intent from', 'SELECT text FROM rows', 'SELECT id FROM rows', 'VALUES(1,2)',
	'SELECT text AS "Text", intent FROM rows', 'SELECT text, intent, text FROM rows', 'SELECT text, intent FROM rows WHERE id = $1',
	'INSERT INTO rows VALUES (1)', 'UPDATE rows SET intent = ''x''', 'DELETE FROM rows', 'DROP TABLE rows', 'EXPLAIN SELECT 1', 'CALL p()', 'COMMIT',
	'WITH d AS (DELETE FROM rows RETURNING *) SELECT text, intent FROM d', 'SELECT text, intent INTO copy FROM rows', 'SELECT text, intent FROM rows FOR UPDATE',
	'SELECT text, intent FROM (SELECT * FROM rows FOR SHARE) r', 'CREATE TABLE copy AS SELECT 1', 'SELECT text, intent FROM rows WHERE 1 / (id - id) = 1']) AS source,
	LATERAL pg_temp.fails(format('SELECT fsi_evaluate(%L)', source)) f;
\x on
SELECT * FROM pg_temp.fails($$SELECT fsi_evaluate('nowhere')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_evaluate('DELETE FROM rows')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_evaluate('SELECT id AS text FROM rows')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_evaluate('WITH d AS (DELETE FROM rows RETURNING *) SELECT text, intent FROM d')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_evaluate('rows', split => 'test')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_evaluate('hello world')$$);
\x off
-- an error says where in the source it is
SELECT fsi_evaluate('SELECT text, intnt AS intent FROM rows');
SELECT fsi_evaluate('SELECT text, intent, FROM rows');
SELECT fsi_evaluate('SELECT text, (1 / (id - 3))::text AS intent FROM rows ORDER BY id');

-- the caller's rights: to the columns that are read, through row-level security
CREATE ROLE regress_fsi_eval;
GRANT USAGE ON SCHEMA evaluate TO regress_fsi_eval;
GRANT SELECT (text, intent) ON known TO regress_fsi_eval;
GRANT SELECT ON rows TO regress_fsi_eval;
ALTER TABLE rows ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON rows FOR SELECT TO regress_fsi_eval USING (id <= 50);
SET ROLE regress_fsi_eval;
SELECT rows FROM fsi_evaluate('rows', ARRAY['refund', 'delivery', 'complaint', 'other things']);
SELECT rows FROM fsi_evaluate('known');
SELECT fsi_evaluate('SELECT * FROM known');
SELECT fsi_evaluate('known', split => 'test');
SELECT fsi_evaluate('v');
RESET ROLE;
ALTER TABLE rows DISABLE ROW LEVEL SECURITY;

-- what this transaction has written is seen; a read-only one may evaluate
BEGIN;
INSERT INTO known VALUES (NULL, 'alpha', 26, 'zqx 17');
SELECT rows FROM fsi_evaluate('known');
ROLLBACK;
BEGIN READ ONLY;
SELECT rows FROM fsi_evaluate('known');
COMMIT;
-- one evaluation inside another
SELECT rows FROM fsi_evaluate('SELECT text, intent FROM known, fsi_evaluate(''v'') e WHERE e.rows = 30');
DO $$
BEGIN
	ASSERT (SELECT rows FROM fsi_evaluate('known')) = 23;
END $$;

-- Memory does not grow with the rows: what the backend holds in all, now and then while the source is read.
CREATE TABLE held (at int, bytes int8);
CREATE FUNCTION note(at int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO held SELECT at, sum(total_bytes) FROM pg_backend_memory_contexts WHERE name <> 'CacheMemoryContext';
	RETURN at;
END $$;
CREATE VIEW growth AS
SELECT count(*) AS notes, (SELECT bytes FROM held ORDER BY at DESC LIMIT 1) - (SELECT bytes FROM held WHERE at > 12000 ORDER BY at LIMIT 1) < 1000000 AS flat
FROM held;
SET work_mem = '256kB';
SELECT rows, skipped FROM fsi_evaluate('SELECT ''hello '' || i % 10 AS text, i % 2 AS intent, CASE WHEN i % 6000 = 500 THEN note(i) END
	FROM (SELECT generate_series(1, 60000) AS i) s', ARRAY['0', '1', 'none'], '{"other": "none of them"}');
TABLE growth;
TRUNCATE held;
SELECT rows, skipped FROM fsi_evaluate('SELECT repeat(''hello '', 20) || i % 10 AS text, i % 2 AS intent, CASE WHEN i % 6000 = 500 THEN note(i) END
	FROM (SELECT generate_series(1, 60000) AS i) s');
TABLE growth;
-- nor with those that are left out
TRUNCATE held;
SELECT rows, skipped FROM fsi_evaluate('SELECT CASE WHEN i % 10000 = 0 THEN ''hello'' END AS text, i % 2 AS intent, repeat(''x'', 100) AS split,
	CASE WHEN i % 6000 = 500 THEN note(i) END FROM (SELECT generate_series(1, 60000) AS i) s', ARRAY['0', '1']);
TABLE growth;
TRUNCATE held;
SELECT rows, skipped FROM fsi_evaluate('SELECT ''hello '' || i % 10 AS text, i % 2 AS intent, CASE WHEN i % 10000 = 0 THEN ''test'' ELSE ''train'' END AS split,
	CASE WHEN i % 6000 = 500 THEN note(i) END FROM (SELECT generate_series(1, 60000) AS i) s', ARRAY['0', '1'], split => 'test');
TABLE growth;
-- what was read for its labels first, beyond work_mem, is answered like the rest
SELECT stored = direct AS same
FROM (SELECT 'SELECT repeat(''hello '', 20) || i % 10 AS text, i % 2 AS intent FROM (SELECT generate_series(1, 20000) AS i) s' AS source) s,
	fsi_evaluate(source) stored, fsi_evaluate(source, ARRAY['0', '1']) direct;
RESET work_mem;

-- ---------------------------------------------------------------- mistakes

SELECT call, f.* FROM unnest(ARRAY[
	$$fsi_evaluate(NULL)$$, $$fsi_evaluate('SELECT text, intent FROM rows WHERE false')$$,
	$$fsi_evaluate('known', split => 'valid')$$, $$fsi_evaluate('SELECT NULL AS text, intent FROM rows LIMIT 3')$$,
	$$fsi_evaluate('SELECT text, NULL AS intent FROM rows LIMIT 3')$$,
	$$fsi_evaluate('SELECT text, NULL AS intent FROM rows LIMIT 1')$$, $$fsi_evaluate('SELECT *, ''train'' AS split FROM rows LIMIT 1', split => 'valid')$$,
	$$fsi_evaluate('SELECT text, ''refund'' AS intent FROM rows')$$, $$fsi_evaluate('rows', ARRAY['refund'])$$,
	$$fsi_evaluate('rows', ARRAY['refund', 'delivery'])$$, $$fsi_evaluate('rows', ARRAY['refund', 'delivery', 'complaint'], '{"other": "none"}')$$,
	$$fsi_evaluate('SELECT text, '' '' AS intent FROM rows')$$, $$fsi_evaluate('rows', '{}')$$, $$fsi_evaluate('rows', ARRAY['refund', NULL])$$,
	$$fsi_evaluate('SELECT text, ''none'' AS intent FROM rows', NULL, '{"other": "none"}')$$,
	$$fsi_evaluate('rows', NULL, '[]')$$, $$fsi_evaluate('rows', NULL, '{"split": "test"}')$$, $$fsi_evaluate('rows', NULL, '{"model": "no such model"}')$$,
	$$fsi_evaluate('SELECT i::text AS text, i AS intent FROM generate_series(1, 10001) i')$$,
	$$fsi_evaluate_calibration('rows', bins => 0)$$, $$fsi_evaluate_calibration('rows', bins => 1001)$$,
	$$fsi_evaluate_thresholds('rows', thresholds => '{}')$$, $$fsi_evaluate_thresholds('rows', thresholds => '{0.5,NULL}')$$,
	$$fsi_evaluate_thresholds('rows', thresholds => '{0.5,1.5}')$$, $$fsi_evaluate_thresholds('rows', thresholds => '{1.0000000001}')$$, $$fsi_evaluate_thresholds('rows', thresholds => '{NaN}')$$,
	$$fsi_evaluate_thresholds('rows', thresholds => '{{0.5},{0.6}}')$$,
	$$fsi_evaluate_intents(NULL)$$, $$fsi_evaluate_confusion('nowhere')$$,
	$$fsi_evaluate_generation('rows')$$]) AS call, LATERAL pg_temp.fails('SELECT ' || call) f;
-- columns are text as a cast makes them: char(n) has no blanks at its end, a boolean is a word
CREATE TABLE padded (text char(80), intent char(12), split char(8));
INSERT INTO padded SELECT text, intent, CASE WHEN id % 2 = 0 THEN 'test' END FROM known WHERE intent IS NOT NULL;
SELECT a.rows > 0 AS rows, a = b AS same FROM fsi_evaluate('padded', split => 'test') a,
	fsi_evaluate('SELECT text::text, intent::text, split::text FROM padded', split => 'test') b;
SELECT intent FROM fsi_evaluate_intents('SELECT text, intent = ''alpha'' AS intent FROM known', ARRAY['true', 'false']) WHERE rows > 0 ORDER BY intent;
-- white space around a label makes no other label
SELECT rows, correct FROM fsi_evaluate('SELECT text, '' '' || intent AS intent FROM known WHERE id < 4', ARRAY['alpha', 'beta ', 'gamma'], :'examples');

DROP SCHEMA evaluate CASCADE;
DROP ROLE regress_fsi_eval;

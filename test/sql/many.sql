-- fsi_classify_many: the same answers as row by row, for any mixture of lengths.

CREATE TEMP TABLE msg AS
SELECT g AS id, CASE g % 7
	WHEN 0 THEN NULL
	WHEN 1 THEN 'please tell me where my order number ' || g || ' is'
	WHEN 2 THEN ''
	WHEN 3 THEN repeat('I want my money back because it broke ', 1 + g % 30)
	WHEN 4 THEN '我要退款 ' || g
	WHEN 5 THEN repeat('x', g)
	ELSE 'weather ' || md5(g::text) END AS txt
FROM generate_series(1, 300) g;
\set question 'ARRAY[''refund'', ''track order'', ''weather''], ''{"other": "none", "examples": [{"text": "rain?", "intent": "weather"}]}'''

LOAD 'fsi_intent';
SET fsi_intent.enable_batch = off;
CREATE TEMP TABLE singly AS SELECT id, txt, fsi_classify(txt, :question) AS answer FROM msg;
-- another way of answering begins without what is remembered
SET fsi_intent.enable_batch = on;
SELECT count(*) AS rows, count(answer) AS answered,
	array_agg(answer ORDER BY id) = (SELECT fsi_classify_many(array_agg(txt ORDER BY id), :question) FROM msg) AS same
FROM singly;
SET fsi_intent.enable_batch = off;
-- whatever stands beside a message
SELECT bool_and(ARRAY[answer] = (fsi_classify_many(ARRAY[txt, txt || '?', txt], :question))[1:1]) AS alone_or_not
FROM singly WHERE id <= 50;
RESET fsi_intent.enable_batch;
SELECT fsi_classify_many('{}', ARRAY['a', 'b']), fsi_classify_many('{NULL,NULL}', ARRAY['a', 'b']),
	fsi_classify_many('[7:8]={hello,NULL}', ARRAY['a']);
SELECT array_dims(fsi_classify_many(array_fill('hello'::text, ARRAY[1000]), ARRAY['hello', 'weather']));

-- the examples aggregate: equal sets of rows give equal jsonb
CREATE TEMP TABLE labelled (txt text, intent text);
INSERT INTO labelled VALUES ('rain today', 'weather'), ('my money', 'refund'), ('where is it', 'track order'), ('rain today', 'weather'),
	(NULL, 'refund'), ('nobody knows', NULL), (NULL, NULL), ('', 'refund'), ('退款', 'refund'), ('say "no"', 'refund');
SELECT jsonb_pretty(fsi_examples(txt, intent)) FROM labelled;
SELECT fsi_examples(txt, intent ORDER BY txt) = fsi_examples(txt, intent ORDER BY intent, txt DESC) AS same FROM labelled;
SELECT fsi_examples(txt, intent), fsi_examples(txt, intent) FILTER (WHERE false) FROM labelled WHERE txt = 'no such row';
SELECT intent, jsonb_array_length(fsi_examples(txt, intent)) FROM labelled GROUP BY intent ORDER BY intent;
SELECT fsi_classify('rain tomorrow', array_agg(DISTINCT intent), jsonb_build_object('examples', fsi_examples(txt, intent)))
FROM labelled WHERE intent IS NOT NULL;
-- as a window function
SELECT jsonb_array_length(fsi_examples(txt, intent) OVER (ORDER BY intent NULLS FIRST, txt)) AS n FROM labelled ORDER BY 1;
-- in parallel
CREATE TABLE many_rows AS SELECT 'text ' || g AS txt, 'intent ' || g % 10 AS intent FROM generate_series(1, 5000) g;
ALTER TABLE many_rows SET (parallel_workers = 2);
ANALYZE many_rows;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS off) SELECT fsi_examples(txt, intent) FROM many_rows;
SELECT md5(fsi_examples(txt, intent)::text) AS digest FROM many_rows \gset
SET max_parallel_workers_per_gather = 0;
SELECT md5(fsi_examples(txt, intent)::text) = :'digest' AS same_in_parallel FROM many_rows;

-- 5,000 examples in one call; the rows after the first cost little, for their vectors are kept
SELECT count(*), count(DISTINCT a) > 0 AS answered
FROM (SELECT fsi_classify('text ' || g, ARRAY(SELECT 'intent ' || i FROM generate_series(0, 9) i),
	(SELECT jsonb_build_object('examples', fsi_examples(txt, intent)) FROM many_rows)) AS a FROM generate_series(1, 20) g) s;
DROP TABLE many_rows;

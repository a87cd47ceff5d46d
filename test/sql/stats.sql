-- fsi_stats counts what was done; equal messages, and those of a moment ago, cost no pass of the model and no bit.

CREATE TEMP TABLE msg AS
SELECT g AS id, CASE g % 5 WHEN 0 THEN 'where is my parcel' WHEN 1 THEN '我要退款 ' || g % 20 ELSE 'message ' || g % 30 END AS txt
FROM generate_series(1, 120) g;
SELECT count(*) AS rows, count(DISTINCT txt) AS distinct FROM msg;
-- what was counted since the last look: messages; of them, answered from the memory of their set or of a batch, from their vector, or
-- by a pass of the model
CREATE TEMP TABLE seen AS SELECT * FROM fsi_stats WHERE scope = 'backend';
CREATE FUNCTION pg_temp.news(OUT rows bigint, OUT known bigint, OUT vec bigint, OUT computed bigint, OUT sets bigint, OUT segments bigint,
	OUT shortened bigint) LANGUAGE plpgsql AS $$
BEGIN
	SELECT n.rows - o.rows, n.duplicates - o.duplicates + n.memo_hits - o.memo_hits, n.vector_hits - o.vector_hits,
		n.set_misses - o.set_misses, n.segment_misses - o.segment_misses, n.shortened - o.shortened
	INTO rows, known, vec, sets, segments, shortened FROM fsi_stats n, seen o WHERE n.scope = 'backend';
	computed := rows - known - vec;
	TRUNCATE seen;
	INSERT INTO seen SELECT * FROM fsi_stats WHERE scope = 'backend';
END$$;

-- row by row: each distinct message once
CREATE TEMP TABLE alone AS SELECT id, fsi_classify(txt, ARRAY['refund', 'track order']) AS label FROM msg;
SELECT * FROM pg_temp.news();
-- asked in WHERE and again in the target list
SELECT count(fsi_classify(txt || '!', ARRAY['refund', 'track order'])) FROM msg
WHERE fsi_classify(txt || '!', ARRAY['refund', 'track order']) <> 'x' AND id <= 2;
SELECT * FROM pg_temp.news();
-- in one call, from the memo and among themselves; the labels are those of each row alone
SELECT array_agg(label ORDER BY id) = fsi_classify_many((SELECT array_agg(txt ORDER BY id) FROM msg), ARRAY['refund', 'track order']) AS same FROM alone;
SELECT * FROM pg_temp.news();
SELECT array_agg(label ORDER BY id) = (SELECT array_agg(fsi_classify(txt, ARRAY['track order', 'refund']) ORDER BY id) FROM msg) AS same FROM alone;
SELECT * FROM pg_temp.news();
CREATE TEMP TABLE fresh AS SELECT g AS id, 'new text ' || g % 7 AS txt FROM generate_series(1, 100) g;
SELECT cardinality(fsi_classify_many(array_agg(txt ORDER BY id), ARRAY['refund', 'track order'])) FROM fresh;
SELECT n.batches - o.batches AS batches, n.duplicates - o.duplicates AS duplicates FROM fsi_stats n, seen o WHERE n.scope = 'backend';
SELECT * FROM pg_temp.news();
-- a message is encoded once, whatever it is asked about; the scores are those of a computed one, bit for bit
CREATE TEMP TABLE scored AS SELECT txt, intent, float8send(score) AS bits
FROM (SELECT DISTINCT txt FROM msg) m, fsi_scores(txt, ARRAY['refund', 'weather', 'parcel'], '{"examples": [{"text": "rain", "intent": "weather"}]}');
SELECT * FROM pg_temp.news();
SET fsi_intent.simd = 'scalar';
SELECT count(*), bool_and(bits = float8send(score)) AS equal_bits
FROM (SELECT txt, intent, bits FROM scored WHERE txt LIKE '我%') s
JOIN LATERAL fsi_scores(txt, ARRAY['refund', 'weather', 'parcel'], '{"examples": [{"text": "rain", "intent": "weather"}]}') f USING (intent);
RESET fsi_intent.simd;
-- that was a trial of the level: nothing of before was remembered
SELECT * FROM pg_temp.news();
-- equal hashes are not looked for, equal bytes are: a text and its beginning, with and without a space
SELECT cardinality(l), l[1] = l[6] AND l[4] = l[7] AS same FROM fsi_classify_many(ARRAY['weather', 'weather ', 'weathe', '', ' ', 'weather', ''], ARRAY['refund', 'weather']) l;
SELECT * FROM pg_temp.news();
-- the options are part of the question
SELECT fsi_classify('xyzzy', ARRAY['refund', 'weather'], '{"min_score": 1}') IS NULL AS unsure, fsi_classify('xyzzy', ARRAY['refund', 'weather']) IS NULL AS sure;
SELECT fsi_classify('xyzzy', ARRAY['refund', 'weather'], '{"min_score": 1}') IS NULL AS unsure, fsi_classify('xyzzy', ARRAY['refund', 'weather']) IS NULL AS sure;
SELECT * FROM pg_temp.news();
-- long ones: shortened each time, warned of once a statement, also where they are remembered
SELECT fsi_classify(repeat('weather ', 1000), ARRAY['refund', 'weather']);
SELECT fsi_classify(repeat('weather ', 1000), ARRAY['refund', 'weather']) = ALL (fsi_classify_many(array_fill(repeat('weather ', 1000), ARRAY[3]), ARRAY['refund', 'weather'])) AS same;
SELECT * FROM pg_temp.news();
-- one that is too long to be remembered
SELECT fsi_classify(repeat('weather ', 20000), ARRAY['refund', 'weather']), fsi_classify(repeat('weather ', 20000), ARRAY['refund', 'rain']);
SELECT * FROM pg_temp.news();
-- more than is remembered: the first has been pushed out, and comes back the same
SELECT count(DISTINCT fsi_classify(txt, ARRAY['a', 'b', 'c'])) > 0 AS asked
FROM (SELECT repeat('word ', 4000) || g AS txt FROM generate_series(1, 20) g) s;
SELECT known, vec, computed FROM pg_temp.news();
SELECT array_agg(label ORDER BY id) = (SELECT array_agg(fsi_classify(txt, ARRAY['refund', 'track order']) ORDER BY id) FROM msg) AS same FROM alone;
SELECT known, vec, computed FROM pg_temp.news();
-- embedding counts too
SELECT cardinality(fsi_embed('hello')) > 0 AS embedded;
SELECT rows, computed FROM pg_temp.news();
-- an error counts what was done before it
SELECT fsi_classify('a text of its own', ARRAY['refund', 'weather']), 1 / (random() * 0)::int;
SELECT rows, computed FROM pg_temp.news();

-- all backends: at least this one's
SELECT scope, rows > 0 AS rows, tokens > 0 AS tokens, batches > 0 AS batches, set_misses > 0 AS sets, segment_misses > 0 AS segments,
	time_ms > 0 AS time, since <= now() AS since FROM fsi_stats ORDER BY scope;
SELECT t.rows >= b.rows AND t.tokens >= b.tokens AND t.time_ms >= b.time_ms AS all_of_it FROM fsi_stats t, fsi_stats b WHERE t.scope = 'total' AND b.scope = 'backend';
-- anybody may look, the superuser lets reset
CREATE ROLE fsi_reader;
SET ROLE fsi_reader;
SELECT count(*) FROM fsi_stats;
SELECT fsi_stats_reset();
RESET ROLE;
GRANT EXECUTE ON FUNCTION fsi_stats_reset() TO fsi_reader;
SET ROLE fsi_reader;
SELECT fsi_stats_reset();
SELECT scope, rows, tokens, batches, time_ms FROM fsi_stats ORDER BY scope;
RESET ROLE;
DROP OWNED BY fsi_reader;
DROP ROLE fsi_reader;
SELECT fsi_classify('weather', ARRAY['refund', 'weather']);
SELECT scope, rows FROM fsi_stats ORDER BY scope;

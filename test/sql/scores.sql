-- Scores: a distribution over the candidates whose bits depend on nothing but the question.

CREATE TEMP TABLE msg (id int, txt text);
INSERT INTO msg SELECT row_number() OVER (), m FROM unnest(ARRAY[
	'I want my money back', 'where is my parcel', '退款', '我的快递到哪里了', 'how is the weather', '', 'SKU-4711 is broken']) m;
CREATE TEMP TABLE question (id serial, intents text[], options jsonb);
INSERT INTO question (intents, options) VALUES
	('{refund,track order,weather,cancel order,complaint}', '{}'),
	('{refund,track order,weather,cancel order,complaint}', '{"other": "none of these"}'),
	('{refund,track order,weather,cancel order,complaint}', '{"descriptions": {"refund": "money back", "weather": "rain or sun"}}'),
	('{refund,track order,weather,cancel order,complaint}', '{"other": "none", "examples": [
		{"text": "give me my money", "intent": "refund"}, {"text": "is it sunny", "intent": "weather"},
		{"text": "my parcel is late", "intent": "track order"}, {"text": "still no delivery", "intent": "track order"},
		{"text": "is it sunny", "intent": "weather"}, {"text": "it broke", "intent": "complaint"}]}'),
	('{退款,查快递,天气}', '{"examples": [{"text": "钱什么时候退", "intent": "退款"}]}');

-- one row per label, best first, in [0, 1], summing to 1; the best is the answer
SELECT q.id, bool_and(n = cardinality(intents) + (options ? 'other')::int) AS all_labels, bool_and(sorted) AS sorted,
	bool_and(abs(total - 1) < 1e-12) AS sums_to_1, bool_and(in_range) AS in_range,
	bool_and(best = fsi_classify(txt, intents, options)) AS best_is_answer
FROM question q, msg m, LATERAL (
	SELECT count(*) AS n, sum(score) AS total, bool_and(score BETWEEN 0 AND 1) AS in_range,
		bool_and(score <= coalesce(previous, 1)) AS sorted, (array_agg(intent))[1] AS best
	FROM (SELECT intent, score, lag(score) OVER () AS previous FROM fsi_scores(txt, intents, options)) s) s
GROUP BY q.id ORDER BY q.id;

-- permuting intents and examples changes no bit of any score, nor the order of the rows
CREATE FUNCTION pg_temp.bits(txt text, intents text[], options jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(intent || ' ' || encode(float8send(score), 'hex'), ',') FROM fsi_scores(txt, intents, options)
$$;
CREATE FUNCTION pg_temp.shuffled(options jsonb, seed int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT CASE WHEN options ? 'examples' THEN jsonb_set(options, '{examples}',
		(SELECT jsonb_agg(e ORDER BY md5(n::text || seed)) FROM jsonb_array_elements(options->'examples') WITH ORDINALITY x(e, n)))
		ELSE options END
$$;
SELECT q.id, count(*) AS permutations, count(DISTINCT p.intents) > 1 AS differ,
	bool_and(pg_temp.bits(txt, p.intents, pg_temp.shuffled(options, seed)) = pg_temp.bits(txt, q.intents, options)) AS same_bits
FROM question q, msg m, generate_series(1, 3) seed,
	LATERAL (SELECT array_agg(i ORDER BY md5(i || seed)) AS intents FROM unnest(q.intents) i) p
GROUP BY q.id ORDER BY q.id;

-- examples of one intent move the others' scores, too, also against one another: they tell all of them apart
CREATE FUNCTION pg_temp.odds(intents text[], options jsonb) RETURNS float8 LANGUAGE sql AS $$
	SELECT ln(max(score) FILTER (WHERE intent = 'refund') / max(score) FILTER (WHERE intent = 'track order'))
	FROM fsi_scores('where is my parcel', intents, options)
$$;
CREATE FUNCTION pg_temp.shown(weather text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('examples', jsonb_build_array('{"text": "give me my money", "intent": "refund"}'::jsonb,
		jsonb_build_object('text', weather, 'intent', 'weather')))
$$;
SELECT abs(pg_temp.odds('{refund,track order,weather}', pg_temp.shown('is it sunny'))
		- pg_temp.odds('{refund,track order,weather}', pg_temp.shown('where is it'))) > 0.01 AS told_apart,
	abs(pg_temp.odds('{refund,track order,weather}', '{}') - pg_temp.odds('{refund,track order,complaint}', '{}')) < 1e-9 AS same_without;

-- neither do the cache's state, its size, the company in a batch, or the level of CPU instructions
CREATE TEMP TABLE expected AS
SELECT q.id AS question, m.id AS message, pg_temp.bits(txt, intents, options) AS bits, fsi_classify(txt, intents, options) AS label,
	fsi_embed(txt) AS z
FROM question q, msg m;
CREATE FUNCTION pg_temp.same_as_expected() RETURNS bool LANGUAGE sql AS $$
	SELECT bool_and(e.bits = pg_temp.bits(txt, intents, options) AND e.label IS NOT DISTINCT FROM fsi_classify(txt, intents, options)
		AND e.z = fsi_embed(txt))
	FROM expected e JOIN question q ON q.id = e.question JOIN msg m ON m.id = e.message
$$;
SELECT pg_temp.same_as_expected();
SET fsi_intent.cache_size = '1MB';
SELECT count(*) FROM generate_series(1, 40) g, LATERAL fsi_scores('x', ARRAY(SELECT 'intent ' || g || ' ' || i FROM generate_series(1, 50) i));
SELECT pg_temp.same_as_expected();
-- what calls that fail have kept goes too, and its memory with it: names that are one to the model, after 20 new examples each
DO $$ BEGIN
	FOR i IN 1 .. 200 LOOP
		BEGIN
			PERFORM fsi_classify('x', ARRAY['Refund', 'refund'], (SELECT jsonb_build_object('examples',
				jsonb_agg(jsonb_build_object('text', i || ' ' || j, 'intent', 'refund'))) FROM generate_series(1, 20) j));
		EXCEPTION WHEN invalid_parameter_value THEN NULL;
		END;
	END LOOP;
END $$;
SELECT sum(total_bytes) < 3 * 1024 * 1024 AS bounded FROM pg_backend_memory_contexts WHERE name = 'fsi_intent cache';
RESET fsi_intent.cache_size;
-- without what is remembered
SET fsi_intent.enable_batch = off;
SELECT bool_and(many = (SELECT array_agg(label ORDER BY message) FROM expected e WHERE e.question = q.id)) AS batch_is_same
FROM question q, LATERAL (SELECT fsi_classify_many((SELECT array_agg(txt ORDER BY id) FROM msg), intents, options) AS many) f;
RESET fsi_intent.enable_batch;

-- a level that this CPU lacks cannot be set; one that can be set gives the same bits
CREATE FUNCTION pg_temp.same_at(level text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('fsi_intent.simd', level, false);
	RETURN fsi_version() LIKE '%, ' || level AND pg_temp.same_as_expected();
EXCEPTION WHEN invalid_parameter_value THEN
	RETURN true;
END $$;
SELECT level, pg_temp.same_at(level) FROM unnest(ARRAY['scalar', 'avx2', 'avx-vnni', 'avx512-vnni', 'neon']) level;
RESET fsi_intent.simd;
SELECT pg_temp.same_as_expected();


-- vectors have length 1; a text is nearest to itself
SELECT abs(sum(x::float8 * x) - 1) < 1e-5 AS unit, count(*) = (fsi_model_info('default')->>'width')::int AS width
FROM unnest(fsi_embed('I want my money back')) x;
SELECT fsi_embed('a') = fsi_embed('a', 'default') AS same, fsi_embed('a') <> fsi_embed('b') AS differ,
	abs((SELECT sum(x::float8 * x) FROM unnest(fsi_embed('')) x) - 1) < 1e-5 AS empty_has_one;
SELECT fsi_embed('a', 'no such model');

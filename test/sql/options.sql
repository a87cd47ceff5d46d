-- The third argument: what may stand in it, and what every mistake is answered with.

\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/test/sql/fails.psql
CREATE FUNCTION pg_temp.with_options(options jsonb, OUT code text, OUT message text)
LANGUAGE sql AS $$
	SELECT f.code, f.message
	FROM pg_temp.fails(format('SELECT fsi_classify(%L, ARRAY[''refund'', ''track order''], %L)', 'I want my money back', options)) f
$$;
\pset null (null)

-- mistakes
SELECT o AS options, w.*
FROM unnest(ARRAY[
	'[]', '"refund"', '1', 'null', 'true',
	'{"exmples": []}', '{"": 1}',
	'{"examples": {}}', '{"examples": "x"}', '{"examples": ["x"]}', '{"examples": [null]}', '{"examples": [[]]}',
	'{"examples": [{"text": "x"}]}', '{"examples": [{"intent": "refund"}]}', '{"examples": [{}]}',
	'{"examples": [{"text": "x", "intent": "refund"}, {"text": 1, "intent": "refund"}]}',
	'{"examples": [{"text": "x", "intent": null}]}', '{"examples": [{"text": null, "intent": "refund"}]}',
	'{"examples": [{"text": "x", "intent": "refund", "weight": 2}]}',
	'{"examples": [{"text": "x", "intent": "complaint"}]}', '{"examples": [{"text": "x", "intent": ""}]}',
	'{"descriptions": []}', '{"descriptions": {"refund": 1}}', '{"descriptions": {"complaint": "x"}}',
	'{"descriptions": {"refund": "x", " refund": "y"}}', '{"other": 1}', '{"other": ""}', '{"other": " "}', '{"other": "refund"}', '{"other": " refund"}', '{"other": "REFUND"}',
	'{"min_score": "0.5"}', '{"min_score": -0.1}', '{"min_score": 1.1}', '{"min_score": true}',
	'{"model": 1}', '{"model": "no such model"}', '{"model": ""}', '{"model": "../small-1"}', '{"model": "DEFAULT"}',
	'{"scoring": 1}', '{"scoring": "fast"}', '{"scoring": "trie"}',
	'{"template": "{text}"}', '{"template": 1}', '{"instructions": "be nice"}', '{"instructions": []}'
]::jsonb[]) o, pg_temp.with_options(o) w;
SELECT * FROM pg_temp.with_options('{"min_score": 1e400}');
SELECT * FROM pg_temp.with_options('{"min_score": 1.00000000000000000001}');
\x on
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('x', ARRAY['a', 'b'], '{"exmples": []}')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('x', ARRAY['a', 'b'], '{"examples": [{"text": "x", "label": "a"}]}')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('x', ARRAY['a', 'b'], '{"examples": [{"text": "x", "intent": "c"}]}')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('x', ARRAY['a', 'b'], '{"template": "{text}"}')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('x', ARRAY['a', 'b'], '{"model": "no such model"}')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('x', ARRAY['a', 'b'],
	jsonb_build_object('examples', (SELECT jsonb_agg(jsonb_build_object('text', i::text, 'intent', 'a')) FROM generate_series(1, 100001) i)))$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('x', ARRAY['a', 'b'],
	jsonb_build_object('examples', jsonb_build_array(jsonb_build_object('text', repeat('money ', 2000), 'intent', 'a'))))$$);
\x off

-- nothing and null are "not given"
SELECT (SELECT array_agg(score) FROM fsi_scores('I want my money back', ARRAY['refund', 'track order'], o))
	= (SELECT array_agg(score) FROM fsi_scores('I want my money back', ARRAY['refund', 'track order'])) AS same
FROM unnest(ARRAY['{}', '{"examples": null, "descriptions": null, "other": null, "min_score": null, "model": null, "template": null,
	"instructions": null, "scoring": null}', '{"examples": []}', '{"descriptions": {}}', '{"descriptions": {"refund": null}}',
	'{"min_score": 0}', '{"model": "default"}', '{"model": "small-1"}']::jsonb[]) o;

-- "other" stands beside the intents and takes part in the sum
SELECT count(*), count(*) FILTER (WHERE intent = 'none of these'), abs(sum(score) - 1) < 1e-12 AS sums_to_1
FROM fsi_scores('hello', ARRAY['refund', 'track order'], '{"other": "none of these"}');
-- one intent and "other" is a question of its own
SELECT count(*) FROM fsi_scores('hello', ARRAY['refund'], '{"other": "none of these"}');

-- min_score: below it "other", or NULL
SELECT fsi_classify('I want my money back', ARRAY['refund', 'track order'], '{"min_score": 1}'),
	fsi_classify('I want my money back', ARRAY['refund', 'track order'], '{"min_score": 1, "other": "unsure"}'),
	fsi_classify_many(ARRAY['I want my money back', NULL], ARRAY['refund', 'track order'], '{"min_score": 1}'),
	fsi_classify_many(ARRAY['I want my money back', NULL], ARRAY['refund', 'track order'], '{"min_score": 1, "other": "unsure"}');
SELECT fsi_classify('x', ARRAY['refund'], '{"min_score": 1}');
-- scores are not cut
SELECT count(*) FROM fsi_scores('x', ARRAY['refund', 'track order'], '{"min_score": 1}');

-- examples and descriptions change scores; an example is found again
SELECT fsi_classify('zqx 17', ARRAY['alpha', 'beta', 'gamma'],
	'{"examples": [{"text": "zqx 17", "intent": "beta"}, {"text": "hello", "intent": "alpha"}, {"text": "bye", "intent": "gamma"}]}');
SELECT fsi_classify('zqx 17', ARRAY['alpha', 'beta', 'gamma'],
	'{"examples": [{"text": "zqx 17", "intent": " gamma "}, {"text": "hello", "intent": "alpha"}, {"text": "bye", "intent": "beta"}]}');
SELECT fsi_classify('where is my parcel', ARRAY['a1', 'b2'], '{"descriptions": {"a1": "the weather today", "b2": "where is my parcel"}}');

-- what the model reads
SELECT fsi_prompt('hello', ARRAY['refund', 'track order']);
SELECT fsi_prompt('hello', ARRAY[' refund', 'track order', 'refund'], '{"other": "none", "descriptions": {"refund": "money back"},
	"examples": [{"text": "where is it", "intent": "track order"}, {"text": "pay me back", "intent": "refund"}]}');

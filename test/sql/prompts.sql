-- fsi_prompts: labelled rows and templates in, few-shot prompts and their responses out.

\getenv abs_srcdir PG_ABS_SRCDIR
\getenv abs_builddir PG_ABS_BUILDDIR
\setenv tiny :abs_builddir/tiny_prompts
\setenv make_tiny :abs_srcdir/test/data/tiny_gpt2.pl
\! rm -rf "$tiny" && perl "$make_tiny" "$tiny" 11
\set tiny :abs_builddir /tiny_prompts
\pset null (null)

-- WordPiece: a word with an upper-case letter is unknown to it; 256 positions
SELECT fsi_import_model('tiny-prompts', :'tiny') IS NOT NULL AS imported;

\i :abs_srcdir/test/sql/fails.psql

CREATE TABLE prompts_data (id int, text text, intent text, split text, source text);
INSERT INTO prompts_data
SELECT row_number() OVER (), 'please ' || i || ' ' || l, l, CASE WHEN i % 5 = 0 THEN 'test' ELSE 'train' END, 'shop'
FROM generate_series(1, 50) i,
	unnest(ARRAY['refund', 'track order', 'cancel order', 'lost card', 'my parcel', 'money back', 'where', 'other card']) l;
CREATE VIEW prompts_train AS SELECT * FROM prompts_data WHERE split = 'train';

CREATE TABLE prompts_templates (name text, body text);
INSERT INTO prompts_templates VALUES
('few-shot', $t$
prompt_template:
what is the intent? if none of these fits, it is "{not_applicable}".

{examples}
------
text: {text}
intent:

response_template:
{intent}

kwargs:
{"description": "null", "example_template": "\ntext: {text}\nintent: {intent}\n", "example_sep": "------", "not_applicable_variable": "[\"none\", \"other\"]", "not_applicable_rate": 0.1, "max_n_way": 5, "min_n_way": 2, "max_n_shot": 3, "min_n_shot": 1}

--- [define prompt template end] ---
$t$),
('described', $t$
prompt_template:
{intent_description}

text: {text}
id:

response_template:
{intent_symbol}

kwargs:
{"intent_description_template": "\nid: {intent_symbol}\nintent: {intent}\nwhat: {intent_description}\n", "intent_description_sep": "---", "max_n_way": 4, "min_n_way": 4}

--- [define prompt template end] ---
$t$),
('unannounced', $t$
prompt_template:
{text}
one of these: {examples}.

response_template:
{intent}

kwargs:
{"example_template": "{intent}", "example_sep": "; ", "not_applicable_variable": "none", "not_applicable_rate": 0.3, "max_n_way": 5, "max_n_shot": 1}

--- [define prompt template end] ---
$t$),
('long', $t$
prompt_template:
{examples}
text: {text}
intent:

response_template:
{intent}

kwargs:
{"example_template": "\n{text} is {intent}\n", "max_n_way": 8, "min_n_way": 8, "max_n_shot": 8, "min_n_shot": 6}

--- [define prompt template end] ---
$t$);

-- pairs
\x on
SELECT * FROM fsi_prompts('prompts_train', (SELECT body FROM prompts_templates WHERE name = 'few-shot'), '{"model": "tiny-prompts"}') LIMIT 2;
SELECT (s.p).* FROM (SELECT fsi_prompts('prompts_train', (SELECT body FROM prompts_templates WHERE name = 'described'),
	'{"model": "tiny-prompts", "seed": 5, "labels": {"plain": {"refund": ["refund", "money"]}},
	  "descriptions": {"refund": "money back", "track order": ["where it is"], "cancel order": "no order", "lost card": "card lost",
		"my parcel": "it is my parcel", "money back": "refund", "where": "where it is", "other card": "a card"}}') LIMIT 1) s(p);
\x off

-- every row of the source is the message of one prompt, and stands in no example of it
CREATE TEMP VIEW pairs AS
	SELECT * FROM fsi_prompts('prompts_data', ARRAY(SELECT body FROM prompts_templates WHERE name IN ('few-shot', 'unannounced') ORDER BY name),
		'{"model": "tiny-prompts"}');
SELECT split, template, count(*) BETWEEN 1 AND 400 AS pairs, bool_and(response = ANY(intents)) AS response_is_offered,
	bool_and(n_way BETWEEN 2 AND 5) AS ways, bool_and(n_shot BETWEEN 1 AND 3) AS shots,
	bool_and(not_applicable = (response <> intent)) AS response_is_intent, count(*) FILTER (WHERE not_applicable) > 0 AS some_not_applicable
FROM pairs GROUP BY split, template ORDER BY split, template;
SELECT count(*) AS pairs, count(DISTINCT prompt) AS different FROM pairs;
SELECT count(*) FILTER (WHERE template = 1) - (SELECT count(*) FROM prompts_data d JOIN pairs p ON p.intent = d.intent AND p.template = 1
	AND p.prompt LIKE '%' || E'\n------\ntext: ' || d.text || E'\nintent:') AS without_message FROM pairs;
SELECT count(*) AS shown_to_itself FROM pairs WHERE template = 1
	AND strpos(split_part(prompt, E'\n------\n', 1), split_part(split_part(prompt, 'text: ', -1), E'\n', 1) || E'\n') > 0;
-- test prompts show test rows
SELECT count(*) AS leaked FROM pairs p, regexp_matches(p.prompt, 'please (\d+)', 'g') m
WHERE p.split = 'test' AND m[1]::int % 5 <> 0 OR p.split = 'train' AND m[1]::int % 5 = 0;

-- the same pairs whenever, in whatever order the rows come and however the templates are given
CREATE FUNCTION pg_temp.hash_of(source text, options jsonb DEFAULT '{"model": "tiny-prompts"}') RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(p::text, E'\n' ORDER BY p::text COLLATE "C"))
	FROM fsi_prompts(source, (SELECT body FROM prompts_templates WHERE name = 'few-shot'), options) p $$;
SELECT pg_temp.hash_of('prompts_data') AS hash;
SELECT pg_temp.hash_of('SELECT * FROM prompts_data ORDER BY text DESC') = pg_temp.hash_of('prompts_data') AS any_order,
	pg_temp.hash_of('prompts_data', '{"model": "tiny-prompts", "seed": 1}') <> pg_temp.hash_of('prompts_data') AS other_seed,
	pg_temp.hash_of('prompts_data', '{"model": "tiny-prompts", "seed": 0}') = pg_temp.hash_of('prompts_data') AS default_seed;
SELECT count(DISTINCT h) AS one_for_all_forms
FROM (SELECT body FROM prompts_templates WHERE name = 'few-shot') t, LATERAL (
	SELECT md5(string_agg(p.prompt, '' ORDER BY p.prompt COLLATE "C")) FROM fsi_prompts('prompts_data', t.body) p UNION ALL
	SELECT md5(string_agg(p.prompt, '' ORDER BY p.prompt COLLATE "C")) FROM fsi_prompts('prompts_data', ARRAY[t.body]) p UNION ALL
	SELECT md5(string_agg(p.prompt, '' ORDER BY p.prompt COLLATE "C")) FROM fsi_prompts('prompts_data', to_jsonb(t.body)) p UNION ALL
	SELECT md5(string_agg(p.prompt, '' ORDER BY p.prompt COLLATE "C")) FROM fsi_prompts('prompts_data', jsonb_build_array(t.body)) p UNION ALL
	SELECT md5(string_agg(p.prompt, '' ORDER BY p.prompt COLLATE "C")) FROM fsi_prompts('prompts_data', jsonb_build_object('shop', t.body, 'x', t.body)) p UNION ALL
	SELECT md5(string_agg(p.prompt, '' ORDER BY p.prompt COLLATE "C")) FROM fsi_prompts('prompts_data', jsonb_build_object('shop', ARRAY[t.body])) p) f(h);
SELECT count(*) AS pairs, count(DISTINCT prompt) = count(*) AS different
FROM fsi_prompts('prompts_data', (SELECT body FROM prompts_templates WHERE name = 'few-shot'), '{"samples": 3, "model": "tiny-prompts"}');

-- the flaws of the original generator, each as it was and mended
CREATE FUNCTION pg_temp.pairs(template text, options jsonb) RETURNS TABLE (prompt text, response text, not_applicable bool, intents text[])
LANGUAGE sql AS $$
	SELECT prompt, response, not_applicable, intents
	FROM fsi_prompts('prompts_data', (SELECT body FROM prompts_templates WHERE name = template), '{"model": "tiny-prompts"}' || options) $$;
CREATE TEMP TABLE modes AS SELECT * FROM (VALUES
	('as it was', 'true'::jsonb), ('mended', 'false'),
	('all but this mended', '["position", "symbols", "not_applicable", "length", "labels"]')) m(mode, faithful);
CREATE FUNCTION pg_temp.only(f jsonb, flaw text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('faithful', CASE jsonb_typeof(f) WHEN 'array' THEN jsonb_build_array(flaw) ELSE f END) $$;
CREATE TEMP TABLE what AS SELECT '{"descriptions": {"refund": "a", "track order": "b", "cancel order": "c", "lost card": "d",
	"my parcel": "e", "money back": "f", "where": "g", "other card": "h"}}'::jsonb AS descriptions;
SELECT mode, count(*) FILTER (WHERE response = intents[1]) BETWEEN 70 AND 130 AS a_quarter_is_the_first,
	count(*) FILTER (WHERE response = intents[1]) > 200 AS most_are_the_first
FROM modes, what, pg_temp.pairs('described', descriptions || pg_temp.only(faithful, 'position')) GROUP BY mode ORDER BY mode;
SELECT mode, count(*) FILTER (WHERE response ~ '^[1-4]$') > 50 AS numbers, count(*) FILTER (WHERE response ~ '^[a-d]$') > 50 AS lower_case,
	count(*) FILTER (WHERE response ~ '^[A-D]$') > 50 AS upper_case
FROM modes, what, pg_temp.pairs('described', descriptions || pg_temp.only(faithful, 'symbols')) GROUP BY mode ORDER BY mode;
SELECT mode, count(*) FILTER (WHERE response = 'none') > 50 AS unannounced
FROM modes, pg_temp.pairs('unannounced', pg_temp.only(faithful, 'not_applicable')) GROUP BY mode ORDER BY mode;
-- the last of the prompt's own tokens is the one that ends it: the response and its end come after
SELECT mode, count(*) FILTER (WHERE n > 256) > 50 AS too_long, max(n) > 200 AS long, bool_and(prompt ~ E'\ntext: .*\nintent:$') AS whole
FROM modes, pg_temp.pairs('long', pg_temp.only(faithful, 'length')) p,
	LATERAL (SELECT cardinality(fsi_tokens(prompt, 'tiny-prompts')) + cardinality(fsi_tokens(response, 'tiny-prompts')) - 1) t(n)
GROUP BY mode ORDER BY mode;
SELECT mode, count(*) FILTER (WHERE response ~ '[A-Z]') > 50 AS unknown_names,
	count(*) FILTER (WHERE (SELECT count(*) > count(DISTINCT fsi_tokens(c, 'tiny-prompts')) FROM unnest(intents) c)) > 50 AS alike
FROM modes, pg_temp.pairs('unannounced', pg_temp.only(faithful, 'labels') || jsonb_build_object('labels',
	(SELECT jsonb_object_agg(v, l) FROM (VALUES ('lower'), ('upper')) v(v),
		LATERAL (SELECT jsonb_object_agg(intent, CASE v WHEN 'upper' THEN upper(intent) ELSE intent END) FROM prompts_data) l(l))))
GROUP BY mode ORDER BY mode;
SELECT count(*) FILTER (WHERE 130 < n) AS longer_than_asked, max(n) > 100 AS near FROM pg_temp.pairs('long', '{"max_tokens": 130}'),
	LATERAL (SELECT cardinality(fsi_tokens(prompt, 'tiny-prompts')) + cardinality(fsi_tokens(response, 'tiny-prompts')) - 1) t(n);

-- names in several spellings that are one to the tokenizer (the shipped one's case does not count): never two of them in a
-- prompt, and none where "none of these" is right because it lacks the message's own
CREATE VIEW spelt AS SELECT text, CASE WHEN id % 3 = 0 THEN initcap(intent) WHEN id % 3 = 1 THEN upper(intent) ELSE intent END AS intent
FROM prompts_data WHERE intent IN ('refund', 'track order', 'lost card');
SELECT count(*) > 200 AS prompts, count(*) FILTER (WHERE not_applicable) > 20 AS not_applicable, count(DISTINCT response) AS responses,
	count(*) FILTER (WHERE (SELECT count(*) > count(DISTINCT fsi_tokens(i)) FROM unnest(intents) i)) AS alike,
	count(*) FILTER (WHERE not_applicable AND fsi_tokens(intent) IN (SELECT fsi_tokens(i) FROM unnest(intents) i)) AS two_right_answers
FROM fsi_prompts('spelt', (SELECT replace(body, '"not_applicable_rate": 0.1', '"not_applicable_rate": 0.4') FROM prompts_templates WHERE name = 'few-shot'),
	'{"samples": 2}');
DROP VIEW spelt;

-- spellings by version and by source
SELECT intent_version, array_agg(DISTINCT intent ORDER BY intent) AS intents
FROM fsi_prompts('SELECT text, intent, source FROM prompts_data WHERE intent IN (''refund'', ''where'')',
	(SELECT body FROM prompts_templates WHERE name = 'unannounced'),
	'{"model": "tiny-prompts", "labels": {"shop": {"v1": {"refund": ["money", "money back"], "where": ["where is it"]}, "v2": {"refund": "back"}},
		"elsewhere": {"v3": {"refund": ["no"]}}}}') GROUP BY 1 ORDER BY 1;
-- those by source serve sources of fewer intents, as a split has them
SELECT DISTINCT intent
FROM fsi_prompts('SELECT text, intent, source FROM prompts_data WHERE intent IN (''refund'', ''where'')',
	(SELECT body FROM prompts_templates WHERE name = 'unannounced'),
	'{"model": "tiny-prompts", "labels": {"shop": {"v1": {"refund": "back", "fraud": "theft", "lost": "gone"}, "v2": {"refund": "back", "fraud": "crime"}}}}')
	ORDER BY 1;
SELECT count(*) > 0 AS prompts
FROM fsi_prompts('SELECT text, intent, source FROM prompts_data WHERE intent IN (''refund'', ''where'')',
	(SELECT body FROM prompts_templates WHERE name = 'unannounced'),
	'{"model": "tiny-prompts", "descriptions": {"shop": {"v1": {"fraud": "theft"}}}}');

-- what gives no prompt is counted
SELECT count(*) AS pairs FROM fsi_prompts($$
	SELECT text, intent FROM prompts_data WHERE intent IN ('refund', 'where') AND id <= 20
	UNION ALL VALUES (NULL, 'refund'), ('x', NULL), (' ', 'refund'), ('x', E'\n'), ('only one', 'lonely'),
		(repeat('so long ', 300), 'refund'), ('x', repeat('an intent that is a whole story ', 100))$$,
	(SELECT body FROM prompts_templates WHERE name = 'few-shot'), '{"model": "tiny-prompts", "seed": 3}');
-- a text that is too long is shortened in the middle, as in fsi_classify
SELECT DISTINCT length(prompt) > 300 AS near, strpos(prompt, 'text: from here it is ') > 0 AS head, strpos(prompt, E'it is to there\nintent:') > 0 AS tail
FROM fsi_prompts($$SELECT * FROM (VALUES ('from here' || repeat(' it is', 1000) || ' to there', 'refund'), ('a', 'card'),
	('from here' || repeat(' it is', 1001) || ' to there', 'refund'), ('b', 'card')) v(text, intent)$$,
	(SELECT body FROM prompts_templates WHERE name = 'few-shot'), '{"model": "tiny-prompts"}') WHERE intent = 'refund';
SELECT count(*) AS pairs FROM fsi_prompts($$SELECT text, intent, split FROM (VALUES ('a', 'refund', 'train'), ('b', 'refund', 'train'),
	('c', 'card', 'train'), ('d', 'card', 'train'), ('e', 'card', 'test'), ('f', 'card', 'test')) v(text, intent, split)$$,
	(SELECT body FROM prompts_templates WHERE name = 'unannounced'), '{"model": "tiny-prompts"}');
-- columns in any order, other ones too, of other types
SELECT count(*) AS pairs FROM fsi_prompts('SELECT now() AS source, id AS text, id % 3 AS intent, 1 AS more FROM prompts_data',
	(SELECT body FROM prompts_templates WHERE name = 'few-shot'));

-- a target list stops when it has enough; so does a cursor
SELECT (fsi_prompts('prompts_data', body)).n_way IS NOT NULL AS pair FROM prompts_templates WHERE name = 'few-shot' LIMIT 1;
BEGIN;
SET LOCAL work_mem = '64kB';
INSERT INTO prompts_data SELECT 1000 + i, 'long text ' || i || repeat(' it', 100), 'refund', 'train', 'shop' FROM generate_series(1, 400) i;
DECLARE c CURSOR FOR SELECT n_way IS NOT NULL AS pair
FROM (SELECT (fsi_prompts('prompts_data', body)).n_way FROM prompts_templates WHERE name = 'few-shot') s;
FETCH 2 FROM c;
SAVEPOINT s;
SELECT count(*) AS by_file FROM fsi_prompts('prompts_data', (SELECT body FROM prompts_templates WHERE name = 'few-shot'));
SELECT 1 / 0;
ROLLBACK TO s;
FETCH 2 FROM c;
CLOSE c;
SELECT pg_temp.hash_of('prompts_data') AS on_disk \gset
SET LOCAL work_mem = '4MB';
SELECT pg_temp.hash_of('prompts_data') = :'on_disk' AS same_in_memory;
ROLLBACK;

-- mistakes
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts(NULL, 'x')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts('prompts_data', NULL::text)$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts('prompts_data', '')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts('prompts_data', ARRAY[]::text[])$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts('prompts_data', '{}'::jsonb)$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts('prompts_data', ARRAY[body, NULL]) FROM prompts_templates LIMIT 1$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts('prompts_data', ARRAY[[body], [body]]) FROM prompts_templates LIMIT 1$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts('prompts_data', '3'::jsonb)$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts('prompts_data', '{"shop": [3]}'::jsonb)$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts('prompts_data', jsonb_build_object('x', body)) FROM prompts_templates LIMIT 1$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts('prompts_data', replace(body, '{examples}', '{exmples}')) FROM prompts_templates WHERE name = 'few-shot'$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts('prompts_data', ARRAY[body, replace(body, 'max_n_way": 5', 'max_n_way": 5.5')]) FROM prompts_templates WHERE name = 'few-shot'$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts('prompts_data', jsonb_build_object('shop', ARRAY[replace(body, '--- [define', '--- [')])) FROM prompts_templates WHERE name = 'few-shot'$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts('prompts_data', body) FROM prompts_templates WHERE name = 'described'$$);
CREATE FUNCTION pg_temp.source_fails(source text, OUT code text, OUT message text, OUT detail text)
LANGUAGE sql AS $$SELECT code, message, detail FROM pg_temp.fails(format('SELECT fsi_prompts(%L, body) FROM prompts_templates LIMIT 1', source)) $$;
SELECT * FROM pg_temp.source_fails('no_such_table');
SELECT * FROM pg_temp.source_fails('SELECT text FROM prompts_data');
SELECT * FROM pg_temp.source_fails('SELECT * FROM prompts_data WHERE false');
SELECT * FROM pg_temp.source_fails('SELECT NULL AS text, intent FROM prompts_data');
SELECT * FROM pg_temp.source_fails('SELECT * FROM prompts_data WHERE intent = ''refund''');
SELECT * FROM pg_temp.source_fails('SELECT text, intent, intent AS split FROM prompts_data');
SELECT o AS options, f.code, f.message
FROM unnest(ARRAY['[]', '"x"', '{"sed": 1}', '{"seed": "1"}', '{"seed": 1.5}', '{"seed": 9223372036854775808}', '{"seed": 1e40}',
	'{"seed": 9223372036854775807}', '{"samples": 1000000.0000000001}', '{"samples": 0}', '{"max_tokens": 1}',
	'{"model": "tiny-prompts", "max_tokens": 257}', '{"max_tokens": 100, "faithful": ["length"]}', '{"model": "no such model"}', '{"model": 1}', '{"faithful": 1}', '{"faithful": ["x"]}',
	'{"faithful": [1]}', '{"labels": 1}', '{"labels": {"v": {"refund": 1}}}', '{"labels": {"v": {"refund": []}}}', '{"labels": {"v": {"refund": [""]}}}',
	'{"labels": {"v": {"refund": "x"}, "w": "x"}}', '{"labels": {"s": {"v": {"refund": {"x": 1}}}}}', '{"descriptions": []}',
	'{"labels": {"refunds": ["x"]}}', '{"descriptions": {"refunds": "x"}}', '{"labels": {"no such source": {"v": {"refunds": "x"}}}}',
	'{"seed": null, "labels": null, "descriptions": null, "model": null, "faithful": null, "samples": null, "max_tokens": null}']::jsonb[]) o,
	pg_temp.fails(format('SELECT fsi_prompts(''prompts_data'', body, %L) FROM prompts_templates LIMIT 1', o)) f;
\x on
SELECT * FROM pg_temp.fails($$SELECT fsi_prompts('prompts_data', 'x', '{"sed": 1}')$$);
\x off

-- the caller's rights, not the extension's owner's
CREATE ROLE prompts_reader;
GRANT SELECT ON prompts_templates TO prompts_reader;
SET ROLE prompts_reader;
SELECT fsi_prompts('prompts_data', body) FROM prompts_templates LIMIT 1;
RESET ROLE;

DROP VIEW prompts_train, pairs;
DROP TABLE prompts_data, prompts_templates;
DROP ROLE prompts_reader;
SELECT fsi_drop_model('tiny-prompts');

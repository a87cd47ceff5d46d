-- Imported models: import, use, list, drop; the prompt layout on a tiny GPT-2 with random weights.

\getenv abs_srcdir PG_ABS_SRCDIR
\getenv abs_builddir PG_ABS_BUILDDIR
\setenv tiny :abs_builddir/tiny
\setenv make_tiny :abs_srcdir/test/data/tiny_gpt2.pl
\! rm -rf "$tiny" "$tiny"2 "$tiny".empty && perl "$make_tiny" "$tiny" 1 && perl "$make_tiny" "$tiny"2 2 && mkdir "$tiny".empty
\set tiny :abs_builddir /tiny
\set tiny2 :abs_builddir /tiny2
\set empty :abs_builddir /tiny.empty
\set missing :abs_builddir /no-such-directory
\pset null (null)

\i :abs_srcdir/test/sql/fails.psql
CREATE FUNCTION pg_temp.import_fails(name text, path text, OUT code text, OUT message text)
LANGUAGE sql AS $$SELECT code, regexp_replace(message, '/[^"]*/', '/.../') FROM pg_temp.fails(format('SELECT fsi_import_model(%L, %L)', name, path))$$;

-- import
SELECT fsi_import_model('tiny', :'tiny') ~ '^[0-9a-f]{64}$' AS identity;
SELECT name, layout, source, is_default, size > 0 AS size, imported_at <= now() AS imported_at, imported_by = current_user AS imported_by
FROM fsi_models ORDER BY name;
SELECT jsonb_pretty(fsi_model_info('tiny') - 'sha256' - 'bytes' - 'card');
SELECT jsonb_typeof(fsi_model_info('tiny')->'card'->'quirks') AS quirks;
SELECT fsi_model_info('tiny')->>'sha256' = (SELECT sha256 FROM fsi_models WHERE name = 'tiny') AS same,
	(fsi_model_info('tiny')->>'bytes')::bigint = (SELECT sum(octet_length(data)) FROM _fsi_model_chunk) AS chunks_are_the_file;
SELECT i->>'name' AS name, i->>'layout' AS layout, i->>'source' AS source, i->>'tokenizer' AS tokenizer FROM fsi_model_info('default') i;

-- what cannot be imported
SELECT * FROM pg_temp.import_fails('tiny', :'tiny');
SELECT n.name, f.* FROM unnest(ARRAY['', 'default', 'a/b', '..\x', E'a\nb', repeat('x', 64)]) n(name), pg_temp.import_fails(n.name, :'tiny') f;
SELECT * FROM pg_temp.import_fails('small-1', :'tiny');
SELECT * FROM pg_temp.import_fails('other', :'missing');
SELECT * FROM pg_temp.import_fails('other', :'empty');
SELECT * FROM pg_temp.import_fails('other', '/dev/null/x');
SELECT * FROM pg_temp.import_fails('other', '/dev/null');
SELECT code IN ('58030', '58P03') AS code, right(message, 20) AS message FROM pg_temp.import_fails('other', '/' || repeat('x', 1000));
SELECT code, message <> 'no error' AS refused FROM pg_temp.import_fails('other', :'tiny' || '/vocab.txt');
SELECT code, message <> 'no error' AS refused FROM pg_temp.import_fails('other', :'tiny' || '/model.safetensors');
SELECT fsi_import_model(NULL, :'tiny'), fsi_import_model('x', NULL);
SELECT count(*) AS files_left FROM pg_ls_dir(current_setting('data_directory') || '/fsi_intent') f WHERE f LIKE 'pgsql_tmp%';

-- answers come from the candidates only, whatever the weights
CREATE TEMP TABLE msg (txt text);
INSERT INTO msg VALUES ('where is my parcel'), ('i want my money back'), (''), ('FAQ'), ('退款'), ('a b c d e f'), (repeat('it ', 400));
SET client_min_messages = error;
SELECT bool_and(fsi_classify(txt, ARRAY['refund', 'track order', 'cancel'], o) IN ('refund', 'track order', 'cancel', 'none')) AS inside,
	bool_and((SELECT abs(sum(score) - 1) < 1e-9 AND count(*) = 3 + (o ? 'other')::int FROM fsi_scores(txt, ARRAY['refund', 'track order', 'cancel'], o))) AS sums_to_1,
	bool_and(fsi_classify(txt, ARRAY['refund', 'track order', 'cancel'], o)
		= (SELECT intent FROM fsi_scores(txt, ARRAY['refund', 'track order', 'cancel'], o) LIMIT 1)) AS best_is_answer
FROM msg, unnest(ARRAY['{"model": "tiny"}', '{"model": "tiny", "other": "none"}', '{"model": "tiny", "scoring": "sequence"}',
	'{"model": "tiny", "examples": [{"text": "lost card", "intent": "cancel"}], "descriptions": {"refund": "money back"}}',
	'{"model": "tiny", "template": "{intents}: {text}"}', '{"model": "tiny", "instructions": "please"}']::jsonb[]) o;
-- in a batch, alone, from the cache, at any level: the same bits
CREATE FUNCTION pg_temp.digest() RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(txt || intent || encode(float8send(score), 'hex'), ',' ORDER BY txt COLLATE "C", intent COLLATE "C"))
	FROM msg, fsi_scores(txt, ARRAY['refund', 'track order', 'cancel'], '{"model": "tiny", "other": "none"}')
$$;
SELECT pg_temp.digest() AS digest \gset
SET fsi_intent.enable_batch = off;
CREATE TEMP TABLE singly AS SELECT txt, fsi_classify(txt, ARRAY['refund', 'track order', 'cancel'], '{"model": "tiny"}') AS answer FROM msg;
SET fsi_intent.enable_batch = on;
SELECT fsi_classify_many(array_agg(txt ORDER BY txt COLLATE "C"), ARRAY['refund', 'track order', 'cancel'], '{"model": "tiny"}')
	= array_agg(answer ORDER BY txt COLLATE "C") AS batch_is_same FROM singly;
RESET fsi_intent.enable_batch;
SET fsi_intent.simd = scalar;
SELECT pg_temp.digest() = :'digest' AS same_bits;
RESET fsi_intent.simd;
SELECT pg_temp.digest() = :'digest' AS same_bits;
RESET client_min_messages;

-- too long: the message is shortened, the rest is an error with its number of tokens
SELECT fsi_classify(repeat('it ', 400), ARRAY['refund', 'track order'], '{"model": "tiny"}') IS NOT NULL AS answered;
\x on
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('x', ARRAY(SELECT 'order ' || i FROM generate_series(1, 200) i), '{"model": "tiny"}')$$);
-- words that this vocabulary lacks look alike
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('x', ARRAY['Refund', 'refund', 'Cancel'], '{"model": "tiny"}')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('x', ARRAY['refund', 'cancel'], '{"model": "tiny", "other": "refund  "}')$$);
-- templates
SELECT * FROM pg_temp.fails($$SELECT fsi_prompt('x', ARRAY['refund', 'cancel'], '{"model": "tiny", "template": "no place for it"}')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_prompt('x', ARRAY['refund', 'cancel'], '{"model": "tiny", "template": "{text} {nonsense}"}')$$);
\x off
SELECT fsi_prompt('where is it', ARRAY['refund', 'track order'],
	'{"model": "tiny", "template": "{{{instructions}}} [{intents}] ({other}) {examples}: {text} ->", "instructions": "be brief", "other": "none",
	"examples": [{"text": "give me my money", "intent": "refund"}]}');
SELECT fsi_classify('where is it', ARRAY['refund', 'track order'], '{"model": "tiny", "template": "{intents}: {text}"}') IS NOT NULL AS answered;
SELECT fsi_prompt('where is it', ARRAY['refund', 'track order'], '{"model": "tiny"}') LIKE '%where is it%' AS has_message;

-- tokens, vectors, free text
SELECT fsi_tokens('where is my parcel FAQ', 'tiny') = fsi_tokens(E'where  is\nmy parcel TODO', 'tiny') AS unknown_words_are_alike;
SELECT (fsi_tokens('a [SEP] b', 'tiny'))[2:4] <> (fsi_tokens('a b', 'tiny'))[2:4] AS plain,
	array_positions((fsi_tokens('a [SEP] b', 'tiny')), (fsi_tokens('', 'tiny'))[2]) = ARRAY[cardinality(fsi_tokens('a [SEP] b', 'tiny'))] AS ends_once;
SELECT cardinality(fsi_embed('where is my parcel', 'tiny')) AS width, abs(sum(x::float8 * x) - 1) < 1e-5 AS unit
FROM unnest(fsi_embed('where is my parcel', 'tiny')) x;
SELECT fsi_generate('where is my', 'tiny', 5) = fsi_generate('where is my', 'tiny', max_new_tokens => 5, seed => 7) AS greedy,
	fsi_generate('where is my', 'tiny', 40, temperature => 1.5, seed => 1) = fsi_generate('where is my', 'tiny', 40, temperature => 1.5, seed => 1) AS seeded,
	fsi_generate('where is my', 'tiny', 40, temperature => 1.5, seed => 1) <> fsi_generate('where is my', 'tiny', 40, temperature => 1.5, seed => 2) AS seeds_differ,
	fsi_generate('where is my', 'tiny', NULL, NULL, NULL, NULL, NULL, NULL) IS NOT NULL AS nulls_are_defaults;
SELECT cardinality(fsi_tokens(fsi_generate('where is my', 'tiny', 1, repetition_penalty => 1.2), 'tiny')) <= 3 AS one_token;
\x on
SELECT * FROM pg_temp.fails($$SELECT fsi_generate('hello')$$);
-- the longest prompt that is taken has room for one token of an answer behind it
SELECT cardinality(fsi_tokens(repeat('it ', 253), 'tiny')) AS tokens, fsi_generate(repeat('it ', 253), 'tiny') IS NOT NULL AS goes_on;
SELECT * FROM pg_temp.fails($$SELECT fsi_generate(repeat('it ', 254), 'tiny')$$);
\x off
SELECT s.setting, f.code, f.message FROM unnest(ARRAY['max_new_tokens => 0', 'max_new_tokens => -1', 'temperature => -1', 'temperature => ''NaN''',
	'top_p => 0', 'top_p => 1.1', 'top_k => -1', 'repetition_penalty => 0', 'repetition_penalty => ''NaN''']) s(setting),
	pg_temp.fails(format('SELECT fsi_generate(%L, %L, %s)', 'x', 'tiny', s.setting)) f;

-- the same weights under two names; a name stands for the same weights for ever
SELECT fsi_import_model('twin', :'tiny') = (SELECT sha256 FROM fsi_models WHERE name = 'tiny') AS same_identity;
SELECT count(*) FROM _fsi_model_chunk;
SELECT fsi_drop_model('tiny');
SELECT name FROM fsi_models ORDER BY name;
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('x', ARRAY['refund', 'cancel'], '{"model": "tiny"}')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_drop_model('tiny')$$);
SELECT * FROM pg_temp.import_fails('tiny', :'tiny2');
SELECT fsi_classify('x', ARRAY['refund', 'cancel'], '{"model": "twin"}') IS NOT NULL AS twin_lives;
SELECT fsi_import_model('tiny', :'tiny') = (SELECT sha256 FROM fsi_models WHERE name = 'twin') AS comes_back;
SELECT fsi_drop_model('tiny'), fsi_drop_model('twin');
SELECT count(*) FROM _fsi_model_chunk;
SELECT * FROM pg_temp.fails($$SELECT fsi_drop_model('small-1')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_drop_model('default')$$);

-- what is rolled back has not happened; a prepared plan sees what a name means now
BEGIN;
SELECT fsi_import_model('brief', :'tiny2') IS NOT NULL AS imported;
SELECT fsi_classify('x', ARRAY['refund', 'cancel'], '{"model": "brief"}') IS NOT NULL AS answered;
ROLLBACK;
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('x', ARRAY['refund', 'cancel'], '{"model": "brief"}')$$);
SELECT fsi_import_model('brief', :'tiny2') IS NOT NULL AS imported;
CREATE TEMP TABLE opt AS SELECT '{"model": "brief"}'::jsonb AS o;
PREPARE known AS SELECT fsi_classify('x', ARRAY['refund', 'cancel'], '{"model": "brief"}') IS NOT NULL AS answered;
EXECUTE known;
PREPARE ask AS SELECT fsi_classify('x', ARRAY['refund', 'cancel'], o) IS NOT NULL AS answered FROM opt;
EXECUTE ask;
BEGIN;
SELECT fsi_drop_model('brief');
EXECUTE ask;
ROLLBACK;
EXECUTE ask;
SELECT fsi_drop_model('brief');
EXECUTE ask;
EXECUTE known;
DEALLOCATE ask;
DEALLOCATE known;

-- a packed file can be imported too
SELECT fsi_import_model('tiny', :'tiny') AS sha256 \gset
SELECT fsi_import_model('copy', current_setting('data_directory') || '/fsi_intent/' || oid || '_' || :'sha256' || '.fsi') = :'sha256' AS same_identity
FROM pg_database WHERE datname = current_database();
SELECT code, regexp_replace(message, '"[^"]*"', '"..."') AS message
FROM pg_temp.fails(format('SELECT fsi_import_model(''typed'', %L || (SELECT oid FROM pg_database WHERE datname = current_database()) || %L, true)',
	current_setting('data_directory') || '/fsi_intent/', '_' || :'sha256' || '.fsi'));
SELECT fsi_drop_model('copy'), fsi_drop_model('tiny');
BEGIN READ ONLY;
SELECT fsi_import_model('tiny', :'tiny');
ROLLBACK;

-- a model can be written as a directory, which is read as the same model
\setenv out :abs_builddir/exported
\! rm -rf "$out" && mkdir -m 777 "$out"
\set out :abs_builddir /exported
SELECT fsi_import_model('tiny', :'tiny') IS NOT NULL AS imported;
SELECT fsi_export_model('tiny', :'out' || '/tiny'), fsi_export_model('default', :'out' || '/default');
SELECT f FROM pg_ls_dir(:'out' || '/tiny') f ORDER BY f COLLATE "C";
-- for others than the server's user, too
\! stat -c %a "$out"/tiny "$out"/tiny/model.safetensors
SELECT fsi_import_model('small-again', :'out' || '/default') = (SELECT sha256 FROM fsi_models WHERE is_default) AS same_identity;
SELECT fsi_import_model('tiny-again', :'out' || '/tiny') IS NOT NULL AS imported;
SELECT bool_and(fsi_tokens(txt, 'tiny') = fsi_tokens(txt, 'tiny-again')) AS same_tokens,
	bool_and((SELECT array_agg(s) FROM fsi_scores(txt, ARRAY['refund', 'track order'], '{"model": "tiny"}') s)
		= (SELECT array_agg(s) FROM fsi_scores(txt, ARRAY['refund', 'track order'], '{"model": "tiny-again"}') s)) AS same_scores
FROM msg;

-- token_type_ids of zeros add the embedding of token 0 to every position; the export needs none
SELECT fsi_import_model('typed', :'tiny', token_type_ids => true) <> sha256 AS others FROM fsi_models WHERE name = 'tiny';
SELECT fsi_model_info('typed')->'card'->'quirks' ? 'wte.weight[0] was added to every position, as token_type_ids of zeros do' AS said;
CREATE FUNCTION pg_temp.scores(model text, OUT scores text) LANGUAGE sql AS $$
	SELECT string_agg(s::text, ' ' ORDER BY s) FROM fsi_scores('where is my order', ARRAY['refund', 'cancel'], jsonb_build_object('model', model)) s$$;
SELECT pg_temp.scores('typed') <> pg_temp.scores('tiny') AS differ;
SELECT fsi_export_model('typed', :'out' || '/typed');
SELECT fsi_import_model('typed-again', :'out' || '/typed') IS NOT NULL AS imported;
SELECT pg_temp.scores('typed') = pg_temp.scores('typed-again') AS same;
SELECT fsi_drop_model('typed'), fsi_drop_model('typed-again');

CREATE FUNCTION pg_temp.export_fails(name text, path text, OUT code text, OUT message text)
LANGUAGE sql AS $$SELECT code, regexp_replace(message, '/[^"]*/', '/.../') FROM pg_temp.fails(format('SELECT fsi_export_model(%L, %L)', name, path))$$;
SELECT * FROM pg_temp.export_fails('tiny', :'out' || '/tiny');
SELECT * FROM pg_temp.export_fails('tiny', :'out' || '/no/such');
SELECT * FROM pg_temp.export_fails('tiny', 'relative/path');
SELECT * FROM pg_temp.export_fails('nothing', :'out' || '/nothing');
SELECT code IN ('58030', '58P03') AS code, right(message, 20) AS message FROM pg_temp.export_fails('tiny', :'out' || '/' || repeat('x', 1000));
SELECT f FROM pg_ls_dir(:'out') f ORDER BY f COLLATE "C";
SELECT fsi_drop_model('small-again'), fsi_drop_model('tiny-again'), fsi_drop_model('tiny');
-- the server's user has made them: no other may remove them
\set remove 'rm -rf "' :out '/tiny" "' :out '/typed" "' :out '/default"'
COPY (SELECT WHERE false) TO PROGRAM :'remove';
\! rmdir "$out"

-- a byte-level model whose tokenizer puts a space before a text: before a prompt, not before its parts
\setenv plain :abs_builddir/tiny.plain
\setenv spaced :abs_builddir/tiny.spaced
\! rm -rf "$plain" "$spaced" && perl "$make_tiny" "$plain" 3 256 bytes && cp -R "$plain" "$spaced"
\! printf '{"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": true}' > "$spaced"/tokenizer_config.json
\set plain :abs_builddir /tiny.plain
\set spaced :abs_builddir /tiny.spaced
SELECT fsi_import_model('plain', :'plain') <> fsi_import_model('spaced', :'spaced') AS imported;
SELECT fsi_tokens('a b', 'plain') AS plain, fsi_tokens('a b', 'spaced') AS spaced;
CREATE FUNCTION pg_temp.scores(msg text, template text, model text) RETURNS float8[]
LANGUAGE sql AS $$SELECT array_agg(score ORDER BY intent) FROM fsi_scores(msg, ARRAY['refund', 'track order'], jsonb_build_object('template', template, 'model', model))$$;
SELECT t AS template, pg_temp.scores('where is it', t, 'plain') = pg_temp.scores('where is it', t, 'spaced') AS same_scores
FROM unnest(ARRAY[' text: {text}' || E'\nintent:', ' text:' || E'\n{text}\n', ' "{text}": ', ' {text}:']) WITH ORDINALITY AS u(t, at) ORDER BY at;
-- a prompt that ends with the message: a label follows its last word as it follows a word of the template
SELECT model, pg_temp.scores('it', ' where is {text}', model) = pg_temp.scores('where', ' {text} is it', model) AS same_scores
FROM unnest(ARRAY['plain', 'spaced']) AS model;
SELECT fsi_drop_model('plain'), fsi_drop_model('spaced');
\! rm -rf "$plain" "$spaced"

-- Messages and intents: NULLs, limits, duplicates, and what every mistake is answered with.

\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/test/sql/fails.psql
\pset null (null)
\x on

-- intents that are no intents
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('hello', '{}')$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('hello', ARRAY['a', NULL])$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('hello', ARRAY['a', ''])$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('hello', ARRAY[E' \t\n', 'a'])$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('hello', ARRAY[['a', 'b'], ['c', 'd']])$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('hello', (SELECT array_agg(i::text) FROM generate_series(1, 10001) i))$$);
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('hello', ARRAY['a', repeat('money ', 1700)])$$);
-- equal once normalised, and nothing at all once normalised
SELECT * FROM pg_temp.fails($$SELECT fsi_classify('hello', ARRAY['refund', 'cancel', U&'\FF32efund'])$$);
SELECT code, message FROM pg_temp.fails($$SELECT count(*) FROM fsi_scores('hello', ARRAY['Refund', 'refund'])$$);
SELECT code, message FROM pg_temp.fails($$SELECT fsi_classify_many(ARRAY[['a'], ['b']], ARRAY['refund', 'cancel'])$$);
SELECT code, message FROM pg_temp.fails($$SELECT fsi_prompt('hello', '{}')$$);
SELECT code, message FROM pg_temp.fails($$SELECT fsi_scores('hello', '{}')$$);
SELECT code, message FROM pg_temp.fails($$SELECT fsi_classify_many('{hello}', '{}')$$);
\x off

-- NULL in, NULL out
SELECT fsi_classify(NULL, ARRAY['a', 'b']), fsi_classify('hello', NULL), fsi_classify('hello', ARRAY['a', 'b'], NULL),
	fsi_classify_many(NULL, ARRAY['a', 'b']), fsi_embed(NULL), fsi_tokens(NULL), fsi_prompt(NULL, ARRAY['a', 'b']),
	fsi_generate(NULL);
SELECT count(*) FROM fsi_scores(NULL, ARRAY['a', 'b']);
SELECT count(*) FROM fsi_scores('hello', NULL);

-- one intent is the answer, whatever the message
SELECT fsi_classify('hello', ARRAY['refund']), fsi_classify('', ARRAY['refund']);
SELECT * FROM fsi_scores('hello', ARRAY['refund']);

-- the first spelling of a duplicate is the answer; outer white space makes no other intent
SELECT fsi_classify('I want my money back', ARRAY[' refund ', 'weather', 'refund', ' refund ', E'refund\n']) = ' refund ' AS first;
SELECT count(*) FROM fsi_scores('hello', ARRAY['a', 'b', 'a', 'b ', ' a']);

-- array bounds mean nothing
SELECT fsi_classify('I want my money back', '[5:6]={refund,weather}'::text[]);

-- empty messages and messages without words have an answer
SELECT fsi_classify(m, ARRAY['refund', 'weather']) IN ('refund', 'weather') AS answered
FROM unnest(ARRAY['', ' ', E'\n\t', '?!', '😀', U&'\200B\200B', '中']) m;

-- many intents: 2, 150, 5000
SELECT fsi_classify('where is my parcel', ARRAY['parcel', 'weather']);
SELECT fsi_classify('the number is 77', (SELECT array_agg('number ' || i) FROM generate_series(1, 150) i)) LIKE 'number %' AS answered;
SELECT count(*), abs(sum(score) - 1) < 1e-9 AS sums_to_1, count(DISTINCT intent)
FROM fsi_scores('the number is 77', (SELECT array_agg('number ' || i) FROM generate_series(1, 5000) i));

-- a literal special token in a message is text
SELECT fsi_tokens('a<|eos|>b') <> fsi_tokens('a') AND cardinality(fsi_tokens('a<|eos|>b')) > 5 AS plain;
SELECT (fsi_tokens('a<|eos|>b'))[1] = (fsi_tokens('a'))[1] AS begins_alike,
	array_positions((fsi_tokens('a<|eos|>b')), (fsi_tokens(''))[2]) = ARRAY[cardinality(fsi_tokens('a<|eos|>b'))] AS ends_once;

-- Hard texts: very long, invisible, combining, every script; always an answer or a clear error, never a crash.

\pset null (null)
-- longer than the context: head and tail are kept, one warning per statement
SELECT bool_and(fsi_classify(repeat('hello ', 1000 + g), ARRAY['hello', 'weather']) IS NOT NULL) AS answered FROM generate_series(1, 3) g;
SELECT cardinality(fsi_embed(repeat('word ', 3000))) > 0 AS answered;
-- more than 1 MB: the tokens are not counted; also where the vector is remembered
SELECT fsi_classify(t, ARRAY['hello', 'weather']) IS NOT NULL AND fsi_classify(t, ARRAY['hello', 'weather', 'refund']) IS NOT NULL AS answered
FROM (VALUES (repeat('hello ', 200000))) v(t);
SELECT cardinality(fsi_embed(repeat('word ', 250000))) > 0 AS answered;
SET client_min_messages = error;
SELECT fsi_classify(repeat('hello ', 200000) || 'weather', ARRAY['hello', 'weather']) IS NOT NULL AS answered;
-- what was cut out does not matter
SELECT fsi_embed(repeat('a b ', 5000) || repeat('zzz ', 2) || repeat('a b ', 5000)) = fsi_embed(repeat('a b ', 10000)) AS middle_is_cut;
SELECT count(*), abs(sum(score) - 1) < 1e-12 AS sums_to_1 FROM fsi_scores(repeat('hello ', 3000), ARRAY['hello', 'weather']);
-- 1 MB without a space, of one letter, of digits, of Chinese, of emoji
SELECT kind, fsi_classify(t, ARRAY['hello', 'weather']) IS NOT NULL AS answered, octet_length(t) AS bytes
FROM (VALUES ('letter', repeat('a', 1000000)), ('word', repeat('abc', 333333)), ('digits', repeat('0123456789', 100000)),
	('chinese', repeat('我要退款', 83333)), ('emoji', repeat('😀', 250000)), ('spaces', repeat(' ', 1000000)),
	('newlines', repeat(E'\n', 1000000)), ('punctuation', repeat('!?', 500000))) v(kind, t);
-- 100,000 invisible or combining characters
SELECT kind, fsi_classify(t, ARRAY['hello', 'weather']) IS NOT NULL AS answered
FROM (VALUES ('zero width space', repeat(U&'\200B', 100000)), ('zero width joiner', repeat(U&'\200D', 100000)),
	('combining acute', 'e' || repeat(U&'\0301', 100000)), ('mixed marks', 'a' || repeat(U&'\0301\0316\0327', 33333)),
	('soft hyphen', repeat(U&'\00AD', 100000)), ('variation selector', '☺' || repeat(U&'\FE0F', 100000)),
	('bidi', repeat(U&'\202E', 100000)), ('hangul jamo', repeat(U&'\1100\1161', 50000)), ('ligature', repeat(U&'\FDFA', 20000))) v(kind, t);
RESET client_min_messages;
-- normalised alike, answered alike
SELECT fsi_tokens(U&'caf\00E9') = fsi_tokens(U&'cafe\0301') AS composed, fsi_tokens(U&'\FF21\FF22\FF23') = fsi_tokens('ABC') AS full_width;
-- every plane, unassigned and private characters
SELECT count(*), count(fsi_classify('a' || chr(c) || 'b', ARRAY['hello', 'weather']))
FROM unnest(ARRAY[1, 9, 127, 128, 160, 173, 888, 1564, 8232, 12288, 55295, 57344, 64975, 65279, 65533, 65534, 65535, 65536, 120782,
	195101, 196607, 917505, 983040, 1114109, 1114111]) c;
-- 10 kB intents of few tokens are allowed, of many tokens refused with their number
SELECT fsi_classify('hello', ARRAY['hello' || repeat(' ', 10000), 'weather']) LIKE 'hello%' AS answered;
SELECT fsi_classify('hello', ARRAY['weather', repeat('我要退款', 2500)]);
-- quotes, backslashes, nothing but markup
SELECT fsi_classify(m, ARRAY[$$it's$$, '"quoted"', 'back\slash', '{brace}', '%s%n'], '{"other": "100%"}') IS NOT NULL AS answered
FROM unnest(ARRAY[$$it's$$, '"', '\', '{}', '%s%s%s%n', '<b>', '$1', '--', '/*']) m;
SELECT fsi_classify('%s%n', ARRAY['%s%n', 'weather']);
SELECT fsi_classify('hello', ARRAY['%s%n', '%S%N']);

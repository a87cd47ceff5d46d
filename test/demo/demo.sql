-- The demo: run by test/demo/demo.sh in a throw-away cluster, as any other script for psql would be.
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
\pset footer off
\pset linestyle unicode
\pset border 2
\pset null '-'

CREATE EXTENSION fsi_intent;
CREATE TABLE tickets (id int PRIMARY KEY, lang text, msg text NOT NULL, expected text, intent text);
\copy tickets (id, lang, msg, expected) FROM 'demo/tickets.csv' WITH (FORMAT csv, HEADER)
CREATE TABLE labelled (msg text, intent text);
\copy labelled FROM 'demo/examples.csv' WITH (FORMAT csv, HEADER)
ANALYZE;

\echo
\echo :bold'1. Ask for one of your own intents':plain
\echo
\set ECHO queries
SELECT id, left(msg, 46) AS message,
       fsi_classify(msg, ARRAY['refund','track order','cancel order','change address',
                               'invoice','log in','damaged item','discount code']) AS intent
FROM tickets ORDER BY id LIMIT 12;
\set ECHO none

\echo
\echo :bold'2. How sure is it? Every intent with its score':plain
\echo
\set ECHO queries
SELECT t.id, left(t.msg, 40) AS message, s.intent, round(s.score::numeric, 3) AS score,
       repeat('█', round(s.score * 30)::int) AS bar
FROM tickets t, fsi_scores(t.msg, ARRAY['refund','track order','cancel order','log in']) s
WHERE t.id IN (3, 4) ORDER BY t.id, s.score DESC;
\set ECHO none

\echo
\echo :bold'3. A whole table in one UPDATE':plain
\echo
SELECT clock_timestamp() AS t0 \gset
\set ECHO queries
UPDATE tickets
SET intent = fsi_classify(msg, ARRAY['refund','track order','cancel order','change address',
                                     'invoice','log in','damaged item','discount code'],
                          '{"other": "other"}');
\set ECHO none
SELECT clock_timestamp() AS t1 \gset
SELECT lang, count(*) AS messages, count(*) FILTER (WHERE intent = expected) AS "as a person said"
FROM tickets GROUP BY lang ORDER BY lang;
SELECT format('%s messages in %s ms: %s a second', n, round(1000 * s, 1), round(n / s)) AS took
FROM (SELECT count(*) AS n, extract(epoch FROM :'t1'::timestamptz - :'t0'::timestamptz) AS s FROM tickets) t \gset
\echo :took

\echo
\echo :bold'4. A few examples, kept in a table of yours, and what they change':plain
\echo
\set ECHO queries
SELECT intent, msg AS example FROM labelled WHERE intent IN ('refund', 'log in') ORDER BY intent, msg;
SELECT left(msg, 40) AS message, intent AS "without", answer AS "with examples",
       CASE answer WHEN expected THEN '✓' ELSE '' END AS "right"
FROM tickets,
     fsi_classify(msg, ARRAY['refund','track order','cancel order','change address',
                             'invoice','log in','damaged item','discount code'],
                  jsonb_build_object('other', 'other', 'examples',
                                     (SELECT fsi_examples(msg, intent) FROM labelled))) AS answer
WHERE answer <> intent ORDER BY id;
\set ECHO none
SELECT count(*) AS messages, count(*) FILTER (WHERE intent = expected) AS "right without examples",
       count(*) FILTER (WHERE answer = expected) AS "right with two for each intent"
FROM tickets,
     fsi_classify(msg, ARRAY['refund','track order','cancel order','change address',
                             'invoice','log in','damaged item','discount code'],
                  jsonb_build_object('other', 'other', 'examples',
                                     (SELECT fsi_examples(msg, intent) FROM labelled))) AS answer;

\echo
\echo :bold'5. An index on the predicted intent':plain
\echo
\echo 'A month of tickets, each message another one, classified as it is stored:'
\echo
SELECT clock_timestamp() AS t0 \gset
\set ECHO queries
CREATE TABLE month (
    id int,
    msg text NOT NULL,
    intent text GENERATED ALWAYS AS (
        fsi_classify(msg, ARRAY['refund','track order','cancel order','change address',
                                'invoice','log in','damaged item','discount code'])) STORED);
INSERT INTO month SELECT n * 100 + id, format('%s [ticket %s]', msg, n * 100 + id)
FROM tickets, generate_series(1, 20) n;
CREATE INDEX ON month (intent, id);
\set ECHO none
SELECT clock_timestamp() AS t1 \gset
ANALYZE month;
\echo
\set ECHO queries
SELECT id, left(msg, 60) AS message FROM month WHERE intent = 'refund' ORDER BY id DESC LIMIT 3;
EXPLAIN (COSTS off) SELECT id, msg FROM month WHERE intent = 'refund' ORDER BY id DESC LIMIT 3;
\set ECHO none
\echo
\echo 'The same without a column, on the expression itself:'
\echo
\set ECHO queries
CREATE INDEX ON tickets (fsi_classify(msg, ARRAY['delivery','payment','damaged item']));
SELECT id, left(msg, 60) AS message
FROM tickets WHERE fsi_classify(msg, ARRAY['delivery','payment','damaged item']) = 'damaged item' ORDER BY id;
EXPLAIN (COSTS off)
SELECT id, msg FROM tickets WHERE fsi_classify(msg, ARRAY['delivery','payment','damaged item']) = 'damaged item';
\set ECHO none

\echo
\echo :bold'6. Speed':plain
\echo
SELECT clock_timestamp() AS t2 \gset
\set ECHO queries
SELECT fsi_classify(msg, ARRAY['billing','shipping','account','product']) AS desk, count(*)
FROM month GROUP BY 1 ORDER BY 2 DESC;
\set ECHO none
SELECT clock_timestamp() AS t3 \gset
SELECT what AS "one connection", rows, round(1000 * s, 1) AS ms, round(rows / s) AS "rows per second"
FROM (SELECT count(*) AS rows FROM month) m,
     (VALUES ('SELECT', extract(epoch FROM :'t3'::timestamptz - :'t2'::timestamptz)),
             ('INSERT into a generated column, and its index',
              extract(epoch FROM :'t1'::timestamptz - :'t0'::timestamptz))) AS t (what, s);

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
CREATE TABLE handled (msg text, intent text, team text);
\copy handled FROM 'demo/examples.csv' WITH (FORMAT csv, HEADER)
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
\echo 'Which team should take it? The names of the teams say nothing, but each has handled four messages before:'
\echo
\set ECHO queries
SELECT team, msg AS example FROM handled WHERE team IN ('Oslo', 'Lima') ORDER BY team DESC, msg;
CREATE TABLE routed AS
SELECT id, msg, expected,
       fsi_classify(msg, ARRAY['Oslo','Lima','Kyoto','Accra']) AS names_only,
       fsi_classify(msg, ARRAY['Oslo','Lima','Kyoto','Accra'],
                    (SELECT jsonb_build_object('examples', fsi_examples(msg, team)) FROM handled)) AS with_examples
FROM tickets
WHERE expected <> 'other';
\set ECHO none
\echo
SELECT r.id, left(r.msg, 40) AS message, names_only AS "names only", with_examples AS "with examples",
       CASE with_examples WHEN h.team THEN '✓' ELSE '' END AS "right"
FROM routed r JOIN (SELECT DISTINCT intent, team FROM handled) h ON h.intent = r.expected
WHERE names_only <> with_examples ORDER BY id LIMIT 12;
SELECT count(*) AS messages, count(*) FILTER (WHERE names_only = h.team) AS "right by names only",
       count(*) FILTER (WHERE with_examples = h.team) AS "right with four examples a team"
FROM routed r JOIN (SELECT DISTINCT intent, team FROM handled) h ON h.intent = r.expected;

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
CREATE INDEX ON tickets (fsi_classify(msg, ARRAY['delivery','payment','account']));
SELECT id, left(msg, 60) AS message
FROM tickets WHERE fsi_classify(msg, ARRAY['delivery','payment','account']) = 'payment' ORDER BY id;
EXPLAIN (COSTS off)
SELECT id, msg FROM tickets WHERE fsi_classify(msg, ARRAY['delivery','payment','account']) = 'payment';
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

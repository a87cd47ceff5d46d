-- fsi_classify_table: answers, arguments, rights, what it refuses. Its NOTICE has seconds in it.
SET client_min_messages = warning;
\set intents 'ARRAY[''refund'', ''track order'', ''weather'']'
CREATE FUNCTION pg_temp.wrong(tbl text, question text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM %s WHERE intent::text IS DISTINCT FROM fsi_classify(msg, %s)', tbl, question) INTO n;
	RETURN n;
END $$;

CREATE TABLE tickets (id int PRIMARY KEY, msg text, intent text) WITH (fillfactor = 60);
INSERT INTO tickets SELECT g, CASE g % 7 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'where is my parcel ' || g
	WHEN 3 THEN '我要退款 ' || g WHEN 4 THEN 'rain tomorrow?' WHEN 5 THEN 'my money please ' || g ELSE md5(g::text) END
FROM generate_series(1, 250) g;

-- the answers are fsi_classify's, whatever was there before, also none
UPDATE tickets SET intent = 'old' WHERE id % 3 = 0;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents);
SELECT pg_temp.wrong('tickets', $$ARRAY['refund', 'track order', 'weather']$$), count(*), count(intent) FROM tickets;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, '{"min_score": 0.9}', chunk_rows => 1);
SELECT pg_temp.wrong('tickets', $$ARRAY['refund', 'track order', 'weather'], '{"min_score": 0.9}'$$), count(intent) < 200 AS some_null FROM tickets;
-- by two processes
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, workers => 2, chunk_rows => 40);
SELECT pg_temp.wrong('tickets', $$ARRAY['refund', 'track order', 'weather']$$);
-- rows that hold their answer are not written
CREATE TABLE before AS SELECT id, ctid AS was FROM tickets;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, rows_per_second => 1e9);
SELECT count(*) AS moved FROM tickets t JOIN before b USING (id) WHERE t.ctid <> b.was;
-- nothing stays behind
SELECT (SELECT count(*) FROM _fsi_job), (SELECT count(*) FROM _fsi_job_chunk), (SELECT count(*) FROM fsi_progress);
SELECT count(*) AS locks FROM pg_locks WHERE locktype = 'object' AND pid = pg_backend_pid();

-- a condition
UPDATE tickets SET intent = NULL;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => 'id <= 20 AND tickets.intent IS NULL -- the first ones');
SELECT count(intent), max(id) FILTER (WHERE intent IS NOT NULL) FROM tickets;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => 'true) OR (true');
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => 'true, false');
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => 'true FROM tickets');
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => '');
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => 'id IN (SELECT 1 WHERE ctid > $1)');
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => 'nothing = 1');
SELECT count(*) AS jobs FROM fsi_progress;

-- arguments
CALL fsi_classify_table(NULL, 'msg', 'intent', :intents);
CALL fsi_classify_table('tickets', NULL, 'intent', :intents);
CALL fsi_classify_table('tickets', 'msg', NULL, :intents);
CALL fsi_classify_table('tickets', 'msg', 'intent', NULL);
CALL fsi_classify_table('tickets', 'msg', 'intent', '{}');
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, '{"no such": 1}');
CALL fsi_classify_table('tickets', 'message', 'intent', :intents);
CALL fsi_classify_table('tickets', 'msg', 'label', :intents);
CALL fsi_classify_table('tickets', 'ctid', 'intent', :intents);
CALL fsi_classify_table('tickets', 'msg', 'msg', :intents);
CALL fsi_classify_table('tickets', 'id', 'intent', :intents);
CALL fsi_classify_table('tickets', 'msg', 'id', :intents);
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, workers => 0);
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, workers => NULL);
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, workers => 100000);
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, chunk_rows => 0);
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, rows_per_second => 0);
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, rows_per_second => 'NaN');
BEGIN;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents);
ROLLBACK;
DO $$ BEGIN CALL fsi_classify_table('tickets', 'msg', 'intent', ARRAY['refund']); EXCEPTION WHEN division_by_zero THEN NULL; END $$;
-- but from a block that may commit
DO $$ BEGIN CALL fsi_classify_table('tickets', 'msg', 'intent', ARRAY['refund']); END $$;
SELECT count(*) FILTER (WHERE intent = 'refund') = count(msg) AS one_intent FROM tickets;

-- an error in the middle: what was done stays, the same call goes on, another does not
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => '1 / (id - 240) < 2', chunk_rows => 20);
SELECT tbl, text_column, target_column, state, pid, processes, rows_done > 0 AS some, rows_total >= rows_done AS total,
	rows_per_second, eta FROM fsi_progress;
CALL fsi_classify_table('tickets', 'msg', 'intent', ARRAY['refund'], condition => '1 / (id - 240) < 2', chunk_rows => 20);
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents);
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, '{"other": "none"}', condition => '1 / (id - 240) < 2');
\set VERBOSITY terse
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => '1 / (id - 240) < 2', chunk_rows => 20, workers => 2);
\set VERBOSITY default
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, restart => true);
SELECT pg_temp.wrong('tickets', $$ARRAY['refund', 'track order', 'weather']$$);
SELECT count(*) AS jobs FROM fsi_progress;
-- one that is given up: what it has written stays
CALL fsi_classify_table('tickets', 'msg', 'intent', ARRAY['a', 'b'], condition => '1 / (id - 240) < 2', chunk_rows => 20);
SELECT job, rows_done > 0 AS some FROM fsi_progress \gset
CREATE ROLE regress_fsi_stranger;
SET ROLE regress_fsi_stranger;
\set VERBOSITY sqlstate
SELECT fsi_discard_job(:job);
RESET ROLE;
\set VERBOSITY default
DROP ROLE regress_fsi_stranger;
BEGIN;
SELECT fsi_discard_job(:job);
SELECT count(*) AS jobs FROM fsi_progress;
ROLLBACK;
SELECT fsi_discard_job(job) FROM fsi_progress WHERE state = 'interrupted';
SELECT :'some'::bool AS some, count(*) FILTER (WHERE intent IN ('a', 'b')) > 0 AS kept, (SELECT count(*) FROM _fsi_job_chunk) AS chunks FROM tickets;
\set VERBOSITY sqlstate
SELECT fsi_discard_job(:job);
\set VERBOSITY default
SELECT fsi_discard_job(-1);
-- one that nothing was done of is no obstacle
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => '1 / 0 = id');
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents);
-- a job of a table, a column or a role that is gone is gone with the next call
CREATE TABLE narrow AS SELECT * FROM tickets;
CALL fsi_classify_table('narrow', 'msg', 'intent', ARRAY['a', 'b'], condition => '1 / (id - 240) < 2', chunk_rows => 20);
ALTER TABLE narrow DROP intent;
SELECT tbl, target_column FROM fsi_progress;
CREATE TABLE doomed AS SELECT * FROM tickets;
CALL fsi_classify_table('doomed', 'msg', 'intent', ARRAY['a', 'b'], condition => '1 / (id - 240) < 2', chunk_rows => 20);
CREATE ROLE regress_fsi_gone;
GRANT SELECT, UPDATE ON tickets TO regress_fsi_gone;
SET ROLE regress_fsi_gone;
CALL fsi_classify_table('tickets', 'msg', 'intent', ARRAY['a', 'b'], condition => '1 / (id - 240) < 2', chunk_rows => 20);
RESET ROLE;
DROP OWNED BY regress_fsi_gone;
DROP ROLE regress_fsi_gone;
SELECT tbl, target_column, role = current_user AS mine, state FROM fsi_progress ORDER BY job;
DROP TABLE doomed;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents);
SELECT count(*) AS jobs FROM _fsi_job;
DROP TABLE narrow;

-- kinds of tables and columns
CREATE DOMAIN label AS varchar(20) CHECK (VALUE <> 'weather');
CREATE TABLE kinds (msg varchar(100), intent varchar(3), padded char(20), checked label, code "char"[],
	made text GENERATED ALWAYS AS (upper(msg)) STORED);
INSERT INTO kinds VALUES ('my money'), ('rain tomorrow');
CALL fsi_classify_table('kinds', 'msg', 'padded', ARRAY['refund', 'weather']);
CALL fsi_classify_table('kinds', 'made', 'intent', ARRAY['abc', 'x']);
SELECT padded::text = fsi_classify(msg, ARRAY['refund', 'weather']), intent IS NOT NULL FROM kinds;
CALL fsi_classify_table('kinds', 'padded', 'intent', ARRAY['refund', 'weather']);
CALL fsi_classify_table('kinds', 'msg', 'checked', ARRAY['weather']);
CALL fsi_classify_table('kinds', 'msg', 'code', ARRAY['weather']);
CALL fsi_classify_table('kinds', 'msg', 'made', ARRAY['weather']);
CREATE VIEW seen AS SELECT * FROM kinds;
CALL fsi_classify_table('seen', 'msg', 'intent', ARRAY['abc']);
CREATE MATERIALIZED VIEW kept AS SELECT * FROM kinds;
CALL fsi_classify_table('kept', 'msg', 'intent', ARRAY['abc']);
CALL fsi_classify_table('tickets_pkey', 'id', 'id', ARRAY['abc']);
CALL fsi_classify_table('pg_description', 'description', 'description', ARRAY['abc']);
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE far (id int, msg text, intent text) SERVER nowhere;
CALL fsi_classify_table('far', 'msg', 'intent', ARRAY['abc']);

-- partitions of different shapes, rows that change partition; inheritance; temporary, empty
CREATE TABLE parts (msg text, intent text, id int) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (50);
CREATE TABLE parts_2 (id int, dropped int, intent text, msg text);
ALTER TABLE parts_2 DROP COLUMN dropped;
ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM (50) TO (1000);
INSERT INTO parts SELECT msg, NULL, id FROM tickets;
CALL fsi_classify_table('parts', 'msg', 'intent', :intents, workers => 2, chunk_rows => 30);
SELECT pg_temp.wrong('parts', $$ARRAY['refund', 'track order', 'weather']$$), count(intent) FROM parts;
CREATE FOREIGN TABLE parts_3 PARTITION OF parts FOR VALUES FROM (1000) TO (2000) SERVER nowhere;
CALL fsi_classify_table('parts', 'msg', 'intent', :intents);
CREATE TABLE by_intent (msg text, intent text) PARTITION BY LIST (intent);
CREATE TABLE by_intent_1 PARTITION OF by_intent FOR VALUES IN ('refund');
CREATE TABLE by_intent_2 PARTITION OF by_intent DEFAULT;
INSERT INTO by_intent SELECT msg FROM tickets;
CALL fsi_classify_table('by_intent', 'msg', 'intent', :intents, chunk_rows => 30);
SELECT pg_temp.wrong('by_intent', $$ARRAY['refund', 'track order', 'weather']$$),
	(SELECT count(*) > 0 FROM by_intent_1) AS moved, count(*) FROM by_intent;
CREATE TABLE child () INHERITS (tickets);
INSERT INTO child VALUES (1000, 'my money');
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents);
SELECT intent FROM child;
DROP TABLE child;
CREATE TEMP TABLE brief AS SELECT id, msg, NULL::text AS intent FROM tickets;
CALL fsi_classify_table('brief', 'msg', 'intent', :intents, workers => 3, chunk_rows => 30);
SELECT pg_temp.wrong('brief', $$ARRAY['refund', 'track order', 'weather']$$);
TRUNCATE tickets;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, workers => 3);
INSERT INTO tickets SELECT * FROM brief;

-- triggers fire as for any UPDATE
CREATE TABLE log (id int, intent text, pid int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO log VALUES (NEW.id, NEW.intent, pg_backend_pid()); RETURN NEW; END $$;
CREATE TRIGGER note BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION note();
UPDATE tickets SET intent = 'old';
TRUNCATE log;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, workers => 2, chunk_rows => 30);
SELECT count(*), count(DISTINCT id) FROM log;

-- what a trigger does at the first commits is no trouble for the last
CREATE FUNCTION scratch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE IF NOT EXISTS scratch (id int); RETURN NEW; END $$;
CREATE TRIGGER scratch BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION scratch();
UPDATE tickets SET intent = 'old' WHERE id <= 20;
\c -
SET client_min_messages = warning;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => 'id <= 20');
\c -
SET client_min_messages = warning;
DROP TRIGGER scratch ON tickets;
DROP FUNCTION scratch;

-- a trigger that closes all cursors meets one that it may not
CREATE FUNCTION shut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'CLOSE ALL'; RETURN NEW; END $$;
CREATE TRIGGER shut BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION shut();
UPDATE tickets SET intent = 'old' WHERE id <= 20;
\set VERBOSITY terse
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => 'id <= 20');
\set VERBOSITY default
DROP TRIGGER shut ON tickets;
DROP FUNCTION shut;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => 'id <= 20');

-- a rule that does something else instead would leave all rows as they are
CREATE RULE elsewhere AS ON UPDATE TO tickets DO INSTEAD NOTHING;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents);
SELECT count(*) AS jobs FROM fsi_progress WHERE tbl = 'tickets'::regclass;
ALTER TABLE tickets DISABLE RULE elsewhere;
UPDATE tickets SET intent = 'old' WHERE id <= 20;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => 'id <= 20');
SELECT count(*) AS old FROM tickets WHERE intent = 'old';
DROP RULE elsewhere ON tickets;

-- rights: SELECT on the table and UPDATE on the column, and no row that a policy hides
CREATE ROLE regress_fsi_clerk;
CREATE ROLE regress_fsi_other;
SET ROLE regress_fsi_clerk;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents);
SELECT count(*) FROM _fsi_job;
SELECT count(*) FROM _fsi_job_chunk;
SELECT count(*) FROM fsi_progress;
RESET ROLE;
GRANT SELECT ON tickets TO regress_fsi_clerk;
GRANT UPDATE (id) ON tickets TO regress_fsi_clerk;
SET ROLE regress_fsi_clerk;
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents);
RESET ROLE;
GRANT UPDATE (intent) ON tickets TO regress_fsi_clerk;
ALTER TABLE tickets ENABLE ROW LEVEL SECURITY;
CREATE POLICY odd ON tickets TO regress_fsi_clerk USING (id % current_setting('my.modulus')::int = 1);
UPDATE tickets SET intent = 'old';
TRUNCATE log;
SET ROLE regress_fsi_clerk;
SET my.modulus = 5;
CALL fsi_classify_table('tickets', 'msg', 'intent', ARRAY['refund'], workers => 2, chunk_rows => 10);
CALL fsi_classify_table('tickets', 'msg', 'intent', :intents, condition => '1 / (id - 241) < 2', chunk_rows => 10);
SELECT role, state FROM fsi_progress ORDER BY role;
SET ROLE regress_fsi_other;
SELECT count(*) FROM fsi_progress;
RESET ROLE;
SELECT role, state FROM fsi_progress ORDER BY role;
GRANT pg_monitor TO regress_fsi_other;
SET ROLE regress_fsi_other;
SELECT role, state FROM fsi_progress ORDER BY role;
RESET ROLE;
SELECT count(*) FILTER (WHERE intent = 'old') AS kept, bool_and((intent = 'old') = (id % 5 <> 1)) AS as_allowed FROM tickets WHERE msg IS NOT NULL;
RESET my.modulus;
-- a session's user that cannot log in has workers all the same
SET SESSION AUTHORIZATION regress_fsi_clerk;
SET my.modulus = 5;
CALL fsi_classify_table('tickets', 'msg', 'intent', ARRAY['refund', 'weather'], workers => 2, chunk_rows => 10, restart => true);
RESET SESSION AUTHORIZATION;

DROP TABLE tickets, before, log, parts, by_intent, kinds CASCADE;
DROP SERVER nowhere CASCADE;
DROP FOREIGN DATA WRAPPER nowhere;
DROP DOMAIN label;
DROP FUNCTION note;
DROP ROLE regress_fsi_clerk, regress_fsi_other;

-- long texts are taken in as work_mem holds them
CREATE TABLE long_texts (id int, msg text, intent text);
INSERT INTO long_texts SELECT g, repeat((ARRAY['where is my parcel ', 'i want my money back '])[1 + g % 2], 2000) FROM generate_series(1, 9) g;
SET work_mem = '64kB';
\set VERBOSITY terse
CALL fsi_classify_table('long_texts', 'msg', 'intent', :intents);
RESET work_mem;
SET client_min_messages = error;
SELECT count(*), bool_and(intent IS NOT DISTINCT FROM fsi_classify(msg, :intents)) AS same FROM long_texts;
RESET client_min_messages;
DROP TABLE long_texts;

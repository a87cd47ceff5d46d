-- Answers that are kept: generated columns, indexes on the predicted intent, UPDATE, parallel plans.

CREATE FUNCTION intents() RETURNS text[] IMMUTABLE PARALLEL SAFE LANGUAGE sql AS $$SELECT ARRAY['refund', 'track order', 'weather']$$;

CREATE TABLE tickets (id serial PRIMARY KEY, msg text,
	intent text GENERATED ALWAYS AS (fsi_classify(msg, ARRAY['refund', 'track order', 'weather'])) STORED);
INSERT INTO tickets (msg) VALUES ('refund please, refund'), ('track order 17'), ('weather'), (NULL), ('track my order');
SELECT id, intent FROM tickets ORDER BY id;
UPDATE tickets SET msg = 'weather today' WHERE id = 1;
SELECT id, intent FROM tickets WHERE id = 1;
UPDATE tickets SET intent = 'x';
SELECT bool_and(intent IS NOT DISTINCT FROM fsi_classify(msg, intents())) AS agrees FROM tickets;

-- an index on the expression answers the query
CREATE TABLE plain (id serial PRIMARY KEY, msg text, intent text);
INSERT INTO plain (msg) SELECT msg FROM tickets, generate_series(1, 40);
CREATE INDEX plain_intent ON plain (fsi_classify(msg, ARRAY['refund', 'track order', 'weather']));
ANALYZE plain;
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT count(*) FROM plain WHERE fsi_classify(msg, ARRAY['refund', 'track order', 'weather']) = 'weather';
SELECT count(*) FROM plain WHERE fsi_classify(msg, ARRAY['refund', 'track order', 'weather']) = 'weather';
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SELECT count(*) FROM plain WHERE fsi_classify(msg, ARRAY['refund', 'track order', 'weather']) = 'weather';
RESET enable_seqscan;
RESET enable_indexscan;
RESET enable_bitmapscan;
DELETE FROM plain WHERE id > 50;
INSERT INTO plain (msg) VALUES ('weather');
UPDATE plain SET msg = 'track order' WHERE id = 3;
SELECT count(*) FROM plain WHERE fsi_classify(msg, ARRAY['refund', 'track order', 'weather']) = 'weather';
CREATE EXTENSION amcheck;
SELECT bt_index_check('plain_intent', true);
REINDEX INDEX plain_intent;
DROP EXTENSION amcheck;

-- the ways to fill a column
UPDATE plain SET intent = fsi_classify(msg, intents());
CREATE TABLE copied AS SELECT id, fsi_classify(msg, intents()) AS intent FROM plain;
SELECT count(*), count(intent) FROM plain JOIN copied USING (id, intent);
INSERT INTO copied SELECT id + 1000, fsi_classify(msg, intents()) FROM plain;
WITH labels AS (SELECT array_agg(id ORDER BY id) AS ids, fsi_classify_many(array_agg(msg ORDER BY id), intents()) AS answers FROM plain)
UPDATE plain SET intent = a.intent FROM (SELECT unnest(ids) AS id, unnest(answers) AS intent FROM labels) a
WHERE plain.id = a.id AND plain.intent IS DISTINCT FROM a.intent;
SELECT intent, count(*) FROM plain GROUP BY intent ORDER BY intent;
CREATE FUNCTION label() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.intent := fsi_classify(NEW.msg, intents()); RETURN NEW; END$$;
CREATE TRIGGER label BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION label();
INSERT INTO plain (msg) VALUES ('weather'), (NULL) RETURNING intent;
ALTER TABLE plain ADD CHECK (fsi_classify(msg, ARRAY['refund', 'track order', 'weather']) <> 'nonsense');
PREPARE by_intent(text[]) AS SELECT count(*) FROM plain WHERE fsi_classify(msg, $1) = $1[3];
EXECUTE by_intent(intents());
EXECUTE by_intent('{a,b,weather}');
DEALLOCATE by_intent;

-- workers give the same labels
ALTER TABLE plain SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS off) SELECT count(*) FROM plain WHERE fsi_classify(msg, intents()) = intent;
SELECT count(*) = (SELECT count(intent) FROM plain) AS same_in_workers FROM plain WHERE fsi_classify(msg, intents()) = intent;
-- the setting that is force_parallel_mode until PostgreSQL 15
SELECT name AS debug_parallel FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')
\gset
SET :debug_parallel = on;
SELECT fsi_classify('weather', intents());
RESET :debug_parallel;

-- cheap filters run before the model, the model after the sort
EXPLAIN (COSTS off) SELECT * FROM copied WHERE fsi_classify(intent, intents()) = 'weather' AND id < 10;
EXPLAIN (COSTS off, VERBOSE) SELECT fsi_classify(intent, intents()) FROM copied ORDER BY id LIMIT 3;

-- an error inside leaves the session sound
SET max_parallel_workers_per_gather = 0; -- a worker that comes first would add itself as context
SELECT fsi_classify(msg, ARRAY['a', NULL]) FROM plain;
BEGIN;
SELECT fsi_classify('weather', intents());
SAVEPOINT s;
SELECT fsi_classify('weather', '{}');
ROLLBACK TO s;
SELECT fsi_classify('weather', intents());
COMMIT;
DECLARE c CURSOR WITH HOLD FOR SELECT fsi_classify(msg, intents()) IS NOT NULL FROM plain WHERE msg IS NOT NULL ORDER BY id;
FETCH 2 FROM c;
CLOSE c;
DROP TABLE plain, tickets, copied;
DROP FUNCTION label, intents;

-- a statement that stores answers looks nothing up in catalogs that one before it in its transaction has looked up
CREATE TABLE looked_up (msg text, intent text GENERATED ALWAYS AS (fsi_classify(msg, ARRAY['refund', 'weather'])) STORED,
	CHECK (fsi_classify(msg, ARRAY['weather', 'refund']) <> 'nonsense'));
CREATE INDEX ON looked_up (upper(fsi_classify(msg, ARRAY['refund', 'weather'])));
CREATE VIEW scans AS SELECT sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0)) AS n FROM pg_stat_xact_all_tables
WHERE relname IN ('_fsi_model_catalog', 'pg_depend', 'pg_extension');
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO looked_up VALUES ('weather');
SELECT n AS before FROM scans
\gset
INSERT INTO looked_up VALUES (NULL), ('refund');
UPDATE looked_up SET msg = 'weather again';
SELECT n - :before AS scans FROM scans;
COMMIT;
DROP VIEW scans;
DROP TABLE looked_up;

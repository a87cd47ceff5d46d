-- What keeps answers of a model: found, checked, and made anew.

-- An answer that changes without other weights: a column's intents come from a function that says it is immutable.
CREATE FUNCTION intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['refund', 'weather']; END$$;

CREATE TABLE tickets (
	id int PRIMARY KEY,
	msg text,
	options jsonb,
	intent text GENERATED ALWAYS AS (fsi_classify(msg, public.intents())) STORED,
	CONSTRAINT known CHECK (fsi_classify(msg, public.intents()) <> 'nonsense'));
INSERT INTO tickets (id, msg) SELECT i, CASE i % 3 WHEN 0 THEN 'refund' WHEN 1 THEN 'weather' END FROM generate_series(1, 9) i;
CREATE INDEX by_intent ON tickets (fsi_classify(msg, public.intents()), id);
CREATE INDEX by_hash ON tickets USING hash (fsi_classify(msg, public.intents()));
CREATE INDEX about_weather ON tickets (id) WHERE fsi_classify(msg, public.intents()) = 'weather';
CREATE INDEX by_own ON tickets (fsi_classify(msg, ARRAY['refund', 'weather'], options));
CREATE INDEX by_named ON tickets (fsi_classify(options => '{"other": "none", "model": "small-1"}', intents => ARRAY['refund', 'weather'], msg => msg));
CREATE INDEX by_vector ON tickets (((fsi_embed(msg))[1:2]), (cardinality(fsi_tokens(msg))));
CREATE INDEX by_prompt ON tickets (length(fsi_prompt(msg, ARRAY['refund'], '{"model": null}')), (fsi_classify_multi(msg, intents())));
CREATE TABLE parts (msg text) PARTITION BY LIST (fsi_classify(msg, public.intents()));
CREATE TABLE parts_refund PARTITION OF parts FOR VALUES IN ('refund');
CREATE TABLE parts_other PARTITION OF parts DEFAULT;
CREATE INDEX parts_intent ON parts (fsi_classify(msg, public.intents()));
INSERT INTO parts VALUES ('refund'), ('weather'), ('weather');
CREATE DOMAIN weather_message AS text CHECK (fsi_classify(VALUE, public.intents()) = 'weather');
CREATE TABLE forecasts (msg weather_message);
INSERT INTO forecasts VALUES ('weather');
CREATE MATERIALIZED VIEW counted AS
	SELECT fsi_classify(msg, public.intents(), '{}') AS intent, count(*) FROM tickets GROUP BY 1;
-- these keep nothing
CREATE VIEW looked AS SELECT fsi_classify(msg, public.intents()) FROM tickets;
ALTER TABLE tickets ADD guess text DEFAULT fsi_classify('weather', ARRAY['refund', 'weather']);
CREATE INDEX by_msg ON tickets (msg);

-- each function that can name a model is looked through, here with its own name for a model's
CREATE VIEW asks AS SELECT
	fsi_classify('x', '{a}', '{"model": "fsi_classify"}')::text AS classify, fsi_classify_multi('x', '{a}', '{"model": "fsi_classify_multi"}')::text AS classify_multi,
	fsi_classify_many('{x}', '{a}', '{"model": "fsi_classify_many"}')::text AS classify_many, fsi_scores('x', '{a}', '{"model": "fsi_scores"}')::text AS scores,
	fsi_prompt('x', '{a}', '{"model": "fsi_prompt"}')::text AS prompt, fsi_prompts('x', 'x', '{"model": "fsi_prompts"}')::text AS prompts,
	fsi_evaluate('x', '{a}', '{"model": "fsi_evaluate"}')::text AS evaluate, fsi_evaluate_intents('x', '{a}', '{"model": "fsi_evaluate_intents"}')::text AS evaluate_intents,
	fsi_evaluate_confusion('x', '{a}', '{"model": "fsi_evaluate_confusion"}')::text AS evaluate_confusion, fsi_evaluate_calibration('x', '{a}', '{"model": "fsi_evaluate_calibration"}')::text AS evaluate_calibration,
	fsi_evaluate_thresholds('x', '{a}', '{"model": "fsi_evaluate_thresholds"}')::text AS evaluate_thresholds, fsi_evaluate_generation('x', '{a}', '{"model": "fsi_evaluate_generation"}')::text AS evaluate_generation,
	fsi_embed('x', 'fsi_embed') AS embed, fsi_tokens('x', 'fsi_tokens') AS tokens,
	fsi_generate('x', model => 'fsi_generate') AS generate, fsi_model_info('fsi_model_info') AS info;
SELECT cardinality(_fsi_models_asked(ev_action)) AS looked_through FROM pg_rewrite WHERE ev_class = 'asks'::regclass;
SELECT DISTINCT p.proname AS not_looked_through
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'fsi_intent' JOIN pg_proc p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND p.prokind = 'f' AND p.proargnames[1:p.pronargs] && '{model,options}'
	AND p.proname <> ALL (SELECT unnest(_fsi_models_asked(ev_action)) FROM pg_rewrite WHERE ev_class = 'asks'::regclass) ORDER BY 1;
DROP VIEW asks;
SELECT model, kind, object, relation, objsubid, sha256 = (SELECT sha256 FROM fsi_models) AS pinned FROM fsi_dependents();

-- all is as the model says
SELECT * FROM fsi_check();
SELECT count(*) FROM fsi_check('default') UNION ALL SELECT count(*) FROM fsi_check('small-1') UNION ALL SELECT count(*) FROM fsi_check(NULL);
SELECT * FROM fsi_rebuild() WHERE changed <> 0;

-- NULL and another spelling of it are differences too
CREATE OR REPLACE FUNCTION intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['refund', 'Weather']; END$$;
\c
SELECT * FROM fsi_check();
-- an index and its table disagree, and so does a partition; then neither does
SELECT * FROM fsi_rebuild();
\c
ALTER DOMAIN weather_message DROP CONSTRAINT weather_message_check;
SELECT * FROM fsi_rebuild();
SELECT * FROM fsi_check() WHERE stale IS DISTINCT FROM 0;
SELECT tableoid::regclass, msg FROM parts ORDER BY 1, 2;
SELECT intent, count(*) FROM tickets GROUP BY 1 ORDER BY intent COLLATE "C";
SELECT * FROM counted ORDER BY intent COLLATE "C";
SET enable_seqscan = off;
SELECT count(*) FROM tickets WHERE fsi_classify(msg, public.intents()) = 'Weather';
RESET enable_seqscan;
-- again: nothing to do but the views
SELECT * FROM fsi_rebuild('small-1') WHERE changed IS DISTINCT FROM 0;

-- rows move to the partition that they belong to
CREATE OR REPLACE FUNCTION intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['Refund', 'weather']; END$$;
\c
SELECT kind, object, rows, stale FROM fsi_check() WHERE kind = 'partition key';
SELECT kind, object, changed FROM fsi_rebuild() WHERE kind = 'partition key';
SELECT tableoid::regclass, msg FROM parts ORDER BY 1, 2;

-- a constraint that does not hold: all stays as it was
CREATE OR REPLACE FUNCTION intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['nonsense', 'weather']; END$$;
\c
SELECT kind, object, rows, stale FROM fsi_check() WHERE relation = 'tickets'::regclass AND stale <> 0;
SELECT * FROM fsi_rebuild();
SELECT intent, count(*) FROM tickets GROUP BY 1 ORDER BY intent COLLATE "C";
ALTER TABLE tickets DROP CONSTRAINT known;
SELECT kind, object, changed FROM fsi_rebuild() WHERE changed <> 0;
SELECT intent, count(*) FROM tickets GROUP BY 1 ORDER BY intent COLLATE "C";

-- an answer that rests on no column
CREATE TABLE fixed (id int, intent text GENERATED ALWAYS AS (fsi_classify('weather', public.intents())) STORED);
INSERT INTO fixed VALUES (1);
SELECT kind, object, rows, stale FROM fsi_check() WHERE relation = 'fixed'::regclass;
SELECT count(*) > 0 AS nothing_to_do FROM fsi_rebuild();
CREATE OR REPLACE FUNCTION intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['refund', 'WEATHER']; END$$;
\c
SELECT * FROM fsi_rebuild();
DROP TABLE fixed;
SELECT kind, object, changed FROM fsi_rebuild() WHERE kind = 'generated column';

-- what the owner may, and others not
CREATE ROLE regress_fsi_nobody;
CREATE ROLE regress_fsi_owner;
GRANT CREATE ON SCHEMA public TO regress_fsi_owner;
SET ROLE regress_fsi_owner;
CREATE TABLE owned (msg text, intent text GENERATED ALWAYS AS (fsi_classify(msg, ARRAY['refund', 'weather'])) STORED);
INSERT INTO owned VALUES ('weather');
ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
ALTER TABLE owned FORCE ROW LEVEL SECURITY;
SELECT * FROM fsi_rebuild();
SET ROLE regress_fsi_nobody;
SELECT count(*) > 0 AS listed FROM fsi_dependents();
SELECT kind, object, rows, stale FROM fsi_check() WHERE kind <> 'index';
RESET ROLE;
DROP MATERIALIZED VIEW counted;
DROP TABLE tickets, parts, forecasts CASCADE;
GRANT EXECUTE ON FUNCTION fsi_rebuild(text) TO regress_fsi_owner, regress_fsi_nobody;
SET ROLE regress_fsi_nobody;
SELECT * FROM fsi_rebuild();
SET ROLE regress_fsi_owner;
SELECT * FROM owned;
SELECT * FROM fsi_check();
SELECT * FROM fsi_rebuild();
RESET ROLE;
SELECT * FROM fsi_check();

-- bad questions
SELECT * FROM fsi_check('nonesuch');
SELECT * FROM fsi_rebuild('nonesuch');
SELECT * FROM fsi_rebuild(NULL);
BEGIN READ ONLY;
SELECT count(*) > 0 AS checked FROM fsi_check();
SELECT * FROM fsi_rebuild();
ROLLBACK;
\set VERBOSITY terse
DROP OWNED BY regress_fsi_owner, regress_fsi_nobody;
DROP ROLE regress_fsi_owner, regress_fsi_nobody;
DROP FUNCTION intents();
DROP DOMAIN weather_message;
SELECT count(*) FROM fsi_dependents();

-- fsi_check and fsi_rebuild where something stands in the way, or is not what it seems.

-- An answer that changes without other weights, as in dependents.sql.
CREATE FUNCTION intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['refund', 'weather']; END$$;

-- The code of whoever owns something runs as that role, not as the superuser who rebuilds.
CREATE ROLE regress_fsi_mallory;
CREATE TABLE seen (what text, as_role text);
GRANT INSERT ON seen TO PUBLIC;
CREATE SCHEMA mallory AUTHORIZATION regress_fsi_mallory;
SET ROLE regress_fsi_mallory;
CREATE FUNCTION mallory.spy(what text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.seen VALUES (what, current_user); RETURN true; END$$;
CREATE FUNCTION mallory.trigger() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM mallory.spy('trigger'); RETURN new; END$$;
CREATE DOMAIN mallory.message AS text CHECK (fsi_classify(VALUE, ARRAY['refund', 'weather']) <> 'x' AND mallory.spy('domain'));
CREATE TABLE mallory.t (msg mallory.message, intent text GENERATED ALWAYS AS (fsi_classify(msg, public.intents())) STORED,
	CHECK (fsi_classify(msg, public.intents()) <> 'x' AND mallory.spy('constraint')));
CREATE TRIGGER t BEFORE UPDATE ON mallory.t FOR EACH ROW EXECUTE FUNCTION mallory.trigger();
INSERT INTO mallory.t VALUES ('refund');
RESET ROLE;
CREATE OR REPLACE FUNCTION public.intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['Refund', 'weather']; END$$;
\c
DELETE FROM seen;
SELECT count(*) > 0 AS checked FROM fsi_check();
SELECT kind, object, changed FROM fsi_rebuild();
SELECT DISTINCT what, as_role FROM seen ORDER BY 1, 2;
-- a domain is for its owner, too
GRANT EXECUTE ON FUNCTION fsi_rebuild(text) TO regress_fsi_mallory;
CREATE DOMAIN not_hers AS text CHECK (fsi_classify(VALUE, ARRAY['refund', 'weather']) <> 'x');
SET ROLE regress_fsi_mallory;
SELECT kind, object, changed FROM fsi_rebuild();
RESET ROLE;
DROP DOMAIN not_hers;
\set VERBOSITY terse
DROP OWNED BY regress_fsi_mallory;
\set VERBOSITY default
DROP ROLE regress_fsi_mallory;
DROP TABLE seen;

-- A column of identity cannot be set, and another one is. The second column is computed with the first.
CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY, msg text,
	intent text GENERATED ALWAYS AS (fsi_classify(msg || left(id::text, 0), public.intents())) STORED,
	again text GENERATED ALWAYS AS (fsi_classify(msg, public.intents())) STORED);
INSERT INTO numbered (msg) VALUES ('refund'), ('weather');
-- Triggers and rules that leave a row as it is are found out.
CREATE TABLE kept (msg text, intent text GENERATED ALWAYS AS (fsi_classify(msg, public.intents())) STORED);
INSERT INTO kept VALUES ('refund'), ('weather');
CREATE TRIGGER same BEFORE UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE TABLE parts (msg text) PARTITION BY LIST (fsi_classify(msg, public.intents()));
CREATE TABLE parts_refund PARTITION OF parts FOR VALUES IN ('Refund', 'REFUND');
CREATE TABLE parts_other PARTITION OF parts DEFAULT;
INSERT INTO parts VALUES ('refund'), ('weather');
CREATE OR REPLACE FUNCTION public.intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['refund', 'weather']; END$$;
\c
SELECT * FROM fsi_rebuild();
ALTER TABLE kept DISABLE TRIGGER same;
CREATE RULE same AS ON UPDATE TO kept DO INSTEAD NOTHING;
SELECT * FROM fsi_rebuild();
DROP RULE same ON kept;
-- What is asked here is no statement of the caller's.
SET fsi_intent.debug_require_batch = on;
SELECT object, rows, stale FROM fsi_check() WHERE kind = 'partition key';
RESET fsi_intent.debug_require_batch;
CREATE TRIGGER same BEFORE UPDATE ON parts_refund FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT * FROM fsi_rebuild();
ALTER TABLE parts_refund DISABLE TRIGGER same;
SELECT * FROM fsi_rebuild();
SELECT * FROM fsi_check();
-- one that lets rows through does no harm
ALTER TABLE kept ENABLE TRIGGER same;
SELECT * FROM fsi_rebuild() WHERE changed <> 0;
DROP TABLE numbered, kept, parts;

-- What triggers name is found where the caller would find it, and what is deferred is not put off beyond the owner's code.
CREATE ROLE regress_fsi_owner;
CREATE SCHEMA app AUTHORIZATION regress_fsi_owner;
SET ROLE regress_fsi_owner;
SET search_path = app, public;
CREATE TABLE known (intent text PRIMARY KEY);
INSERT INTO known VALUES ('refund'), ('Refund'), ('weather');
CREATE TABLE log (msg text);
CREATE TABLE logged (msg text, intent text GENERATED ALWAYS AS (fsi_classify(msg, public.intents())) STORED
	REFERENCES known DEFERRABLE INITIALLY DEFERRED);
INSERT INTO logged VALUES ('refund'), ('weather');
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO log VALUES (new.msg); RETURN new; END$$;
CREATE TRIGGER note AFTER UPDATE ON logged FOR EACH ROW EXECUTE FUNCTION note();
RESET ROLE;
CREATE OR REPLACE FUNCTION public.intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['Refund', 'weather']; END$$;
\c
SELECT * FROM fsi_rebuild();
SET search_path = app, public;
SELECT * FROM fsi_rebuild();
SELECT * FROM log;
\set VERBOSITY terse
DROP OWNED BY regress_fsi_owner CASCADE;
\set VERBOSITY default
DROP ROLE regress_fsi_owner;
RESET search_path;

-- Nobody's function of the caller's path takes the place of one that an expression calls, however well it fits.
CREATE TABLE fits (msg text, intent text GENERATED ALWAYS AS (fsi_classify(msg, array_append(public.intents(), 'none'))) STORED);
INSERT INTO fits VALUES ('refund'), ('weather');
CREATE FUNCTION public.array_append(text[], text) RETURNS text[] IMMUTABLE LANGUAGE plpgsql
	AS $$BEGIN RAISE WARNING 'called by %', current_user; RETURN pg_catalog.array_append($1, $2); END$$;
CREATE OR REPLACE FUNCTION public.intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['refund', 'weather']; END$$;
\c
SELECT * FROM fsi_rebuild();
SELECT * FROM fsi_check();
DROP TABLE fits;
DROP FUNCTION public.array_append(text[], text);
-- nor that of one that is not core's
CREATE FUNCTION public.same(anyelement) RETURNS anyelement IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN $1; END$$;
CREATE TABLE fits (msg text, intent text GENERATED ALWAYS AS (fsi_classify(same(msg), public.intents())) STORED,
	CHECK (fsi_classify(same(msg), public.intents()) <> '')) PARTITION BY LIST (fsi_classify(same(msg), public.intents()));
CREATE TABLE fits_refund (intent text GENERATED ALWAYS AS (fsi_classify(same(msg), public.intents())) STORED, msg text,
	CONSTRAINT fits_msg_check CHECK (fsi_classify(same(msg), public.intents()) <> ''));
ALTER TABLE fits ATTACH PARTITION fits_refund FOR VALUES IN ('refund');
CREATE TABLE fits_others PARTITION OF fits DEFAULT;
INSERT INTO fits VALUES ('refund'), ('weather');
CREATE FUNCTION public.same(text) RETURNS text IMMUTABLE LANGUAGE plpgsql
	AS $$BEGIN RAISE WARNING 'called by %', current_user; RETURN $1; END$$;
SELECT kind, object, rows, stale FROM fsi_check();
CREATE OR REPLACE FUNCTION public.intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['Refund', 'weather']; END$$;
\c
SELECT kind, object, rows, stale FROM fsi_check();
SELECT kind, object, changed FROM fsi_rebuild();
SELECT tableoid::regclass, * FROM fits ORDER BY msg;
DROP TABLE fits;
DROP FUNCTION public.same(anyelement), public.same(text);
CREATE OR REPLACE FUNCTION public.intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['Refund', 'weather']; END$$;
\c

-- A partition that was there before its parent.
CREATE TABLE part (msg text) PARTITION BY LIST (fsi_classify(msg, public.intents()));
CREATE TABLE part_refund PARTITION OF part FOR VALUES IN ('Refund');
CREATE TABLE parent (msg text) PARTITION BY LIST (fsi_classify(msg, public.intents()));
ALTER TABLE parent ATTACH PARTITION part FOR VALUES IN ('Refund');
CREATE TABLE parent_other PARTITION OF parent DEFAULT;
INSERT INTO parent VALUES ('refund'), ('weather');
CREATE OR REPLACE FUNCTION public.intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['refund', 'weather']; END$$;
\c
SELECT * FROM fsi_rebuild();
SELECT tableoid::regclass, msg FROM parent ORDER BY 2;
DROP TABLE parent;

-- What PostgreSQL itself does not rely on: constraints that were never validated, an index that was not finished.
CREATE TABLE unsure (msg text);
INSERT INTO unsure VALUES ('refund'), ('refund');
ALTER TABLE unsure ADD CONSTRAINT sure CHECK (fsi_classify(msg, ARRAY['refund', 'weather']) = 'weather') NOT VALID;
\set VERBOSITY terse
CREATE UNIQUE INDEX CONCURRENTLY twice ON unsure (fsi_classify(msg, ARRAY['refund', 'weather']));
\set VERBOSITY default
CREATE DOMAIN forecast AS text;
CREATE TABLE forecasts (msg forecast);
INSERT INTO forecasts VALUES ('refund');
ALTER DOMAIN forecast ADD CONSTRAINT sure CHECK (fsi_classify(VALUE, ARRAY['refund', 'weather']) = 'weather') NOT VALID;
SELECT * FROM fsi_check();
SELECT * FROM fsi_rebuild();
DELETE FROM forecasts;
SELECT count(*) FROM fsi_rebuild();
SELECT conname, contypid::regtype, convalidated FROM pg_constraint WHERE conname = 'sure' ORDER BY contypid;
SELECT indisvalid FROM pg_index WHERE indexrelid = 'twice'::regclass;
DROP TABLE unsure, forecasts;
DROP DOMAIN forecast;

-- Materialized views that ask through others; not those that hold nothing, or never ask.
CREATE TABLE tickets (msg text, intent text);
INSERT INTO tickets VALUES ('refund'), ('weather');
CREATE VIEW asked AS SELECT msg, fsi_classify(msg, public.intents()) AS intent FROM tickets;
CREATE VIEW asked_again AS SELECT intent FROM asked;
CREATE MATERIALIZED VIEW counted AS SELECT intent, count(*) FROM asked_again GROUP BY 1;
CREATE MATERIALIZED VIEW counted_twice AS SELECT intent, count(*) FROM asked JOIN counted USING (intent) GROUP BY 1;
CREATE MATERIALIZED VIEW empty AS SELECT intent FROM asked WITH NO DATA;
CREATE VIEW changed AS SELECT msg FROM tickets;
CREATE RULE ask AS ON UPDATE TO changed DO INSTEAD UPDATE tickets SET intent = fsi_classify(new.msg, public.intents());
CREATE MATERIALIZED VIEW others AS SELECT msg FROM changed;
SELECT model, kind, object FROM fsi_dependents();
CREATE OR REPLACE FUNCTION public.intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['Refund', 'weather']; END$$;
\c
SELECT object, changed FROM fsi_rebuild();
SELECT * FROM counted_twice ORDER BY 1;
SELECT relname FROM pg_class WHERE relkind = 'm' AND NOT relispopulated;
-- views that read each other
CREATE OR REPLACE VIEW asked_again AS SELECT intent FROM counted;
SELECT object FROM fsi_dependents();
\set VERBOSITY terse
DROP VIEW asked_again CASCADE;
DROP TABLE tickets CASCADE;
\set VERBOSITY default

-- A model that was dropped is no reason not to check the others.
\getenv abs_srcdir PG_ABS_SRCDIR
\getenv abs_builddir PG_ABS_BUILDDIR
\setenv tiny :abs_builddir/tiny_rebuild
\setenv make_tiny :abs_srcdir/test/data/tiny_gpt2.pl
\! rm -rf "$tiny" && perl "$make_tiny" "$tiny" 5 64 segments
\set tiny :abs_builddir /tiny_rebuild
SELECT fsi_import_model('gone', :'tiny') IS NOT NULL AS imported;
CREATE TABLE asks (msg text, intent text GENERATED ALWAYS AS (fsi_classify(msg, ARRAY['refund', 'weather'])) STORED);
INSERT INTO asks VALUES ('refund');
CREATE INDEX asks_gone ON asks (fsi_classify(msg, ARRAY['refund', 'weather'], '{"model": "gone"}'));
CREATE INDEX asks_both ON asks (fsi_classify(msg, ARRAY['refund', 'weather']), fsi_classify(msg, ARRAY['refund', 'weather'], '{"model": "gone"}'));
SELECT object, rows, stale FROM fsi_check();
SELECT fsi_drop_model('gone');
SELECT model, object, rows, stale FROM fsi_check();
DROP TABLE asks;
\! rm -rf "$tiny"

DROP FUNCTION intents();
SELECT count(*) FROM fsi_dependents();

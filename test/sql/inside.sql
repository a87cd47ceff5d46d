-- Calls inside functions of the user's own: what keeps their answers is found, checked and made anew as any other.

-- A body of standard SQL is a tree, others are texts: in SQL, in PL/pgSQL, by names within names, in strings.
CREATE FUNCTION intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['refund', 'weather']; END$$;
CREATE FUNCTION by_tree(msg text) RETURNS text IMMUTABLE LANGUAGE sql RETURN fsi_classify(msg, intents());
CREATE FUNCTION by_text(msg text) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT public.fsi_classify(msg, public.intents())$$;
CREATE FUNCTION by_code(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN PUBLIC.FSI_Classify(msg, public.intents()); END$$;
CREATE FUNCTION by_other(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN public.by_code(msg); END$$;
CREATE FUNCTION by_string(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN EXECUTE 'SELECT public.by_other($1)' INTO answer USING msg; RETURN answer; END$$;
CREATE FUNCTION by_tree_other(msg text) RETURNS text IMMUTABLE LANGUAGE sql BEGIN ATOMIC SELECT by_string(msg); END;
CREATE OPERATOR ~> (FUNCTION = by_code, RIGHTARG = text);
CREATE AGGREGATE last_intent(text) (SFUNC = textcat, STYPE = text, FINALFUNC = by_tree);
CREATE FUNCTION no_call(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN lower(msg) || '!'; END$$;

CREATE TABLE kept (id int, msg text,
	a text GENERATED ALWAYS AS (by_tree(msg)) STORED, b text GENERATED ALWAYS AS (by_text(msg)) STORED,
	c text GENERATED ALWAYS AS (by_code(msg)) STORED, d text GENERATED ALWAYS AS (by_other(msg)) STORED,
	e text GENERATED ALWAYS AS (by_string(msg)) STORED, f text GENERATED ALWAYS AS (by_tree_other(msg)) STORED,
	g text GENERATED ALWAYS AS (~> msg) STORED, h text GENERATED ALWAYS AS (no_call(msg)) STORED);
INSERT INTO kept VALUES (1, 'refund'), (2, 'weather');
CREATE INDEX kept_intent ON kept (by_other(msg));
CREATE INDEX kept_others ON kept (id) WHERE NOT by_tree(msg) = 'refund';
CREATE INDEX kept_no_call ON kept (no_call(msg));
CREATE MATERIALIZED VIEW kept_last AS SELECT last_intent(msg) FROM kept;
CREATE VIEW seen AS SELECT id, by_code(msg) AS intent FROM kept;
CREATE MATERIALIZED VIEW kept_seen AS SELECT intent, count(*) FROM seen GROUP BY 1;
CREATE VIEW seen_column AS SELECT id, c FROM kept;
CREATE MATERIALIZED VIEW kept_column AS SELECT c, count(*) FROM seen_column GROUP BY c;
CREATE MATERIALIZED VIEW kept_other_column AS SELECT id, h FROM kept;
CREATE MATERIALIZED VIEW kept_rows AS SELECT id, to_jsonb(k) AS k FROM kept k;
SELECT model, kind, object, sha256 = (SELECT sha256 FROM fsi_models) AS pinned FROM fsi_dependents();
SELECT kind, object, rows, stale FROM fsi_check();

CREATE OR REPLACE FUNCTION intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['refund', 'Weather']; END$$;
\c
SELECT kind, object, rows, stale FROM fsi_check() WHERE stale <> 0;
SELECT kind, object, changed FROM fsi_rebuild() WHERE kind IN ('index', 'materialized view');
SELECT kind, object, rows, stale FROM fsi_check() WHERE stale <> 0;
SELECT a, b, c, d, e, f, g FROM kept ORDER BY id;
SELECT * FROM kept_last;
SELECT * FROM kept_seen ORDER BY intent COLLATE "C";
SELECT * FROM kept_column ORDER BY c COLLATE "C";
SET enable_seqscan = off;
SELECT id FROM kept WHERE by_other(msg) = 'Weather';
RESET enable_seqscan;
SELECT k->>'a' AS a FROM kept_rows ORDER BY id;
DROP TABLE kept CASCADE;
DROP OPERATOR ~> (NONE, text);
DROP FUNCTION by_tree_other, by_string, by_other, by_text, no_call;

-- What asks nothing may do so later: a function of a name that its text has comes, goes, or has another body.
CREATE TABLE kept (msg text);
CREATE FUNCTION so_far(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN public.later(msg); END$$;
CREATE INDEX kept_so_far ON kept (so_far(msg));
SELECT object FROM fsi_dependents();
BEGIN;
-- while a statement looks, too
CREATE FUNCTION comes() RETURNS bool LANGUAGE plpgsql AS $$BEGIN
	CREATE FUNCTION public.later(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN public.by_tree(msg); END';
	RETURN true; END$$;
SELECT _fsi_models_asked(indexprs) FROM generate_series(1, 2) n JOIN pg_index ON n = 1 OR comes()
WHERE indexrelid = 'kept_so_far'::regclass;
SELECT object FROM fsi_dependents();
ROLLBACK;
CREATE FUNCTION later(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN public.by_tree(msg); END$$;
SELECT object FROM fsi_dependents();
CREATE OR REPLACE FUNCTION later(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN lower(msg); END$$;
SELECT object FROM fsi_dependents();
BEGIN;
ALTER FUNCTION later RENAME TO before;
ALTER FUNCTION by_tree RENAME TO later;
SELECT object FROM fsi_dependents();
ROLLBACK;
SELECT object FROM fsi_dependents();
DROP TABLE kept;
DROP FUNCTION so_far, later;

-- A column of a table that inherits is read through the one above, whose own asks nothing.
CREATE TABLE above (msg text, answer text);
CREATE TABLE below (msg text, answer text);
DO $$BEGIN
	IF current_setting('server_version_num')::int >= 160000 THEN
		ALTER TABLE above DROP answer, ADD answer text GENERATED ALWAYS AS (lower(msg)) STORED;
	END IF;
END$$;
ALTER TABLE below DROP answer, ADD answer text GENERATED ALWAYS AS (by_tree(msg)) STORED;
ALTER TABLE below INHERIT above;
CREATE MATERIALIZED VIEW kept_above AS SELECT answer FROM above;
CREATE MATERIALIZED VIEW kept_no_answer AS SELECT msg FROM above;
SELECT kind, object FROM fsi_dependents();
DROP TABLE above, below CASCADE;

-- A materialized view that has come to read a later one is made anew after it.
CREATE TABLE kept (msg text);
INSERT INTO kept VALUES ('weather');
CREATE VIEW seen AS SELECT by_tree(msg) AS intent FROM kept;
CREATE MATERIALIZED VIEW kept_second AS SELECT intent FROM seen;
CREATE MATERIALIZED VIEW kept_first AS SELECT by_tree(msg) AS intent FROM kept;
CREATE OR REPLACE VIEW seen AS SELECT intent FROM kept_first;
CREATE OR REPLACE FUNCTION intents() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['refund', 'weather']; END$$;
\c
SELECT object FROM fsi_rebuild();
TABLE kept_second;
DROP TABLE kept CASCADE;

-- Which model: the one that the text names, else that of the call, else the default one.
CREATE FUNCTION names(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql
	AS $$BEGIN RETURN public.fsi_classify(msg, public.intents(), '{"model": "small-1"}'); END$$;
CREATE FUNCTION makes(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql
	AS $$BEGIN RETURN public.fsi_classify(msg, public.intents(), jsonb_build_object('model', 'small-' || 1)); END$$;
CREATE FUNCTION passes(msg text, options jsonb DEFAULT '{}') RETURNS text IMMUTABLE LANGUAGE plpgsql
	AS $$BEGIN RETURN public.fsi_classify(msg, public.intents(), options); END$$;
CREATE FUNCTION passes_tree(msg text, options jsonb) RETURNS text IMMUTABLE LANGUAGE sql
	RETURN fsi_classify(msg, intents(), options);
CREATE FUNCTION embeds(msg text, by varchar) RETURNS real[] IMMUTABLE LANGUAGE plpgsql
	AS $$BEGIN RETURN public.fsi_embed(msg, by); END$$;
CREATE TABLE kept (msg text, options jsonb, size real);
CREATE INDEX kept_1_names ON kept (names(msg));
CREATE INDEX kept_2_makes ON kept (makes(msg));
CREATE INDEX kept_3_passes ON kept (passes(msg));
CREATE INDEX kept_4_passes ON kept (passes(msg, '{"model": "small-1"}'));
CREATE INDEX kept_5_passes ON kept (passes(options => options, msg => msg));
CREATE INDEX kept_6_passes ON kept (passes_tree(msg, '{"model": "nonesuch"}'));
CREATE INDEX kept_7_passes ON kept (passes_tree(msg, options));
CREATE INDEX kept_8_embeds ON kept (embeds(msg, 'small-1'));
SELECT model, object, sha256 IS NOT NULL AS pinned FROM fsi_dependents();
DROP TABLE kept;
DROP FUNCTION names, makes, passes_tree, embeds;

-- A default says it, the text of a caller does; beside it there are calls that say nothing.
\getenv abs_srcdir PG_ABS_SRCDIR
\getenv abs_builddir PG_ABS_BUILDDIR
\setenv tiny :abs_builddir/tiny_inside
\setenv make_tiny :abs_srcdir/test/data/tiny_gpt2.pl
\! rm -rf "$tiny" && perl "$make_tiny" "$tiny" 5 64 segments
\set tiny :abs_builddir /tiny_inside
SELECT fsi_import_model('inner', :'tiny') IS NOT NULL AS imported;
\! rm -rf "$tiny"
CREATE FUNCTION defaults(msg text, options jsonb DEFAULT '{"model": "inner"}') RETURNS text IMMUTABLE LANGUAGE plpgsql
	AS $$BEGIN RETURN public.fsi_classify(msg, public.intents(), options); END$$;
CREATE FUNCTION calls_defaults(msg text) RETURNS text IMMUTABLE LANGUAGE sql RETURN defaults(msg);
CREATE FUNCTION tells(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql
	AS $$BEGIN RETURN public.passes(msg, '{"model": "inner"}'); END$$;
CREATE FUNCTION asks_both(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN RETURN public.fsi_classify(msg, public.intents()) || public.fsi_classify(msg, public.intents(), '{"model": "inner"}'); END$$;
CREATE FUNCTION passes_both(msg text, options jsonb) RETURNS text IMMUTABLE LANGUAGE plpgsql
	AS $$BEGIN RETURN public.fsi_classify(msg, public.intents()) || public.fsi_classify(msg, public.intents(), options); END$$;
CREATE FUNCTION passes_number(text, jsonb) RETURNS text IMMUTABLE LANGUAGE sql
	AS $$SELECT public.fsi_classify($1, public.intents(), $2)$$;
CREATE FUNCTION embeds(msg text, by text) RETURNS real[] IMMUTABLE LANGUAGE plpgsql
	AS $$BEGIN RETURN public.fsi_embed(msg, by); END$$;
CREATE DOMAIN name_domain AS varchar CHECK (VALUE <> '');
CREATE DOMAIN options_domain AS jsonb CHECK (jsonb_typeof(VALUE) = 'object');
CREATE FUNCTION embeds_domain(msg text, by name_domain) RETURNS real[] IMMUTABLE LANGUAGE plpgsql
	AS $$BEGIN RETURN public.fsi_embed(msg, by); END$$;
CREATE FUNCTION passes_domain(msg text, options options_domain) RETURNS text IMMUTABLE LANGUAGE plpgsql
	AS $$BEGIN RETURN public.fsi_classify(msg, public.intents(), options); END$$;
CREATE TABLE kept (msg text, options options_domain, kept_8_cast real[] GENERATED ALWAYS AS (embeds(msg, 'inner'::varchar)) STORED);
CREATE INDEX kept_1_default ON kept (defaults(msg));
CREATE INDEX kept_2_default ON kept (calls_defaults(msg));
CREATE INDEX kept_3_told ON kept (tells(msg));
CREATE INDEX kept_4_beside ON kept (by_tree(msg), passes(msg, '{"model": "inner"}'));
CREATE INDEX kept_5_both ON kept (asks_both(msg));
CREATE INDEX kept_6_both ON kept (passes_both(msg, '{"model": "inner"}'));
CREATE INDEX kept_7_number ON kept (passes_number(msg, '{"model": "inner"}'));
CREATE INDEX kept_9_domain ON kept (embeds_domain(msg, 'inner'), passes_domain(msg, '{"model": "inner"}'));
CREATE INDEX kept_9_open ON kept (passes_domain(msg, options));
SELECT object, string_agg(coalesce(model, '?'), ', ' ORDER BY model) AS models FROM fsi_dependents() GROUP BY 1 ORDER BY 1;
DROP TABLE kept;
DROP FUNCTION defaults, calls_defaults, tells, asks_both, passes_both, passes_number, passes, embeds, embeds_domain, passes_domain;
DROP DOMAIN name_domain, options_domain;
SELECT fsi_drop_model('inner');

-- Names that need quotes; where a statement in a string begins; an operator or an aggregate that is a function here.
CREATE FUNCTION "Mixed"(msg text) RETURNS text IMMUTABLE LANGUAGE sql RETURN by_code(msg);
CREATE FUNCTION "with space"(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN public."Mixed"(msg); END$$;
CREATE FUNCTION quotes(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN public."with space"(msg); END$$;
CREATE FUNCTION escapes(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN EXECUTE E'SELECT\nfsi_classify($1, public.intents())' INTO answer USING msg; RETURN answer; END$$;
CREATE FUNCTION dollars(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN EXECUTE 'SELECT ' || $q$fsi_classify($1, public.intents())$q$ INTO answer USING msg; RETURN answer; END$$;
CREATE OPERATOR ?> (FUNCTION = fsi_classify, LEFTARG = text, RIGHTARG = text[]);
CREATE AGGREGATE all_tokens(text) (SFUNC = textcat, STYPE = text, INITCOND = '', FINALFUNC = fsi_tokens);
CREATE TABLE kept (msg text);
CREATE INDEX kept_1 ON kept (quotes(msg));
CREATE INDEX kept_2 ON kept (escapes(msg));
CREATE INDEX kept_3 ON kept (dollars(msg));
CREATE INDEX kept_4 ON kept ((msg ?> intents()));
CREATE MATERIALIZED VIEW kept_5 AS SELECT all_tokens(msg) FROM kept;
SELECT model, object FROM fsi_dependents() ORDER BY object;
DROP TABLE kept CASCADE;
DROP OPERATOR ?> (text, text[]);
DROP AGGREGATE all_tokens(text);
DROP FUNCTION quotes, "with space", "Mixed", escapes, dollars;

-- A function that goes just now is no crash. (Its dependency is read before it is.)
CREATE TABLE kept (msg text);
CREATE INDEX kept_intent ON kept (fsi_classify(msg, ARRAY['refund', 'weather']));
BEGIN;
DELETE FROM pg_proc WHERE proname = 'fsi_classify';
SELECT count(*) FROM fsi_dependents();
ROLLBACK;
DROP TABLE kept;

-- From PostgreSQL 17 on a context names the schema.
\set SHOW_CONTEXT never
-- A function that fails does not hide what there is to say of others; who cancels is obeyed.
CREATE TABLE kept (msg text);
INSERT INTO kept VALUES ('weather'), ('refund');
CREATE INDEX kept_intent ON kept (by_code(msg));
CREATE INDEX kept_tree ON kept (by_tree(msg));
CREATE OR REPLACE FUNCTION by_code(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	IF msg = 'refund' THEN
		RAISE 'no refunds' USING DETAIL = 'There are none.', HINT = 'Ask again.';
	END IF;
	RETURN public.fsi_classify(msg, public.intents());
END$$;
SELECT kind, object, rows, stale FROM fsi_check();
SELECT * FROM fsi_rebuild();
CREATE OR REPLACE FUNCTION by_code(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	IF msg = 'refund' THEN
		RAISE 'stop' USING ERRCODE = 'query_canceled';
	END IF;
	RETURN public.fsi_classify(msg, public.intents());
END$$;
SELECT kind, object, rows, stale FROM fsi_check();
DROP TABLE kept;

-- What functions name without its schema is found as the caller finds it.
CREATE SCHEMA mine;
SET search_path = mine, public;
CREATE FUNCTION mine.names() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['refund', 'weather']; END$$;
CREATE FUNCTION mine.inlined(msg text) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT fsi_classify(msg, names())$$;
CREATE FUNCTION mine.called(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN fsi_classify(msg, names()); END$$;
CREATE DOMAIN weather AS text CHECK (called(VALUE) <> 'refund');
CREATE TABLE kept (msg text CHECK (inlined(msg) <> 'nonsense'), told weather,
	intent text GENERATED ALWAYS AS (inlined(msg)) STORED, same text GENERATED ALWAYS AS (called(msg)) STORED);
INSERT INTO kept VALUES ('weather', 'weather'), ('refund', NULL);
CREATE OR REPLACE FUNCTION mine.names() RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN ARRAY['refund', 'Weather']; END$$;
\c
SET search_path = mine, public;
SELECT kind, object, rows, stale FROM fsi_check();
SELECT kind, object FROM fsi_rebuild();
TABLE kept ORDER BY msg;
SET search_path = public;
SELECT kind, object, rows, stale FROM fsi_check();
\set VERBOSITY terse
DROP SCHEMA mine CASCADE;
DROP FUNCTION by_code, by_tree, intents CASCADE;
SELECT count(*) FROM fsi_dependents();

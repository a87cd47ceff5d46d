-- Who may do what: anyone classifies with any model of the database, few may read the server's files.

\getenv abs_srcdir PG_ABS_SRCDIR
\getenv abs_builddir PG_ABS_BUILDDIR
\setenv tiny :abs_builddir/tiny_rights
\setenv make_tiny :abs_srcdir/test/data/tiny_gpt2.pl
\! rm -rf "$tiny" && perl "$make_tiny" "$tiny" 3
\set tiny :abs_builddir /tiny_rights

CREATE ROLE regress_fsi_nobody;
CREATE ROLE regress_fsi_reader IN ROLE pg_read_server_files;
CREATE ROLE regress_fsi_other IN ROLE pg_read_server_files;

SET ROLE regress_fsi_nobody;
SELECT fsi_classify('weather', ARRAY['refund', 'weather']), fsi_version() IS NOT NULL, cardinality(fsi_embed('x')) > 0;
SELECT name FROM fsi_models;
SELECT count(*) FROM _fsi_model_catalog;
SELECT count(*) FROM _fsi_model_chunk;
SELECT fsi_import_model('mine', :'tiny');
SELECT fsi_import_model('mine', '/etc/passwd');
SELECT fsi_export_model('default', '/tmp/mine');
SELECT fsi_drop_model('small-1');
SELECT _fsi_pin_shipped();
SELECT _fsi_catalog_changed();
SELECT _fsi_role('regress_fsi_nobody');
RESET ROLE;
-- EXECUTE alone is not the right to read files
GRANT EXECUTE ON FUNCTION fsi_import_model(text, text, boolean), fsi_export_model(text, text), fsi_drop_model(text)
	TO regress_fsi_nobody;
SET ROLE regress_fsi_nobody;
SELECT fsi_import_model('mine', :'tiny');
SELECT fsi_export_model('default', '/tmp/mine');

SET ROLE regress_fsi_reader;
SELECT fsi_import_model('mine', :'tiny') IS NOT NULL AS imported;
SELECT name, imported_by FROM fsi_models WHERE source = 'imported';
SET ROLE regress_fsi_nobody;
SELECT fsi_classify('where is it', ARRAY['refund', 'cancel'], '{"model": "mine"}') IS NOT NULL AS answered;
SELECT fsi_drop_model('mine');
SET ROLE regress_fsi_other;
SELECT fsi_drop_model('mine');
-- another role of the name that the importing one had
RESET ROLE;
ALTER ROLE regress_fsi_reader RENAME TO regress_fsi_renamed;
CREATE ROLE regress_fsi_reader IN ROLE pg_read_server_files;
SELECT name, imported_by FROM fsi_models WHERE source = 'imported';
SET ROLE regress_fsi_reader;
SELECT fsi_drop_model('mine');
SET ROLE regress_fsi_renamed;
SELECT fsi_drop_model('mine');
-- the role that brings a dropped model back has it
SET ROLE regress_fsi_other;
SELECT fsi_import_model('mine', :'tiny') IS NOT NULL AS imported;
SELECT name, imported_by FROM fsi_models WHERE source = 'imported';
SET ROLE regress_fsi_renamed;
SELECT fsi_drop_model('mine');
SET ROLE regress_fsi_other;
SELECT fsi_drop_model('mine');
RESET ROLE;
DROP ROLE regress_fsi_reader;
ALTER ROLE regress_fsi_renamed RENAME TO regress_fsi_reader;

-- neither rights on schema public nor a search path are needed where the functions are reached otherwise
CREATE TABLE owned (msg text, intent text);
INSERT INTO owned VALUES ('weather'), ('refund');
ALTER TABLE owned OWNER TO regress_fsi_nobody;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE INDEX owned_intent ON owned (fsi_classify(msg, ARRAY['refund', 'weather']));
REINDEX INDEX owned_intent;
ANALYZE owned;
CREATE FUNCTION safe(t text) RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	RETURN public.fsi_classify(t, ARRAY['refund', 'weather']);
SELECT safe('weather');
ALTER TABLE owned ADD predicted text GENERATED ALWAYS AS (fsi_classify(msg, ARRAY['refund', 'weather'])) STORED,
	ADD CHECK (fsi_classify(msg, ARRAY['refund', 'weather']) <> '');
SELECT kind, rows, stale FROM fsi_check();
GRANT USAGE ON SCHEMA public TO PUBLIC;

-- objects of the same name elsewhere are not looked at
CREATE SCHEMA trap;
CREATE TABLE trap._fsi_model_catalog (name text, sha256 text);
CREATE TABLE pg_temp._fsi_model_chunk (sha256 text);
SET search_path = trap, public;
SELECT fsi_classify('weather', ARRAY['refund', 'weather']);
\c -
SET search_path = trap, public;
SELECT fsi_classify('weather', ARRAY['refund', 'weather']);
RESET search_path;

DROP SCHEMA trap CASCADE;
DROP TABLE owned;
DROP FUNCTION safe;
REVOKE EXECUTE ON FUNCTION fsi_import_model(text, text, boolean), fsi_export_model(text, text), fsi_drop_model(text) FROM regress_fsi_nobody;
DROP ROLE regress_fsi_nobody, regress_fsi_reader, regress_fsi_other;

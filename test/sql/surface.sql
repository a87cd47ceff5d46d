-- What the extension puts into a database, and with which properties.

SELECT p.oid::regprocedure AS function, p.provolatile AS vol, p.proisstrict AS strict, p.proparallel AS par,
	p.procost AS cost, prosecdef AS secdef
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
JOIN pg_extension e ON e.oid = d.refobjid
WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'fsi_intent'
ORDER BY p.oid::regprocedure::text COLLATE "C";

-- everything that belongs to it says what it is for
SELECT pg_describe_object(d.classid, d.objid, 0) AS lacks_comment
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'fsi_intent' AND d.deptype = 'e'
	AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass)
	AND obj_description(d.objid, d.classid::regclass::name) IS NULL;

-- what is not a function
SELECT pg_describe_object(d.classid, d.objid, 0) AS object
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'fsi_intent' AND d.deptype = 'e'
	AND d.classid NOT IN ('pg_proc'::regclass, 'pg_type'::regclass)
ORDER BY 1;

-- what the public must not call
SELECT p.oid::regprocedure AS not_public
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid JOIN pg_extension e ON e.oid = d.refobjid
WHERE d.classid = 'pg_proc'::regclass AND e.extname = 'fsi_intent'
	AND NOT has_function_privilege('public', p.oid, 'EXECUTE')
ORDER BY p.oid::regprocedure::text COLLATE "C";

SELECT name, layout, source, is_default, sha256 ~ '^[0-9a-f]{64}$' AS identity FROM fsi_models;
SELECT extrelocatable FROM pg_extension WHERE extname = 'fsi_intent';
SELECT fsi_version() ~ '^fsi_intent [0-9.]+, (scalar|avx2|avx-vnni|avx512-vnni|neon)$' AS version;

-- settings
SELECT name, context, vartype, unit, boot_val FROM pg_settings WHERE name LIKE 'fsi\_intent.%' ORDER BY name;
SET fsi_intent.nonsense = 1;
SET fsi_intent.simd = 'mmx';
\set VERBOSITY sqlstate
SET fsi_intent.cache_size = '1kB';
\set VERBOSITY default

-- any schema will do, quoted ones too; its tables are heaps, whatever the session makes otherwise
CREATE SCHEMA "Odd schema";
DROP EXTENSION fsi_intent;
CREATE ACCESS METHOD regress_fsi_method TYPE TABLE HANDLER heap_tableam_handler;
SET default_table_access_method = regress_fsi_method;
SET client_min_messages = warning; -- where the library is not preloaded it says how to
CREATE EXTENSION fsi_intent SCHEMA "Odd schema";
RESET client_min_messages;
SHOW default_table_access_method;
RESET default_table_access_method;
SELECT DISTINCT amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam
WHERE relnamespace = '"Odd schema"'::regnamespace AND relkind = 'r';
DROP ACCESS METHOD regress_fsi_method;
SELECT "Odd schema".fsi_classify('where is my parcel', ARRAY['parcel', 'weather']);
SET search_path = pg_catalog;
SELECT "Odd schema".fsi_classify('where is my parcel', ARRAY['parcel', 'weather']);
RESET search_path;
-- what keeps answers is made and made again with core's schema alone in the path, since PostgreSQL 17 always
CREATE TABLE kept (id int PRIMARY KEY, msg text,
	intent text GENERATED ALWAYS AS ("Odd schema".fsi_classify(msg, ARRAY['parcel', 'weather'])) STORED);
INSERT INTO kept VALUES (1, 'where is my parcel'), (2, 'is it raining?');
CREATE INDEX kept_intent ON kept ("Odd schema".fsi_classify(msg, ARRAY['parcel', 'weather']));
CREATE MATERIALIZED VIEW kept_view AS SELECT id, "Odd schema".fsi_classify(msg, ARRAY['parcel', 'weather']) AS intent FROM kept;
REINDEX TABLE kept;
REINDEX INDEX CONCURRENTLY kept_intent;
CLUSTER kept USING kept_intent;
VACUUM (FULL, ANALYZE) kept;
REFRESH MATERIALIZED VIEW kept_view;
SELECT k.id, k.intent, v.intent AS viewed FROM kept k JOIN kept_view v USING (id) ORDER BY id;
DROP TABLE kept CASCADE;
DROP EXTENSION fsi_intent;
DROP SCHEMA "Odd schema";
SET client_min_messages = warning;
CREATE EXTENSION fsi_intent;

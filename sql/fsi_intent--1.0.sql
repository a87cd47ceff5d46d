-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION fsi_intent" to load this file. \quit

-- Others may have made operators in the schema that the extension goes to.
SET LOCAL search_path = pg_catalog, pg_temp;
-- The library writes its tables as heaps.
SET LOCAL default_table_access_method = heap;

-- ---------------------------------------------------------------- models

-- Who brought a model is its role, whatever that is called by now. A dump has the name alone, for it leaves generated
-- columns out: restored, the model is of the role that has the name then. The function is called where a row is restored,
-- never else.
CREATE FUNCTION @extschema@._fsi_role(name pg_catalog.text) RETURNS pg_catalog.oid
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	RETURN (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) $1::pg_catalog.name);
COMMENT ON FUNCTION @extschema@._fsi_role(pg_catalog.text) IS 'internal: the role that a restored model is of';
REVOKE ALL ON FUNCTION @extschema@._fsi_role(pg_catalog.text) FROM PUBLIC;

-- A name means one identity: a dropped name keeps its row, so that no index or generated column can meet other weights
-- under the name that it was built with; fsi_train's option "replace" looks for those first. pg_dump writes the tables of
-- a schema in the order of their names: the underscore puts these before most tables whose generated columns ask an
-- imported model.
CREATE TABLE @extschema@._fsi_model_catalog (
	name pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	sha256 pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	layout pg_catalog.text NOT NULL,
	source pg_catalog.text NOT NULL,
	is_default pg_catalog.bool NOT NULL,
	size pg_catalog.int8 NOT NULL,
	card pg_catalog.jsonb,
	imported_at pg_catalog.timestamptz,
	imported_by pg_catalog.text,
	dropped_at pg_catalog.timestamptz,
	owner pg_catalog.oid GENERATED ALWAYS AS (@extschema@._fsi_role(imported_by)) STORED,
	CONSTRAINT _fsi_model_catalog_pkey PRIMARY KEY (name),
	CONSTRAINT _fsi_model_catalog_source CHECK (source IN ('shipped', 'imported', 'trained'))
);

CREATE TABLE @extschema@._fsi_model_chunk (
	sha256 pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	no pg_catalog.int4 NOT NULL,
	data pg_catalog.bytea NOT NULL,
	CONSTRAINT _fsi_model_chunk_pkey PRIMARY KEY (sha256, no)
);
-- Weights do not compress.
ALTER TABLE @extschema@._fsi_model_chunk ALTER COLUMN data SET STORAGE EXTERNAL;

COMMENT ON TABLE @extschema@._fsi_model_catalog IS 'models by name and identity; read it through fsi_models';
COMMENT ON TABLE @extschema@._fsi_model_chunk IS 'imported and trained models'' packed files in chunks, so that dumps and replicas carry them';

REVOKE ALL ON @extschema@._fsi_model_catalog, @extschema@._fsi_model_chunk FROM PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('@extschema@._fsi_model_catalog', $$WHERE source <> 'shipped'$$);
SELECT pg_catalog.pg_extension_config_dump('@extschema@._fsi_model_chunk', '');

-- Backends remember which identity a name has; any change of the catalog, a restored dump too, makes them look again.
CREATE FUNCTION @extschema@._fsi_catalog_changed() RETURNS pg_catalog.trigger
	AS 'MODULE_PATHNAME', 'fsi_catalog_changed' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@._fsi_catalog_changed() IS 'internal: tells backends that the models changed';
REVOKE ALL ON FUNCTION @extschema@._fsi_catalog_changed() FROM PUBLIC;
-- For each row: logical replication fires no triggers of statements.
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON @extschema@._fsi_model_catalog
	FOR EACH ROW EXECUTE FUNCTION @extschema@._fsi_catalog_changed();
CREATE TRIGGER truncated AFTER TRUNCATE ON @extschema@._fsi_model_catalog
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@._fsi_catalog_changed();
ALTER TABLE @extschema@._fsi_model_catalog ENABLE ALWAYS TRIGGER changed, ENABLE ALWAYS TRIGGER truncated;

CREATE FUNCTION @extschema@._fsi_pin_shipped() RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'fsi_pin_shipped' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@._fsi_pin_shipped() IS 'internal: checks the shipped model and records its identity';
REVOKE ALL ON FUNCTION @extschema@._fsi_pin_shipped() FROM PUBLIC;
SELECT @extschema@._fsi_pin_shipped();

CREATE VIEW @extschema@.fsi_models AS
	SELECT name, layout, source, is_default, size, sha256, imported_at,
		coalesce((SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) owner),
			imported_by) AS imported_by
	FROM @extschema@._fsi_model_catalog
	WHERE dropped_at IS NULL;
COMMENT ON VIEW @extschema@.fsi_models IS 'models that can be named in the option "model"';
REVOKE ALL ON @extschema@.fsi_models FROM PUBLIC;
GRANT SELECT ON @extschema@.fsi_models TO PUBLIC;

CREATE FUNCTION @extschema@.fsi_model_info(name pg_catalog.text) RETURNS pg_catalog.jsonb
	AS 'MODULE_PATHNAME', 'fsi_model_info' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION @extschema@.fsi_model_info(pg_catalog.text) IS 'shape, tokenizer, identity and card of a model';

CREATE FUNCTION @extschema@.fsi_import_model(name pg_catalog.text, path pg_catalog.text,
	token_type_ids pg_catalog.bool DEFAULT false) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'fsi_import_model' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION @extschema@.fsi_import_model(pg_catalog.text, pg_catalog.text, pg_catalog.bool)
	IS 'import a GPT-2 from a Hugging Face directory or a packed file of the server; returns its identity';
REVOKE ALL ON FUNCTION @extschema@.fsi_import_model(pg_catalog.text, pg_catalog.text, pg_catalog.bool) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.fsi_import_model(pg_catalog.text, pg_catalog.text, pg_catalog.bool) TO pg_read_server_files;

CREATE FUNCTION @extschema@.fsi_export_model(name pg_catalog.text, path pg_catalog.text) RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'fsi_export_model' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION @extschema@.fsi_export_model(pg_catalog.text, pg_catalog.text)
	IS 'write a model as a new Hugging Face directory of the server';
REVOKE ALL ON FUNCTION @extschema@.fsi_export_model(pg_catalog.text, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.fsi_export_model(pg_catalog.text, pg_catalog.text) TO pg_write_server_files;

CREATE FUNCTION @extschema@.fsi_drop_model(name pg_catalog.text) RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'fsi_drop_model' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.fsi_drop_model(pg_catalog.text) IS 'drop an imported or trained model';
REVOKE ALL ON FUNCTION @extschema@.fsi_drop_model(pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.fsi_drop_model(pg_catalog.text) TO pg_read_server_files;

-- ---------------------------------------------------------------- what rests on a model

CREATE FUNCTION @extschema@._fsi_models_asked(expression pg_catalog.pg_node_tree) RETURNS pg_catalog.text[]
	AS 'MODULE_PATHNAME', 'fsi_models_asked' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION @extschema@._fsi_models_asked(pg_catalog.pg_node_tree)
	IS 'internal: the models that an expression asks; NULL for one that its constants do not tell';

-- In the order to make them anew in: a partition after its parent, for its rows may leave both; an index of expressions
-- before the columns beside it, for an UPDATE that changes no column of its own leaves it as it is; a materialized view
-- after those that it reads. It may read the calls through other views, and their answers in generated columns. What
-- calls any function that is not core's is looked at: it may be one that calls the extension's.
CREATE FUNCTION @extschema@.fsi_dependents(
		OUT model pg_catalog.text,
		OUT sha256 pg_catalog.text,
		OUT kind pg_catalog.text,
		OUT object pg_catalog.text,
		OUT relation pg_catalog.regclass,
		OUT classid pg_catalog.oid,
		OUT objid pg_catalog.oid,
		OUT objsubid pg_catalog.int4) RETURNS SETOF pg_catalog.record
	LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
BEGIN ATOMIC
	WITH RECURSIVE calls AS (
		SELECT DISTINCT d.classid, d.objid
		FROM pg_catalog.pg_depend d
		WHERE d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
			AND d.refobjid >= 16384 AND d.deptype IN ('n', 'a')),
	-- Who reads a table reads those below it. Whole rows leave no trace of their columns in pg_depend.
	columns(oid, relid, name) AS (
		SELECT a.oid, a.adrelid, t.attname
		FROM calls c JOIN pg_catalog.pg_attrdef a ON c.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND a.oid = c.objid
			JOIN pg_catalog.pg_attribute t ON t.attrelid = a.adrelid AND t.attnum = a.adnum AND t.attgenerated <> ''
		UNION
		SELECT k.oid, i.inhparent, k.name
		FROM columns k JOIN pg_catalog.pg_inherits i ON i.inhrelid = k.relid),
	reads(view, model) AS (
		SELECT r.ev_class, asked.model
		FROM calls c JOIN pg_catalog.pg_rewrite r ON c.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.oid = c.objid
				AND r.ev_type = '1',
			pg_catalog.unnest(@extschema@._fsi_models_asked(r.ev_action)) asked(model)
		UNION
		SELECT r.ev_class, asked.model
		FROM columns k JOIN pg_catalog.pg_attrdef a ON a.oid = k.oid
			JOIN pg_catalog.pg_attribute t ON t.attrelid = k.relid AND t.attname = k.name
			JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
				AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = k.relid
			JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND r.ev_type = '1'
				AND (d.refobjsubid = t.attnum OR pg_catalog.strpos(r.ev_action::pg_catalog.text, ':varattno 0 ') > 0),
			pg_catalog.unnest(@extschema@._fsi_models_asked(a.adbin)) asked(model)
		UNION
		SELECT r.ev_class, below.model
		FROM reads below JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
				AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = below.view
			JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND r.ev_type = '1'
			JOIN pg_catalog.pg_class b ON b.oid = below.view AND b.relkind IN ('v', 'm')),
	-- A view and those below it.
	below(lower, view) AS (
		SELECT r.view, r.view FROM reads r
		UNION
		SELECT b.lower, r.ev_class
		FROM below b JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
				AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = b.view
			JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND r.ev_type = '1'),
	kept(no, kind, relid, classid, objid, objsubid, models) AS (
		SELECT 2, 'index', i.indrelid, c.classid, c.objid, 0,
			@extschema@._fsi_models_asked(i.indexprs) || @extschema@._fsi_models_asked(i.indpred)
		FROM calls c JOIN pg_catalog.pg_index i ON c.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.indexrelid = c.objid
		UNION ALL
		SELECT 1, 'partition key', p.partrelid, c.classid, c.objid, 0, @extschema@._fsi_models_asked(p.partexprs)
		FROM calls c JOIN pg_catalog.pg_partitioned_table p ON c.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
			AND p.partrelid = c.objid
		UNION ALL
		SELECT 3, 'generated column', a.adrelid, 'pg_catalog.pg_class'::pg_catalog.regclass, a.adrelid, a.adnum::pg_catalog.int4,
			@extschema@._fsi_models_asked(a.adbin)
		FROM calls c JOIN pg_catalog.pg_attrdef a ON c.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND a.oid = c.objid
			JOIN pg_catalog.pg_attribute t ON t.attrelid = a.adrelid AND t.attnum = a.adnum AND t.attgenerated = 's'
		UNION ALL
		SELECT 4, 'constraint', nullif(k.conrelid, 0), c.classid, c.objid, 0, @extschema@._fsi_models_asked(k.conbin)
		FROM calls c JOIN pg_catalog.pg_constraint k ON c.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.oid = c.objid
		UNION ALL
		SELECT 5, 'materialized view', v.oid, 'pg_catalog.pg_class'::pg_catalog.regclass, v.oid, 0, pg_catalog.array_agg(DISTINCT r.model)
		FROM reads r JOIN pg_catalog.pg_class v ON v.oid = r.view AND v.relkind = 'm' AND v.relispopulated
		GROUP BY v.oid)
	SELECT coalesce(m.name, asked.name), m.sha256, k.kind,
		(pg_catalog.pg_identify_object(k.classid, k.objid, k.objsubid)).identity,
		k.relid::pg_catalog.regclass, k.classid, k.objid, k.objsubid
	FROM kept k
		CROSS JOIN LATERAL (SELECT DISTINCT n FROM pg_catalog.unnest(k.models) n) asked(name)
		LEFT JOIN @extschema@.fsi_models m ON m.name = asked.name OR asked.name = 'default' AND m.is_default
	ORDER BY k.no, CASE k.no WHEN 1 THEN (SELECT pg_catalog.count(*) FROM pg_catalog.pg_partition_ancestors(k.relid))
			WHEN 5 THEN (SELECT pg_catalog.count(*) FROM below b WHERE b.view = k.relid) END,
		k.objid, k.objsubid, asked.name;
END;
COMMENT ON FUNCTION @extschema@.fsi_dependents()
	IS 'what keeps answers of a model: indexes, generated columns, partition keys, constraints, materialized views';

CREATE FUNCTION @extschema@.fsi_check(
		name pg_catalog.text DEFAULT NULL,
		OUT model pg_catalog.text,
		OUT kind pg_catalog.text,
		OUT object pg_catalog.text,
		OUT relation pg_catalog.regclass,
		OUT rows pg_catalog.int8,
		OUT stale pg_catalog.int8) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'fsi_check' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 10;
COMMENT ON FUNCTION @extschema@.fsi_check(pg_catalog.text)
	IS 'how many of the answers that are kept are not what the model says; of one model, or of all';

CREATE FUNCTION @extschema@.fsi_rebuild(
		name pg_catalog.text DEFAULT 'default',
		OUT model pg_catalog.text,
		OUT kind pg_catalog.text,
		OUT object pg_catalog.text,
		OUT relation pg_catalog.regclass,
		OUT changed pg_catalog.int8) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'fsi_rebuild' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000000 ROWS 10;
COMMENT ON FUNCTION @extschema@.fsi_rebuild(pg_catalog.text)
	IS 'change over to the installed weights of the shipped model, and make anew what rests on a model';
REVOKE ALL ON FUNCTION @extschema@.fsi_rebuild(pg_catalog.text) FROM PUBLIC;

-- ---------------------------------------------------------------- classification

-- COST stands in where the support function cannot say: a message takes about a millisecond, an operator of COST 1
-- about 20 ns.

CREATE FUNCTION @extschema@._fsi_plan_support(pg_catalog.internal) RETURNS pg_catalog.internal
	AS 'MODULE_PATHNAME', 'fsi_plan_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._fsi_plan_support(pg_catalog.internal) IS 'internal: tells the planner what a call costs';

CREATE FUNCTION @extschema@.fsi_classify(msg pg_catalog.text, intents pg_catalog.text[]) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'fsi_classify' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50000
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_classify(pg_catalog.text, pg_catalog.text[]) IS 'the intent that a message has';

CREATE FUNCTION @extschema@.fsi_classify(msg pg_catalog.text, intents pg_catalog.text[], options pg_catalog.jsonb)
	RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'fsi_classify' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50000
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_classify(pg_catalog.text, pg_catalog.text[], pg_catalog.jsonb)
	IS 'the intent that a message has, given examples, descriptions and other options';

CREATE FUNCTION @extschema@.fsi_classify_multi(msg pg_catalog.text, intents pg_catalog.text[])
	RETURNS pg_catalog.text[]
	AS 'MODULE_PATHNAME', 'fsi_classify_multi' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50000
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_classify_multi(pg_catalog.text, pg_catalog.text[])
	IS 'every intent that a message has, best first';

CREATE FUNCTION @extschema@.fsi_classify_multi(msg pg_catalog.text, intents pg_catalog.text[], options pg_catalog.jsonb)
	RETURNS pg_catalog.text[]
	AS 'MODULE_PATHNAME', 'fsi_classify_multi' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50000
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_classify_multi(pg_catalog.text, pg_catalog.text[], pg_catalog.jsonb)
	IS 'every intent that a message has, best first, given examples, descriptions and other options';

CREATE FUNCTION @extschema@.fsi_scores(msg pg_catalog.text, intents pg_catalog.text[],
		OUT intent pg_catalog.text, OUT score pg_catalog.float8) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'fsi_scores' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50000 ROWS 5
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_scores(pg_catalog.text, pg_catalog.text[])
	IS 'all intents with their scores, best first; scores sum to 1';

CREATE FUNCTION @extschema@.fsi_scores(msg pg_catalog.text, intents pg_catalog.text[], options pg_catalog.jsonb,
		OUT intent pg_catalog.text, OUT score pg_catalog.float8) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'fsi_scores' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50000 ROWS 5
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_scores(pg_catalog.text, pg_catalog.text[], pg_catalog.jsonb)
	IS 'all intents with their scores, best first, given options; scores sum to 1';

CREATE FUNCTION @extschema@.fsi_classify_many(msgs pg_catalog.text[], intents pg_catalog.text[])
	RETURNS pg_catalog.text[]
	AS 'MODULE_PATHNAME', 'fsi_classify_many' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 500000
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_classify_many(pg_catalog.text[], pg_catalog.text[])
	IS 'the intents of many messages, as fsi_classify gives them, in batches';

CREATE FUNCTION @extschema@.fsi_classify_many(msgs pg_catalog.text[], intents pg_catalog.text[],
		options pg_catalog.jsonb) RETURNS pg_catalog.text[]
	AS 'MODULE_PATHNAME', 'fsi_classify_many' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 500000
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_classify_many(pg_catalog.text[], pg_catalog.text[], pg_catalog.jsonb)
	IS 'the intents of many messages, as fsi_classify gives them, in batches, given options';

-- ---------------------------------------------------------------- evaluation

-- They run a query of the caller's, which may call anything: not in parallel.

CREATE FUNCTION @extschema@.fsi_evaluate(
		source pg_catalog.text,
		intents pg_catalog.text[] DEFAULT NULL,
		options pg_catalog.jsonb DEFAULT NULL,
		split pg_catalog.text DEFAULT NULL,
		OUT rows pg_catalog.int8,
		OUT skipped pg_catalog.int8,
		OUT correct pg_catalog.int8,
		OUT accuracy pg_catalog.float8,
		OUT accuracy_low pg_catalog.float8,
		OUT accuracy_high pg_catalog.float8,
		OUT macro_f1 pg_catalog.float8,
		OUT log_loss pg_catalog.float8,
		OUT brier pg_catalog.float8,
		OUT calibration_error pg_catalog.float8,
		OUT coverage pg_catalog.float8,
		OUT out_of_scope pg_catalog.int8,
		OUT auroc pg_catalog.float8)
	AS 'MODULE_PATHNAME', 'fsi_evaluate' LANGUAGE C STABLE PARALLEL UNSAFE COST 10000000;
COMMENT ON FUNCTION @extschema@.fsi_evaluate(pg_catalog.text, pg_catalog.text[], pg_catalog.jsonb, pg_catalog.text)
	IS 'what the answers on labelled rows are worth: accuracy, F1, calibration, out-of-scope detection';

CREATE FUNCTION @extschema@.fsi_evaluate_intents(
		source pg_catalog.text,
		intents pg_catalog.text[] DEFAULT NULL,
		options pg_catalog.jsonb DEFAULT NULL,
		split pg_catalog.text DEFAULT NULL,
		OUT intent pg_catalog.text,
		OUT rows pg_catalog.int8,
		OUT answered pg_catalog.int8,
		OUT correct pg_catalog.int8,
		OUT "precision" pg_catalog.float8,
		OUT recall pg_catalog.float8,
		OUT f1 pg_catalog.float8) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'fsi_evaluate_intents' LANGUAGE C STABLE PARALLEL UNSAFE COST 10000000 ROWS 20;
COMMENT ON FUNCTION @extschema@.fsi_evaluate_intents(pg_catalog.text, pg_catalog.text[], pg_catalog.jsonb,
		pg_catalog.text)
	IS 'precision, recall and F1 of each intent on labelled rows';

CREATE FUNCTION @extschema@.fsi_evaluate_confusion(
		source pg_catalog.text,
		intents pg_catalog.text[] DEFAULT NULL,
		options pg_catalog.jsonb DEFAULT NULL,
		split pg_catalog.text DEFAULT NULL,
		OUT intent pg_catalog.text,
		OUT answer pg_catalog.text,
		OUT rows pg_catalog.int8) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'fsi_evaluate_confusion' LANGUAGE C STABLE PARALLEL UNSAFE COST 10000000 ROWS 50;
COMMENT ON FUNCTION @extschema@.fsi_evaluate_confusion(pg_catalog.text, pg_catalog.text[], pg_catalog.jsonb,
		pg_catalog.text)
	IS 'how often each intent of labelled rows gets which answer';

CREATE FUNCTION @extschema@.fsi_evaluate_calibration(
		source pg_catalog.text,
		intents pg_catalog.text[] DEFAULT NULL,
		options pg_catalog.jsonb DEFAULT NULL,
		split pg_catalog.text DEFAULT NULL,
		bins pg_catalog.int4 DEFAULT 10,
		OUT low pg_catalog.float8,
		OUT high pg_catalog.float8,
		OUT rows pg_catalog.int8,
		OUT score pg_catalog.float8,
		OUT accuracy pg_catalog.float8) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'fsi_evaluate_calibration' LANGUAGE C STABLE PARALLEL UNSAFE COST 10000000 ROWS 10;
COMMENT ON FUNCTION @extschema@.fsi_evaluate_calibration(pg_catalog.text, pg_catalog.text[], pg_catalog.jsonb,
		pg_catalog.text, pg_catalog.int4)
	IS 'how often a best score is right on labelled rows, in bins of the score';

CREATE FUNCTION @extschema@.fsi_evaluate_thresholds(
		source pg_catalog.text,
		intents pg_catalog.text[] DEFAULT NULL,
		options pg_catalog.jsonb DEFAULT NULL,
		split pg_catalog.text DEFAULT NULL,
		thresholds pg_catalog.float8[] DEFAULT NULL,
		OUT min_score pg_catalog.float8,
		OUT answered pg_catalog.int8,
		OUT coverage pg_catalog.float8,
		OUT "precision" pg_catalog.float8,
		OUT accuracy pg_catalog.float8,
		OUT macro_f1 pg_catalog.float8,
		OUT out_of_scope_recall pg_catalog.float8) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'fsi_evaluate_thresholds' LANGUAGE C STABLE PARALLEL UNSAFE COST 10000000 ROWS 21;
COMMENT ON FUNCTION @extschema@.fsi_evaluate_thresholds(pg_catalog.text, pg_catalog.text[], pg_catalog.jsonb,
		pg_catalog.text, pg_catalog.float8[])
	IS 'what the option min_score would do on labelled rows';

CREATE FUNCTION @extschema@.fsi_evaluate_generation(
		source pg_catalog.text,
		intents pg_catalog.text[] DEFAULT NULL,
		options pg_catalog.jsonb DEFAULT NULL,
		split pg_catalog.text DEFAULT NULL,
		OUT rows pg_catalog.int8,
		OUT skipped pg_catalog.int8,
		OUT correct pg_catalog.int8,
		OUT accuracy pg_catalog.float8,
		OUT accuracy_low pg_catalog.float8,
		OUT accuracy_high pg_catalog.float8,
		OUT outside pg_catalog.int8,
		OUT outside_rate pg_catalog.float8,
		OUT wrong pg_catalog.int8,
		OUT wrong_rate pg_catalog.float8)
	AS 'MODULE_PATHNAME', 'fsi_evaluate_generation' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000000;
COMMENT ON FUNCTION @extschema@.fsi_evaluate_generation(pg_catalog.text, pg_catalog.text[], pg_catalog.jsonb,
		pg_catalog.text)
	IS 'what a prompt model writes freely on labelled rows: right, another of the intents, or none of them';

-- ---------------------------------------------------------------- long jobs

-- Unfinished jobs, for the calls that go on with them. Only the library reads and writes these two, and neither is
-- dumped: a restored table's rows lie elsewhere.
CREATE SEQUENCE @extschema@._fsi_job_id AS pg_catalog.int4 CYCLE;
CREATE TABLE @extschema@._fsi_job (
	id pg_catalog.int4 NOT NULL,
	relid pg_catalog.oid NOT NULL,
	target pg_catalog.int2 NOT NULL,
	role pg_catalog.oid NOT NULL,
	source pg_catalog.int2 NOT NULL,
	intents pg_catalog.text[] NOT NULL,
	options pg_catalog.jsonb,
	condition pg_catalog.text,
	model pg_catalog.text NOT NULL,
	base pg_catalog.xid8 NOT NULL,
	files pg_catalog.oid[] NOT NULL,
	pass pg_catalog.int4 NOT NULL,
	round pg_catalog.int4 NOT NULL,
	rows_estimate pg_catalog.float8 NOT NULL,
	rows_before pg_catalog.int8 NOT NULL,
	started_at pg_catalog.timestamptz NOT NULL,
	resumed_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT _fsi_job_pkey PRIMARY KEY (id),
	CONSTRAINT _fsi_job_key UNIQUE (relid, target, role)
);
CREATE TABLE @extschema@._fsi_job_chunk (
	job pg_catalog.int4 NOT NULL,
	no pg_catalog.int4 NOT NULL,
	pass pg_catalog.int4 NOT NULL,
	first_block pg_catalog.int8 NOT NULL,
	end_block pg_catalog.int8 NOT NULL,
	done pg_catalog.bool NOT NULL,
	xid pg_catalog.xid,
	rows pg_catalog.int8 NOT NULL,
	skipped pg_catalog.int8 NOT NULL,
	CONSTRAINT _fsi_job_chunk_pkey PRIMARY KEY (job, no)
);
COMMENT ON SEQUENCE @extschema@._fsi_job_id IS 'numbers of the jobs of fsi_classify_table';
COMMENT ON TABLE @extschema@._fsi_job IS 'unfinished jobs of fsi_classify_table; see them through fsi_progress';
COMMENT ON TABLE @extschema@._fsi_job_chunk IS 'chunks of unfinished jobs of fsi_classify_table';
REVOKE ALL ON @extschema@._fsi_job, @extschema@._fsi_job_chunk FROM PUBLIC;
REVOKE ALL ON SEQUENCE @extschema@._fsi_job_id FROM PUBLIC;

CREATE PROCEDURE @extschema@.fsi_classify_table(
		tbl pg_catalog.regclass,
		text_column pg_catalog.name,
		target_column pg_catalog.name,
		intents pg_catalog.text[],
		options pg_catalog.jsonb DEFAULT NULL,
		condition pg_catalog.text DEFAULT NULL,
		workers pg_catalog.int4 DEFAULT 1,
		chunk_rows pg_catalog.int4 DEFAULT 1000,
		rows_per_second pg_catalog.float8 DEFAULT NULL,
		restart pg_catalog.bool DEFAULT false)
	AS 'MODULE_PATHNAME', 'fsi_classify_table' LANGUAGE C;
COMMENT ON PROCEDURE @extschema@.fsi_classify_table(pg_catalog.regclass, pg_catalog.name, pg_catalog.name,
		pg_catalog.text[], pg_catalog.jsonb, pg_catalog.text, pg_catalog.int4, pg_catalog.int4, pg_catalog.float8,
		pg_catalog.bool)
	IS 'classify a table in committed chunks, by several processes at once; an unfinished call, repeated, goes on';

-- Whoever is at work on a job holds a lock on its number, the calling session a stronger one than its workers.
CREATE VIEW @extschema@.fsi_progress WITH (security_barrier) AS
	SELECT j.id AS job, j.relid::pg_catalog.regclass AS tbl,
		(SELECT a.attname FROM pg_catalog.pg_attribute a
			WHERE a.attrelid = j.relid AND a.attnum = j.source AND NOT a.attisdropped) AS text_column,
		(SELECT a.attname FROM pg_catalog.pg_attribute a
			WHERE a.attrelid = j.relid AND a.attnum = j.target AND NOT a.attisdropped) AS target_column,
		pg_catalog.pg_get_userbyid(j.role) AS role,
		-- A standby does not see who is at work on its primary.
		CASE WHEN l.pid IS NOT NULL THEN 'running' WHEN NOT pg_catalog.pg_is_in_recovery() THEN 'interrupted' END AS state,
		l.pid, l.processes, c.rows_done, t.rows_total, r.rows_per_second,
		-- No timestamp holds what is too far ahead.
		CASE WHEN (t.rows_total - c.rows_done) / NULLIF(r.rows_per_second, 0) < 1e9 THEN pg_catalog.clock_timestamp()
			+ pg_catalog.make_interval(secs => (t.rows_total - c.rows_done) / r.rows_per_second) END AS eta,
		j.started_at, j.resumed_at
	FROM @extschema@._fsi_job j
	CROSS JOIN LATERAL (
		SELECT pg_catalog.max(k.pid) FILTER (WHERE k.mode = 'ShareUpdateExclusiveLock') AS pid,
			pg_catalog.count(*)::pg_catalog.int4 AS processes
		FROM pg_catalog.pg_locks k
		WHERE k.locktype = 'object' AND k.granted AND k.objid = j.id::pg_catalog.oid
			AND k.classid = '@extschema@._fsi_job'::pg_catalog.regclass
			AND k.database = (SELECT d.oid FROM pg_catalog.pg_database d
				WHERE d.datname = pg_catalog.current_database())) l
	CROSS JOIN LATERAL (
		SELECT COALESCE(pg_catalog.sum(k.rows), 0)::pg_catalog.int8 AS rows_done,
			COALESCE(pg_catalog.sum(k.rows) FILTER (WHERE k.pass = j.pass), 0)::pg_catalog.float8 AS rows_pass,
			pg_catalog.sum(k.end_block - k.first_block) FILTER (WHERE k.pass = j.pass)::pg_catalog.float8 AS blocks,
			pg_catalog.sum(k.end_block - k.first_block) FILTER (WHERE k.pass = j.pass AND k.done)::pg_catalog.float8
				AS blocks_done
		FROM @extschema@._fsi_job_chunk k WHERE k.job = j.id) c
	CROSS JOIN LATERAL (
		SELECT (CASE WHEN j.round > 0 THEN c.rows_done
			WHEN c.rows_pass > 0 THEN c.rows_done + c.rows_pass * (c.blocks / c.blocks_done - 1)
			ELSE GREATEST(c.rows_done, j.rows_estimate) END)::pg_catalog.int8 AS rows_total) t
	CROSS JOIN LATERAL (
		-- The clock may have been set back since.
		SELECT CASE WHEN l.pid IS NOT NULL THEN (c.rows_done - j.rows_before) / NULLIF(GREATEST(
			extract(epoch FROM pg_catalog.clock_timestamp() - j.resumed_at)::pg_catalog.float8, 0), 0) END AS rows_per_second) r
	WHERE pg_catalog.pg_has_role(j.role, 'USAGE') OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW @extschema@.fsi_progress IS 'unfinished jobs of fsi_classify_table: those at work, and those that the same call would go on with';
REVOKE ALL ON @extschema@.fsi_progress FROM PUBLIC;
GRANT SELECT ON @extschema@.fsi_progress TO PUBLIC;

CREATE FUNCTION @extschema@.fsi_discard_job(job pg_catalog.int4) RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'fsi_discard_job' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.fsi_discard_job(pg_catalog.int4)
	IS 'give up an unfinished job of fsi_classify_table; what it has written stays';

-- ---------------------------------------------------------------- fine-tuning

CREATE PROCEDURE @extschema@.fsi_train(name pg_catalog.text, source pg_catalog.text,
		options pg_catalog.jsonb DEFAULT NULL)
	AS 'MODULE_PATHNAME', 'fsi_train' LANGUAGE C;
COMMENT ON PROCEDURE @extschema@.fsi_train(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb)
	IS 'train a model on labelled rows and give it a name; an unfinished call, repeated, goes on';
-- It takes processors, memory and disk for long, and what it makes is seen by all.
REVOKE ALL ON PROCEDURE @extschema@.fsi_train(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@._fsi_training(
		OUT pid pg_catalog.int4, OUT model pg_catalog.text, OUT base pg_catalog.text, OUT role pg_catalog.oid,
		OUT state pg_catalog.text, OUT step pg_catalog.int8, OUT max_steps pg_catalog.int8, OUT epoch pg_catalog.float8,
		OUT tokens_per_second pg_catalog.float8, OUT loss pg_catalog.float8, OUT learning_rate pg_catalog.float8,
		OUT eval_loss pg_catalog.float8, OUT eval_accuracy pg_catalog.float8,
		OUT outside_options pg_catalog.float8, OUT wrong_option pg_catalog.float8, OUT best_step pg_catalog.int8,
		OUT started_at pg_catalog.timestamptz, OUT ended_at pg_catalog.timestamptz, OUT eta pg_catalog.timestamptz,
		OUT message pg_catalog.text)
	RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'fsi_training' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 100 ROWS 2;
COMMENT ON FUNCTION @extschema@._fsi_training() IS 'internal: read it through fsi_training';

CREATE VIEW @extschema@.fsi_training AS
	SELECT pid, model, base, pg_catalog.pg_get_userbyid(role) AS role, state, step, max_steps, epoch, tokens_per_second,
		loss, learning_rate, eval_loss, eval_accuracy, outside_options, wrong_option, best_step, started_at, ended_at, eta,
		message
	FROM @extschema@._fsi_training();
COMMENT ON VIEW @extschema@.fsi_training IS 'trainings of this database: those at work, how the last ones ended, and those that the same call would go on with';
REVOKE ALL ON @extschema@.fsi_training FROM PUBLIC;
GRANT SELECT ON @extschema@.fsi_training TO PUBLIC;

CREATE FUNCTION @extschema@.fsi_discard_training(name pg_catalog.text) RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'fsi_discard_training' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.fsi_discard_training(pg_catalog.text)
	IS 'give up an unfinished training of fsi_train: its checkpoints are removed';

-- ---------------------------------------------------------------- examples from a table

CREATE FUNCTION @extschema@._fsi_examples_add(pg_catalog.internal, pg_catalog.text, pg_catalog.text)
	RETURNS pg_catalog.internal
	AS 'MODULE_PATHNAME', 'fsi_examples_add' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION @extschema@._fsi_examples_combine(pg_catalog.internal, pg_catalog.internal)
	RETURNS pg_catalog.internal
	AS 'MODULE_PATHNAME', 'fsi_examples_combine' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION @extschema@._fsi_examples_serialize(pg_catalog.internal) RETURNS pg_catalog.bytea
	AS 'MODULE_PATHNAME', 'fsi_examples_serialize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION @extschema@._fsi_examples_deserialize(pg_catalog.bytea, pg_catalog.internal)
	RETURNS pg_catalog.internal
	AS 'MODULE_PATHNAME', 'fsi_examples_deserialize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION @extschema@._fsi_examples_final(pg_catalog.internal) RETURNS pg_catalog.jsonb
	AS 'MODULE_PATHNAME', 'fsi_examples_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._fsi_examples_add(pg_catalog.internal, pg_catalog.text, pg_catalog.text)
	IS 'internal: part of fsi_examples';
COMMENT ON FUNCTION @extschema@._fsi_examples_combine(pg_catalog.internal, pg_catalog.internal)
	IS 'internal: part of fsi_examples';
COMMENT ON FUNCTION @extschema@._fsi_examples_serialize(pg_catalog.internal) IS 'internal: part of fsi_examples';
COMMENT ON FUNCTION @extschema@._fsi_examples_deserialize(pg_catalog.bytea, pg_catalog.internal)
	IS 'internal: part of fsi_examples';
COMMENT ON FUNCTION @extschema@._fsi_examples_final(pg_catalog.internal) IS 'internal: part of fsi_examples';

CREATE AGGREGATE @extschema@.fsi_examples(text pg_catalog.text, intent pg_catalog.text) (
	SFUNC = @extschema@._fsi_examples_add,
	STYPE = pg_catalog.internal,
	SSPACE = 8192,
	FINALFUNC = @extschema@._fsi_examples_final,
	COMBINEFUNC = @extschema@._fsi_examples_combine,
	SERIALFUNC = @extschema@._fsi_examples_serialize,
	DESERIALFUNC = @extschema@._fsi_examples_deserialize,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.fsi_examples(pg_catalog.text, pg_catalog.text)
	IS 'the option "examples" from labelled rows; rows with a NULL or a blank text are left out';

-- ---------------------------------------------------------------- what the model sees and says

CREATE FUNCTION @extschema@.fsi_embed(txt pg_catalog.text) RETURNS pg_catalog.float4[]
	AS 'MODULE_PATHNAME', 'fsi_embed' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50000
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_embed(pg_catalog.text) IS 'the unit vector of a text';

CREATE FUNCTION @extschema@.fsi_embed(txt pg_catalog.text, model pg_catalog.text) RETURNS pg_catalog.float4[]
	AS 'MODULE_PATHNAME', 'fsi_embed' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50000
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_embed(pg_catalog.text, pg_catalog.text) IS 'the unit vector of a text by a named model';

CREATE FUNCTION @extschema@.fsi_tokens(txt pg_catalog.text) RETURNS pg_catalog.int4[]
	AS 'MODULE_PATHNAME', 'fsi_tokens' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_tokens(pg_catalog.text) IS 'the token ids of a text';

CREATE FUNCTION @extschema@.fsi_tokens(txt pg_catalog.text, model pg_catalog.text) RETURNS pg_catalog.int4[]
	AS 'MODULE_PATHNAME', 'fsi_tokens' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_tokens(pg_catalog.text, pg_catalog.text) IS 'the token ids of a text by a named model';

CREATE FUNCTION @extschema@.fsi_prompt(msg pg_catalog.text, intents pg_catalog.text[]) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'fsi_prompt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_prompt(pg_catalog.text, pg_catalog.text[])
	IS 'what the model reads: the prompt, or one line per segment';

CREATE FUNCTION @extschema@.fsi_prompt(msg pg_catalog.text, intents pg_catalog.text[], options pg_catalog.jsonb)
	RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'fsi_prompt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_prompt(pg_catalog.text, pg_catalog.text[], pg_catalog.jsonb)
	IS 'what the model reads, given options: the prompt, or one line per segment';

CREATE FUNCTION @extschema@.fsi_generate(
		prompt pg_catalog.text,
		model pg_catalog.text DEFAULT NULL,
		max_new_tokens pg_catalog.int4 DEFAULT 128,
		temperature pg_catalog.float8 DEFAULT 0,
		top_p pg_catalog.float8 DEFAULT 1,
		top_k pg_catalog.int4 DEFAULT 0,
		repetition_penalty pg_catalog.float8 DEFAULT 1,
		seed pg_catalog.int8 DEFAULT 0) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'fsi_generate' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000000
	SUPPORT @extschema@._fsi_plan_support;
COMMENT ON FUNCTION @extschema@.fsi_generate(pg_catalog.text, pg_catalog.text, pg_catalog.int4, pg_catalog.float8,
		pg_catalog.float8, pg_catalog.int4, pg_catalog.float8, pg_catalog.int8)
	IS 'the model''s continuation of a prompt; greedy unless temperature is above 0';

CREATE FUNCTION @extschema@.fsi_version() RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'fsi_version' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.fsi_version() IS 'version of the library, and the CPU level that it runs at';

-- ---------------------------------------------------------------- few-shot prompts to train on

-- They run a query of the caller's, which may call anything: not in parallel. The columns up to description are those of
-- the published data set.

CREATE FUNCTION @extschema@.fsi_prompts(source pg_catalog.text, templates pg_catalog.text,
		options pg_catalog.jsonb DEFAULT NULL,
		OUT prompt pg_catalog.text, OUT response pg_catalog.text, OUT not_applicable pg_catalog.bool,
		OUT intent pg_catalog.text, OUT intent_version pg_catalog.text,
		OUT n_way pg_catalog.int4, OUT n_shot pg_catalog.int4, OUT description pg_catalog.text,
		OUT intents pg_catalog.text[], OUT template pg_catalog.int4, OUT split pg_catalog.text,
		OUT source pg_catalog.text) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'fsi_prompts' LANGUAGE C STABLE PARALLEL UNSAFE COST 1000000 ROWS 10000;
COMMENT ON FUNCTION @extschema@.fsi_prompts(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb)
	IS 'few-shot prompts and their responses from labelled rows and the text of a template file';

CREATE FUNCTION @extschema@.fsi_prompts(source pg_catalog.text, templates pg_catalog.text[],
		options pg_catalog.jsonb DEFAULT NULL,
		OUT prompt pg_catalog.text, OUT response pg_catalog.text, OUT not_applicable pg_catalog.bool,
		OUT intent pg_catalog.text, OUT intent_version pg_catalog.text,
		OUT n_way pg_catalog.int4, OUT n_shot pg_catalog.int4, OUT description pg_catalog.text,
		OUT intents pg_catalog.text[], OUT template pg_catalog.int4, OUT split pg_catalog.text,
		OUT source pg_catalog.text) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'fsi_prompts' LANGUAGE C STABLE PARALLEL UNSAFE COST 1000000 ROWS 10000;
COMMENT ON FUNCTION @extschema@.fsi_prompts(pg_catalog.text, pg_catalog.text[], pg_catalog.jsonb)
	IS 'few-shot prompts and their responses from labelled rows and the texts of template files';

CREATE FUNCTION @extschema@.fsi_prompts(source pg_catalog.text, templates pg_catalog.jsonb,
		options pg_catalog.jsonb DEFAULT NULL,
		OUT prompt pg_catalog.text, OUT response pg_catalog.text, OUT not_applicable pg_catalog.bool,
		OUT intent pg_catalog.text, OUT intent_version pg_catalog.text,
		OUT n_way pg_catalog.int4, OUT n_shot pg_catalog.int4, OUT description pg_catalog.text,
		OUT intents pg_catalog.text[], OUT template pg_catalog.int4, OUT split pg_catalog.text,
		OUT source pg_catalog.text) RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'fsi_prompts' LANGUAGE C STABLE PARALLEL UNSAFE COST 1000000 ROWS 10000;
COMMENT ON FUNCTION @extschema@.fsi_prompts(pg_catalog.text, pg_catalog.jsonb, pg_catalog.jsonb)
	IS 'few-shot prompts and their responses from labelled rows and template files by source';

-- ---------------------------------------------------------------- statistics

CREATE FUNCTION @extschema@._fsi_stats(
		OUT scope pg_catalog.text, OUT rows pg_catalog.int8, OUT tokens pg_catalog.int8, OUT batches pg_catalog.int8,
		OUT duplicates pg_catalog.int8, OUT memo_hits pg_catalog.int8, OUT vector_hits pg_catalog.int8,
		OUT set_hits pg_catalog.int8, OUT set_misses pg_catalog.int8,
		OUT segment_hits pg_catalog.int8, OUT segment_misses pg_catalog.int8,
		OUT prefix_hits pg_catalog.int8, OUT prefix_misses pg_catalog.int8,
		OUT shortened pg_catalog.int8, OUT time_ms pg_catalog.float8, OUT since pg_catalog.timestamptz)
	RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'fsi_stats' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 100 ROWS 2;
COMMENT ON FUNCTION @extschema@._fsi_stats() IS 'internal: read it through fsi_stats';

CREATE VIEW @extschema@.fsi_stats AS SELECT * FROM @extschema@._fsi_stats();
COMMENT ON VIEW @extschema@.fsi_stats IS 'what this backend and all backends have done: rows, tokens, batches, what was kept, time';
REVOKE ALL ON @extschema@.fsi_stats FROM PUBLIC;
GRANT SELECT ON @extschema@.fsi_stats TO PUBLIC;

CREATE FUNCTION @extschema@.fsi_stats_reset() RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'fsi_stats_reset' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 100;
COMMENT ON FUNCTION @extschema@.fsi_stats_reset() IS 'start fsi_stats anew, for all and for this backend';
REVOKE ALL ON FUNCTION @extschema@.fsi_stats_reset() FROM PUBLIC;

CREATE FUNCTION @extschema@._fsi_hint_preload() RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'fsi_hint_preload' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@._fsi_hint_preload() IS 'internal: tells who creates the extension how to preload it';
REVOKE ALL ON FUNCTION @extschema@._fsi_hint_preload() FROM PUBLIC;

-- ---------------------------------------------------------------- rights

-- Default privileges of the role that installs may have given others rights on all of this: what is closed to PUBLIC above is
-- for those alone that are named there.
DO $rights$
DECLARE
	object pg_catalog.record;
BEGIN
	FOR object IN
		SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END || ' ' || c.oid::pg_catalog.regclass AS name, a.grantee
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid,
			pg_catalog.aclexplode(c.relacl) a
		WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
			AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'fsi_intent')
			AND a.grantee NOT IN (0, c.relowner)
		UNION
		SELECT 'ROUTINE ' || p.oid::pg_catalog.regprocedure, a.grantee
		FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid,
			pg_catalog.aclexplode(p.proacl) a
		WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
			AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'fsi_intent')
			AND a.grantee NOT IN (0, p.proowner)
			AND p.proname IN ('fsi_import_model', 'fsi_export_model', 'fsi_drop_model', 'fsi_rebuild', 'fsi_train', 'fsi_stats_reset',
				'_fsi_catalog_changed', '_fsi_pin_shipped', '_fsi_hint_preload', '_fsi_role')
			AND pg_catalog.pg_get_userbyid(a.grantee) NOT IN ('pg_read_server_files', 'pg_write_server_files')
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %I', object.name, pg_catalog.pg_get_userbyid(object.grantee));
	END LOOP;
END $rights$;

SELECT @extschema@._fsi_hint_preload();

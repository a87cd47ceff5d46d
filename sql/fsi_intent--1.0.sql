-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION fsi_intent" to load this file. \quit

-- ---------------------------------------------------------------- models

-- A name means one identity for ever: a dropped name keeps its row, so that no index or generated column
-- can meet other weights under the name that it was built with. pg_dump writes the tables of a schema in the order of
-- their names: the underscore puts these before the tables whose generated columns ask an imported model.
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
	CONSTRAINT _fsi_model_catalog_pkey PRIMARY KEY (name),
	CONSTRAINT _fsi_model_catalog_source CHECK (source IN ('shipped', 'imported'))
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
COMMENT ON TABLE @extschema@._fsi_model_chunk IS 'imported models'' packed files in chunks, so that dumps and replicas carry them';

REVOKE ALL ON @extschema@._fsi_model_catalog, @extschema@._fsi_model_chunk FROM PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('@extschema@._fsi_model_catalog', $$WHERE source = 'imported'$$);
SELECT pg_catalog.pg_extension_config_dump('@extschema@._fsi_model_chunk', '');

-- Backends remember which identity a name has; any change of the catalog, a restored dump too, makes them look again.
CREATE FUNCTION @extschema@._fsi_catalog_changed() RETURNS pg_catalog.trigger
	AS 'MODULE_PATHNAME', 'fsi_catalog_changed' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@._fsi_catalog_changed() IS 'internal: tells backends that the models changed';
REVOKE ALL ON FUNCTION @extschema@._fsi_catalog_changed() FROM PUBLIC;
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON @extschema@._fsi_model_catalog
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@._fsi_catalog_changed();
ALTER TABLE @extschema@._fsi_model_catalog ENABLE ALWAYS TRIGGER changed;

CREATE FUNCTION @extschema@._fsi_pin_shipped() RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'fsi_pin_shipped' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@._fsi_pin_shipped() IS 'internal: checks the shipped model and records its identity';
REVOKE ALL ON FUNCTION @extschema@._fsi_pin_shipped() FROM PUBLIC;
SELECT @extschema@._fsi_pin_shipped();

CREATE VIEW @extschema@.fsi_models AS
	SELECT name, layout, source, is_default, size, sha256, imported_at, imported_by
	FROM @extschema@._fsi_model_catalog
	WHERE dropped_at IS NULL;
COMMENT ON VIEW @extschema@.fsi_models IS 'models that can be named in the option "model"';
GRANT SELECT ON @extschema@.fsi_models TO PUBLIC;

CREATE FUNCTION @extschema@.fsi_model_info(name pg_catalog.text) RETURNS pg_catalog.jsonb
	AS 'MODULE_PATHNAME', 'fsi_model_info' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION @extschema@.fsi_model_info(pg_catalog.text) IS 'shape, tokenizer, identity and card of a model';

CREATE FUNCTION @extschema@.fsi_import_model(name pg_catalog.text, path pg_catalog.text) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'fsi_import_model' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION @extschema@.fsi_import_model(pg_catalog.text, pg_catalog.text)
	IS 'import a GPT-2 from a Hugging Face directory or a packed file of the server; returns its identity';
REVOKE ALL ON FUNCTION @extschema@.fsi_import_model(pg_catalog.text, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.fsi_import_model(pg_catalog.text, pg_catalog.text) TO pg_read_server_files;

CREATE FUNCTION @extschema@.fsi_export_model(name pg_catalog.text, path pg_catalog.text) RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'fsi_export_model' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION @extschema@.fsi_export_model(pg_catalog.text, pg_catalog.text)
	IS 'write a model as a new Hugging Face directory of the server';
REVOKE ALL ON FUNCTION @extschema@.fsi_export_model(pg_catalog.text, pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.fsi_export_model(pg_catalog.text, pg_catalog.text) TO pg_write_server_files;

CREATE FUNCTION @extschema@.fsi_drop_model(name pg_catalog.text) RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'fsi_drop_model' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION @extschema@.fsi_drop_model(pg_catalog.text) IS 'drop an imported model';
REVOKE ALL ON FUNCTION @extschema@.fsi_drop_model(pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.fsi_drop_model(pg_catalog.text) TO pg_read_server_files;

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
	IS 'the option "examples" from labelled rows; rows with a NULL are left out';

-- ---------------------------------------------------------------- what the model sees and says

CREATE FUNCTION @extschema@.fsi_embed(txt pg_catalog.text) RETURNS pg_catalog.float4[]
	AS 'MODULE_PATHNAME', 'fsi_embed' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50000;
COMMENT ON FUNCTION @extschema@.fsi_embed(pg_catalog.text) IS 'the unit vector of a text';

CREATE FUNCTION @extschema@.fsi_embed(txt pg_catalog.text, model pg_catalog.text) RETURNS pg_catalog.float4[]
	AS 'MODULE_PATHNAME', 'fsi_embed' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50000;
COMMENT ON FUNCTION @extschema@.fsi_embed(pg_catalog.text, pg_catalog.text) IS 'the unit vector of a text by a named model';

CREATE FUNCTION @extschema@.fsi_tokens(txt pg_catalog.text) RETURNS pg_catalog.int4[]
	AS 'MODULE_PATHNAME', 'fsi_tokens' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION @extschema@.fsi_tokens(pg_catalog.text) IS 'the token ids of a text';

CREATE FUNCTION @extschema@.fsi_tokens(txt pg_catalog.text, model pg_catalog.text) RETURNS pg_catalog.int4[]
	AS 'MODULE_PATHNAME', 'fsi_tokens' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION @extschema@.fsi_tokens(pg_catalog.text, pg_catalog.text) IS 'the token ids of a text by a named model';

CREATE FUNCTION @extschema@.fsi_prompt(msg pg_catalog.text, intents pg_catalog.text[]) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'fsi_prompt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION @extschema@.fsi_prompt(pg_catalog.text, pg_catalog.text[])
	IS 'what the model reads: the prompt, or one line per segment';

CREATE FUNCTION @extschema@.fsi_prompt(msg pg_catalog.text, intents pg_catalog.text[], options pg_catalog.jsonb)
	RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'fsi_prompt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
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
	AS 'MODULE_PATHNAME', 'fsi_generate' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000000;
COMMENT ON FUNCTION @extschema@.fsi_generate(pg_catalog.text, pg_catalog.text, pg_catalog.int4, pg_catalog.float8,
		pg_catalog.float8, pg_catalog.int4, pg_catalog.float8, pg_catalog.int8)
	IS 'the model''s continuation of a prompt; greedy unless temperature is above 0';

CREATE FUNCTION @extschema@.fsi_version() RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'fsi_version' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.fsi_version() IS 'version of the library, and the CPU level that it runs at';

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
GRANT SELECT ON @extschema@.fsi_stats TO PUBLIC;

CREATE FUNCTION @extschema@.fsi_stats_reset() RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'fsi_stats_reset' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 100;
COMMENT ON FUNCTION @extschema@.fsi_stats_reset() IS 'start fsi_stats anew, for all and for this backend';
REVOKE ALL ON FUNCTION @extschema@.fsi_stats_reset() FROM PUBLIC;

CREATE FUNCTION @extschema@._fsi_hint_preload() RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'fsi_hint_preload' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@._fsi_hint_preload() IS 'internal: tells who creates the extension how to preload it';
REVOKE ALL ON FUNCTION @extschema@._fsi_hint_preload() FROM PUBLIC;
SELECT @extschema@._fsi_hint_preload();

-- What the planner is told of a call's cost, of fsi_scores' rows, of how many rows have an intent; and the plans that follow.

-- a plan's estimates, the cost in thousands
CREATE FUNCTION pg_temp.plan(query text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE p json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO p;
	RETURN p -> 0 -> 'Plan';
END$$;
CREATE FUNCTION pg_temp.cost(query text) RETURNS numeric LANGUAGE sql AS $$SELECT round((pg_temp.plan($1) ->> 'Total Cost')::numeric / 1000)$$;
CREATE FUNCTION pg_temp.rows(query text) RETURNS int LANGUAGE sql AS $$SELECT (pg_temp.plan($1) ->> 'Plan Rows')::int$$;
CREATE TABLE plain (id int, msg text, list text[], many text[]);
INSERT INTO plain SELECT g, 'where is my parcel', ARRAY['refund', 'weather'], ARRAY['a', 'b'] FROM generate_series(1, 1000) g;
CREATE TABLE long (id int, msg text);
INSERT INTO long SELECT g, repeat('where is my parcel ', 10) FROM generate_series(1, 1000) g;
ANALYZE plain, long;
SET max_parallel_workers_per_gather = 0;

-- a thousand calls: by the text's width
SELECT pg_temp.cost($$SELECT fsi_classify(msg, ARRAY['refund', 'weather']) FROM plain$$) AS short,
	pg_temp.cost($$SELECT fsi_classify(msg, ARRAY['refund', 'weather']) FROM long$$) AS long,
	pg_temp.cost($$SELECT fsi_classify(m, ARRAY['refund', 'weather']) FROM (SELECT msg AS m FROM long OFFSET 0) s$$) AS of_subquery,
	pg_temp.cost($$SELECT fsi_classify(lower(msg), ARRAY['refund', 'weather']) FROM long$$) AS of_expression,
	pg_temp.cost($$SELECT fsi_classify(msg || id, ARRAY['refund', 'weather']) FROM long$$) AS of_two;
-- a constant's length, as it is and beyond what is read
SELECT pg_temp.cost($$SELECT fsi_classify('where is my parcel', list) FROM plain$$) AS constant,
	pg_temp.cost(format('SELECT fsi_classify(%L, list) FROM plain', repeat('x', 1536))) AS longest,
	pg_temp.cost(format('SELECT fsi_classify(%L, list) FROM plain', repeat('x', 100000))) AS beyond;
-- by the number of intents, examples and descriptions
SELECT n, pg_temp.cost(format('SELECT fsi_classify(msg, %L) FROM plain', ARRAY(SELECT 'i' || i FROM generate_series(1, n) i))) AS cost
FROM unnest(ARRAY[1, 10, 100, 1000]) n;
SELECT pg_temp.cost(format('SELECT fsi_classify(msg, ARRAY[''refund'', ''weather''], %L) FROM plain',
		jsonb_build_object('examples', fsi_examples('text ' || i, 'refund')))) AS examples,
	pg_temp.cost(format('SELECT fsi_classify(msg, ARRAY[''refund'', ''weather''], %L) FROM plain',
		jsonb_build_object('descriptions', jsonb_object_agg(i, 'x')))) AS descriptions,
	pg_temp.cost($$SELECT fsi_classify(msg, ARRAY['refund', msg]) FROM plain$$) AS two_of_which_one_varies,
	pg_temp.cost($$SELECT fsi_classify(msg, list) FROM plain$$) AS unknown,
	pg_temp.cost($$SELECT fsi_classify(msg, list, '{"model": "small-1"}') FROM plain$$) AS named
FROM generate_series(1, 1000) i;
-- by the number of messages
SELECT pg_temp.cost($$SELECT fsi_classify_many(ARRAY['where is my parcel', 'where is my parcel'], list) FROM plain$$) AS two,
	pg_temp.cost($$SELECT fsi_classify_many(ARRAY[msg, msg, msg], list) FROM plain$$) AS three,
	pg_temp.cost($$SELECT fsi_classify_many(many, list) FROM plain$$) AS a_column;
-- what nobody can know, or what is an error when it runs, is no error for the planner
SELECT pg_temp.cost($$SELECT fsi_classify(msg, NULL) FROM plain$$) < 1 AS never_called,
	pg_temp.cost($$SELECT fsi_classify(msg, list, '[1]') FROM plain$$) > 1 AS no_object,
	pg_temp.cost($$SELECT fsi_classify(msg, list, '{"model": "no such model", "examples": 3}') FROM plain$$) > 1 AS no_model,
	pg_temp.cost($$SELECT fsi_classify(msg, list, '{"model": 5}') FROM plain$$) > 1 AS no_name,
	pg_temp.cost(format('SELECT fsi_classify(msg, list, %L) FROM plain', json_build_object('model', repeat('x', 1000)))) > 1 AS long_name,
	pg_temp.cost($$SELECT fsi_classify(plain::text, list) FROM plain$$) > 1 AS whole_row,
	pg_temp.cost($$SELECT (SELECT fsi_classify(p.msg, l.list) FROM plain l LIMIT 1) FROM plain p$$) > 1 AS outer_column,
	pg_temp.cost($$SELECT fsi_classify(m, '{a,b}') FROM (SELECT msg FROM plain UNION SELECT msg FROM long) u(m)$$) > 1 AS of_union;
PREPARE generic(text, text[], jsonb) AS SELECT fsi_classify($1, $2, $3), fsi_classify_many(ARRAY[$1], $2) FROM plain;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS off) EXECUTE generic('a', '{b,c}', '{}');
RESET plan_cache_mode;
DEALLOCATE generic;

-- rows of fsi_scores
SELECT pg_temp.rows($$SELECT * FROM fsi_scores('x', ARRAY['a', 'b', 'c'])$$) AS three,
	pg_temp.rows($$SELECT * FROM fsi_scores('x', ARRAY['a', 'b', 'c'], '{"other": "d"}')$$) AS and_other,
	pg_temp.rows($$SELECT * FROM fsi_scores('x', ARRAY['a', 'b', 'c'], '{"other": null}')$$) AS none,
	pg_temp.rows($$SELECT s.* FROM plain, fsi_scores(msg, ARRAY['a', msg]) s$$) AS two_a_row;

-- rows that have an intent: no statistics, none on the index, and an index or CREATE STATISTICS that has them
\set q '$$SELECT * FROM plain WHERE fsi_classify(msg, ARRAY[''refund'', ''weather'', ''parcel'', ''x'']) = ''weather''$$'
SELECT pg_temp.rows(:q) AS guess;
CREATE INDEX plain_intent ON plain (id, fsi_classify(msg, ARRAY['refund', 'weather', 'parcel', 'x']));
SELECT pg_temp.rows(:q) AS a_fourth;
ALTER INDEX plain_intent ALTER COLUMN 2 SET STATISTICS 0;
ANALYZE plain;
SELECT pg_temp.rows(:q) AS a_fourth;
SELECT pg_temp.rows($$SELECT fsi_classify(msg, ARRAY['refund', 'weather', 'parcel', 'x']) FROM plain GROUP BY 1$$) AS groups;
ALTER INDEX plain_intent ALTER COLUMN 2 SET STATISTICS -1;
ANALYZE plain;
SELECT pg_temp.rows(:q) AS measured;
DROP INDEX plain_intent;
CREATE STATISTICS plain_stats ON fsi_classify(msg, ARRAY['refund', 'weather', 'parcel', 'x']) FROM plain;
ANALYZE plain;
SELECT pg_temp.rows(:q) AS measured;
DROP STATISTICS plain_stats;
-- other functions' indexes are left alone
CREATE INDEX plain_upper ON plain (upper(msg));
SELECT pg_temp.rows($$SELECT * FROM plain WHERE upper(msg) = 'X'$$) AS guess;
DROP INDEX plain_upper;

-- after the sort, cheap conditions first, in workers where the table is large enough
EXPLAIN (COSTS off, VERBOSE) SELECT id, fsi_classify(msg, ARRAY['refund', 'weather']) FROM plain ORDER BY id LIMIT 3;
EXPLAIN (COSTS off) SELECT * FROM plain WHERE fsi_classify(msg, ARRAY['refund', 'weather']) = 'weather' AND msg LIKE '%a%' AND id < 10;
-- of two calls the cheaper one first
EXPLAIN (COSTS off) SELECT * FROM plain WHERE fsi_classify(repeat(msg, 9) || 'x', list) = 'weather' AND fsi_classify('x', list) = 'y';
RESET max_parallel_workers_per_gather;
ALTER TABLE plain SET (parallel_workers = 2);
EXPLAIN (COSTS off) SELECT fsi_classify(msg, ARRAY['refund', 'weather']) FROM plain;
EXPLAIN (COSTS off) SELECT msg FROM plain WHERE fsi_classify(msg, ARRAY['refund', 'weather']) = 'weather';
EXPLAIN (COSTS off) SELECT msg FROM plain;
EXPLAIN (COSTS off) UPDATE plain SET msg = fsi_classify(msg, ARRAY['refund', 'weather']);

-- whether a function asks is looked for in the text of all once, and not for each statement whose workers may ask
CREATE FUNCTION no_question(msg text) RETURNS text IMMUTABLE PARALLEL SAFE COST 100000 LANGUAGE plpgsql AS $$BEGIN RETURN upper(msg); END$$;
CREATE FUNCTION pg_temp.reads(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	before int := pg_stat_get_xact_numscans('pg_proc'::regclass);
BEGIN
	EXECUTE query;
	RETURN pg_stat_get_xact_numscans('pg_proc'::regclass) - before;
END$$;
SELECT pg_temp.reads($$SELECT no_question(msg) FROM plain$$) AS first, pg_temp.reads($$SELECT no_question(msg) FROM plain$$) AS again;
DROP FUNCTION no_question;
DROP TABLE plain, long;

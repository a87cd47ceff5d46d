#!/usr/bin/env bash
# What examples cost a row, once they are prepared: rows with 20 intents and N examples against the same rows without.
#
#   test/bench/examples.sh [N]...
#
# In a throw-away cluster, one backend. "constant": the options are a constant of the query; "joined": a subquery
# gathers them with fsi_examples(). Each figure is the least of five runs of 200 rows, taken in turn, so that a busy machine
# slows all of them; they are printed as multiples of the rows without examples.
set -euo pipefail
. "$(dirname "$0")/../setup/cluster.sh"
[ $# -gt 0 ] || set -- 100 1000 5000
prepare
make_tmp
build all
make_private_tree
start_cluster
"$PGBIN/psql" -X -q -At -v ON_ERROR_STOP=1 -v sizes="$*" <<'SQL'
CREATE EXTENSION fsi_intent;
SET max_parallel_workers_per_gather = 0;
SET fsi_intent.cache_size = '1GB';
CREATE TABLE message AS
SELECT i, 'my parcel number ' || i || ' has not arrived, please help' AS msg FROM generate_series(1, 200) i;
CREATE TABLE labelled AS
SELECT i, concat_ws(' ', (ARRAY['where is my', 'please cancel', 'how do I change', 'why was', '退款', '我的订单'])[1 + i % 6],
		(ARRAY['parcel', 'invoice', 'address', 'password', 'gift card', 'order', 'warranty'])[1 + i * 7919 % 7], 'number', i,
		(ARRAY['today', 'again', 'please', 'since monday', NULL])[1 + i % 5]) AS txt,
	'intent ' || chr(97 + i * 31 % 20) AS intent
FROM generate_series(1, 100000) i;
ANALYZE;
CREATE PROCEDURE measure(sizes int[]) LANGUAGE plpgsql AS $$
DECLARE
	intents text[] := ARRAY(SELECT DISTINCT intent FROM labelled);
	best float8[];
	began timestamptz;
	queries text[] := ARRAY[format('SELECT count(fsi_classify(msg, %L)) FROM message', intents)];
	ms float8;
BEGIN
	FOR k IN 1 .. cardinality(sizes) LOOP
		queries := queries || format('SELECT count(fsi_classify(msg, %L, %L)) FROM message', intents,
				(SELECT jsonb_build_object('examples', fsi_examples(txt, intent)) FROM labelled WHERE i <= sizes[k]))
			|| format('SELECT count(fsi_classify(msg, %L, o)) FROM message,
				(SELECT jsonb_build_object(''examples'', fsi_examples(txt, intent)) AS o FROM labelled WHERE i <= %s) s', intents, sizes[k]);
	END LOOP;
	FOR run IN 0 .. 5 LOOP
		FOR k IN 1 .. cardinality(queries) LOOP
			began := clock_timestamp();
			EXECUTE queries[k];
			ms := 1000 * extract(epoch FROM clock_timestamp() - began);
			best[k] := CASE run WHEN 0 THEN NULL ELSE least(best[k], ms) END;	-- run 0 prepares
		END LOOP;
	END LOOP;
	RAISE INFO 'examples  constant  joined';
	FOR k IN 1 .. cardinality(sizes) LOOP
		RAISE INFO '%  %  %', lpad(sizes[k]::text, 8), lpad(round((best[2 * k] / best[1])::numeric, 2)::text, 8),
			lpad(round((best[2 * k + 1] / best[1])::numeric, 2)::text, 6);
	END LOOP;
END $$;
\set VERBOSITY terse
SELECT format('CALL measure(%L)', string_to_array(:'sizes', ' ')::int[]) \gexec
SQL

-- The batch node: every plan shape that holds calls, and the same answers as without it.

LOAD 'fsi_intent';
SET enable_hashjoin = off;
SET max_parallel_workers_per_gather = 0;
CREATE SCHEMA batch;
SET search_path = batch, public;
CREATE TABLE msg (id int PRIMARY KEY, txt text, kind int, own text[], answer text);
INSERT INTO msg SELECT g, CASE g % 7
	WHEN 0 THEN NULL
	WHEN 1 THEN 'please tell me where my order number ' || g || ' is'
	WHEN 2 THEN 'is it raining?'
	WHEN 3 THEN 'I want my money back because it broke ' || g
	WHEN 4 THEN '我要退款 ' || g
	WHEN 5 THEN repeat('x', g)
	ELSE 'weather ' || md5(g::text) END,
	g % 3, CASE g % 4 WHEN 0 THEN NULL WHEN 1 THEN ARRAY['refund', 'weather'] WHEN 2 THEN ARRAY['a', 'b', 'c'] ELSE ARRAY['x' || g % 5, 'y'] END
FROM generate_series(1, 120) g;
ANALYZE msg;
\set q 'ARRAY[''refund'', ''track order'', ''weather'']'
\set other 'ARRAY[''weather'', ''complaint'']'

-- Shows how a query is run, and what gets another answer without the batch node.  Servers of several versions
-- name windows and init plans in ways of their own.
CREATE FUNCTION plan(query text, options text DEFAULT 'COSTS OFF') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (' || options || ') ' || query LOOP
		CONTINUE WHEN line ~ '^ *Window: ';
		RETURN NEXT regexp_replace(regexp_replace(line, 'OVER \w+', 'OVER (?)', 'g'), ' \(returns \$\d+\)$', '');
	END LOOP;
END $$;
CREATE FUNCTION differ(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	n int;
BEGIN
	SET LOCAL fsi_intent.enable_batch = on;
	SET LOCAL fsi_intent.debug_require_batch = on;
	EXECUTE 'CREATE TEMP TABLE batched AS ' || query;
	SET LOCAL fsi_intent.debug_require_batch = off;
	SET LOCAL fsi_intent.enable_batch = off;
	EXECUTE 'CREATE TEMP TABLE single AS ' || query;
	SET LOCAL fsi_intent.enable_batch = on;
	SELECT count(*) INTO n FROM batched;
	RETURN QUERY EXECUTE 'SELECT d::text FROM ((TABLE batched EXCEPT ALL TABLE single) UNION ALL (TABLE single EXCEPT ALL TABLE batched)) d';
	RETURN NEXT n || ' rows';
	DROP TABLE batched, single;
END $$;
CREATE FUNCTION plan_and_differ(query text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT plan(query) UNION ALL SELECT differ(query)
$$;

-- target lists: one call, several, candidates of each row, options, inside other expressions
SELECT plan(format('SELECT id, fsi_classify(txt, %s) FROM msg WHERE kind = 1', :'q'), 'VERBOSE, COSTS OFF');
SELECT differ(format('SELECT id, fsi_classify(txt, %s) FROM msg WHERE kind = 1', :'q'));
SELECT differ(format('SELECT id, fsi_classify(txt, %s) AS a, fsi_classify(txt, own) AS b, fsi_classify(txt, %s) AS c FROM msg', :'q', :'other'));
SELECT differ('SELECT id, fsi_classify(txt, own, ''{"other": "none"}'') FROM msg');
SELECT differ('SELECT id, fsi_classify(txt, own, CASE kind WHEN 1 THEN ''{"other": "none"}''::jsonb END) FROM msg');
SELECT differ('SELECT id, fsi_classify(txt, CASE kind WHEN 0 THEN ARRAY[''x'', ''y''] WHEN 1 THEN own ELSE ARRAY[id, kind]::text[] END) FROM msg WHERE id <> kind');
SELECT differ('SELECT id, fsi_classify(txt, ARRAY[''refund'', ''weather''], jsonb_build_object(''min_score'', kind / 2.0)) FROM msg');
SELECT plan(format($$SELECT 'I: ' || fsi_classify(txt, %1$s)::varchar, coalesce(fsi_classify(txt, %1$s), 'none'),
	CASE fsi_classify(txt, %1$s) WHEN 'refund' THEN 1 ELSE id END FROM msg$$, :'q'), 'VERBOSE, COSTS OFF');
SELECT differ(format($$SELECT 'I: ' || fsi_classify(txt, %1$s)::varchar AS a, coalesce(fsi_classify(txt, %1$s), 'none') AS b,
	CASE fsi_classify(txt, %1$s) WHEN 'refund' THEN 1 ELSE id END AS c FROM msg$$, :'q'));
SELECT differ(format($$SELECT id, fsi_classify('about ' || fsi_classify(txt, %s), %s) FROM msg$$, :'q', :'other'));
SELECT differ(format($$SELECT a, fsi_classify('about ' || a, %s) AS b FROM (SELECT id, fsi_classify(txt, %s) AS a FROM msg) s$$, :'other', :'q'));
SELECT differ(format($$SELECT m, ctid AS c, tableoid AS t, fsi_classify(m.txt, %s) FROM msg m$$, :'q'));
-- behind a short cut a call stays where it is
SELECT plan(format('SELECT CASE WHEN kind = 1 THEN fsi_classify(txt, %s) END, coalesce(answer, fsi_classify(txt, %1$s)),
	kind = 1 OR fsi_classify(txt, %1$s) = answer FROM msg', :'q'));

-- what other functions make of a message is computed below: their errors are not the node's to catch
CREATE FUNCTION louder(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN upper(t); END $$;
SELECT plan('SELECT fsi_classify(louder(txt), own) FROM msg', 'VERBOSE, COSTS OFF');
SELECT differ('SELECT fsi_classify(louder(txt), own) FROM msg');
-- ... also behind functions of PostgreSQL's own: a cast, a type's input and output, a view, a domain's constraint. Were their error caught, what they
-- had begun would stay: another user's identity for one.
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE FUNCTION owners(mood) RETURNS json LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN to_json(length($1::text) / (length($1::text) - 3)); END $$;
CREATE CAST (mood AS json) WITH FUNCTION owners(mood);
CREATE DOMAIN short AS text CHECK (length(VALUE) / 1 < 100);
CREATE TYPE shorts AS (s short);
CREATE VIEW failing AS SELECT 1 / (id - id) AS x FROM msg;
CREATE TABLE moods AS SELECT g AS id, CASE g WHEN 4 THEN 'bad' ELSE 'good' END::mood AS mood FROM generate_series(1, 10) g;
SELECT plan('SELECT fsi_classify(to_jsonb(mood)::text, ARRAY[''a'', ''b'']), fsi_classify(mood::text, ARRAY[''a'', ''b'']),
	fsi_classify((jsonb_populate_record(NULL::shorts, jsonb_build_object(''s'', id))).s, ARRAY[''a'', ''b'']),
	fsi_classify(table_to_xml(''failing'', true, true, id::text)::text, ARRAY[''a'', ''b'']),
	fsi_classify(satisfies_hash_partition(id::oid, 2, id, id)::text, ARRAY[''a'', ''b'']),
	fsi_classify(format(''%s'', id), ARRAY[''a'', ''b'']), fsi_classify(upper(''no '' || id || coalesce(id, 1)), ARRAY[''a'', ''b''])
	FROM moods', 'VERBOSE, COSTS OFF');
CREATE ROLE regress_batch;
GRANT USAGE ON SCHEMA batch TO regress_batch;
GRANT SELECT ON moods TO regress_batch;
BEGIN;
SET LOCAL ROLE regress_batch;
DECLARE c CURSOR FOR SELECT id, fsi_classify(to_jsonb(mood)::text, ARRAY['a', 'b']) FROM moods;
SAVEPOINT s;
FETCH 2 FROM c;
ROLLBACK TO s;
SELECT current_user;
COMMIT;
DROP OWNED BY regress_batch;
DROP ROLE regress_batch;

-- filters: the others first, the target list for the rows that are left
SELECT plan_and_differ(format($$SELECT id FROM msg WHERE fsi_classify(txt, %s) = 'refund' AND kind = 1$$, :'q'));
SELECT plan_and_differ(format($$SELECT id, fsi_classify(txt, %1$s) AS a, fsi_classify(txt, %2$s) AS b FROM msg
	WHERE fsi_classify(txt, %1$s) IN ('refund', 'weather') AND kind = 1$$, :'q', :'other'));
SELECT plan_and_differ(format($$SELECT id FROM msg WHERE fsi_classify(txt, %s) = 'refund' OR kind = 1$$, :'q'));

-- above and below other nodes
SELECT plan_and_differ(format('SELECT fsi_classify(txt, %s), count(*) FROM msg GROUP BY 1', :'q'));
-- what is left of a UNION ALL has the type of its part, not of the whole
SELECT plan_and_differ(format($$SELECT max(fsi_classify(x, %s)) FROM
	(SELECT 'rain'::varchar(4) AS x FROM msg UNION ALL SELECT 'sun'::varchar(3) FROM msg WHERE false) s$$, :'q'));
SELECT plan_and_differ(format('SELECT DISTINCT fsi_classify(txt, %s) FROM msg', :'q'));
SELECT plan_and_differ(format($$SELECT kind, count(*) FILTER (WHERE fsi_classify(txt, %s) = 'refund'), max(fsi_classify(txt, %s)) FROM msg GROUP BY kind$$, :'q', :'other'));
SELECT plan_and_differ(format($$SELECT kind, fsi_classify(max(txt), %1$s) FROM msg GROUP BY kind HAVING fsi_classify(min(txt), %1$s) <> 'x'$$, :'q'));
SELECT plan_and_differ(format('SELECT id, fsi_classify(txt, %s) FROM msg ORDER BY txt, id LIMIT 5', :'q'));
SELECT plan_and_differ(format('SELECT a.id, fsi_classify(a.txt || b.txt, %s) FROM msg a JOIN msg b ON b.id = a.id + 1', :'q'));
SELECT plan_and_differ(format('SELECT a.id, b.i FROM msg a LEFT JOIN (SELECT id, fsi_classify(txt, %s) AS i FROM msg) b ON b.id = a.id', :'q'));
SELECT plan_and_differ(format('SELECT id, i FROM msg, LATERAL (SELECT fsi_classify(txt, %s) AS i) l', :'q'));
SELECT plan_and_differ(format('SELECT id, generate_series(1, 2) AS g, fsi_classify(txt, %s) FROM msg', :'q'));
SELECT plan_and_differ(format('SELECT id, row_number() OVER (ORDER BY id), fsi_classify(txt, %s) FROM msg', :'q'));
-- a window's condition to stop at is over its target list, which changes
-- a volatile column beside the call is computed for a window's last row too
CREATE SEQUENCE beside;
SELECT plan(format($$SELECT * FROM (SELECT nextval('beside'), fsi_classify(txt, %s) AS i, row_number() OVER (ORDER BY id) AS n FROM msg) s WHERE n <= 60$$, :'q'));
SELECT plan_and_differ(format($$SELECT * FROM (SELECT txt, fsi_classify(txt, %s) AS i, row_number() OVER (ORDER BY id) AS n, id FROM msg) s WHERE n <= 60$$, :'q'));
SELECT plan_and_differ(format($$SELECT * FROM (SELECT id, txt, fsi_classify(txt, %s) AS i, rank() OVER w AS r, row_number() OVER w AS n FROM msg
	WINDOW w AS (PARTITION BY kind ORDER BY id)) s WHERE n < 3$$, :'q'));
SELECT plan_and_differ(format($$SELECT * FROM (SELECT id, txt, fsi_classify(txt, %s) AS i, rank() OVER w AS r, row_number() OVER w AS n FROM msg
	WINDOW w AS (PARTITION BY kind ORDER BY id)) s WHERE 3 > r$$, :'q'));
SELECT plan_and_differ(format('WITH c AS MATERIALIZED (SELECT * FROM msg) SELECT id, fsi_classify(txt, %s) FROM c', :'q'));
SELECT plan_and_differ(format($$SELECT fsi_classify(t, %s) FROM (VALUES ('one'), ('two'), (NULL)) v (t)$$, :'q'));
SELECT plan_and_differ(format('SELECT id, (SELECT count(*) FROM msg b WHERE b.id < a.id AND fsi_classify(b.txt, %s) = ''refund'') FROM msg a WHERE id < 9', :'q'));
-- a subquery behind a short cut is computed where it is reached, and this one nowhere: it would be an error
SELECT differ(format($$SELECT id, fsi_classify(CASE kind WHEN 9 THEN (SELECT txt FROM msg) ELSE txt END, %s) FROM msg ORDER BY id LIMIT 3$$, :'q'));
SELECT differ(format($$SELECT id, fsi_classify(coalesce(txt, (SELECT txt FROM msg)), %s) FROM msg WHERE txt IS NOT NULL ORDER BY id LIMIT 3$$, :'q'));
SELECT differ($$SELECT id, fsi_classify(txt, CASE WHEN kind < 9 OR (SELECT txt FROM msg) = 'a' THEN own END) FROM msg ORDER BY id LIMIT 3$$);
SELECT differ($$SELECT id, fsi_classify(own[(SELECT id FROM msg)], own) FROM msg WHERE own IS NULL ORDER BY id LIMIT 3$$);
SELECT count(fsi_classify(CASE kind WHEN 9 THEN (SELECT txt FROM msg) ELSE txt END, :q)) FROM msg;
-- scanned again while rows that were read ahead are left
SELECT plan_and_differ(format('SELECT a.id, ARRAY(SELECT s.id FROM (SELECT b.id, fsi_classify(b.txt, %s) AS i FROM msg b WHERE b.id >= a.id ORDER BY b.id OFFSET 0) s
	WHERE i IS NOT NULL LIMIT 2) AS next FROM msg a', :'q'));
SELECT plan_and_differ(format('SELECT id, fsi_classify((SELECT b.txt FROM msg b WHERE b.id = a.id), %s) FROM msg a', :'q'));
SELECT plan_and_differ('SELECT id, fsi_classify(txt, (SELECT array_agg(''kind '' || id) FROM msg WHERE id < 4)) FROM msg');
SET enable_mergejoin = on;
SET enable_nestloop = off;
SELECT plan_and_differ(format('SELECT a.id, b.i FROM msg a LEFT JOIN (SELECT id, fsi_classify(txt, %s) AS i FROM msg) b ON b.id = a.id', :'q'));
RESET enable_nestloop;

-- views, also with a barrier, and policies: rows that they keep back are never looked at
CREATE FUNCTION stable_peek(t text) RETURNS bool STABLE LANGUAGE plpgsql COST 1 AS $$ BEGIN RAISE NOTICE 'peek %', t; RETURN true; END $$;
CREATE VIEW barrier WITH (security_barrier) AS SELECT id, txt FROM msg
	WHERE fsi_classify(txt, ARRAY['refund', 'weather']) = 'weather' AND id BETWEEN 1 AND 6;
SELECT plan('SELECT id FROM barrier WHERE stable_peek(txt)');
SELECT id FROM barrier WHERE stable_peek(txt);
CREATE ROLE fsi_batch_reader;
GRANT USAGE ON SCHEMA batch TO fsi_batch_reader;
GRANT SELECT ON msg TO fsi_batch_reader;
ALTER TABLE msg ENABLE ROW LEVEL SECURITY;
CREATE POLICY kinds ON msg TO fsi_batch_reader USING (kind = 2);
SET ROLE fsi_batch_reader;
SELECT plan(format('SELECT id FROM msg WHERE fsi_classify(txt, %s) = ''refund'' AND stable_peek(txt)', :'q'));
SELECT count(*), min(kind), max(kind) FROM msg WHERE fsi_classify(txt, ARRAY['refund', 'weather']) = 'refund';
RESET ROLE;
ALTER TABLE msg DISABLE ROW LEVEL SECURITY;
DROP POLICY kinds ON msg;

-- the right to execute is looked at
REVOKE EXECUTE ON FUNCTION fsi_classify(text, text[]) FROM PUBLIC;
SET ROLE fsi_batch_reader;
SELECT fsi_classify(txt, ARRAY['refund', 'weather']) FROM msg LIMIT 1;
RESET ROLE;
-- ... where the plan is started: not by who fetches, also not for the rows beside one that fails
CREATE FUNCTION opened() RETURNS refcursor LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	c refcursor := 'c';
BEGIN
	OPEN c FOR SELECT id, fsi_classify(txt, CASE id WHEN 9 THEN '{}' ELSE ARRAY['weather', 'rain'] END) IS NOT NULL FROM msg WHERE txt IS NOT NULL ORDER BY id;
	RETURN c;
END $$;
BEGIN;
SET LOCAL ROLE fsi_batch_reader;
SELECT opened();
FETCH 6 FROM c;
FETCH 2 FROM c;
ROLLBACK;
GRANT EXECUTE ON FUNCTION fsi_classify(text, text[]) TO PUBLIC;
DROP OWNED BY fsi_batch_reader;
DROP ROLE fsi_batch_reader;

-- writing
SET fsi_intent.debug_require_batch = on;
SELECT plan(format('UPDATE msg SET answer = fsi_classify(txt, %s)', :'q'));
UPDATE msg SET answer = fsi_classify(txt, :q);
SELECT plan(format('INSERT INTO msg (id, answer) SELECT id + 1000, fsi_classify(txt, %s) FROM msg', :'q'));
SELECT plan(format('CREATE TABLE answers AS SELECT id, fsi_classify(txt, %s) AS answer FROM msg', :'q'));
CREATE TABLE answers AS SELECT id, fsi_classify(txt, :q) AS answer FROM msg;
CREATE TABLE numbered (no serial, answer text);
SELECT plan(format('INSERT INTO numbered (answer) SELECT fsi_classify(txt, %s) FROM msg', :'q'), 'COSTS OFF, VERBOSE');
INSERT INTO numbered (answer) SELECT fsi_classify(txt, :q) FROM msg ORDER BY id;
SET fsi_intent.debug_require_batch = off;
SET fsi_intent.enable_batch = off;
SELECT count(*) FROM msg m LEFT JOIN answers a USING (id) LEFT JOIN numbered n ON n.no = m.id
WHERE m.answer IS DISTINCT FROM fsi_classify(m.txt, :q) OR a.answer IS DISTINCT FROM m.answer OR n.answer IS DISTINCT FROM m.answer;
SET fsi_intent.enable_batch = on;
-- RETURNING stays as it is: who asks for some of the rows changes only those
SELECT plan(format('DELETE FROM answers RETURNING fsi_classify(answer, %s)', :'q'));

-- partitions
CREATE TABLE parted (id int, txt text, answer text) PARTITION BY LIST (id);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES IN (0);
CREATE TABLE parted_1 (answer text, txt text, id int);
ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES IN (1);
INSERT INTO parted SELECT id % 2, txt FROM msg;
SELECT plan_and_differ(format('SELECT id, txt, fsi_classify(txt, %s) FROM parted', :'q'));
SELECT plan(format('UPDATE parted SET answer = fsi_classify(txt, %s)', :'q'));
UPDATE parted SET answer = fsi_classify(txt, :q);
SELECT count(*) FROM parted p JOIN msg m USING (txt) WHERE p.answer <> m.answer;

-- prepared statements with generic plans
SET plan_cache_mode = force_generic_plan;
PREPARE ask(text[], int) AS SELECT id, fsi_classify(txt, $1) FROM msg WHERE kind = 1 ORDER BY id LIMIT $2;
EXPLAIN (COSTS OFF) EXECUTE ask(:q, 3);
EXECUTE ask(:q, 3);
EXECUTE ask('{a,b}', 2);
EXECUTE ask('{}', 2);
EXECUTE ask(NULL, 2);
RESET plan_cache_mode;

-- an error comes at its row: not before it, and not where nobody asks for that row
CREATE TABLE bad AS SELECT g AS id, 'message ' || g AS txt, CASE WHEN g = 50 THEN ARRAY['a', NULL] ELSE ARRAY['a', 'b'] END AS own
FROM generate_series(1, 100) g;
BEGIN;
DECLARE c CURSOR FOR SELECT id, fsi_classify(txt, own) IS NOT NULL AS answered FROM bad;
FETCH 1 FROM c;
MOVE 47 IN c;
FETCH 1 FROM c;
FETCH 1 FROM c;
ROLLBACK;
SELECT id, fsi_classify(txt, own) IS NOT NULL AS answered FROM bad ORDER BY id LIMIT 1 OFFSET 48;
SELECT id, fsi_classify(txt, own) IS NOT NULL AS answered FROM bad ORDER BY id LIMIT 2 OFFSET 48;
-- in two nodes, one above the other
BEGIN;
DECLARE c CURSOR FOR SELECT id, fsi_classify(txt, :q) IS NOT NULL AS answered FROM bad WHERE fsi_classify(txt, own) <> 'z';
MOVE 48 IN c;
FETCH 1 FROM c;
FETCH 1 FROM c;
ROLLBACK;
-- also where the lower one lets the row before it go, which ended its batch
CREATE TABLE late AS SELECT g AS id, 'message ' || g AS txt, CASE g WHEN 5 THEN ARRAY['drop'] WHEN 6 THEN ARRAY['a', NULL] ELSE ARRAY['keep'] END AS own
FROM generate_series(1, 100) g;
BEGIN;
DECLARE c CURSOR FOR SELECT id, fsi_classify(txt, :q) IS NOT NULL AS answered FROM late WHERE fsi_classify(txt, own) = 'keep';
MOVE 3 IN c;
FETCH 1 FROM c;
FETCH 1 FROM c;
ROLLBACK;
UPDATE late SET own = '{keep}' WHERE id = 6;
SELECT count(fsi_classify(txt, :q)) FROM late WHERE fsi_classify(txt, own) = 'keep';
-- an argument that reads a value of a type that is not built in is computed below: what its reading leaves behind is not the node's to mend
CREATE TYPE boxed AS (m text);
CREATE TABLE boxes AS SELECT g AS id, CASE g WHEN 3 THEN 'none' ELSE '(message)' END AS s FROM generate_series(1, 9) g;
SELECT plan('SELECT id, fsi_classify((s::boxed).m, ARRAY[''a'', ''b'']) FROM boxes', 'VERBOSE, COSTS OFF');

-- cursors
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id, answer = fsi_classify(txt, :q) AS same FROM msg WHERE kind = 1 ORDER BY id;
FETCH 3 FROM c;
FETCH BACKWARD 2 FROM c;
FETCH LAST FROM c;
ROLLBACK;
SELECT plan(format('DECLARE c SCROLL CURSOR FOR SELECT id, fsi_classify(txt, %s) FROM msg', :'q'));
-- the row that a cursor is at, though others are read ahead: the rows that it gave, and those of them that were not updated
CREATE TABLE walked (id int PRIMARY KEY, txt text, seen int DEFAULT 0) PARTITION BY RANGE (id);
CREATE TABLE walked_first PARTITION OF walked FOR VALUES FROM (0) TO (61);
CREATE TABLE walked_last PARTITION OF walked FOR VALUES FROM (61) TO (200);
INSERT INTO walked SELECT id, txt FROM msg;
ANALYZE walked;
CREATE FUNCTION walk(query text, walked text, OUT given int, OUT missed int) LANGUAGE plpgsql AS $$
DECLARE
	c refcursor := 'c';
	at int;
	updated int;
BEGIN
	SET LOCAL fsi_intent.debug_require_batch = on;
	OPEN c FOR EXECUTE query;
	given = 0;
	missed = 0;
	LOOP
		FETCH c INTO at;
		EXIT WHEN at IS NULL;
		given = given + 1;
		EXECUTE format('UPDATE %I SET seen = seen + 1 WHERE CURRENT OF c RETURNING id', walked) INTO updated;
		missed = missed + (at IS DISTINCT FROM updated)::int;
	END LOOP;
	CLOSE c;
END $$;
SELECT * FROM walk(format('SELECT id, fsi_classify(txt, %s) FROM walked', :'q'), 'walked');
SELECT * FROM walk(format('SELECT id, fsi_classify(id || txt, %s) FROM walked WHERE fsi_classify(txt, %1$s) = ''weather'' LIMIT 30', :'q'), 'walked');
SELECT * FROM walk(format('SELECT id, fsi_classify(txt, %s) FROM (SELECT * FROM walked_first OFFSET 3) s', :'q'), 'walked_first');
SET enable_seqscan = off;
SELECT * FROM walk(format('SELECT id, fsi_classify(txt, %s) FROM walked_first WHERE id > 5 ORDER BY id DESC', :'q'), 'walked_first');
VACUUM FULL walked;
VACUUM walked;
SELECT * FROM walk(format('SELECT id, fsi_classify(id::text, %s) FROM walked_first WHERE id > 5 ORDER BY id', :'q'), 'walked_first');
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SELECT * FROM walk(format('SELECT id, fsi_classify(txt, %s) FROM walked_first WHERE id BETWEEN 5 AND 30', :'q'), 'walked_first');
RESET enable_seqscan;
RESET enable_indexscan;
RESET enable_indexonlyscan;
SELECT sum(seen), max(seen) FROM walked;
-- not by a join, as without the node
SELECT * FROM walk(format('SELECT id, fsi_classify(m.txt, %s) FROM walked_first JOIN msg m USING (id)', :'q'), 'walked_first');

-- nothing volatile is evaluated ahead
CREATE SEQUENCE counter;
SELECT plan(format('SELECT fsi_classify(txt, %s) FROM msg WHERE nextval(''counter'') > 0', :'q'));
SELECT plan(format('SELECT nextval(''counter''), fsi_classify(txt, %s) FROM msg', :'q'), 'COSTS OFF, VERBOSE');
SELECT count(*) FROM plan(format('SELECT id, fsi_classify(coalesce(txt, (SELECT nextval(''counter'')::text)), %s) FROM msg ORDER BY id + 1', :'q')) line WHERE line ~ 'FsiBatch';
SELECT count(*) FROM plan(format('SELECT id, fsi_classify(txt, %s) FROM msg WHERE coalesce(txt, (SELECT (SELECT nextval(''counter''))::text)) <> ''1'' ORDER BY id + 1', :'q')) line WHERE line ~ 'FsiBatch';
-- ... but what the first row needs anyway
SELECT count(*) FROM plan('SELECT id, fsi_classify(txt, ARRAY[''a'', (SELECT nextval(''counter''))::text]) FROM msg ORDER BY id + 1') line WHERE line ~ 'FsiBatch';
-- ... nor less often: PostgreSQL computes columns beside a set once more at its end
SELECT nextval('counter'), unnest(ARRAY['a', 'b']) AS set, fsi_classify(txt, :q) IS NOT NULL AS answered FROM msg WHERE id < 3;
SELECT plan(format('SELECT id, unnest(own), fsi_classify(txt, %s) FROM msg', :'q'));
-- what a set or a window function is made of is answered ahead where a subquery computes it
SELECT plan(format('SELECT id, unnest(fsi_classify_multi(txt, %s)) FROM msg', :'q'));
SELECT plan_and_differ(format('SELECT id, unnest(i) AS i FROM (SELECT id, fsi_classify_multi(txt, %s) AS i FROM msg OFFSET 0) s', :'q'));
SELECT plan_and_differ(format('SELECT id, lag(i) OVER (ORDER BY id) AS i FROM (SELECT id, fsi_classify(txt, %s) AS i FROM msg OFFSET 0) s', :'q'));
SELECT plan(format('SELECT fsi_classify(txt, %s) FROM msg WHERE random() < 0.5', :'q'));
SELECT plan(format('SELECT fsi_classify(txt, %s) FROM (SELECT * FROM msg FOR UPDATE) s', :'q'));
SELECT plan(format('SELECT fsi_classify(txt, %s) FROM msg FOR UPDATE', :'q'));
-- ... no row is locked ahead where a LIMIT ends the search; all are locked anyway where nothing does
BEGIN;
WITH l AS (SELECT * FROM msg WHERE txt IS NOT NULL ORDER BY id FOR UPDATE)
INSERT INTO numbered (answer) SELECT id FROM l WHERE fsi_classify(txt, :q) = 'weather' AND id > 2 LIMIT 1;
SELECT count(*), max(id) = (SELECT max(answer::int) FROM numbered WHERE answer ~ '^\d+$') AS to_the_one_found FROM msg WHERE xmax::text = pg_current_xact_id()::text;
ROLLBACK;
SELECT plan(format('WITH l AS (SELECT * FROM msg ORDER BY id LIMIT 20 FOR UPDATE) UPDATE msg SET answer = fsi_classify(l.txt, %s) FROM l WHERE l.id = msg.id', :'q'));
-- ... a single random() draws the same for the same rows, but where a scan starts again before its end: those read ahead have drawn, too
CREATE FUNCTION draw(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM setseed(0.5);
	RETURN QUERY EXECUTE query;
END $$;
\set draws 'SELECT draw(\'SELECT m::text FROM (SELECT a.id, EXISTS (SELECT FROM msg b WHERE random() < 0.3 AND b.id >= a.id AND fsi_classify(b.txt, b.own) IS NOT NULL) FROM msg a) m\')'
CREATE TABLE drawn AS :draws AS row;
SET fsi_intent.enable_batch = off;
CREATE TABLE drawn_alone AS :draws AS row;
RESET fsi_intent.enable_batch;
SELECT count(*) FROM (TABLE drawn EXCEPT TABLE drawn_alone) d;
SELECT plan(format('SELECT * FROM generate_series(1, 2) g, LATERAL (SELECT fsi_classify(txt, %s) FROM msg WHERE random() < 0.5 ORDER BY id LIMIT g) s', :'q'));
SELECT plan(format('WITH s AS MATERIALIZED (SELECT fsi_classify(txt, %s) FROM msg WHERE random() < 0.5) SELECT FROM s', :'q'));
SET fsi_intent.debug_require_batch = on;
SELECT fsi_classify(txt, :q) FROM msg WHERE nextval('counter') > 0;
SELECT fsi_classify('weather', :q);
SELECT (SELECT fsi_classify(txt, :q)) FROM msg;
-- what a row without a table asks is asked once, also where an InitPlan fills it in
SELECT fsi_classify((SELECT max(txt) FROM msg), :q) LIMIT 1;
INSERT INTO numbered (answer) SELECT fsi_classify((SELECT max(txt) FROM msg), :q);
SELECT fsi_classify((SELECT max(txt) FROM msg), :q) UNION ALL SELECT 'b';
SELECT (SELECT fsi_classify((SELECT max(t.txt) FROM msg t WHERE t.id <= m.id), :q)) FROM msg m;
RESET fsi_intent.debug_require_batch;

-- read ahead by ones, in small steps, with no memory to speak of
SET fsi_intent.batch_rows = 1;
SELECT differ(format('SELECT id, fsi_classify(txt, %s) FROM msg', :'q'));
SET fsi_intent.batch_rows = 7;
SELECT differ(format('SELECT id, fsi_classify(txt, own) FROM msg', :'q'));
RESET fsi_intent.batch_rows;
SET work_mem = 64;
SELECT differ(format('SELECT id, repeat(txt, 100), fsi_classify(repeat(txt, 100), %s) FROM msg WHERE id < 60', :'other'));
RESET work_mem;

-- as many rows as a LIMIT passes, at once; part by part, no more than it can pass; anew in each scan
CREATE FUNCTION counts(query text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT trim(line) FROM plan(query, 'ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF') line WHERE line ~ 'Messages|Batches'
$$;
SELECT counts(format('SELECT fsi_classify(id || txt, %s) FROM msg WHERE txt IS NOT NULL LIMIT 20 OFFSET 10', :'q'));
SELECT counts(format('SELECT * FROM (SELECT fsi_classify(id || txt, %s) FROM msg WHERE id > 40 AND txt IS NOT NULL UNION ALL SELECT txt FROM msg) s LIMIT 8', :'q'));
SELECT counts(format('SELECT * FROM generate_series(1, 2) g, LATERAL (SELECT fsi_classify(g || txt, %s) FROM msg WHERE txt IS NOT NULL LIMIT 10) s', :'q'));
-- a sort below keeps no more rows than it passes, in each scan
SELECT DISTINCT substring(line FROM 'Sort Method: [a-zA-Z -]*') FROM plan(format('SELECT id, fsi_classify(txt, %s) FROM msg ORDER BY txt, id LIMIT 5', :'q'),
	'ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF') line WHERE line ~ 'Sort Method';
SELECT differ(format('SELECT g, i FROM generate_series(1, 9, 4) g, LATERAL (SELECT fsi_classify(g || txt, %s) AS i FROM msg ORDER BY txt, id LIMIT g) s', :'q'));
-- but for a filter above that lets go of some
SELECT differ(format($$SELECT id FROM msg WHERE fsi_classify('about ' || fsi_classify(txt, %s), %s) = 'complaint' ORDER BY id LIMIT 10$$, :'q', :'other'));
SELECT counts(format($$SELECT id FROM msg WHERE fsi_classify('about ' || fsi_classify(id || ' ' || txt, %s), %s) = 'nothing' LIMIT 10$$, :'q', :'other'));

-- one warning for a statement
SELECT count(fsi_classify(repeat('hello ', 2000) || id, :q)) FROM msg WHERE id <= 8;

SET client_min_messages = warning;
DROP SCHEMA batch CASCADE;

-- What fsi_classify_multi is worth on table item(set, split, text, intent), at several thresholds.
-- Variable model: the name of an imported model; without it the default one answers.
\if :{?model}
SELECT jsonb_build_object('model', :'model') AS extra \gset
\else
SELECT '{}'::jsonb AS extra \gset
\endif
\set ways 10
\set rows 150
\pset footer off

-- the same rows every time: in the order of a hash
CREATE TABLE question AS
WITH ranked AS (
	SELECT set, text, intent, row_number() OVER (PARTITION BY set ORDER BY md5(text), intent) - 1 AS no
	FROM item WHERE split = 'test'), pair AS (
	SELECT a.set, a.no / 2 AS id, a.text AS text_a, a.intent AS intent_a, b.text AS text_b, b.intent AS intent_b
	FROM ranked a JOIN ranked b ON b.set = a.set AND b.no = a.no + 1
	WHERE a.no % 2 = 0 AND a.no < 2 * :rows AND a.intent <> b.intent)
SELECT set, id, CASE id % 3 WHEN 0 THEN text_a WHEN 1 THEN text_a || ' ' || text_b
		ELSE text_a || CASE WHEN text_a ~ '[一-龥]' THEN '，' ELSE ', ' END || text_b END AS text,
	CASE id % 3 WHEN 0 THEN ARRAY[intent_a] ELSE ARRAY[intent_a, intent_b] END AS gold
FROM pair;

CREATE TABLE label AS SELECT DISTINCT set, intent FROM item;
CREATE TABLE candidate AS
SELECT q.set, q.id, array_agg(c.intent) AS intents
FROM question q, LATERAL (
	SELECT i.intent FROM label i WHERE i.set = q.set
	ORDER BY i.intent = ANY (q.gold) DESC, md5(q.id || i.intent) LIMIT :ways) c
GROUP BY q.set, q.id;

CREATE TABLE example AS
SELECT set, intent, jsonb_agg(jsonb_build_object('text', text, 'intent', intent)) AS examples
FROM (SELECT set, intent, text, row_number() OVER (PARTITION BY set, intent ORDER BY md5(text)) AS no
	FROM item WHERE split = 'train') t
WHERE no <= 3 GROUP BY set, intent;

CREATE TABLE asked AS
SELECT q.*, c.intents, s.shot, :'extra'::jsonb || jsonb_build_object('examples', CASE s.shot WHEN 0 THEN '[]' ELSE (
		SELECT jsonb_agg(e.one) FROM (SELECT jsonb_array_elements(x.examples) AS one FROM example x
			WHERE x.set = q.set AND x.intent = ANY (c.intents)) e) END) AS options
FROM question q JOIN candidate c USING (set, id), (VALUES (0), (3)) s(shot);

-- at every threshold, and (min_score NULL) as it is
CREATE TABLE answer AS
SELECT a.set, a.shot, t AS min_score, a.gold, fsi_classify_multi(a.text, a.intents,
	a.options || CASE WHEN t IS NULL THEN '{}' ELSE jsonb_build_object('min_score', t) END) AS got
FROM asked a, unnest(ARRAY[NULL, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9]) t;

CREATE VIEW figures AS
SELECT set, shot, min_score, count(*) AS rows, round(100.0 * sum(hit) / nullif(sum(cardinality(got)), 0), 1) AS precision,
	round(100.0 * sum(hit) / sum(cardinality(gold)), 1) AS recall,
	round(200.0 * sum(hit) / (sum(cardinality(got)) + sum(cardinality(gold))), 1) AS f1,
	round(100.0 * avg((got @> gold AND got <@ gold)::int), 1) AS exact
FROM (SELECT *, (SELECT count(*) FROM unnest(got) g WHERE g = ANY (gold)) AS hit FROM answer) a
GROUP BY set, shot, min_score;

\echo Mean over the sets, %
SELECT shot, min_score, count(*) AS sets, round(avg(precision), 1) AS precision, round(avg(recall), 1) AS recall,
	round(avg(f1), 1) AS f1, round(avg(exact), 1) AS exact_set
FROM figures WHERE min_score IS NOT NULL GROUP BY shot, min_score ORDER BY shot, min_score;

\echo Micro precision, recall, F1 and share of exact sets of fsi_classify_multi by set, without min_score, %
SELECT set, shot, rows, precision, recall, f1, exact AS exact_set
FROM figures WHERE min_score IS NULL ORDER BY set, shot;

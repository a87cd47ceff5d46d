-- fsi_evaluate with the option "other" on table item(set, split, text, intent).
-- Variable model: the name of an imported model; without it the default one answers.
\if :{?model}
SELECT jsonb_build_object('model', :'model') AS extra \gset
\else
SELECT '{}'::jsonb AS extra \gset
\endif
\set rows 1000
\pset footer off

UPDATE item i SET intent = 'oos' FROM (
	SELECT set, intent, row_number() OVER (PARTITION BY set ORDER BY md5(intent)) AS no, count(*) OVER (PARTITION BY set) AS n
	FROM (SELECT DISTINCT set, intent FROM item WHERE set NOT IN (SELECT set FROM item WHERE intent = 'oos')) d) h
WHERE h.set = i.set AND h.intent = i.intent AND 3 * h.no <= h.n;

-- the same rows every time: in the order of a hash
CREATE TABLE question AS
SELECT set, text, intent, no % 2 AS half
FROM (SELECT *, row_number() OVER (PARTITION BY set ORDER BY md5(text), intent) AS no FROM item WHERE split = 'test') t
WHERE no <= :rows;

CREATE TABLE asked AS
SELECT s.set, k.shot, format('SELECT text, intent FROM question WHERE set = %L', s.set) AS source,
	(SELECT array_agg(DISTINCT intent) FROM item WHERE set = s.set AND intent <> 'oos') AS intents,
	:'extra'::jsonb || jsonb_build_object('other', 'oos', 'examples', (
		SELECT fsi_examples(text, intent)
		FROM (SELECT text, intent, row_number() OVER (PARTITION BY intent ORDER BY md5(text)) AS no
			FROM item WHERE set = s.set AND split = 'train' AND intent <> 'oos') t WHERE no <= k.shot)) AS options
FROM (SELECT DISTINCT set FROM item) s, (VALUES (0), (3)) k(shot);

\echo Accuracy over all rows, recall and precision of "other", AUROC of the best score, %
SELECT set, shot, cardinality(intents) AS intents, e.rows, e.out_of_scope AS out,
	round(100 * e.accuracy::numeric, 1) AS accuracy,
	round(100 * o.recall::numeric, 1) AS out_recall, round(100 * o.precision::numeric, 1) AS out_precision,
	round(100 * e.auroc::numeric, 1) AS auroc, round(100 * e.calibration_error::numeric, 1) AS calibration_error
FROM asked, LATERAL fsi_evaluate(source, intents, options) e,
	LATERAL fsi_evaluate_intents(source, intents, options) o
WHERE o.intent = 'oos' ORDER BY set, shot;

\echo The min_score of the best accuracy on one half of the rows, and what it makes of the other half, %
CREATE TABLE chosen AS
SELECT set, shot, source || ' AND half = 1' AS source, intents, options, (
	SELECT min_score FROM fsi_evaluate_thresholds(source || ' AND half = 0', intents, options)
	ORDER BY accuracy DESC, min_score LIMIT 1) AS min_score
FROM asked;
SELECT set, shot, min_score, e.rows, round(100 * d.accuracy::numeric, 1) AS accuracy_default,
	round(100 * e.accuracy::numeric, 1) AS accuracy,
	round(100 * o.recall::numeric, 1) AS out_recall, round(100 * o.precision::numeric, 1) AS out_precision
FROM chosen c, LATERAL (SELECT options || jsonb_build_object('min_score', c.min_score) AS moved) m,
	LATERAL fsi_evaluate(source, intents, options) d, LATERAL fsi_evaluate(source, intents, moved) e,
	LATERAL fsi_evaluate_intents(source, intents, moved) o
WHERE o.intent = 'oos' ORDER BY set, shot;

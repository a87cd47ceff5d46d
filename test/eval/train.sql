-- Tables labelled and asked from the lines of train.sh, and the answers of the default model on the latter.
-- Variables rows, tests: how many of each; other: the intent of those that are out of scope, or empty.
SET client_min_messages = warning;
CREATE TABLE labelled AS
SELECT e->>'text' AS text, e->>'intent' AS intent FROM train_line ORDER BY md5(e->>'text') LIMIT :rows;
CREATE TABLE asked AS
SELECT e->>'text' AS text, e->>'intent' AS intent FROM test_line
WHERE e->>'intent' IN (SELECT intent FROM labelled) AND e->>'text' NOT IN (SELECT text FROM labelled)
ORDER BY md5(e->>'text') LIMIT :tests;
CREATE TABLE call AS
SELECT array_agg(DISTINCT intent) AS intents,
       (SELECT jsonb_build_object('examples', jsonb_agg(jsonb_build_object('text', text, 'intent', intent)))
        FROM (SELECT *, row_number() OVER (PARTITION BY intent ORDER BY md5(text)) AS no FROM labelled) l
        WHERE no <= 3 AND intent <> :'other') AS shown,
       jsonb_strip_nulls(jsonb_build_object('other', nullif(:'other', ''))) AS other
FROM labelled WHERE intent <> :'other';

CREATE FUNCTION judge(extra jsonb, OUT accuracy numeric, OUT calibration_error numeric) LANGUAGE sql AS $$
    SELECT round(100 * e.accuracy::numeric, 1), round(e.calibration_error::numeric, 3)
    FROM call, fsi_evaluate('SELECT text, intent FROM asked', intents, other || extra) e
$$;
CREATE TABLE result (options jsonb, seconds numeric, steps int, best_step int, accuracy numeric, accuracy_shown numeric,
                     calibration_error numeric, calibration_error_shown numeric);
SELECT count(*) AS rows, (SELECT count(*) FROM asked) AS tests, count(DISTINCT intent) AS intents FROM labelled;
INSERT INTO result (accuracy, accuracy_shown, calibration_error, calibration_error_shown)
SELECT n.accuracy, s.accuracy, n.calibration_error, s.calibration_error FROM call, judge('{}') n, judge(shown) s;

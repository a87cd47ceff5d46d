-- Answers of fsi_classify on the episodes of table episode(file, id, e), and what they are worth.
-- Variable model: the name of an imported model; without it the default one answers.
\if :{?model}
SELECT jsonb_build_object('model', :'model') AS extra \gset
\else
SELECT '{}'::jsonb AS extra \gset
\endif
\pset footer off

CREATE TABLE answer AS
SELECT file, e->>'set' AS set, e->>'lang' AS lang, (e->>'way')::int AS way, (e->>'shot')::int AS shot,
       e->>'intent' AS gold,
       fsi_classify(e->>'text',
                    ARRAY(SELECT jsonb_array_elements_text(e->'intents')),
                    jsonb_build_object('examples', e->'examples') || :'extra'::jsonb) AS got
FROM episode;

\echo Accuracy by file, %
SELECT set, lang, way, shot, count(*) AS episodes, round(100.0 * avg((got = gold)::int), 1) AS accuracy
FROM answer GROUP BY file, set, lang, way, shot ORDER BY lang, set, way, shot;

\echo Mean over the 5-way files of a language, %
SELECT lang, shot, count(*) AS files, round(avg(accuracy), 1) AS accuracy
FROM (SELECT lang, shot, set, 100.0 * avg((got = gold)::int) AS accuracy
      FROM answer WHERE way = 5 GROUP BY lang, shot, set) f
GROUP BY lang, shot ORDER BY lang, shot;

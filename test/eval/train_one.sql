-- One training of train.sh, and what it is worth. Variable options: those of fsi_train.
SET client_min_messages = warning;
CALL fsi_train('tuned', 'labelled', jsonb_build_object('replace', true, 'other', nullif(:'other', '')) || :'options'::jsonb);
INSERT INTO result
SELECT :'options', round(extract(epoch FROM ended_at - started_at), 0), step, best_step,
       n.accuracy, s.accuracy, n.calibration_error, s.calibration_error
FROM fsi_training, call, judge('{"model": "tuned"}') n, judge(shown || '{"model": "tuned"}') s WHERE model = 'tuned';
SELECT * FROM result WHERE options = :'options';

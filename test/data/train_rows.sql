-- Forty rows of a prompt model's source, and a tiny model to train on them; variable tiny: its folder (tiny_gpt2.pl).
CREATE EXTENSION fsi_intent;
SELECT fsi_import_model('tiny', :'tiny');
CREATE TABLE rows AS SELECT 'message ' || g || ' intent:' AS prompt, CASE WHEN g % 3 = 0 THEN 'refund' ELSE 'track order' END AS response
	FROM generate_series(1, 40) g;

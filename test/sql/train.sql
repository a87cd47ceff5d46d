-- fsi_train: what it makes, its options, what it refuses. Its NOTICE has seconds in it.
SET client_min_messages = warning;
\getenv abs_srcdir PG_ABS_SRCDIR
\getenv abs_builddir PG_ABS_BUILDDIR
\setenv tiny :abs_builddir/tiny_train
\setenv make_tiny :abs_srcdir/test/data/tiny_gpt2.pl
\! rm -rf "$tiny" "$tiny"s "$tiny"b && perl "$make_tiny" "$tiny" 5 64 && perl "$make_tiny" "$tiny"s 6 64 segments && perl "$make_tiny" "$tiny"b 7 64 bytes
\set tiny :abs_builddir /tiny_train
SELECT fsi_import_model('tiny prompt', :'tiny') IS NOT NULL AND fsi_import_model('tiny segments', :'tiny' || 's') IS NOT NULL
	AND fsi_import_model('tiny bytes', :'tiny' || 'b') IS NOT NULL AS imported;

CREATE TABLE labelled (id int, text text, intent text, extra int);
INSERT INTO labelled SELECT g, (ARRAY['zork the blip', 'a blip for the zork', 'frob my wug please', 'the wug is frobbed', 'how is the sky'])[g % 5 + 1] || ' ' || g,
	(ARRAY['alpha', 'alpha', 'beta', 'beta', 'gamma'])[g % 5 + 1] FROM generate_series(1, 60) g;
CREATE FUNCTION pg_temp.digest(model text) RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(encode(float8send(score), 'hex'), ',' ORDER BY text COLLATE "C", s.intent COLLATE "C"))
	FROM labelled, fsi_scores(text, ARRAY['alpha', 'beta', 'gamma'], jsonb_build_object('model', model)) s
$$;
CREATE FUNCTION pg_temp.right_answers(model text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM labelled WHERE fsi_classify(text, ARRAY['alpha', 'beta', 'gamma'], jsonb_build_object('model', model)) = intent
$$;

-- the readout alone: a few steps, and names that say nothing come to mean something
CALL fsi_train('tr mine', 'labelled', '{"freeze": true, "max_steps": 60, "learning_rate": 0.003, "eval_split": 0.2}');
SELECT pg_temp.right_answers('tr mine') > pg_temp.right_answers('default') + 15 AS better;
SELECT name, layout, source, is_default, imported_by = current_user AS imported_by FROM fsi_models ORDER BY name COLLATE "C";
SELECT c->'card'->>'trained_from' AS base, c->'card'->>'trained_from_sha256' = (SELECT sha256 FROM fsi_models WHERE is_default) AS base_sha256,
	c->'card'->'steps' AS steps, (c->'card'->>'rows')::int BETWEEN 45 AND 51 AS rows, jsonb_typeof(c->'card'->'base') AS base_card
FROM (SELECT fsi_model_info('tr mine')->'card' AS c) i;
SELECT model, base, role = current_user AS role, state, step, max_steps, round(epoch), loss > 0 AS loss, eval_loss > 0 AS eval_loss,
	eval_accuracy BETWEEN 0 AND 1 AS eval_accuracy, learning_rate >= 0 AS lr, best_step > 0 AS best, pid, eta, ended_at >= started_at AS ended,
	message LIKE 'trained model "tr mine": 60 steps%' AS message FROM fsi_training;
-- nothing is left: no folder, no lock
SELECT count(*) AS folders FROM pg_ls_dir(current_setting('data_directory') || '/fsi_intent') f WHERE f LIKE 'pgsql_tmp%';
SELECT count(*) AS locks FROM pg_locks WHERE locktype = 'object' AND pid = pg_backend_pid();

-- the same rows in another order, other columns, another number of threads: the same weights
CALL fsi_train('tr one', 'labelled', '{"model": "tiny segments", "max_steps": 20, "learning_rate": 0.001, "eval_split": 0.2}');
CALL fsi_train('tr twin', 'SELECT intent, ''x'' AS other, text FROM labelled ORDER BY md5(text)',
	'{"model": "tiny segments", "max_steps": 20, "learning_rate": 0.001, "eval_split": 0.2, "threads": 2}');
SELECT pg_temp.digest('tr twin') = pg_temp.digest('tr one') AS same_weights, pg_temp.digest('tr twin') <> pg_temp.digest('tiny segments') AS trained;
CALL fsi_train('tr other', 'labelled', '{"model": "tiny segments", "max_steps": 20, "learning_rate": 0.001, "eval_split": 0.2, "seed": 43}');
SELECT pg_temp.digest('tr other') <> pg_temp.digest('tr one') AS seed_counts;
-- the whole model, and a model that was trained as the base
CALL fsi_train('tr whole', 'SELECT * FROM labelled WHERE id <= 12', '{"model": "tr mine", "max_steps": 2, "per_device_train_batch_size": 1, "eval_steps": 0, "save_steps": 0, "load_best_model_at_end": false}');
SELECT pg_temp.digest('tr whole') <> pg_temp.digest('tr mine') AS trained;
-- what the result's readout weighs: bounds of the base's own scalars
CREATE FUNCTION pg_temp.weighed(model text, shown bool) RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(encode(float8send(score), 'hex'), ',' ORDER BY s.intent COLLATE "C"))
	FROM fsi_scores('a blip of the alphabet', ARRAY['alpha', 'beta', 'gamma'], jsonb_build_object('model', model, 'examples',
		CASE WHEN shown THEN '[{"text": "the blip zorks", "intent": "alpha"}, {"text": "alphabet soup", "intent": "beta"}]'::jsonb END)) s
$$;
CALL fsi_train('tr as base', 'labelled', '{"max_steps": 3, "eval_steps": 0, "spelling_weight": 2, "name_share": 0, "discriminant_share": 2}');
CALL fsi_train('tr usual', 'labelled', '{"max_steps": 3, "eval_steps": 0}');
CALL fsi_train('tr spelling', 'labelled', '{"max_steps": 3, "eval_steps": 0, "spelling_weight": 0, "name_share": 0, "discriminant_share": 2}');
CALL fsi_train('tr names', 'labelled', '{"max_steps": 3, "eval_steps": 0, "spelling_weight": 2, "name_share": 1, "discriminant_share": 2}');
CALL fsi_train('tr apart', 'labelled', '{"max_steps": 3, "eval_steps": 0, "spelling_weight": 2, "name_share": 0, "discriminant_share": 0}');
CALL fsi_train('tr spelt out', 'labelled', '{"max_steps": 3, "eval_steps": 0, "spelling_weight": 0.5, "name_share": 0.85, "discriminant_share": 0.3}');
SELECT m AS model, pg_temp.weighed(m, false) = pg_temp.weighed('tr as base', false) AS same_by_names, pg_temp.weighed(m, true) = pg_temp.weighed('tr as base', true) AS same_with_examples
FROM unnest(ARRAY['tr usual', 'tr spelling', 'tr names', 'tr apart']) WITH ORDINALITY AS u(m, no) ORDER BY no;
SELECT pg_temp.weighed('tr spelt out', true) = pg_temp.weighed('tr usual', true) AS usual;
-- held-out rows decide how large scores are; which is the largest stays
CALL fsi_train('tr likely', 'labelled', '{"max_steps": 20, "eval_split": 0.3}');
CALL fsi_train('tr as trained', 'labelled', '{"max_steps": 20, "eval_split": 0.3, "calibrate": false}');
SELECT count(*) FILTER (WHERE a.intent <> b.intent) AS other_intents, sum(b.score) > sum(a.score) AS surer
FROM labelled, LATERAL (SELECT * FROM fsi_scores(text, ARRAY['alpha', 'beta', 'gamma'], '{"model": "tr as trained"}') ORDER BY score DESC LIMIT 1) a,
	LATERAL (SELECT * FROM fsi_scores(text, ARRAY['alpha', 'beta', 'gamma'], '{"model": "tr likely"}') ORDER BY score DESC LIMIT 1) b;
-- intents of an episode: all, unless told otherwise; one bound alone moves the other
CREATE VIEW many AS SELECT 'wug ' || g || ' of ' || g % 20 AS text, 'kind ' || g % 20 AS intent FROM generate_series(1, 80) g;
CALL fsi_train('tr all', 'many', '{"model": "tiny segments", "max_steps": 2, "eval_steps": 0}');
CALL fsi_train('tr twenty', 'many', '{"model": "tiny segments", "max_steps": 2, "eval_steps": 0, "min_ways": 20, "max_ways": 20}');
CALL fsi_train('tr sixteen', 'many', '{"model": "tiny segments", "max_steps": 2, "eval_steps": 0, "max_ways": 16}');
SELECT pg_temp.digest('tr twenty') = pg_temp.digest('tr all') AS all_intents, pg_temp.digest('tr sixteen') = pg_temp.digest('tr all') AS sixteen;
DROP VIEW many;
CALL fsi_train('tr ways', 'labelled', '{"model": "tiny segments", "max_steps": 1, "eval_steps": 0, "max_ways": 2}');
CALL fsi_train('tr ways', 'labelled', '{"model": "tiny segments", "max_steps": 1, "eval_steps": 0, "min_ways": 500, "replace": true}');
-- held-out rows are judged as the result answers them: by meaning and spelling
CREATE VIEW spelled AS SELECT 'ist ' || reverse(word) || word || ' da' AS text, word AS intent, split
	FROM unnest(ARRAY['qorvex', 'qarvox', 'zilmet', 'zolmat', 'brunk', 'brank', 'trelp', 'tralp']) AS word, unnest(ARRAY['train', 'validation']) AS split;
CALL fsi_train('tr spelled', 'spelled', '{"max_steps": 1, "learning_rate": 1e-9, "load_best_model_at_end": false}');
\set VERBOSITY terse
CALL fsi_train('tr unspelled', 'spelled', '{"max_steps": 1, "learning_rate": 1e-9, "load_best_model_at_end": false, "spelling_weight": 0}');
\set VERBOSITY default
SELECT jsonb_build_object('max_steps', 1, 'learning_rate', 1e-9, 'load_best_model_at_end', false, 'spelling_weight', 100,
	'descriptions', jsonb_object_agg(left(md5(intent), 6), intent)) AS described FROM spelled \gset
CALL fsi_train('tr described spelled', 'SELECT text, left(md5(intent), 6) AS intent, split FROM spelled', :'described');
SELECT model, eval_accuracy > 0.9 AS by_spelling FROM fsi_training WHERE model LIKE 'tr %spelled' ORDER BY model;
-- (of the eight one may differ: the result is int8)
SELECT abs(eval_accuracy - (SELECT avg((fsi_classify(text, ARRAY(SELECT DISTINCT intent FROM spelled), '{"model": "tr spelled"}') = intent)::int)
	FROM spelled WHERE split = 'validation')) < 0.13 AS as_answered FROM fsi_training WHERE model = 'tr spelled';
-- and say how much spelling weighs in the result, where no weight is given: here it names the wrong intent
CREATE VIEW misled AS SELECT 'ist ' || reverse(word) || lead(word, 1, 'qorvex') OVER (PARTITION BY split ORDER BY n) || ' da' AS text, word AS intent, split
	FROM unnest(ARRAY['qorvex', 'qarvox', 'zilmet', 'zolmat', 'brunk', 'brank', 'trelp', 'tralp']) WITH ORDINALITY AS w (word, n), unnest(ARRAY['train', 'validation']) AS split;
CALL fsi_train('tr misled', 'misled', '{"max_steps": 1, "learning_rate": 1e-9, "load_best_model_at_end": false}');
CALL fsi_train('tr by meaning', 'misled', '{"max_steps": 1, "learning_rate": 1e-9, "load_best_model_at_end": false, "spelling_weight": 0}');
CALL fsi_train('tr by spelling', 'misled', '{"max_steps": 1, "learning_rate": 1e-9, "load_best_model_at_end": false, "spelling_weight": 0.5}');
SELECT pg_temp.digest('tr misled') = pg_temp.digest('tr by meaning') AS no_spelling, pg_temp.digest('tr by spelling') = pg_temp.digest('tr by meaning') AS as_without;
CALL fsi_train('tr spelled fully', 'spelled', '{"max_steps": 1, "learning_rate": 1e-9, "load_best_model_at_end": false, "spelling_weight": 0.5}');
SELECT pg_temp.digest('tr spelled') = pg_temp.digest('tr spelled fully') AS all_spelling;
SELECT a.eval_loss = b.eval_loss AS as_chosen, a.eval_loss < c.eval_loss AS better FROM fsi_training a, fsi_training b, fsi_training c
WHERE a.model = 'tr misled' AND b.model = 'tr by meaning' AND c.model = 'tr by spelling';
-- with "other" among the answers where the call has it, and no sooner: as fsi_evaluate finds the result
CREATE TABLE parcels (text text, intent text, split text);
INSERT INTO parcels VALUES ('where is my parcel', 'track order', 'train'), ('my money back please', 'refund', 'train'),
	('please stop it', 'cancel order', 'train'), ('it did not arrive', 'track order', 'validation'),
	('you charged me twice', 'refund', 'validation'), ('I do not want it any more', 'cancel order', 'validation'),
	('the courier never came', 'track order', 'validation'), ('still nothing on my card', 'refund', 'validation'),
	('I changed my mind', 'cancel order', 'validation'), ('what is the weather like', 'none', 'train'),
	('tell me a joke', 'none', 'validation'), ('who won the match', 'none', 'validation');
CREATE VIEW in_scope AS SELECT * FROM parcels WHERE intent <> 'none';
CALL fsi_train('tr asked', 'in_scope', '{"model": "small-1", "calibrate": false}');
CALL fsi_train('tr asked other', 'parcels', '{"model": "small-1", "calibrate": false, "other": "none"}');
CREATE FUNCTION pg_temp.as_evaluated(name text, source text, options jsonb) RETURNS TABLE (model text, accuracy bool, loss bool) LANGUAGE sql AS $$
	SELECT name, e.accuracy = t.eval_accuracy, abs(e.log_loss - t.eval_loss) < 5e-3
	FROM fsi_training t, fsi_evaluate(source, NULL, options || jsonb_build_object('model', name), 'validation') e WHERE t.model = name
$$;
SELECT * FROM pg_temp.as_evaluated('tr asked', 'in_scope', '{}') UNION ALL SELECT * FROM pg_temp.as_evaluated('tr asked other', 'parcels', '{"other": "none"}');
-- and with the scale of its scores
CALL fsi_train('tr scaled', 'in_scope', '{"model": "small-1"}');
CALL fsi_train('tr scaled other', 'parcels', '{"model": "small-1", "other": "none"}');
SELECT * FROM pg_temp.as_evaluated('tr scaled', 'in_scope', '{}') UNION ALL SELECT * FROM pg_temp.as_evaluated('tr scaled other', 'parcels', '{"other": "none"}');
SELECT a.eval_loss < b.eval_loss AS likelier, a.best_step > 0 AS trained FROM fsi_training a, fsi_training b WHERE a.model = 'tr scaled other' AND b.model = 'tr asked other';
-- texts that differ in nothing that the model reads, or in white space around them, are not parted: here nothing is left to hold out
CALL fsi_train('tr folded', 'SELECT * FROM (VALUES (''Where is it?'', ''track order''), (''WHERE IS IT?'', ''track order''), (''stop it'', ''cancel order''), ('' Stop it '', ''cancel order'')) v (text, intent)',
	'{"model": "small-1", "max_steps": 1, "eval_split": 0.5}');
SELECT eval_loss IS NULL AS none_held_out FROM fsi_training WHERE model = 'tr folded';
-- a split of the user's own; rows of the split "test" are left out
CREATE VIEW split AS SELECT text, intent, CASE WHEN id % 4 = 0 THEN 'validation' WHEN id % 4 = 1 THEN 'test' ELSE 'train' END AS split FROM labelled;
CALL fsi_train('tr split', 'split', '{"model": "tiny segments", "freeze": true, "max_steps": 20, "load_best_model_at_end": false}');
SELECT fsi_model_info('tr split')->'card'->'card'->'rows' AS train_rows, eval_accuracy * 15 = round(eval_accuracy * 15) AS of_15 FROM fsi_training WHERE model = 'tr split';
-- columns are text as a cast makes them: char(n) without the blanks at its end, in a domain too
CREATE DOMAIN padding AS char(20);
CREATE TABLE padded AS SELECT text::char(60), intent::padding, split::padding FROM split;
CALL fsi_train('tr padded', 'padded', '{"model": "tiny segments", "freeze": true, "max_steps": 20, "load_best_model_at_end": false}');
SELECT pg_temp.digest('tr padded') = pg_temp.digest('tr split') AS same_weights, pg_temp.digest('tr padded') <> pg_temp.digest('tiny segments') AS trained;
DROP TABLE padded;
DROP DOMAIN padding;
-- out of scope, descriptions
CALL fsi_train('tr scope', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 60, "learning_rate": 0.01, "other": "gamma", "descriptions": {"alpha": "zorks and blips"}}');
SELECT count(*) FILTER (WHERE fsi_classify(text, ARRAY['alpha', 'beta'], '{"model": "tr scope", "other": "none"}') = 'none') >= 8 AS mostly_none FROM labelled WHERE intent = 'gamma';
-- at first the base is what is judged, with the whole weight of its spelling
CALL fsi_train('tr first', 'labelled', '{"model": "small-1", "max_steps": 1, "eval_split": 0.5}');
CALL fsi_train('tr first unspelled', 'labelled', '{"model": "small-1", "max_steps": 1, "eval_split": 0.5, "spelling_weight": 0}');
SELECT count(DISTINCT substring(message FROM 'at first ([\d.]+)')) AS one_base FROM fsi_training WHERE model LIKE 'tr first%';
-- an error's message is cut between characters
CALL fsi_train('tr cut', $$SELECT repeat('退', 200)::int::text AS text, 'a' AS intent$$);
SELECT octet_length(message), right(message, 1) AS last FROM fsi_training WHERE model = 'tr cut';
-- training that does not help leaves the base model's weights
CALL fsi_train('tr same', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1}');
SELECT pg_temp.digest('tr same') = pg_temp.digest('tiny segments') AS same_weights;
-- the loss falls, as the base is too sure of itself, but so do the right answers: that is told, and what helps
CREATE VIEW doubtful AS SELECT text, (ARRAY['refund', 'cancel order', 'track order'])[1 + (no + shift) % 3] AS intent, split
FROM (VALUES ('I want my money back', 0), ('stop my order', 1), ('where is my parcel', 2)) t (text, no),
	(SELECT 'train' AS split, unnest(ARRAY[0, 1, 1, 2]) AS shift UNION ALL SELECT 'validation', unnest(ARRAY[0, 0, 0, 1, 1, 2, 2])) s;
\set VERBOSITY terse
CALL fsi_train('tr fewer', 'doubtful', '{"model": "small-1", "max_steps": 20, "learning_rate": 0.01, "eval_steps": 100}');
\set VERBOSITY default
CALL fsi_train('tr no fewer', 'doubtful', '{"model": "small-1", "max_steps": 20, "learning_rate": 0.01, "eval_steps": 100, "metric_for_best_model": "accuracy"}');
SELECT model, substring(message FROM 'accuracy .* \(at first [\d.]+\)') AS told FROM fsi_training WHERE model LIKE 'tr%fewer' ORDER BY model COLLATE "C";
-- texts that have several answers, be it in another spelling, are told; those of the split "test" are not looked at
SET client_min_messages = notice;
CREATE VIEW disputed AS SELECT 'wug ' || g AS text, CASE WHEN g < 4 THEN 'alpha' ELSE 'beta' END AS intent, 'train' AS split FROM generate_series(1, 8) g
	UNION ALL VALUES (' wug 2', 'beta', 'validation'), ('wug 3', ' alpha', 'train'), ('WUG 7', 'alpha', 'train'), ('wug 1', 'beta', 'test');
CALL fsi_train('tr disputed', 'disputed', '{"model": "small-1", "other": "the option ends it"}');
CALL fsi_train('tr disputed', $$SELECT * FROM disputed WHERE text <> ' wug 2'$$, '{"model": "small-1", "other": "the option ends it"}');
CALL fsi_train('tr disputed', $$SELECT * FROM disputed WHERE text = lower(trim(text))$$, '{"model": "small-1", "other": "the option ends it"}');
-- intents that a split leaves without rows to learn from; too little memory ends it
SET fsi_intent.train_memory = '1MB';
\set VERBOSITY terse
CALL fsi_train('tr untaught', $$SELECT text, intent, CASE WHEN btrim(intent) = 'alpha' THEN 'validation' WHEN text = 'wug 8' THEN 'test' ELSE 'train' END AS split
	FROM disputed WHERE text = lower(trim(text)) AND split = 'train' UNION ALL SELECT 'wug 9', 'zeta', 'test'$$, '{"model": "small-1"}');
CALL fsi_train('tr taught', $$SELECT text, intent, split FROM disputed WHERE text = lower(trim(text)) AND split = 'train'$$, '{"model": "small-1"}');
\set VERBOSITY default
RESET fsi_intent.train_memory;
SET client_min_messages = warning;
-- no rows are held out, and nothing is learned: that is told, too
CALL fsi_train('tr unmoved', 'doubtful', '{"model": "small-1", "eval_steps": 0, "learning_rate": 0}');
-- early stopping: three evaluations that are not better, here on held-out rows that say the contrary
CREATE VIEW contrary AS SELECT text, CASE WHEN id % 4 <> 0 THEN intent WHEN intent = 'alpha' THEN 'beta' ELSE 'alpha' END AS intent,
	CASE WHEN id % 4 = 0 THEN 'validation' END AS split FROM labelled;
CALL fsi_train('tr stops', 'contrary', '{"model": "tiny segments", "freeze": true, "max_steps": 100, "eval_split": 0, "eval_steps": 2, "early_stopping_patience": 3, "learning_rate": 0.01}');
SELECT step < max_steps AS early, step - best_step AS steps_since_best FROM fsi_training WHERE model = 'tr stops';
-- the best evaluation's state is the result, wherever the training ended
CALL fsi_train('tr best', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 40, "eval_steps": 1, "early_stopping_patience": 0, "learning_rate": 0.05, "lr_scheduler_type": "constant"}');
SELECT step, best_step BETWEEN 1 AND 39 AS before_the_end, best_step FROM fsi_training WHERE model = 'tr best' \gset
SELECT :step AS step, :'before_the_end'::bool AS before_the_end;
CALL fsi_train('tr until best', 'labelled', jsonb_build_object('model', 'tiny segments', 'freeze', true, 'max_steps', :best_step, 'learning_rate', 0.05,
	'lr_scheduler_type', 'constant', 'load_best_model_at_end', false));
SELECT pg_temp.digest('tr until best') = pg_temp.digest('tr best') AS same_weights;

-- a prompt model
CREATE VIEW prompts AS SELECT text || E'\nintent:' AS prompt, intent AS response FROM labelled;
CALL fsi_train('tuned', 'prompts', '{"model": "tiny prompt", "max_steps": 300, "learning_rate": 0.01, "loss": "response"}');
SELECT count(*) > 50 AS learnt FROM prompts WHERE replace(fsi_generate(prompt, 'tuned', 16), ' ', '') = response;
SELECT eval_accuracy > 0.8 AS right_ones, eval_accuracy + outside_options + wrong_option BETWEEN 0.999 AND 1.001 AS add_up FROM fsi_training WHERE model = 'tuned';
CALL fsi_train('tuned all', 'prompts', '{"model": "tiny prompt", "max_steps": 5, "loss": "all", "eval_answers": 0}');
CALL fsi_train('tuned weighted', 'SELECT *, ARRAY[''alpha'', ''beta''] AS intents FROM prompts', '{"model": "tiny prompt", "max_steps": 5, "loss": "weighted", "prompt_loss_weight": 0.5}');
SELECT model, eval_loss > 0 AS eval_loss, outside_options IS NULL AS no_answers FROM fsi_training WHERE model LIKE 'tuned _%' ORDER BY model COLLATE "C";
-- prompts that end in a word and prompts that end in white space have other tokens for one answer: each its own options
CREATE VIEW ends AS SELECT text || CASE WHEN id % 2 = 0 THEN E'\nintent:' ELSE E'\nintent:\n' END AS prompt,
	CASE WHEN (intent = 'alpha') = (id <= 40) THEN 'alpha' ELSE 'beta' END AS response, CASE WHEN id <= 40 THEN 'train' ELSE 'validation' END AS split FROM labelled;
CALL fsi_train('tuned ends', 'ends', '{"model": "tiny bytes", "max_steps": 300, "learning_rate": 0.01, "load_best_model_at_end": false, "early_stopping_patience": 0}');
SELECT outside_options, wrong_option > 0.8 AS wrong_option FROM fsi_training WHERE model = 'tuned ends';
-- the figures of a training that stopped early are those of its best step
CALL fsi_train('tuned early', 'ends', '{"model": "tiny prompt", "max_steps": 100, "learning_rate": 0.01, "lr_scheduler_type": "constant", "eval_steps": 2, "early_stopping_patience": 3}');
SELECT best_step > 0 AND best_step < step AND step < max_steps AS early, best_step, eval_loss AS best_loss, eval_accuracy AS best_accuracy FROM fsi_training WHERE model = 'tuned early' \gset
CALL fsi_train('tuned until', 'ends', jsonb_build_object('model', 'tiny prompt', 'max_steps', :best_step, 'learning_rate', 0.01, 'lr_scheduler_type', 'constant', 'load_best_model_at_end', false));
SELECT :'early'::bool AS early, eval_loss = :best_loss AS loss, eval_accuracy = :best_accuracy AS accuracy FROM fsi_training WHERE model = 'tuned until';
SELECT fsi_generate(prompt, 'tuned until', 16) IS NOT DISTINCT FROM fsi_generate(prompt, 'tuned early', 16) AS same_answers, count(*) FROM ends GROUP BY 1;
-- a held-out row longer than what a pass is to have, and than any row that is trained on
CALL fsi_train('tuned wide', $$SELECT prompt, response, 'train' AS split FROM prompts UNION ALL SELECT repeat('a b ', 20) || 'intent:', 'alpha', 'eval'$$,
	'{"model": "tiny prompt", "max_steps": 1, "pass_tokens": 16, "eval_answers": 0}');
-- rows longer than the model reads are never cut
CALL fsi_train('long', $$SELECT * FROM prompts UNION ALL SELECT repeat('a b ', 40) || 'intent:', 'alpha'$$, '{"model": "tiny prompt", "max_steps": 1}');
CALL fsi_train('long', $$SELECT * FROM prompts UNION ALL SELECT repeat('a b ', 40) || 'intent:', 'alpha'$$, '{"model": "tiny prompt", "max_steps": 1, "too_long": "skip"}');
CALL fsi_train('longer', $$SELECT repeat('a b ', 40) || i AS prompt, 'alpha' AS response FROM generate_series(1, 3) i$$, '{"model": "tiny prompt", "max_steps": 1, "too_long": "skip"}');
-- a prompt may be empty, though a model without a begin token cannot be asked with it; a row of nothing teaches nothing
CALL fsi_train('no prompt', $$SELECT CASE WHEN g > 1 THEN 'p' || g ELSE '' END AS prompt, 'r' || g % 3 AS response, CASE WHEN g > 3 THEN 'train' ELSE 'valid' END AS split
	FROM generate_series(1, 12) g$$, '{"model": "tiny bytes", "max_steps": 1, "load_best_model_at_end": false}');
-- an answer that goes on is not the label that it begins with, though what is seen of the rest be a space
CALL fsi_train('tr on and on', $$SELECT 'text ' || g || ' ->' AS prompt, 'go go go go' AS response FROM generate_series(1, 20) g$$,
	'{"model": "tiny bytes", "max_steps": 100, "learning_rate": 0.01, "eval_split": 0}');
SELECT DISTINCT fsi_generate('text ' || g || ' ->', 'tr on and on') AS writes, w.correct, w.outside, a.correct AS chosen
FROM generate_series(1, 20) g, LATERAL (SELECT format('SELECT %L AS text, ''go'' AS intent', 'text ' || g) AS source) s,
	fsi_evaluate_generation(source, ARRAY['go', 'no'], '{"model": "tr on and on", "template": "{text} ->"}') w,
	fsi_evaluate(source, ARRAY['go', 'no'], '{"model": "tr on and on", "template": "{text} ->"}') a;
CALL fsi_train('nothing', $$SELECT '' AS prompt, '' AS response, split FROM unnest(ARRAY['train', 'valid']) split$$, '{"model": "tiny bytes", "max_steps": 1}');
-- a segments model reads head and tail, as it classifies
CALL fsi_train('long text', $$SELECT text, intent FROM labelled UNION ALL SELECT repeat('a b ', 2000), 'alpha'$$, '{"model": "tiny segments", "freeze": true, "max_steps": 1}');

-- names
CALL fsi_train('tr mine', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1}');
CALL fsi_train('small-1', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1}');
CALL fsi_train('small-1', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1, "replace": true}');
CALL fsi_train('', 'labelled');
CALL fsi_train('default', 'labelled');
CALL fsi_train('a/b', 'labelled');
CALL fsi_train(NULL, 'labelled');
CALL fsi_train('x', NULL);
SELECT pg_temp.digest('tr mine') AS before \gset
CALL fsi_train('tr mine', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 30, "learning_rate": 0.003, "replace": true}');
SELECT pg_temp.digest('tr mine') <> :'before' AS replaced;
SELECT fsi_drop_model('tr mine');
CALL fsi_train('tr mine', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1}');
CALL fsi_train('tr mine', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1, "replace": true}');
SELECT (SELECT count(*) FROM _fsi_model_chunk c WHERE NOT EXISTS (SELECT FROM fsi_models m WHERE m.sha256 = c.sha256)) AS chunks_of_nobody;
-- what keeps answers under a name keeps its weights
CREATE TABLE kept (msg text, intent text GENERATED ALWAYS AS (fsi_classify(msg, ARRAY['alpha', 'beta'], '{"model": "tr mine"}')) STORED);
CALL fsi_train('tr mine', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1, "replace": true}');
DROP TABLE kept;
CREATE TABLE kept (msg text);
CREATE INDEX kept_msg ON kept (fsi_embed(msg, 'tr mine'));
CALL fsi_train('tr mine', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1, "replace": true}');
DROP INDEX kept_msg;
ALTER TABLE kept ADD CONSTRAINT checked CHECK (fsi_classify(msg, ARRAY['alpha', 'beta'], '{"model": "tr mine"}') <> 'beta');
CALL fsi_train('tr mine', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1, "replace": true}');
DROP TABLE kept;
CREATE TABLE kept (msg text) PARTITION BY LIST (fsi_classify(msg, ARRAY['alpha', 'beta'], '{"model": "tr mine"}'));
CALL fsi_train('tr mine', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1, "replace": true}');
CREATE TEMP TABLE pg_depend (LIKE pg_catalog.pg_depend);
CALL fsi_train('tr mine', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1, "replace": true}');
DROP TABLE pg_temp.pg_depend, kept;
CREATE FUNCTION hidden(msg text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN fsi_classify(msg, ARRAY['alpha', 'beta'], '{"model": "tr mine"}'); END$$;
CREATE TABLE kept (msg text, intent text GENERATED ALWAYS AS (hidden(msg)) STORED);
CALL fsi_train('tr mine', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1, "replace": true}');
DROP TABLE kept;
DROP FUNCTION hidden;
CALL fsi_train('tr mine', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1, "replace": true}');
-- unless it is to be made anew
CREATE TABLE kept (id int PRIMARY KEY, msg text, former text,
	intent text GENERATED ALWAYS AS (fsi_classify(msg, ARRAY['alpha', 'beta', 'gamma'], '{"model": "tr mine"}')) STORED);
INSERT INTO kept (id, msg) SELECT id, text FROM labelled;
UPDATE kept SET former = intent;
CREATE INDEX kept_intent ON kept (fsi_classify(msg, ARRAY['alpha', 'beta', 'gamma'], '{"model": "tr mine"}'));
CREATE MATERIALIZED VIEW kept_view AS SELECT id, fsi_classify(msg, ARRAY['alpha', 'beta', 'gamma'], '{"model": "tr mine"}') AS intent FROM kept;
ALTER TABLE kept ADD CONSTRAINT same CHECK (fsi_classify(msg, ARRAY['alpha', 'beta', 'gamma'], '{"model": "tr mine"}') = former);
CREATE TABLE one (intent text GENERATED ALWAYS AS (fsi_classify('a blip', ARRAY['alpha', 'beta'], '{"model": "tr mine"}')) STORED);
\set retrain '{"model": "tiny segments", "freeze": true, "max_steps": 40, "learning_rate": 0.003, "seed": 3, "replace": true, "rebuild": true}'
CALL fsi_train('tr mine', 'labelled', '{"model": "tiny segments", "rebuild": true}');
CALL fsi_train('tr mine', 'labelled', :'retrain');
DROP TABLE one;
CALL fsi_train('tr mine', 'labelled', :'retrain');
SELECT pg_temp.digest('tr mine') AS before \gset
SELECT count(*) AS others, count(*) FILTER (WHERE intent <> former) AS changed FROM kept;
ALTER TABLE kept DROP CONSTRAINT same;
CALL fsi_train('tr mine', 'labelled', :'retrain');
SELECT pg_temp.digest('tr mine') <> :'before' AS replaced;
SELECT count(*), count(*) FILTER (WHERE kept.intent <> former) > 0 AS changed, count(*) FILTER (WHERE kept.intent <> kept_view.intent) AS wrong
FROM kept JOIN kept_view USING (id);
SELECT kind, object, rows, stale FROM fsi_check('tr mine');
SET enable_seqscan = off;
SELECT count(*) = (SELECT count(*) FROM kept_view WHERE intent = 'beta') AS found FROM kept
WHERE fsi_classify(msg, ARRAY['alpha', 'beta', 'gamma'], '{"model": "tr mine"}') = 'beta';
RESET enable_seqscan;
DROP TABLE kept CASCADE;
-- whatever quotes the name has, and however the session writes literals
CALL fsi_train('tr "Bob''s"', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1}');
CREATE TABLE kept (msg text);
CREATE INDEX kept_msg ON kept (fsi_classify(msg, ARRAY['alpha', 'beta'], '{"model": "tr \"Bob''s\""}'));
CALL fsi_train('tr "Bob''s"', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1, "replace": true}');
SET standard_conforming_strings = off;
CALL fsi_train('tr "Bob''s"', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1, "replace": true}');
DROP INDEX kept_msg;
CREATE INDEX kept_msg ON kept (fsi_embed(msg, 'tr "Bob''s"'));
CALL fsi_train('tr "Bob''s"', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1, "replace": true}');
RESET standard_conforming_strings;
DROP TABLE kept;
SELECT fsi_drop_model('tr "Bob''s"');

-- options
CALL fsi_train('x', 'labelled', '[]');
CALL fsi_train('x', 'labelled', '{"no such": 1}');
CALL fsi_train('x', 'labelled', '{"learning_rate": "fast"}');
CALL fsi_train('x', 'labelled', '{"learning_rate": -1}');
CALL fsi_train('x', 'labelled', '{"min_ways": 5, "max_ways": 4}');
CALL fsi_train('x', 'labelled', '{"min_ways": 20000}');
CALL fsi_train('x', 'labelled', '{"max_ways": 1}');
CALL fsi_train('x', 'labelled', '{"max_steps": 1, "num_train_epochs": -3}');
CALL fsi_train('x', 'labelled', '{"name_share": 1.5}');
CALL fsi_train('x', 'labelled', '{"spelling_weight": -1}');
CALL fsi_train('x', 'labelled', '{"max_steps": 1.5}');
CALL fsi_train('x', 'labelled', '{"max_steps": 1e300}');
CALL fsi_train('x', 'labelled', '{"seed": -1}');
-- numbers are read exactly, and shown as they were given
CALL fsi_train('x', 'labelled', '{"seed": 9223372036854775808}');
CALL fsi_train('x', 'labelled', '{"seed": 9007199254740993.5}');
CALL fsi_train('x', 'labelled', '{"max_steps": 9007199254740993}');
CALL fsi_train('x', 'labelled', '{"queries": 2147483648}');
CALL fsi_train('x', 'labelled', '{"save_steps": 1000000000000.0001}');
CALL fsi_train('x', 'labelled', '{"logging_steps": 1000000000001}');
CALL fsi_train('x', 'labelled', '{"eval_split": 0.9000000001}');
CALL fsi_train('x', 'labelled', '{"eval_split": 1e400}');
CALL fsi_train('x', 'labelled', '{"learning_rate": 10.0000001}');
CALL fsi_train('x', 'labelled', '{"embd_pdrop": 0.99999999999}');
CALL fsi_train('exact', 'labelled', '{"model": "tiny segments", "max_steps": 1, "learning_rate": 5e-5, "seed": 9007199254740993}');
SELECT i->'seed' AS seed, i->'learning_rate' AS learning_rate FROM (SELECT fsi_model_info('exact')->'card'->'card' AS i) c;
SELECT fsi_drop_model('exact');
CALL fsi_train('x', 'labelled', '{"eval_split": 1}');
CALL fsi_train('x', 'labelled', '{"logging_steps": 0}');
CALL fsi_train('x', 'labelled', '{"lr_scheduler_type": "polynomial"}');
CALL fsi_train('x', 'labelled', '{"freeze": 1}');
CALL fsi_train('x', 'labelled', '{"model": "nothing"}');
CALL fsi_train('x', 'labelled', '{"model": 1}');
CALL fsi_train('x', 'labelled', '{"threads": 0}');
CALL fsi_train('x', 'labelled', '{"loss": "response"}');
CALL fsi_train('x', 'prompts', '{"model": "tiny prompt", "freeze": true}');
CALL fsi_train('x', 'labelled', '{"descriptions": []}');
CALL fsi_train('x', 'labelled', '{"descriptions": {"delta": "none of them"}}');
CALL fsi_train('x', 'labelled', '{"descriptions": {"alpha": 1}}');
CALL fsi_train('x', 'labelled', '{"descriptions": {"alpha": "a zork", " alpha ": "a blip"}}');
CALL fsi_train('x', 'labelled', '{"logging_dir": "relative"}');
CALL fsi_train('x', 'labelled', '{"logging_dir": "/no/such/directory", "model": "tiny segments", "freeze": true, "max_steps": 1}');
CALL fsi_train('x', 'labelled', '{"background": "yes"}');
CALL fsi_train('x', 'labelled', '{"learning_rate": null, "model": "tiny segments", "freeze": true, "max_steps": 1, "model": null}');

-- rows
CREATE TABLE bad (text text, intent text, split text);
CALL fsi_train('y', 'bad');
INSERT INTO bad VALUES ('one', 'alpha', NULL);
CALL fsi_train('y', 'bad');
INSERT INTO bad VALUES ('two', ' alpha ', NULL), ('two', 'alpha', NULL);
CALL fsi_train('y', 'bad');
CALL fsi_train('y', 'bad', '{"other": "alpha"}');
INSERT INTO bad VALUES ('three', '  ', NULL);
CALL fsi_train('y', 'bad');
UPDATE bad SET intent = NULL WHERE text = 'three';
CALL fsi_train('y', 'bad');
UPDATE bad SET intent = 'beta', text = NULL WHERE text = 'three';
CALL fsi_train('y', 'bad');
UPDATE bad SET text = '', split = 'holdout' WHERE text IS NULL;
CALL fsi_train('y', 'bad');
UPDATE bad SET split = 'test';
CALL fsi_train('y', 'bad');
CALL fsi_train('y', 'SELECT * FROM bad LIMIT 1');
UPDATE bad SET split = NULL;
CALL fsi_train('y', 'bad', '{"model": "tiny segments", "freeze": true, "max_steps": 1}');
SELECT state, eval_loss IS NOT NULL AS evaluated FROM fsi_training WHERE model = 'y';
CALL fsi_train('z', 'SELECT text FROM bad');
CALL fsi_train('z', 'prompts');
CALL fsi_train('z', 'labelled', '{"model": "tiny prompt"}');
CALL fsi_train('z', 'no_such_table');
CALL fsi_train('z', 'SELECT 1/0 AS text, 2 AS intent');
CALL fsi_train('z', $$VALUES ('a', 'b')$$);
CALL fsi_train('z', $$SELECT 'prompt' AS prompt, 'alpha' AS response, 'not an array' AS intents, 'valid' AS split UNION ALL SELECT 'p', 'r', '{}', 'train'$$,
	'{"model": "tiny prompt", "max_steps": 1}');
CALL fsi_train('z', $$SELECT prompt, response, intents FROM prompts, (VALUES ('{{alpha,beta},{gamma,delta}}'::text[])) v(intents)$$, '{"model": "tiny prompt", "max_steps": 1}');
CALL fsi_train('z', $$SELECT prompt, response, ARRAY['alpha', NULL] AS intents FROM prompts$$, '{"model": "tiny prompt", "max_steps": 1}');
CALL fsi_train('z', $$SELECT prompt, response, ARRAY['alpha', ' '] AS intents FROM prompts$$, '{"model": "tiny prompt", "max_steps": 1}');
CALL fsi_train('z', $$SELECT 'only one' AS prompt, 'alpha' AS response$$, '{"model": "tiny prompt", "max_steps": 1}');
-- intents that are one to the model
CALL fsi_train('z2', $$SELECT 'a' AS text, 'alpha' AS intent UNION ALL SELECT 'b', 'ALPHA'$$);
SET fsi_intent.train_memory = '100MB';
CALL fsi_train('z2', 'labelled', '{"freeze": false}');
CALL fsi_train('z2', 'SELECT ''wug '' || g AS text, ''kind '' || g % 3000 AS intent, ''train'' AS split FROM generate_series(1, 6000) g',
	'{"model": "tiny segments", "max_steps": 1, "per_device_train_batch_size": 1, "queries": 3000, "max_ways": 3000}');
RESET fsi_intent.train_memory;

-- where it may be called, and by whom
BEGIN;
CALL fsi_train('z2', 'labelled');
ROLLBACK;
DO $$ BEGIN CALL fsi_train('z2', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1}'); END $$;
DO $$ BEGIN CALL fsi_train('z3', 'labelled'); EXCEPTION WHEN division_by_zero THEN NULL; END $$;
SET default_transaction_read_only = on;
CALL fsi_train('z3', 'labelled');
RESET default_transaction_read_only;
CREATE ROLE regress_fsi_trainer;
CREATE ROLE regress_fsi_stranger;
SET ROLE regress_fsi_trainer;
CALL fsi_train('z3', 'labelled');
RESET ROLE;
GRANT EXECUTE ON PROCEDURE fsi_train(text, text, jsonb) TO regress_fsi_trainer;
SET ROLE regress_fsi_trainer;
CALL fsi_train('z3', 'labelled');
RESET ROLE;
GRANT SELECT ON labelled TO regress_fsi_trainer;
SET ROLE regress_fsi_trainer;
CALL fsi_train('z3', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1, "logging_dir": "/tmp"}');
CALL fsi_train('tr mine', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1, "replace": true}');
CALL fsi_train('z3', 'labelled', '{"model": "tiny segments", "freeze": true, "max_steps": 1}');
SELECT name, imported_by FROM fsi_models WHERE name = 'z3';
SELECT model, state FROM fsi_training ORDER BY model COLLATE "C";
SET ROLE regress_fsi_stranger;
SELECT count(*) FROM fsi_training;
RESET ROLE;
SELECT fsi_discard_training(repeat('x', 1000));
SELECT fsi_drop_model(name) FROM fsi_models WHERE source <> 'shipped';
REVOKE ALL ON labelled FROM regress_fsi_trainer;
DROP TABLE labelled, bad, parcels CASCADE;
DROP ROLE regress_fsi_stranger;
REVOKE ALL ON PROCEDURE fsi_train(text, text, jsonb) FROM regress_fsi_trainer;
DROP ROLE regress_fsi_trainer;

#!/usr/bin/env bash
# Train a tiny prompt model by SQL in a throw-away cluster; write it and TensorBoard's files into a new folder.
#
#   trained.sh OUT        OUT/model (a Hugging Face directory), OUT/logs (event files), OUT/answers (JSON lines);
#                         OUT/base, what another training began from, OUT/steps, its events, OUT/rows (JSON lines)
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
. "$(dirname "$0")/../setup/cluster.sh"
prepare
make_tmp
build all
make_private_tree
start_cluster
cp "$top/test/data/tiny_gpt2.pl" "$top/test/data/train_rows.sql" "$FSI_TMP"
as_server mkdir "$FSI_TMP/logs" "$FSI_TMP/steps"
as_server perl "$FSI_TMP/tiny_gpt2.pl" "$FSI_TMP/tiny" 4 64
as_server "$PGBIN/psql" -Xq -v ON_ERROR_STOP=1 <<SQL >"$out/answers"
SET client_min_messages = warning;
\o /dev/null
\set tiny '$FSI_TMP/tiny'
\i $FSI_TMP/train_rows.sql
CALL fsi_train('trained', 'rows', '{"model": "tiny", "max_steps": 200, "learning_rate": 0.005, "eval_steps": 20, "early_stopping_patience": 0,
	"logging_steps": 20, "logging_dir": "$FSI_TMP/logs"}');
SELECT fsi_export_model('trained', '$FSI_TMP/model');
SELECT fsi_export_model('tiny', '$FSI_TMP/base');
CALL fsi_train('stepped', 'rows', '{"model": "tiny", "max_steps": 20, "learning_rate": 0.003, "weight_decay": 0.1, "eval_split": 0,
	"per_device_train_batch_size": 10, "gradient_accumulation_steps": 4, "embd_pdrop": 0, "resid_pdrop": 0, "attn_pdrop": 0,
	"logging_steps": 1, "logging_dir": "$FSI_TMP/steps"}');
\o
\pset format unaligned
\pset tuples_only on
SELECT jsonb_build_object('ids', fsi_tokens(prompt, 'trained'), 'said', fsi_generate(prompt, 'trained', 16)) FROM rows ORDER BY prompt LIMIT 10;
\o $FSI_TMP/rows
SELECT jsonb_build_object('prompt', fsi_tokens(prompt, 'tiny'), 'response', response) FROM rows;
SQL
cp -r "$FSI_TMP/model" "$FSI_TMP/logs" "$FSI_TMP/base" "$FSI_TMP/steps" "$FSI_TMP/rows" "$out"

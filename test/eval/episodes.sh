#!/usr/bin/env bash
# Accuracy of the shipped model through SQL on evaluation episodes, in a throw-away cluster.
#
#   test/eval/episodes.sh DIR [MODEL]
#
# DIR holds NAME.WAYwSHOTs.jsonl files, one episode a line: {"set","lang","way","shot","intents":[…],
# "examples":[{"text","intent"}…],"text","intent"}. Every episode is one call of fsi_classify with its own intents
# and examples. MODEL: a packed file to import and use instead of the shipped model.
set -euo pipefail
. "$(dirname "$0")/../setup/cluster.sh"

dir=$(cd "${1:?usage: test/eval/episodes.sh DIR [MODEL]}" && pwd)
model=${2:+$(realpath "$2")}
make_tmp
build
make_private_tree
start_cluster

psql() { "$PGBIN/psql" -X -q -v ON_ERROR_STOP=1 "$@"; }
psql -c 'CREATE EXTENSION fsi_intent' \
    -c 'CREATE TABLE episode (file text, id serial, e jsonb)'
if [ -n "$model" ]; then
    cp "$model" "$FSI_TMP/candidate.fsi" && chmod 644 "$FSI_TMP/candidate.fsi"
    psql -c "SELECT fsi_import_model('candidate', '$FSI_TMP/candidate.fsi')" >/dev/null
fi
for file in "$dir"/*.jsonl; do
    # CSV with quote and delimiter that no JSON text holds: a line is one value, whatever stands in it
    psql -c '\set QUIET 1' -c "COPY episode (e) FROM STDIN (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')" <"$file"
    psql -c "UPDATE episode SET file = '$(basename "$file" .jsonl)' WHERE file IS NULL"
done
psql ${model:+-v model=candidate} -f "$top/test/eval/episodes.sql"

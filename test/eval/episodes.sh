#!/usr/bin/env bash
# Accuracy of the shipped model through SQL on evaluation episodes, in a throw-away cluster.
#
#   test/eval/episodes.sh DIR [MODEL]
#
# DIR holds NAME.WAYwSHOTs.jsonl files, one episode a line: {"set","lang","way","shot","intents":[…],
# "examples":[{"text","intent"}…],"text","intent"}. Every episode is one call of fsi_classify with its own intents
# and examples. MODEL: a packed file to import and use instead of the shipped model.
set -euo pipefail
. "$(dirname "$0")/sets.sh"

dir=$(cd "${1:?usage: test/eval/episodes.sh DIR [MODEL]}" && pwd)
model=${2:+$(realpath "$2")}
begin "$model"
psql -c 'CREATE TABLE episode (file text, id serial, e jsonb)'
for file in "$dir"/*.jsonl; do
    psql -c '\set QUIET 1' -c "COPY episode (e) FROM STDIN ($json_lines)" <"$file"
    psql -c "UPDATE episode SET file = '$(basename "$file" .jsonl)' WHERE file IS NULL"
done
psql ${model:+-v model=candidate} -f "$top/test/eval/episodes.sql"

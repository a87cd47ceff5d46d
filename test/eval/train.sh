#!/usr/bin/env bash
# What fsi_train makes of a table: accuracy in % and calibration error through SQL before and after, in a throw-away cluster.
#
#   test/eval/train.sh TRAIN.jsonl TEST.jsonl [OPTIONS]...
#
# Lines are {"text","intent"}. Each OPTIONS is a JSON object for fsi_train, each a training; without one there is a
# single training with the defaults. Candidates are all intents of TRAIN; "shown" calls give three rows of each as
# examples, too. FSI_ROWS: rows of TRAIN to use (400), drawn by a hash of their text; FSI_TESTS: rows of TEST (1,000).
# FSI_OTHER: the intent whose rows are out of scope: trained and asked as "other", no candidate.
set -euo pipefail
. "$(dirname "$0")/sets.sh"

train=$(realpath "${1:?usage: test/eval/train.sh TRAIN.jsonl TEST.jsonl [OPTIONS]...}")
test=$(realpath "${2:?usage: test/eval/train.sh TRAIN.jsonl TEST.jsonl [OPTIONS]...}")
shift 2
[ $# -gt 0 ] || set -- '{}'
begin
psql -c 'CREATE TABLE train_line (e jsonb)' -c 'CREATE TABLE test_line (e jsonb)'
for table in train test; do
    psql -c "COPY ${table}_line FROM STDIN ($json_lines)" <"${!table}"
done
psql -v rows="${FSI_ROWS:-400}" -v tests="${FSI_TESTS:-1000}" -v other="${FSI_OTHER:-}" -f "$top/test/eval/train.sql"
for options in "$@"; do
    psql -v options="$options" -v other="${FSI_OTHER:-}" -f "$top/test/eval/train_one.sql"
done
psql -c '\pset footer off' -c 'TABLE result'

#!/usr/bin/env bash
# Rows that none of the intents fits: AUROC of the best score, and accuracy as it is, in a throw-away cluster.
#
#   test/eval/out_of_scope.sh DIR [-m MODEL] [SET...]
#
# DIR holds SET.train.jsonl and SET.test.jsonl, one {"text", "intent"} a line; at most 1,000 rows of a set's test are asked.
# A set with rows of the intent "oos" has them out of scope; of any other a third of the intents are hidden, and their rows
# are. The others are the choice, with the option "other", without examples and with three of each. The first table is
# fsi_evaluate as it is, the second shows what a min_score chosen on one half of the rows does to the other. Without sets
# these are the recipe's validation sets. MODEL: a packed file to use instead of the shipped model.
set -euo pipefail
. "$(dirname "$0")/sets.sh"
measure_sets "$top/test/eval/out_of_scope.sql" "$@"

#!/usr/bin/env bash
# fsi_classify_multi on rows that hold one or two intents, in a throw-away cluster.
#
#   test/eval/multi.sh DIR [-m MODEL] [SET...]
#
# DIR holds SET.train.jsonl and SET.test.jsonl, one {"text", "intent"} a line. Two rows of three are two messages of one
# set joined by a space or a comma, with two intents; the third is one message. Each is asked about among ten intents of
# its set, without examples and with three of each. The first table has every threshold, the second fsi_classify_multi as
# it is. MODEL: a packed file to use instead of the shipped model.
#
# Without sets these are the recipe's validation sets. On them the default of min_score was chosen (DEFAULT_MIN_SCORE in
# src/exec/multi.c): the threshold with the best mean F1 in the first table, without examples and with together. New
# weights need it chosen anew.
set -euo pipefail
. "$(dirname "$0")/sets.sh"
measure_sets "$top/test/eval/multi.sql" "$@"

#!/usr/bin/env bash
# Rows a second through SQL, a fresh connection's first answer, and memory per connection, in a throw-away cluster.
#
#   test/bench/sql.sh [ROWS]
#
# One backend, no parallel workers. The shipped model answers ROWS messages (default 20,000: the demo's tickets, each made
# another text by a number); a model of random weights and the shape of the published checkpoint (12 x 768, 21,128
# tokens, BERT vocabulary) answers a few hundred of them behind a prompt with 20 intents.
set -euo pipefail
. "$(dirname "$0")/../setup/cluster.sh"
rows=${1:-20000}
some=$((rows < 300 ? rows : 300))
prepare
make_tmp
build all tools
make_private_tree
start_cluster

psql() { "$PGBIN/psql" -X -q -At -v ON_ERROR_STOP=1 "$@"; }

# A BERT vocabulary of the published size out of nothing but Unicode's order.
make_vocabulary() {
    perl -CO -e '
        my @v = ("[PAD]", (map {"[unused$_]"} 1 .. 99), "[UNK]", "[CLS]", "[SEP]", "[MASK]");
        push @v, map {chr} 33 .. 64, 91 .. 126;
        push @v, map {"##" . chr} 97 .. 122, 48 .. 57;
        for (my $c = 0x4e00; @v < 21128; $c++) { push @v, chr $c }
        print "$_\n" for @v;'
}

mkdir "$FSI_TMP/base"
make_vocabulary >"$FSI_TMP/base/vocab.txt"
echo '{"do_lower_case": true}' >"$FSI_TMP/base/tokenizer_config.json"
"$top/build/tools/fsi_pack" --random 12 12 768 21128 1024 1 "$FSI_TMP/base" "$FSI_TMP/base.fsi" >/dev/null
chmod 644 "$FSI_TMP/base.fsi"

psql -c 'CREATE EXTENSION fsi_intent' \
    -c 'CREATE TABLE tickets (id int, lang text, msg text, expected text)' \
    -c 'ALTER DATABASE postgres SET max_parallel_workers_per_gather = 0' \
    -c 'ALTER DATABASE postgres SET jit = off' \
    -c "SELECT 'identity ' || fsi_import_model('base', '$FSI_TMP/base.fsi')" >/dev/null
psql -c 'COPY tickets FROM STDIN (FORMAT csv, HEADER)' <"$top/test/demo/tickets.csv"
psql -f - -v rows="$rows" <<'SQL'
CREATE TABLE message AS
SELECT n AS id, msg || ' ' || n AS msg
FROM generate_series(1, :rows) n JOIN tickets ON tickets.id = 1 + n % (SELECT count(*) FROM tickets);
CREATE TABLE intents AS
SELECT ARRAY['refund', 'track order', 'cancel order', 'change address', 'invoice', 'log in', 'damaged item', 'discount code',
             'opening hours', 'wrong item', 'late delivery', 'payment failed', 'change password', 'delete account',
             'talk to a person', 'product question', 'warranty', 'gift card', 'newsletter', 'praise'] AS list;
VACUUM ANALYZE message;
SQL
psql -c "SELECT format('messages: %s, %s tokens on average', count(*), round(avg(cardinality(fsi_tokens(msg))), 1)) FROM message"

# seconds of a statement, as the server counts them
seconds() {
    psql -c '\timing on' -c "$1" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | awk '{ s += $1 } END { print s / 1000 }'
}
rate() { awk -v n="$1" -v s="$2" 'BEGIN { printf "%.0f rows/s\n", n / s }'; }

list="(SELECT list FROM intents)"
for run in 1 2 3; do
    printf 'shipped, fsi_classify        run %s: ' "$run"
    rate "$rows" "$(seconds "SELECT count(fsi_classify(msg, $list)) FROM message")"
done
printf 'shipped, fsi_classify_many          : '
rate "$rows" "$(seconds "SELECT sum(cardinality(fsi_classify_many(m, $list))) FROM (SELECT array_agg(msg) AS m FROM message GROUP BY id / 1000) c")"
for run in 1 2; do
    printf 'base shape, fsi_classify     run %s: ' "$run"
    rate "$some" "$(seconds "SELECT count(fsi_classify(msg, $list, '{\"model\":\"base\"}')) FROM (SELECT * FROM message LIMIT $some) m")"
done
printf 'base shape, fsi_classify_many       : '
rate "$some" "$(seconds "SELECT sum(cardinality(fsi_classify_many(m, $list, '{\"model\":\"base\"}'))) FROM (SELECT array_agg(msg) AS m FROM (SELECT * FROM message LIMIT $some) s) c")"

printf "a fresh connection's first answer, ms:"
for run in 1 2 3 4 5; do
    printf ' %s' "$(psql -c '\timing on' -c "SELECT fsi_classify('where is my parcel?', ARRAY['refund', 'track order'])" |
        sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p')"
done
printf '\n'

# 20 connections that have each answered, and 20 that have not
pss_of() {
    local statement=$1 pid i total=0 found=0
    for i in $(seq 20); do
        psql -c "$statement" -c "SELECT pg_backend_pid()" -c 'SELECT pg_sleep(12)' >"$FSI_TMP/pss.$i" &
    done
    sleep 8
    for pid in $(psql -c "SELECT pid FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(12)'"); do
        total=$((total + $(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup")))
        found=$((found + 1))
    done
    wait
    [ "$found" -eq 20 ] || { echo "only $found of 20 connections were there: the machine is too busy" >&2; exit 1; }
    awk -v t="$total" 'BEGIN { printf "%.2f MB\n", t / 20 / 1024 }'
}
printf 'Pss of each of 20 connections that have answered    : '
pss_of "SELECT fsi_classify('where is my parcel?', ARRAY['refund', 'track order'])"
printf 'Pss of each of 20 connections that have done nothing: '
pss_of 'SELECT 1'

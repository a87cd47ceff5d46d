#!/usr/bin/env bash
# Ratios against peers, latencies, memory and scaling curves, in a throw-away cluster.
#
#   BENCH="s w …"      pieces, each a file test/bench/PIECE.py that says what it measures (all of them)
#   PEERS="ort …"      peers to compare with: ort, torch, llama, none (all three)
#   BENCH_ROWS=20000   messages; BENCH_ROUNDS=5 rounds; fewer for a try
#
# Peers are installed into build/bench/peers on the first run (peers/install.sh), each side's turns alternate, and what
# was measured is also written to build/bench/results.json.
set -euo pipefail
. "$(dirname "$0")/../setup/cluster.sh"
cd "$top"

export PEERS=${PEERS:-ort torch llama} BENCH=${BENCH:-} BUILD=${BUILD:-build}
for peer in $PEERS; do
    case $peer in ort | torch | llama | none) ;; *) echo "PEERS: no peer \"$peer\" (ort torch llama none)" >&2; exit 1 ;; esac
done
PEERS=${PEERS//none/}
prepare bench
case $PEERS in *llama*) "$top/test/setup/packages.sh" bench-llama || true ;; esac
if [ -z "${FSI_SHARED:-}" ] && [ -d "$top/../shared" ]; then
    FSI_SHARED=$(cd "$top/../shared" && pwd)
    export FSI_SHARED
fi

make_tmp
build all tools benches
[ -z "${PEERS// /}" ] || attend as_owner "$top/test/bench/peers/install.sh" $PEERS
make_private_tree
start_cluster
export FSI_TMP FSI_PGBIN=$PGBIN
attend python3 -B "$top/test/bench/bench.py"

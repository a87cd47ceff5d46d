#!/usr/bin/env bash
# Install what is missing, build, and classify tickets in a throw-away cluster that is gone afterwards.
set -euo pipefail
. "$(dirname "$0")/../setup/cluster.sh"
began=$SECONDS
prepare
make_tmp
build all
make_private_tree
echo "Starting a private PostgreSQL ($("$PGBIN/postgres" --version))"
start_cluster
mkdir "$FSI_TMP/demo"
cp "$top"/test/demo/*.{sql,csv} "$FSI_TMP/demo"
chmod -R a+rX "$FSI_TMP/demo"
bold= plain=
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
attend as_server "$PGBIN/psql" -Xq -v bold="$bold" -v plain="$plain" -f demo/demo.sql
echo
echo "$((SECONDS - began)) seconds since \`make demo\`. The cluster is gone now; \`make psql\` gives you one to try."

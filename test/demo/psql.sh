#!/usr/bin/env bash
# psql in a throw-away cluster that has the extension. Arguments go to psql; the cluster goes when it ends.
set -euo pipefail
. "$(dirname "$0")/../setup/cluster.sh"
prepare
make_tmp
build all
make_private_tree
start_cluster
as_server "$PGBIN/psql" -Xqc 'CREATE EXTENSION fsi_intent'
# Not through attend: psql wants the terminal, and Ctrl-C is its own.
trap '' INT
as_server "$PGBIN/psql" "$@"

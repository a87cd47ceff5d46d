#!/usr/bin/env bash
# What the library shows other libraries of the same process: what the server calls by name, and nothing else. A
# variable that another extension has, too, would be one for both. Speaks TAP.
set -uo pipefail
cd "$(dirname "$0")/../.."
echo 1..2
names=$(nm -D --defined-only fsi_intent.so | awk '{print $3}')
# Functions that SQL calls have a record; background workers are named where they are registered.
strangers=$(comm -23 \
    <(grep -vE '^(Pg_magic_func|_PG_init|pg_finfo_.*|fsi_.*_worker_main)$' <<<"$names" | sort) \
    <(sed -n 's/^pg_finfo_//p' <<<"$names" | sort))
grep -qx _PG_init <<<"$names" && [ -z "$strangers" ] && echo "ok 1 - only the server's entry points are shown" ||
    { echo "not ok 1 - only the server's entry points are shown"; sed 's/^/# shown: /' <<<"$strangers" >&2; }
missing=$(comm -13 <(sort <<<"$names") \
    <(tr '\n' ' ' <sql/fsi_intent--1.0.sql | grep -oE "'MODULE_PATHNAME', *'[a-z_0-9]+'" | cut -d"'" -f4 | sort -u))
[ -z "$missing" ] && echo "ok 2 - every function of the install script is there" ||
    { echo "not ok 2 - every function of the install script is there"; sed 's/^/# missing: /' <<<"$missing" >&2; }

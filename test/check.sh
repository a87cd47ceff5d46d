#!/usr/bin/env bash
# Every test, in a private PostgreSQL that is gone afterwards.
#
#   test/check.sh [build] [unit] [sql] [tap] [isolation] [installcheck] [cross]    all but the last when none is named
#
# build: what the Makefile makes of a packager's options, and what the library shows to others.
# installcheck: some SQL tests once more, by `make installcheck` on the private server, so that it works when wanted.
# cross: the kernels' unit tests once more, compiled for aarch64 and run under qemu; where CI is set, it is one of all.
#
# UNIT_TESTS, REGRESS, PROVE_TESTS and ISOLATION pick single tests; FSI_SHARED names the folder with reference
# data that some tests compare with (default: ../shared beside the checkout; they are skipped where it is not).
# What pg_regress printed and compared is kept in build/check. The last line counts the tests.
set -euo pipefail
. "$(dirname "$0")/setup/cluster.sh"
cd "$top"

kinds=("$@")
[ ${#kinds[@]} -gt 0 ] || kinds=(build unit sql tap isolation installcheck ${CI:+cross})
wanted() { case " ${kinds[*]} " in *" $1 "*) return 0 ;; esac; return 1; }
base_names() { local f; for f in "$@"; do f=${f##*/}; echo "${f%.*}"; done; }
shopt -s nullglob

passed=0 failed=0 skipped=0 summary=()
tally() {
    passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
    summary+=("$(printf '%-12s %5d passed %4d failed %4d skipped' "$@")")
}

prepare test
! wanted cross || prepare cross
make_tmp
keep=$top/build/check
build all units tools
as_owner rm -rf "$keep"
as_owner mkdir -p "$keep"

FSI_SHARED=${FSI_SHARED:-$top/../shared}
if [ -d "$FSI_SHARED/reference" ]; then
    FSI_SHARED=$(cd "$FSI_SHARED" && pwd)
    # Tests that run in the server read it as the server's user.
    if (wanted sql || wanted tap) && ! as_server test -r "$FSI_SHARED/reference"; then
        mkdir -p "$FSI_TMP/shared/data"
        cp -r "$FSI_SHARED/reference" "$FSI_TMP/shared"
        [ ! -d "$FSI_SHARED/data/seed" ] || cp -r "$FSI_SHARED/data/seed" "$FSI_TMP/shared/data"
        chmod -R a+rX "$FSI_TMP/shared"
        FSI_SHARED=$FSI_TMP/shared
    fi
    export FSI_SHARED
else
    echo "No reference data at $FSI_SHARED: the tests that compare with it are skipped."
    unset FSI_SHARED
fi

run_tap() {
    local kind=$1 as=$2 counts
    shift 2
    echo "== $kind"
    : >"$FSI_TMP/counts.$kind"
    [ -z "$server_user" ] || chown "$server_user:" "$FSI_TMP/counts.$kind"
    attend "$as" perl "$FSI_TMP/src/test/setup/harness.pl" "$FSI_TMP/counts.$kind" "$@" || true
    read -r -a counts <"$FSI_TMP/counts.$kind" || counts=(0 1 0)
    tally "$kind" "${counts[@]}"
}

# pg_regress and pg_isolation_regress print one line a test, since PostgreSQL 16 as TAP does, and give up where an
# expected file is missing. Counts into ok and bad.
attend_regress() {
    local out=$1 status=0
    shift
    attend "$@" >"$out" 2>&1 || status=$?
    cat "$out"
    ok=$(grep -cE '^(test .* \.\.\. ok\b|ok [0-9])' "$out" || true)
    bad=$(grep -cE '^(test .* \.\.\. FAILED|not ok [0-9])' "$out" || true)
    [ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
}

run_regress() {
    local kind=$1 ok bad
    shift
    echo "== $kind"
    as_server mkdir -p "$FSI_TMP/out.$kind"
    attend_regress "$FSI_TMP/$kind.log" as_server "$@" --outputdir="$FSI_TMP/out.$kind" --bindir="$PGBIN"
    as_owner mkdir -p "$keep/$kind"
    (cd "$FSI_TMP" && tar cf - "$kind.log" "out.$kind") | (cd "$keep/$kind" && as_owner tar xf - --no-same-owner)
    if [ -s "$FSI_TMP/out.$kind/regression.diffs" ]; then
        head -n 300 "$FSI_TMP/out.$kind/regression.diffs"
        echo "(all of it: build/check/$kind/out.$kind; a result that is right goes from results/ there to expected/)"
    fi
    tally "$kind" "$ok" "$bad" 0
}

# As a user runs it, with the system's own psql, on a server as bare containers have it (of no encoding) that preloads the
# library and numbers queries, in a checkout whose path has a space; it lies where that server may read and write, too.
run_installcheck() {
    local copy="$FSI_TMP/a checkout" data=$FSI_TMP/bare ok bad
    echo "== installcheck"
    mkdir "$copy"
    cp -r Makefile fsi_intent.control src sql test expected "$copy"
    chown -R --reference="$top/Makefile" "$copy"
    as_server "$PGBIN/initdb" -D "$data" -U postgres -A trust -E SQL_ASCII --locale=C --no-sync --no-instructions >/dev/null
    as_server tee -a "$data/postgresql.conf" >/dev/null <<EOF
listen_addresses = ''
unix_socket_directories = '$FSI_TMP/s'
port = 5433
fsync = off
shared_preload_libraries = 'fsi_intent'
compute_query_id = on
EOF
    as_server "$PGBIN/pg_ctl" -s -w -D "$data" -l "$FSI_TMP/bare.log" start || cat "$FSI_TMP/bare.log"
    attend_regress "$FSI_TMP/installcheck.log" as_owner env -u PGCLIENTENCODING PGPORT=5433 make -s -C "$copy" installcheck \
        PG_CONFIG="$PG_CONFIG" REGRESS="arguments models options planner surface"
    [ ! -s "$copy/build/installcheck/regression.diffs" ] || head -n 300 "$copy/build/installcheck/regression.diffs"
    tally installcheck "$ok" "$bad" 0
}

# What the server's user reads: the tests and what they need, whoever may enter the checkout.
mkdir "$FSI_TMP/src"
cp -r test README.md "$FSI_TMP/src"
[ ! -d expected ] || cp -r expected "$FSI_TMP/src"
[ ! -d test/sql ] || ln -s test/sql "$FSI_TMP/src/sql"
[ ! -d build/tools ] || cp -r build/tools "$FSI_TMP/tools"

regress=(${REGRESS:-$(base_names test/sql/*.sql)})
specs=(${ISOLATION:-$(base_names test/isolation/specs/*.spec)})
taps=(${PROVE_TESTS:-test/t/*.pl})
units=(${UNIT_TESTS:-$(for f in test/unit/*.c; do echo "build/unit/$(base_names "$f")"; done)})
mkdir -p "$FSI_TMP/src/expected" "$FSI_TMP/src/test/isolation/expected"
for name in "${regress[@]}"; do : >>"$FSI_TMP/src/expected/$name.out"; done
for name in "${specs[@]}"; do : >>"$FSI_TMP/src/test/isolation/expected/$name.out"; done
chmod -R a+rX "$FSI_TMP/src"
wanted sql || regress=()
wanted isolation || specs=()
wanted tap || taps=()
wanted unit || units=()

! wanted build || run_tap build command test/build/*.sh
[ ${#units[@]} -eq 0 ] || run_tap unit command "${units[@]}"
if wanted cross; then
    if test/cross/aarch64.sh build "$FSI_TMP/aarch64"; then
        run_tap cross command "$FSI_TMP"/aarch64/*.sh
    else
        tally cross 0 1 0
    fi
fi
installcheck=0
! wanted installcheck || installcheck=1
if [ $((${#regress[@]} + ${#specs[@]} + ${#taps[@]} + installcheck)) -gt 0 ]; then
    make_private_tree
    pgtest=$(dirname "$("$PG_CONFIG" --pgxs)")/../test
    export PATH=$PGBIN:$FSI_TMP/tools:$PATH
fi
if [ $((${#regress[@]} + ${#specs[@]} + installcheck)) -gt 0 ]; then
    start_cluster
    [ ${#regress[@]} -eq 0 ] ||
        run_regress sql "$pgtest/regress/pg_regress" --inputdir="$FSI_TMP/src" --load-extension=fsi_intent \
            --host="$PGHOST" --port="$PGPORT" --user="$PGUSER" --dbname=contrib_regression "${regress[@]}"
    [ ${#specs[@]} -eq 0 ] ||
        run_regress isolation "$pgtest/isolation/pg_isolation_regress" --inputdir="$FSI_TMP/src/test/isolation" \
            --load-extension=fsi_intent --host="$PGHOST" --port="$PGPORT" --user="$PGUSER" \
            --dbname=isolation_regression "${specs[@]}"
    [ "$installcheck" -eq 0 ] || run_installcheck
    if ! as_server "$PGBIN/pg_ctl" -D "$FSI_TMP/data" status >/dev/null 2>&1 ||
        grep -qsE 'PANIC|terminated by signal' "$FSI_TMP"/{server,bare}.log; then
        grep -hsE -B2 -A5 'PANIC|terminated by signal' "$FSI_TMP"/{server,bare}.log | tail -n 40 || true
        tally server 0 1 0
    fi
fi
if [ ${#taps[@]} -gt 0 ]; then
    as_server mkdir -p "$FSI_TMP/tap"
    PG_REGRESS=$(cd "$pgtest/regress" && pwd)/pg_regress
    export PG_REGRESS TESTDIR=$FSI_TMP/tap TESTDATADIR=$FSI_TMP/tap/tmp_check TESTLOGDIR=$FSI_TMP/tap/tmp_check/log
    unset PGHOST PGUSER PGDATABASE
    export PGPORT=65432
    in_src() { cd "$FSI_TMP/src" && as_server env -C "$FSI_TMP/src" "$@"; }
    before=$failed
    run_tap tap in_src -I"$pgtest/perl" -Itest/t "${taps[@]}"
    if [ "$failed" -gt "$before" ] && [ -d "$FSI_TMP/tap/tmp_check/log" ]; then
        (cd "$FSI_TMP/tap/tmp_check" && tar cf - log) | (cd "$keep" && as_owner tar xf - --no-same-owner)
        echo "(server logs: build/check/log)"
    fi
fi

echo
printf '%s\n' "${summary[@]}"
echo
status=0
[ "$failed" -eq 0 ] || status=1
[ $((passed + skipped)) -gt 0 ] || status=1
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"

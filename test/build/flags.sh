#!/usr/bin/env bash
# What make would run for a packager's options: by `make -n`, so hardly anything is built. Speaks TAP.
set -uo pipefail
cd "$(dirname "$0")/../.."
n=0
ok() { # ok STATUS NAME
    n=$((n + 1))
    [ "$1" -eq 0 ] && echo "ok $n - $2" || echo "not ok $n - $2"
}

# The commands for everything that is built, one a line; of the compiler "cc" unless told otherwise.
commands() { make -n BUILD=build/nothing CC=cc "$@" all tools units benches 2>/dev/null; }
compiles() { commands "$@" | grep -E '^cc .* -MMD '; }
# What links against our libraries: the extension, tools, unit tests and benchmarks.
links() { commands "$@" | grep -E '^cc .* -lutf8proc'; }
# Lines come, and each matches.
all_match() { awk -v want="$1" '{ n++ } $0 !~ want { bad = 1 } END { exit bad || n < 20 }'; }

for name in OPT CFLAGS CPPFLAGS PG_CFLAGS PG_CPPFLAGS COPT; do
    compiles "$name=-DPACKAGER" | all_match ' -DPACKAGER '
    ok $? "$name in every compilation"
done
for name in LDFLAGS PG_LDFLAGS; do
    links "$name=-L/packager" | all_match ' -L/packager '
    ok $? "$name in every program and the library"
done
compiles | all_match ' -g -O2 .* -D_FORTIFY_SOURCE=2 '
ok $? "optimized and fortified where nothing is given"
! compiles CFLAGS=-Og | grep -e ' -O2 ' >/dev/null
ok $? "CFLAGS in place of OPT"
! compiles CPPFLAGS=-D_FORTIFY_SOURCE=3 | grep -e '-D_FORTIFY_SOURCE=2' >/dev/null
ok $? "a given _FORTIFY_SOURCE as it is"
compiles CFLAGS='-Ofast -ffp-contract=fast' | all_match ' -Ofast .* -fno-fast-math -ffp-contract=off '
ok $? "what keeps answers equal stands behind what is given"

# The library is one file for all values of BUILD; here it is built already.
commands | grep -E '^cc .* -o fsi_intent\.so build/nothing/' >/dev/null
ok $? "another BUILD links the library anew"

# A cross compiler: the files of the CPU that it compiles for.
other=$(mktemp -d)
trap 'rm -rf "$other"' EXIT
printf '#!/bin/sh\necho aarch64-linux-gnu\n' >"$other/cc"
chmod +x "$other/cc"
sources=$(make -n BUILD=build/nothing CC="$other/cc" lib 2>/dev/null)
grep -q '_neon\.c' <<<"$sources" && ! grep -qE '_(avx2|avx512|avxvnni)\.c' <<<"$sources"
ok $? "sources for the machine that the compiler makes"
# 32-bit x86's arithmetic gives other bits: refused, in words.
if [ "$(cc -dumpmachine | cut -d- -f1)" = x86_64 ] && echo 'int x;' | cc -mfpmath=387 -x c -c -o /dev/null - 2>/dev/null; then
    said=$(make BUILD="$other" CC=cc CFLAGS='-O2 -mfpmath=387' "$other/src/kernels/kern_dispatch.o" 2>&1)
    grep -q 'does not run on 32-bit x86' <<<"$said"
    ok $? "a machine whose arithmetic gives other bits is refused"
else
    n=$((n + 1))
    echo "ok $n # SKIP not x86-64, or a compiler without x87 arithmetic"
fi
echo "1..$n"

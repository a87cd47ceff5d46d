#!/bin/sh
# The kernels' tests on aarch64, under qemu: NEON must give the bits that x86 gives.
#
#   test/cross/aarch64.sh build DIR     compile the lower floor's kernels and their tests; leaves DIR/TEST.sh, which speak TAP
#
# Needs what `test/setup/packages.sh cross` installs. CROSS_CC is the compiler. `make check-cross` runs it all.
set -e
cd "$(dirname "$0")/../.."
[ "$1" = build ] && [ -n "$2" ] || { echo "usage: test/cross/aarch64.sh build DIR" >&2; exit 2; }
out=$2
cc=${CROSS_CC:-aarch64-linux-gnu-gcc}
flags="-std=gnu11 -g -O2 -ffp-contract=off -fno-strict-aliasing -fwrapv -Wall -Wextra -Iinclude -Itest/unit -D_GNU_SOURCE"
[ -z "${WERROR:-}" ] || flags="$flags -Werror"

mkdir -p "$out"
rm -f "$out"/*
for f in src/base/*.c src/kernels/*.c; do
	case $f in
		*_avx2.c | *_avxvnni.c | *_avx512.c) continue ;;
		*/json_read.c) continue ;; # needs Jansson
		*_neon.c) isa=-march=armv8.2-a+dotprod ;;
		*) isa= ;;
	esac
	# shellcheck disable=SC2086
	"$cc" $flags $isa -c "$f" -o "$out/$(basename "$f" .c).o"
done
for t in test_kernels test_kernels_gemm test_kernels_attend; do
	# What is linked statically cannot load OpenBLAS: the linker warns of dlopen().
	# shellcheck disable=SC2086
	"$cc" $flags -static "test/unit/$t.c" "$out"/*.o -lm -ldl -lpthread -o "$out/$t" 2>"$out/$t.log" ||
		{ cat "$out/$t.log" >&2; exit 1; }
	printf '#!/bin/sh\nexec qemu-aarch64 -cpu max "%s"\n' "$out/$t" >"$out/$t.sh"
	chmod +x "$out/$t.sh"
done

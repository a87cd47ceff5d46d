#!/bin/sh
# Compile the kernels for aarch64 and run their tests under qemu: NEON must give the bits that x86 gives.
# Needs (Debian): gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user.  Run from anywhere; takes a minute.
set -e
cd "$(dirname "$0")/../.."
cc=${CROSS_CC:-aarch64-linux-gnu-gcc}
out=${BUILD:-build}/aarch64
for tool in "$cc" qemu-aarch64; do
	command -v "$tool" >/dev/null || { echo "1..0 # SKIP $tool is not installed"; exit 0; }
done
mkdir -p "$out"
flags="-std=gnu11 -g -O2 -ffp-contract=off -fno-strict-aliasing -fwrapv -Wall -Wextra -Iinclude -Itest/unit -D_GNU_SOURCE"

rm -f "$out"/*.o
for f in src/base/*.c src/kernels/*.c; do
	case $f in
		*_avx2.c | *_avxvnni.c | *_avx512.c) continue ;;
		*_neon.c) isa=-march=armv8.2-a+dotprod ;;
		*) isa= ;;
	esac
	# shellcheck disable=SC2086
	"$cc" $flags $isa -c "$f" -o "$out/$(basename "$f" .c).o"
done
failed=0
for t in test_kernels test_kernels_gemm test_kernels_attend; do
	echo "# $t"
	# shellcheck disable=SC2086
	"$cc" $flags -static "test/unit/$t.c" "$out"/*.o -lm -ldl -lpthread -o "$out/$t" 2>"$out/$t.log" ||
		{ cat "$out/$t.log"; exit 1; }
	qemu-aarch64 -cpu max "$out/$t" || failed=1
done
exit $failed

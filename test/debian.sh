#!/usr/bin/env bash
# The README's commands on another release of Debian, and with it another PostgreSQL: make demo and make check, and
# make check-clang between them, in a bare system of its own, below build/debian, that is gone afterwards
# (what a run that was killed leaves, by the next).
#
#   test/debian.sh [SUITE]       trixie (PostgreSQL 17) where none is named; forky, sid: what Debian has there
#
# Needs root, and debootstrap, which it installs. The last line counts the tests.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
suite=${1:-trixie}
root=$top/build/debian/$suite

# Mounts belong to a namespace of its own: they go when it ends, however it ends.
if [ -z "${FSI_NAMESPACE:-}" ]; then
    [ "$(id -u)" -eq 0 ] || { echo "test/debian.sh needs root: it makes a system of its own." >&2; exit 1; }
    install() { apt-get -qq -y install --no-install-recommends debootstrap >/dev/null; }
    command -v debootstrap >/dev/null || install 2>/dev/null || { apt-get -qq update && install; }
    rm -rf "$root"
    trap 'rm -rf "$root"' EXIT
    mkdir -p "$root"
    FSI_NAMESPACE=1 unshare --mount --pid --fork --kill-child --propagation private bash "$0" "$suite"
    exit
fi

echo "Setting up Debian $suite"
# A release newer than this debootstrap is set up as sid is.
script=/usr/share/debootstrap/scripts/$suite
[ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
debootstrap --variant=minbase --include=ca-certificates,git,make "$suite" "$root" "" "$script" >"$root.log" 2>&1 ||
    { tail -n 20 "$root.log" >&2; exit 1; }
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
cp /etc/resolv.conf "$root/etc"
# As bare as a container's image: no lists of packages either.
rm -rf "$root"/var/lib/apt/lists/*
# A mirror may be older than a testing release's lists stay valid.
echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/99fsi"

# The checkout with what is not committed, as git sees it.
mkdir -p "$root/src/fsi_intent"
(cd "$top" && git ls-files -z --cached --others --exclude-standard | tar cf - --null --ignore-failed-read -T -) |
    tar xf - -C "$root/src/fsi_intent"
shared=${FSI_SHARED:-$top/../shared}
if [ -d "$shared" ]; then
    mkdir "$root/src/shared"
    mount --bind "$shared" "$root/src/shared"
fi
unset FSI_SHARED FSI_NAMESPACE PG_CONFIG MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 WERROR=1 ${CI:+CI="$CI"} \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
    bash -c 'cd /src/fsi_intent
        make demo && apt-get -qq -y install --no-install-recommends clang >/dev/null 2>&1 && make -s check-clang check'

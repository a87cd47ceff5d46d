#!/usr/bin/env bash
# Install from Debian what is needed to build, run and test, and is not there yet. Says nothing and asks nobody
# when nothing is missing.
#
#   test/setup/packages.sh          what `make demo` needs
#   test/setup/packages.sh test     what `make check` needs
#   test/setup/packages.sh cross    what `make check-cross` needs beside that
#   test/setup/packages.sh bench    what `make bench` needs; bench-llama: what compiling its peer llama.cpp needs
#
# Needs root or sudo, and only when something is missing. Where there is no PostgreSQL, it is the version that the
# system's packages name `postgresql`. No database cluster is created, started or restarted, and nothing stays in
# /etc beyond the packages' own files.
set -euo pipefail
pg_config=${PG_CONFIG:-$("$(dirname "$0")/pg_config.sh")}
if [ -n "${PG_CONFIG:-}" ] && ! command -v "$PG_CONFIG" >/dev/null; then
    echo "There is no program $PG_CONFIG (PG_CONFIG)." >&2
    exit 1
fi
cc=${CC:-cc}

has_header() { printf '#include <%s>\n' "$1" | "$cc" -E -x c - >/dev/null 2>&1; }
has_library() { grep -qF "$1" <<<"$(/sbin/ldconfig -p)"; }
has_file() { [ -n "$1" ] && [ -e "$1" ]; }
has_venv() { python3 -c 'import venv, ensurepip' >/dev/null 2>&1; }
has_program() { command -v "$1" >/dev/null; }
has_perl() { perl -e "use $1" >/dev/null 2>&1; }

# The major version of the server to be had: the one that is here, else the one that the system's packages have;
# nothing where their lists are not there yet.
pg_major() {
    if [ -n "$pg_config" ]; then
        "$pg_config" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/'
    else
        { apt-cache depends postgresql 2>/dev/null || true; } | sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p'
    fi
}

missing=()
need() { local package=$1; shift; "$@" || missing+=("$package"); }

find_missing() {
    local major
    major=$(pg_major)
    missing=()
    need gcc has_header stdio.h
    need libc6-dev has_header stdio.h
    need libutf8proc-dev has_header utf8proc.h
    need libjansson-dev has_header jansson.h
    need libopenblas0 has_library libopenblas.so.0
    # The server's package alone has pgxs.mk, but no headers.
    need postgresql-server-dev-"${major:-all}" has_file "$("$pg_config" --includedir-server 2>/dev/null || true)/postgres.h"
    need postgresql"${major:+-$major}" has_file "$("$pg_config" --bindir 2>/dev/null || true)/initdb"
    if [ "${1:-}" = test ]; then
        need perl has_perl TAP::Harness
        need libipc-run-perl has_perl IPC::Run
    fi
    if [ "${1:-}" = cross ]; then
        need gcc-aarch64-linux-gnu has_program aarch64-linux-gnu-gcc
        need libc6-dev-arm64-cross has_file /usr/aarch64-linux-gnu/include/stdio.h
        need qemu-user has_program qemu-aarch64
    fi
    case ${1:-} in bench*)
        need python3 has_program python3
        need python3-venv has_venv
    esac
    if [ "${1:-}" = bench-llama ]; then
        need g++ has_program g++
        need cmake has_program cmake
        need ninja-build has_program ninja
        need git has_program git
        need npm has_program npm
    fi
}

find_missing "$@"
[ ${#missing[@]} -gt 0 ] || exit 0

by_hand() { echo "apt-get install --no-install-recommends ${missing[*]}"; }
if ! command -v apt-get >/dev/null; then
    echo "Missing here, by their names in Debian: ${missing[*]}" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    if sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null; }; then
        exec sudo env ${PG_CONFIG:+PG_CONFIG="$PG_CONFIG"} CC="$cc" bash "$0" "$@"
    fi
    echo "Some packages are missing and there is neither root nor sudo to install them. Ask for:" >&2
    echo "  $(by_hand)" >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
undo=("$log")
trap 'rm -f "${undo[@]}"; rmdir /etc/postgresql-common/createcluster.d 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM HUP

# The server's package creates a cluster "main" and starts it unless told otherwise; an upgrade of a package that comes
# along would restart the clusters that run. Both are forbidden while apt runs.
no_cluster=/etc/postgresql-common/createcluster.d/fsi_intent.conf
mkdir -p "${no_cluster%/*}"
undo+=("$no_cluster")
echo 'create_main_cluster = false' >"$no_cluster"
if [ ! -e /usr/sbin/policy-rc.d ]; then
    undo+=(/usr/sbin/policy-rc.d)
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
fi

apt() { apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1; }
install_missing() { apt install --no-install-recommends --no-upgrade "${missing[@]}"; }
ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || apt update || true
find_missing "$@"
echo "Installing from Debian: ${missing[*]}"
if ! install_missing && ! { apt update && install_missing; }; then
    cat "$log" >&2
    echo "apt could not install what is missing: $(by_hand)" >&2
    exit 1
fi

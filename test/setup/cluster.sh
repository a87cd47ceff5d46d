# A private PostgreSQL for the demo and the tests: sourced, not run.
#
# Everything lies in one new folder, $FSI_TMP: a relocated copy of the server's programs with this extension
# installed into it (so that the system's own server stays as it is), the sources the server's user must read,
# and a cluster that listens on a socket in that folder and nowhere else. PostgreSQL refuses to run as root, so
# root hands these parts to the user postgres. Whatever way the script ends, nothing is left.
#
# Sets FSI_TMP, PGBIN (private programs), PGHOST/PGPORT/PGUSER/PGDATABASE (exported).

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
server_user=
child=
# The server's user reads what root puts there.
umask 022

unset PGSERVICE PGSERVICEFILE PGPASSFILE PGPASSWORD PGOPTIONS PGHOSTADDR PGSSLMODE PGDATA PGAPPNAME PGTZ PGDATESTYLE
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

# As the server's user, from a folder that it may enter.
as_server() {
    (
        cd "$FSI_TMP"
        export HOME=$FSI_TMP
        if [ -n "$server_user" ]; then
            exec setpriv --reuid="$server_user" --regid="$(id -g "$server_user")" --init-groups -- "$@"
        fi
        exec "$@"
    )
}

# Install what is missing for a purpose (packages.sh) and settle which server it is.
prepare() {
    "$top/test/setup/packages.sh" "$@"
    export PG_CONFIG=${PG_CONFIG:-$("$top/test/setup/pg_config.sh")}
}

# Build as the owner of the checkout, so that `sudo make demo` leaves no files of root's in it.
as_owner() {
    local uid gid
    read -r uid gid < <(stat -c '%u %g' "$top/Makefile")
    if [ "$(id -u)" -eq 0 ] && [ "$uid" -ne 0 ]; then
        setpriv --reuid="$uid" --regid="$gid" --clear-groups -- env -u TMPDIR "$@"
    else
        "$@"
    fi
}

# Wait for a long command in a way that lets a signal through at once.
attend() {
    local status=0
    "$@" <&0 &
    child=$!
    wait "$child" || status=$?
    child=
    return "$status"
}

# Processes that run from $FSI_TMP or stand in it: ours, and nobody else's.
own_processes() {
    local dir
    for dir in /proc/[0-9]*; do
        case "$(readlink "$dir/exe" 2>/dev/null):$(readlink "$dir/cwd" 2>/dev/null)" in
            "$FSI_TMP"/* | *:"$FSI_TMP" | *:"$FSI_TMP"/*) echo "${dir#/proc/}" ;;
        esac
    done
}

cluster_cleanup() {
    local status=$? pid left
    trap - EXIT
    trap '' INT TERM HUP
    cd /
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true
    if [ -n "${FSI_TMP:-}" ] && [ -d "$FSI_TMP" ]; then
        # Postmasters first (QUIT is an immediate shutdown), then whatever is left of the tests.
        while read -r pid; do
            [ -z "$pid" ] || kill -QUIT "$pid" 2>/dev/null || true
        done < <(find "$FSI_TMP" -name postmaster.pid -exec head -qn 1 {} + 2>/dev/null)
        for left in $(seq 50); do
            left=$(own_processes)
            [ -n "$left" ] || break
            sleep 0.1
        done
        [ -z "$left" ] || kill -KILL $left 2>/dev/null || true
        rm -rf "$FSI_TMP"
    fi
    exit "$status"
}

# A new folder where programs may be run, with a path short enough for a socket and without what PostgreSQL's test
# modules do not quote in a connection string.
make_tmp() {
    local base
    if [ "$(id -u)" -eq 0 ]; then
        server_user=postgres
        id -u postgres >/dev/null 2>&1 || server_user=nobody
    fi
    trap cluster_cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    for base in "${TMPDIR:-/tmp}" /tmp /var/tmp; do
        [[ ${#base} -le 60 && $base != *[[:space:]\'\\]* ]] || continue
        FSI_TMP=$(mktemp -d "$base/fsi.XXXXXX" 2>/dev/null) || continue
        FSI_TMP=$(cd "$FSI_TMP" && pwd -P)
        chmod 755 "$FSI_TMP"
        cp /bin/true "$FSI_TMP/probe"
        if as_server "$FSI_TMP/probe" 2>/dev/null; then
            rm "$FSI_TMP/probe"
            [ -z "$server_user" ] || chown "$server_user:" "$FSI_TMP"
            export TMPDIR=$FSI_TMP
            return
        fi
        rm -rf "$FSI_TMP"
    done
    echo "no folder for temporary files where programs may be run (tried TMPDIR, /tmp, /var/tmp)" >&2
    exit 1
}

build() {
    echo "Building"
    as_owner make -s -C "$top" -j"$(nproc)" "$@" PG_CONFIG="$PG_CONFIG"
}

# A second home for the server: its programs copied (they look for their files beside themselves), everything
# else linked, the extension installed. PostgreSQL up to 17 looks for extensions in that one place only.
make_private_tree() {
    local bindir libdir sharedir file
    bindir=$("$PG_CONFIG" --bindir)
    libdir=$("$PG_CONFIG" --pkglibdir)
    sharedir=$("$PG_CONFIG" --sharedir)
    PGBIN=$FSI_TMP/inst$bindir
    mkdir -p "$PGBIN" "$FSI_TMP/inst$libdir" "$FSI_TMP/inst$sharedir/extension"
    cp "$bindir"/* "$PGBIN"
    ln -s "$libdir"/* "$FSI_TMP/inst$libdir"
    for file in "$sharedir"/*; do
        [ "${file##*/}" = extension ] || ln -s "$file" "$FSI_TMP/inst$sharedir"
    done
    ln -s "$sharedir"/extension/* "$FSI_TMP/inst$sharedir/extension"
    # A copy of this extension that the system has must not be written through its links.
    rm -f "$FSI_TMP/inst$libdir"/fsi_intent.so "$FSI_TMP/inst$sharedir"/extension/fsi_intent*
    make -s -C "$top" install DESTDIR="$FSI_TMP/inst" PG_CONFIG="$PG_CONFIG" >/dev/null
}

start_cluster() {
    local locale=C.UTF-8
    grep -qix 'C.utf-\?8' <<<"$(locale -a 2>/dev/null)" || locale=C
    mkdir -p "$FSI_TMP/s"
    [ -z "$server_user" ] || chown "$server_user:" "$FSI_TMP/s"
    export PGHOST=$FSI_TMP/s PGPORT=5432 PGUSER=postgres PGDATABASE=postgres PGCLIENTENCODING=UTF8
    as_server "$PGBIN/initdb" -D "$FSI_TMP/data" -U postgres -A trust -E UTF8 --locale="$locale" \
        --no-sync --no-instructions >"$FSI_TMP/initdb.log" 2>&1 || { cat "$FSI_TMP/initdb.log" >&2; return 1; }
    as_server tee -a "$FSI_TMP/data/postgresql.conf" >/dev/null <<EOF
listen_addresses = ''
unix_socket_directories = '$FSI_TMP/s'
fsync = off
shared_buffers = 64MB
log_min_messages = warning
jit = off       # an honest COST makes the planner compile queries of a few hundred rows, which only costs time
EOF
    as_server "$PGBIN/pg_ctl" -s -w -D "$FSI_TMP/data" -l "$FSI_TMP/server.log" start ||
        { cat "$FSI_TMP/server.log" >&2; return 1; }
}

#!/bin/sh
# Say which server to build for and test with: prints the path of its pg_config. Nothing is printed where there is none.
#
# The one in the path comes first, then Debian's from the newest on; one that has a server's headers before one
# that has not (Debian keeps them in a package of their own).
bare=
candidates=$(command -v pg_config; ls -rv /usr/lib/postgresql/*/bin/pg_config 2>/dev/null)
for program in $candidates; do
    # Debian's own wrapper stands for one of the others.
    bindir=$("$program" --bindir 2>/dev/null) && [ -x "$bindir/pg_config" ] && program=$bindir/pg_config
    major=$("$program" --version 2>/dev/null | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
    [ "${major:-0}" -ge 15 ] || continue
    if [ -e "$("$program" --includedir-server)/postgres.h" ]; then
        echo "$program"
        exit
    fi
    [ -x "$bindir/postgres" ] && bare=${bare:-$program}
done
[ -z "$bare" ] || echo "$bare"

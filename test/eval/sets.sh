# Sourced by the scripts beside it: a throw-away cluster, and labelled sets in its table item(set, split, text, intent).

. "$(dirname "${BASH_SOURCE[0]}")/../setup/cluster.sh"

# CSV with quote and delimiter that no JSON text holds: a line is one value, whatever stands in it
json_lines="FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02'"

psql() { "$PGBIN/psql" -X -q -v ON_ERROR_STOP=1 "$@"; }

# begin [MODEL]: a cluster with the extension, into which a packed file is imported as "candidate"
begin() {
    prepare
    make_tmp
    build
    make_private_tree
    start_cluster
    psql -c 'CREATE EXTENSION fsi_intent'
    if [ -n "${1:-}" ]; then
        cp "$1" "$FSI_TMP/candidate.fsi" && chmod 644 "$FSI_TMP/candidate.fsi"
        psql -c "SELECT fsi_import_model('candidate', '$FSI_TMP/candidate.fsi')" >/dev/null
    fi
}

# The sets on which thresholds are chosen: no training has seen them.
validation_sets() {
    python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); import sources; print(*sources.VALIDATION)' "$top/models/recipe"
}

# load_sets DIR SET...
load_sets() {
    local dir=$1 set split
    shift
    psql -c 'CREATE TABLE item (set text, split text, text text, intent text)'
    for set in "$@"; do
        for split in train test; do
            psql -c 'CREATE TEMP TABLE line (e jsonb)' \
                -c "COPY line FROM STDIN ($json_lines)" \
                -c "INSERT INTO item SELECT '$set', '$split', e->>'text', replace(e->>'intent', '_', ' ') FROM line" \
                <"$dir/$set.$split.jsonl"
        done
    done
    psql -c 'ANALYZE item'
}

# measure_sets SQL DIR [-m MODEL] [SET...]: the script's own arguments after the SQL file that measures
measure_sets() {
    local sql=$1 dir model= names
    dir=$(cd "${2:?usage: $0 DIR [-m MODEL] [SET...]}" && pwd)
    shift 2
    if [ "${1:-}" = -m ]; then
        model=$(realpath "${2:?usage: $0 DIR [-m MODEL] [SET...]}")
        shift 2
    fi
    if [ $# -eq 0 ]; then
        names=$(validation_sets)
        # shellcheck disable=SC2086
        set -- $names
    fi
    # the library loaded first, for batches from the first statement on
    export PGOPTIONS='-c session_preload_libraries=fsi_intent'
    begin "$model"
    load_sets "$dir" "$@"
    psql ${model:+-v model=candidate} -f "$sql"
}

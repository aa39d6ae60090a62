#!/bin/sh
# Writes pg_extension/sql/tidings--<version>.sql from `cargo pgrx schema`, or with --check compares.
#
# The file is kept in the repository so that installing needs no cargo-pgrx. The markers that pgrx puts
# around each block carry source lines and no stable order for what emits no SQL, so they are left out;
# what remains is the text of sql/*.sql in the order that src/schema.rs requires.
set -eu
cd "$(dirname "$0")/.."

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
kept="pg_extension/sql/tidings--$version.sql"
raw=$(mktemp)
made=$(mktemp)
trap 'rm -f "$raw" "$made"' EXIT

cargo pgrx schema -p tidings -c "${PGRX_PG_CONFIG_PATH:-$(command -v pg_config)}" --out "$raw" >&2

awk '
    /^\/\* <begin connected objects> \*\/$/ { block = ""; marker = 1; next }
    /^\/\* <\/end connected objects> \*\/$/ {
        # Blocks without statements are comments of pgrx itself.
        if (block ~ /;/) { sub(/\n+$/, "\n", block); if (written++) print ""; printf "%s", block }
        block = ""; next
    }
    marker && (/^-- pg_extension\/src\// || /^-- requires:$/ || /^--   [a-z_]+$/ || /^$/) { next }
    { marker = 0; block = block $0 "\n" }
' "$raw" >"$made"

if [ "${1:-}" = --check ]; then
    if ! diff -u "$kept" "$made"; then
        echo "$kept is out of date: run pg_extension/schema.sh and commit the result" >&2
        exit 1
    fi
    echo "$kept is up to date" >&2
else
    mkdir -p pg_extension/sql
    cp "$made" "$kept"
    chmod 644 "$kept"
    echo "wrote $kept" >&2
fi

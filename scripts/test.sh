#!/usr/bin/env bash
# Everything that has to hold before a change is merged. Leaves no process behind.
#
#   scripts/test.sh [ARGUMENT...]    arguments go to the test runner of tests/, e.g. a name to filter by
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

cargo_pgrx_version=0.18.1
# The extension's default feature, which is what cargo-pgrx builds; the SQL is the same for all.
kept_sql_major=15

"$root/scripts/deps.sh" test
use_postgresql
cd "$root"

# One cluster per run, so that two runs of the same checkout do not meet.
state=$(state_dir)
cluster=$state/test-$$
# shellcheck disable=SC2317 # the trap calls it
stop_everything() {
    trap '' INT TERM HUP
    if [[ -d $cluster ]]; then
        scripts/cluster.sh stop "$cluster" || true
        rm -rf "$cluster"
    fi
    rm -f "$state/test-$$.out" "$state/test-$$.notes"
}
trap stop_everything EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

install_cargo_pgrx() {
    if [[ $(cargo pgrx --version 2>/dev/null) == "cargo-pgrx $cargo_pgrx_version" ]]; then return; fi
    say "installing cargo-pgrx $cargo_pgrx_version, once: about 5 minutes on 2 cores"
    cargo install cargo-pgrx --version "=$cargo_pgrx_version" --locked
}

# The SQL in the repository must be what pgrx generates from the code today.
check_schema() {
    if ((pg_major != kept_sql_major)); then
        say "test: the kept SQL is checked on PostgreSQL $kept_sql_major only"
        return
    fi
    say "test: the kept SQL is the generated SQL"
    install_cargo_pgrx
    pg_extension/schema.sh --check
}

scripts/lint.sh
cargo build -p tidings-daemon
scripts/install-extension.sh
check_schema
say "test: the kept build of GraphiQL is what a build makes"
scripts/build-ui.sh --check
npm_install tests/clients
python_install "$state/python" tests/clients/requirements.txt
TIDINGS_TEST_NGINX=$(nginx_program "$state/nginx")

scripts/cluster.sh start "$cluster" 15500 --test
port=$(<"$cluster/port")
export TIDINGS_TEST_URL=postgres://postgres@127.0.0.1:$port/postgres
export TIDINGS_TEST_PGBIN=$pg_bin
export TIDINGS_BIN=$target/debug/tidings
export TIDINGS_TEST_PYTHON=$state/python/bin/python
export TIDINGS_TEST_LOGS=$cluster/logs
export TIDINGS_TEST_NGINX

# What the runner prints, and what tests note about themselves, make the tables at the end.
results=$state/test-$$.out
export TIDINGS_TEST_NOTES=$state/test-$$.notes
: >"$TIDINGS_TEST_NOTES"

status=0
cargo test --workspace --exclude tidings --exclude tidings-tests | tee "$results" || status=$?
if ((status == 0)); then cargo test -p tidings-tests -- "$@" | tee -a "$results" || status=$?; fi
# Each test has searched its daemons' logs; this is the whole run's, once more.
if [[ -d $TIDINGS_TEST_LOGS ]]; then
    say "test: no token in the logs of $(find "$TIDINGS_TEST_LOGS" -type f | wc -l) daemons"
    if grep -rn eyJ "$TIDINGS_TEST_LOGS" >&2; then status=1; fi
fi
# A part of the tests says nothing about the whole.
if (($# == 0)); then scripts/conformance.sh "$results" "$TIDINGS_TEST_NOTES" || status=$?; fi
if ((status != 0)); then
    # Once more at the end, where whoever looks at a long log finds it.
    sed -n '/^---- .* stdout ----$/,/^failures:$/p' "$results" | tail -n 200 >&2
    exit "$status"
fi

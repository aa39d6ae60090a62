#!/usr/bin/env bash
# Everything goes wrong while 24 write and 200 clients over every transport come and go: the tests of
# tests/src/faults in their long form. Leaves no process behind.
#
#   scripts/test-faults.sh [FILTER]    the tests whose name contains FILTER; default: all of them
#
# Sizes: TIDINGS_FAULT_WRITERS (24), TIDINGS_FAULT_CLIENTS (200), TIDINGS_FAULT_ROUNDS (2: how often each fault
# happens). Each client's history is reconciled with the table; any line that does not add up fails the run.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

"$root/scripts/deps.sh" test
use_postgresql
cd "$root"

cluster=$(state_dir)/faults-$$
stop_everything() {
    trap '' INT TERM HUP
    if [[ -d $cluster ]]; then
        scripts/cluster.sh stop "$cluster" || true
        rm -rf "$cluster"
    fi
}
trap stop_everything EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

cargo build -p tidings-daemon
scripts/install-extension.sh
scripts/cluster.sh start "$cluster" 15500 --test
TIDINGS_TEST_URL=postgres://postgres@127.0.0.1:$(<"$cluster/port")/postgres
export TIDINGS_TEST_URL
export TIDINGS_TEST_PGBIN=$pg_bin
export TIDINGS_BIN=$target/debug/tidings
export TIDINGS_FAULT_WRITERS=${TIDINGS_FAULT_WRITERS:-24}
export TIDINGS_FAULT_CLIENTS=${TIDINGS_FAULT_CLIENTS:-200}
export TIDINGS_FAULT_ROUNDS=${TIDINGS_FAULT_ROUNDS:-2}

# Each client is a socket on both sides of a proxy.
ulimit -n "$(ulimit -Hn)"

# One after the other: each has the machine to itself.
cargo test -p tidings-tests -- "faults::${1:-}" --nocapture --test-threads=1

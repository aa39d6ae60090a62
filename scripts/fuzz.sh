#!/usr/bin/env bash
# Any input is answered: each target of tests/src/fuzz for some minutes, all at once. Leaves no process behind.
#
#   scripts/fuzz.sh [MINUTES]    default 10. TIDINGS_TEST_SEED repeats a run.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

"$root/scripts/deps.sh" test
use_postgresql
cd "$root"

cluster=$(state_dir)/fuzz-$$
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
export TIDINGS_FUZZ_MINUTES=${1:-10}

# More threads than processors: a target that waits for an answer must not hold up the others.
cargo test -p tidings-tests -- fuzz:: --nocapture --test-threads=16

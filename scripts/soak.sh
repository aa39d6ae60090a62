#!/usr/bin/env bash
# Steady load on two daemons: writers, and clients over every transport that leave and come back all the time. What the
# daemons hold, and how late they are, must not grow. Leaves no process behind.
#
#   scripts/soak.sh [MINUTES]    default: 10
#
# Prints the slopes of memory, open files and tail lag by least squares, and what each client got against the
# table. Fails beyond the bounds of tests/src/faults/soak.rs, which it prints too.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

"$root/scripts/deps.sh" test
use_postgresql
cd "$root"

scripts/build-daemon.sh
scripts/install-extension.sh
export TIDINGS_TEST_PGBIN=$pg_bin
export TIDINGS_BIN=$target/release/tidings
export TIDINGS_SOAK_MINUTES=${1:-10}

# Its clusters are its own, and end with it.
cargo test -p tidings-tests -- faults::soak --nocapture

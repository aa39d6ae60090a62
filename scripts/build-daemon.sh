#!/usr/bin/env bash
# Builds the daemon for use: target/release/tidings.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

cd "$root"
cargo build --release -p tidings-daemon
say "built $target/release/tidings"

#!/usr/bin/env bash
# The long runs: what a hundred thousand clients over every transport leave behind, and what healthy streams
# notice of slow and hostile clients beside them.
#
#   scripts/endurance.sh [CYCLES [SECONDS]]    default: 100000 of each transport, 30 s for each phase
#
# Fails if the daemon grows, keeps files open, loses a stream or an event, or delivers more than twice as
# late as in quiet (99th percentile).
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

cycles=${1:-100000} seconds=${2:-30}
"$root/scripts/deps.sh"
use_postgresql
cd "$root"

state=$(state_dir)
run=$state/endurance-$$
daemon=''
stop_everything() {
    trap '' INT TERM HUP
    if [[ -n $daemon ]]; then stop_process "$daemon"; fi
    if [[ -d $run ]]; then
        scripts/cluster.sh stop "$run" || true
        rm -rf "$run"
    fi
}
trap stop_everything EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

on_first_core=() on_last_core=()
if (($(nproc) > 1)); then
    on_first_core=(taskset -c 0)
    on_last_core=(taskset -c "$(($(nproc) - 1))")
fi

# Each client is a socket on both sides.
ulimit -n "$(ulimit -Hn)"

start_daemon() {
    port=$(free_port 4100)
    TIDINGS_LISTEN=127.0.0.1:$port start_tied "${on_first_core[@]}" "$target/release/tidings" serve \
        >"$run/daemon.log" 2>&1
    daemon=$!
    await_http "http://127.0.0.1:$port/readyz" "$daemon" 30 || {
        tail -n 20 "$run/daemon.log" >&2
        die "the daemon did not become ready"
    }
}

scripts/build-daemon.sh
cargo build --release -p tidings-benches
scripts/install-extension.sh
"${on_last_core[@]}" scripts/cluster.sh start "$run" 15600 --test
database=postgres://postgres@127.0.0.1:$(<"$run/port")/postgres
"$pg_bin/psql" -X -q -v ON_ERROR_STOP=1 "$database" -c 'create extension tidings'

TIDINGS_JWT_SECRET=$(new_secret 32)
export TIDINGS_JWT_SECRET TIDINGS_AUTH=jwt TIDINGS_DATABASE_URL=$database TIDINGS_LOG_FILTER=warn
token=$("$target/release/tidings" token --tenant bench --user bench --expires 86400)

echo
echo "Healthy streams beside slow and hostile clients:"
echo
# All healthy streams are one user's, who may have them; the attackers' limits are the usual ones.
TIDINGS_LIMITS_DELIVERIES_PER_SECOND=0 start_daemon
attacker=$("$target/release/tidings" token --tenant bench --user attacker --expires 86400)
"${on_last_core[@]}" "$target/release/siege" --address "127.0.0.1:$port" --token "$token" --attacker-token "$attacker" \
    --database-url "$database" --seconds "$seconds"
stop_process "$daemon"
echo
echo "Clients that come and go:"
echo
# Everybody is one user, who comes more often than anybody may.
TIDINGS_LIMITS_ATTEMPTS_PER_MINUTE=0 TIDINGS_LIMITS_OPERATIONS_PER_MINUTE=0 start_daemon
"${on_last_core[@]}" "$target/release/cycles" --address "127.0.0.1:$port" --token "$token" --pid "$daemon" \
    --cycles "$cycles"
stop_process "$daemon"
daemon=''

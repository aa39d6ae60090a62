#!/usr/bin/env bash
# Fan-out: one row per number of subscribers, transport and load, printed as a table. Before it what a
# subscription and a bad request cost.
#
#   scripts/bench.sh [SUBSCRIBERS...]    default: 100 1000
#
# The daemon has the first core to itself; PostgreSQL and the load share the last. Every row is a
# fresh daemon. A row appears only if every delivery was reconciled: none missing, doubled or late.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

"$root/scripts/deps.sh"
use_postgresql
cd "$root"

state=$(state_dir)
bench=$state/bench-$$
daemon=''
stop_everything() {
    trap '' INT TERM HUP
    if [[ -n $daemon ]]; then stop_process "$daemon"; fi
    if [[ -d $bench ]]; then
        scripts/cluster.sh stop "$bench" || true
        rm -rf "$bench"
    fi
}
trap stop_everything EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if (($#)); then subscribers=("$@"); else subscribers=(100 1000); fi

on_first_core=() on_last_core=()
if (($(nproc) > 1)); then
    on_first_core=(taskset -c 0)
    on_last_core=(taskset -c "$(($(nproc) - 1))")
else
    say "note: one core only, so the load disturbs what it measures"
fi

# Each subscriber is a socket on both sides.
ulimit -n "$(ulimit -Hn)"

start_daemon() {
    port=$(free_port 4100)
    TIDINGS_LISTEN=127.0.0.1:$port start_tied "${on_first_core[@]}" "$target/release/tidings" serve \
        >"$bench/daemon.log" 2>&1
    daemon=$!
    await_http "http://127.0.0.1:$port/readyz" "$daemon" 30 || {
        tail -n 20 "$bench/daemon.log" >&2
        die "the daemon did not become ready"
    }
}

stop_daemon() {
    stop_process "$daemon"
    daemon=''
}

row() { # row SUBSCRIBERS TRANSPORT ARGUMENTS...
    start_daemon
    "${on_last_core[@]}" "$target/release/fanout" --url "http://127.0.0.1:$port/graphql" --token "$token" \
        --database-url "$database" --pid "$daemon" --subscribers "$1" --transport "$2" "${@:3}" || {
        tail -n 20 "$bench/daemon.log" >&2
        die "no row for $1 subscribers over $2" "The end of the daemon's log is above."
    }
    stop_daemon
}

scripts/build-daemon.sh
cargo build --release -p tidings-benches
scripts/install-extension.sh

"${on_last_core[@]}" scripts/cluster.sh start "$bench" 15600 --test
database=postgres://postgres@127.0.0.1:$(<"$bench/port")/postgres
"$pg_bin/psql" -X -q -v ON_ERROR_STOP=1 "$database" -c 'create extension tidings'

TIDINGS_JWT_SECRET=$(new_secret 32)
export TIDINGS_JWT_SECRET TIDINGS_AUTH=jwt TIDINGS_DATABASE_URL=$database
# All of the load is one user's.
export TIDINGS_LIMITS_CONNECTIONS_PER_USER=0 TIDINGS_LIMITS_OPERATIONS_PER_MINUTE=0
token=$("$target/release/tidings" token --tenant bench --user bench)

echo
echo "$(nproc) cores of $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1), PostgreSQL $pg_major (fsync off), 150-byte events"
echo
echo "Inside the process, no socket and no database:"
echo
"${on_first_core[@]}" "$target/release/subscribe"
echo
echo "Requests that are dear or wrong, one at a time:"
echo
start_daemon
"${on_last_core[@]}" "$target/release/bad_requests" --address "127.0.0.1:$port" --token "$token"
stop_daemon
echo
echo "From PostgreSQL to many subscribers:"
echo
"$target/release/fanout" --header
for count in "${subscribers[@]}"; do
    # Enough of both for seconds of CPU time, not so much that the load cannot keep up.
    events=$((2000000 / count > 10000 ? 10000 : 2000000 / count))
    rate=$((count > 500 ? 50000 / count : 100))
    for transport in sse ws; do
        row "$count" "$transport" --events "$events" --burst 100 --batch 100
        row "$count" "$transport" --events "$events" --burst 100 --batch 1
        row "$count" "$transport" --events $((rate * 20)) --rate "$rate"
    done
done

echo
echo "Clients that come back at once after a restart, each with its cursor (limits of attempts off):"
echo
storm() { # storm STEP ARGUMENTS...
    "${on_last_core[@]}" "$target/release/storm" "$1" --address "127.0.0.1:$port" --token "$token" \
        --database-url "$database" --cursors "$bench/cursors" "${@:2}"
}
export TIDINGS_LIMITS_ATTEMPTS_PER_MINUTE=0
start_daemon
storm collect
stop_daemon
start_daemon
storm return --clients 5000
curl -sS "http://127.0.0.1:$port/metrics" | sed -n 's/^tidings_replay_reads_total /statements that read missed events: /p'
stop_daemon

# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the files share their variables; scripts/bench.sh sources them all
# What the parts of the benchmark share: places, cores, PostgreSQL, and one measurement. Sourced by scripts/bench.sh.

results_dir=$root/benches/results
binaries=$target/release

# The server has the first core to itself; PostgreSQL and the load share the last.
on_first_core=() on_last_core=()
if (($(nproc) > 1)); then
    on_first_core=(taskset -c 0)
    on_last_core=(taskset -c "$(($(nproc) - 1))")
else
    say "note: one core only, so the load disturbs what it measures"
fi

# How much of everything: whole, or enough to see that all of it works. Read by the parts.
set_size() {
    case $1 in
    whole)
        rounds=3 burst_s=1.2 paced_s=2.5 latency_s=2.5 route_s=3 writes_s=3 idle_s=5
        crowd=(100 1000 5000) idle=1000,5000,15000 multiplexed=100000
        ;;
    quick)
        rounds=1 burst_s=0.3 paced_s=1 latency_s=1 route_s=1 writes_s=1 idle_s=1
        crowd=(100 1000) idle=500,1000 multiplexed=10000
        ;;
    esac
}

start_postgresql() {
    if [[ -n ${database:-} ]]; then return; fi
    # With the worker that wakes the daemon; sessions without it (`direct`) say so themselves.
    "${on_last_core[@]}" scripts/cluster.sh start "$bench" "$((base_port + 500))" --test --wake-up postgres
    database=postgres://postgres@127.0.0.1:$(<"$bench/port")/postgres
    sql -c 'create extension tidings'
    for _ in {1..100}; do
        if [[ $(sql -At -c 'select tidings.wake_up_mode()') == coalesced ]]; then return; fi
        sql -c 'select pg_sleep(0.1)'
    done
    die "the worker that wakes the daemon does not run" "The log is in $bench/server.log."
}

sql() { "$pg_bin/psql" -X -q -v ON_ERROR_STOP=1 "$database" "$@"; }

# Waits until process $2 listens at port $1, at most $3 seconds.
await_port() {
    local deadline=$((SECONDS + $3))
    while port_is_free "$1"; do
        kill -0 "$2" 2>/dev/null || return 1
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# Appends to the results what a command prints. Fails if the command does, which has then said why in its line.
record() { "${on_last_core[@]}" "$@" >>"$results"; }

# load COMMAND SYSTEM ARGUMENTS...: one run against a fresh server, in its own lines of the results.
load() {
    local command=$1 system=$2 status=0
    start_server "$system" || {
        say "note: $system does not start, so it has no row; the end of its log:"
        tail -n 5 "$bench/$system.log" >&2
        return 1
    }
    record "$binaries/load" "$command" --system "$system" --address "127.0.0.1:$port" --token "$token" \
        --database-url "$database" --pid "$server" "${@:3}" 2>"$bench/load.log" || {
        status=$?
        say "note: $system: $(tail -n 1 "$bench/load.log")"
    }
    stop_server
    return "$status"
}

# The same of a peer. A peer that cannot keep up has a line that says so, and is spared the rounds that follow.
declare -A spared
load_peer() { # load_peer COMMAND SYSTEM KEY ARGUMENTS...
    local key="$1 $2 $3"
    if [[ -n ${spared[$key]:-} ]] || ! is_available "$2"; then return; fi
    load "$1" "$2" "${@:4}" || spared[$key]=yes
}

# Ours has to manage, or there is no report.
load_ours() { # load_ours COMMAND SYSTEM ARGUMENTS...
    load "$@" || {
        tail -n 20 "$bench/$2.log" >&2
        die "no result for $2" "The end of the daemon's log is above."
    }
}

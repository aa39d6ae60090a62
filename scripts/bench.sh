#!/usr/bin/env bash
# The benchmark: Tidings beside its peers on this machine, every delivery reconciled.
#
#   scripts/bench.sh [--quick] [PART...]
#
#     fanout      CPU time per delivery at 100 to 5,000 subscribers, in bursts and one by one
#     latency     from the transaction to the subscriber, beside a bare LISTEN/NOTIFY hop
#     route       CPU time of an event among subscriptions that it does not concern
#     memory      of connections and subscriptions that do nothing
#     subscribe   how long many subscriptions take until all are ready
#     writes      commits per second with and without Tidings
#     micro       single functions
#     report      benches/RESULTS.md and benches/plots/ from what is measured
#
#     requests    what subscriptions, dear and wrong requests take; tables of its own
#     storm       thousands of clients that come back at once; a line of its own
#
# Without a PART all down to the report. What a part measures replaces benches/results/PART.jsonl, so that a part can be
# run again alone. --quick shows in minutes that all of it works; its numbers mean little and do not go into benches/.
#
# The server has the first core to itself; PostgreSQL and the load share the last. Every row is a fresh server.
# BENCH_PORT is the first of the ports that may be used (default 15000).
# shellcheck disable=SC2034 # read by scripts/bench/*.sh
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

size=whole
parts=()
for argument in "$@"; do
    case $argument in
    --quick) size=quick ;;
    fanout | latency | route | memory | subscribe | writes | micro | report | requests | storm) parts+=("$argument") ;;
    *) die "usage: scripts/bench.sh [--quick] [PART...]" "$(sed -n 's/^#     /    /p' "$0")" ;;
    esac
done
if ((${#parts[@]} == 0)); then parts=(fanout latency route memory subscribe writes micro report); fi

cd "$root"
state=$(state_dir)
bench=$state/bench-$$
peers=$state/peers base_port=${BENCH_PORT:-15000}

# shellcheck source=scripts/bench/common.sh
source scripts/bench/common.sh
# shellcheck source=scripts/bench/servers.sh
source scripts/bench/servers.sh
# shellcheck source=scripts/bench/peers.sh
source scripts/bench/peers.sh
# shellcheck source=scripts/bench/parts.sh
source scripts/bench/parts.sh
# shellcheck source=scripts/bench/others.sh
source scripts/bench/others.sh

set_size "$size"
report_dir=$root/benches
if [[ $size == quick ]]; then
    report_dir=$state/bench-quick
    results_dir=$report_dir/results
fi
mkdir -p "$results_dir"

write_report() {
    build_benches
    "$binaries/report" --results "$results_dir" --to "$report_dir"
    say "the report is $report_dir/RESULTS.md"
}

if [[ ${parts[*]} == report ]]; then
    write_report
    exit
fi

"$root/scripts/deps.sh"
use_postgresql

stop_everything() {
    trap '' INT TERM HUP
    stop_server
    if [[ -d $bench ]]; then
        scripts/cluster.sh stop "$bench" || true
        rm -rf "$bench"
    fi
}
trap stop_everything EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Each subscriber is a socket on both sides.
ulimit -n "$(ulimit -Hn)"

build_benches
scripts/install-extension.sh
needs_peers=no
for part in "${parts[@]}"; do
    case $part in fanout | latency | route | memory | subscribe) needs_peers=yes ;; esac
done
if [[ $needs_peers == yes ]]; then set_up_peers; fi
# Nothing is built once something is measured.
if [[ " ${parts[*]} " == *' micro '* ]]; then cargo bench -p tidings-micro --no-run; fi

TIDINGS_JWT_SECRET=$(new_secret 32)
export TIDINGS_JWT_SECRET TIDINGS_AUTH=jwt
# All of the load is one user's, of one tenant, at one address.
export TIDINGS_LIMITS_CONNECTIONS_PER_USER=0 TIDINGS_LIMITS_OPERATIONS_PER_MINUTE=0 TIDINGS_LIMITS_ATTEMPTS_PER_MINUTE=0
export TIDINGS_LIMITS_SUBSCRIPTIONS=100000
our_token=$("$binaries/tidings" token --tenant bench --user bench)
mkdir -p "$bench"

# What the machine is, as the first line of a part's results.
machine() {
    local versions
    versions=$(peer_versions | sed 's/\(.*\) \(.*\)/"\1":"\2"/' | paste -sd, -)
    printf '{"part":"machine","of":"%s","size":"%s","date":"%s","cpu":"%s","cores":%d,"memory_kb":%d,"kernel":"%s","load":"%s",' \
        "$1" "$size" "$(date -u +%FT%TZ)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1)" "$(nproc)" \
        "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)" "$(uname -r)" "$(cut -d' ' -f1-3 /proc/loadavg)"
    printf '"postgresql":"%s","rust":"%s","tidings":"%s","commit":"%s","versions":{%s}}\n' \
        "$("$pg_config" --version | cut -d' ' -f2)" "$(rustc --version | cut -d' ' -f2)" "$(workspace_version)" \
        "$commit" "$versions"
}

# Before results change what git sees.
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
began_all=$SECONDS
failed=()
for part in "${parts[@]}"; do
    results=$bench/$part.jsonl
    began=$SECONDS
    case $part in
    report) write_report ;;
    requests | storm)
        start_postgresql
        export TIDINGS_DATABASE_URL=$database
        "part_$part"
        ;;
    *)
        machine "$part" >"$results"
        # The write side has a cluster of its own, whose WAL is flushed.
        if [[ $part != writes ]]; then
            start_postgresql
            export TIDINGS_DATABASE_URL=$database
        fi
        # In a shell of its own, so that one part that fails does not take the others with it. (A condition around it
        # would have it go on after an error.)
        set +e
        (
            set -e
            "part_$part"
        )
        status=$?
        set -e
        if ((status == 0)); then
            mv "$results" "$results_dir/$part.jsonl"
            say "$part took $((SECONDS - began)) s"
        else
            failed+=("$part")
            say "note: $part failed; of it the report has what was measured before, if anything"
        fi
        ;;
    esac
done
say "all of it took $((SECONDS - began_all)) s, without what was built before"
if ((${#failed[@]})); then die "failed: ${failed[*]}"; fi

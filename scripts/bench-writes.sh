#!/usr/bin/env bash
# What an event costs whoever writes: transactions per second of one-row INSERTs into a table without triggers, into an
# attached one with either way of waking the daemon, and beside triggers that notify as other systems do; the same for
# publish_event beside a bare INSERT of its row; and statements of 100,000 rows.
#
#   scripts/bench-writes.sh [SECONDS [ROUNDS]]    default: 10 seconds each, 3 rounds
#
# All ways take turns in every round; the tables show medians and the spread. WAL is flushed (fsync is on). Beside the
# rate stand two figures that other load on the machine disturbs less: the CPU time of all of the server's processes, and
# the WAL. Each measurement begins with empty tables after a checkpoint, so that hardly any images of pages are in it.
# RESULTS names a file that gets each value as a line of JSON.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

"$root/scripts/deps.sh"
use_postgresql
cd "$root"

seconds=${1:-10}
rounds=${2:-3}
state=$(state_dir)
bench=$state/bench-writes-$$
stop_everything() {
    trap '' INT TERM HUP
    if [[ -d $bench ]]; then
        scripts/cluster.sh stop "$bench" || true
        rm -rf "$bench"
    fi
}
trap stop_everything EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

scripts/install-extension.sh
scripts/cluster.sh start "$bench" 15700 --wake-up postgres
export PGHOST=$bench/run PGUSER=postgres PGDATABASE=postgres
PGPORT=$(<"$bench/port")
export PGPORT
sql() { "$pg_bin/psql" -X -q -At -v ON_ERROR_STOP=1 "$@"; }

sql -f benches/writes/setup.sql
for _ in {1..100}; do
    if [[ $(sql -c 'select tidings.wake_up_mode()') == coalesced ]]; then break; fi
    sql -c 'select pg_sleep(0.1)'
done

# way, script, settings of its sessions
ways=(
    'bare|insert-bare|'
    'attached-coalesced|insert-attached|'
    'attached-direct|insert-attached|-c tidings.coalesce=off'
    'notify-trigger|insert-notifying|'
    'messages-trigger|insert-messages|'
    'numbered-trigger|insert-numbered|'
    'publish-coalesced|publish|'
    'publish-direct|publish|-c tidings.coalesce=off'
    'bare-event-row|insert-event-row|'
)

# Hundredths of a second that the server's processes have used, those that have ended included.
postmaster=$(head -n 1 "$bench/data/postmaster.pid")
server_cpu() {
    local pid ticks
    ticks=$(awk '{ print $14 + $15 + $16 + $17 }' "/proc/$postmaster/stat")
    for pid in $(pgrep -P "$postmaster"); do
        # Some may end meanwhile.
        ((ticks += $(awk '{ print $14 + $15 }' "/proc/$pid/stat" 2>/dev/null || echo 0)))
    done
    echo "$ticks"
}
wal_position() { sql -c 'select pg_current_wal_insert_lsn() - '"'0/0'"; }

# Divides, with two decimals.
per() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

results=$bench/results
measure() { # measure CLIENTS WAY SCRIPT SETTINGS
    local cpu wal output count rate
    sql -f benches/writes/reset.sql
    cpu=$(server_cpu)
    wal=$(wal_position)
    output=$(PGOPTIONS=$4 "$pg_bin/pgbench" -n -M prepared -c "$1" -j 2 -T "$seconds" \
        -f "benches/writes/$3.sql" 2>/dev/null)
    rate=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' <<<"$output")
    count=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' <<<"$output")
    printf '%s %s %s\n' "$1" "$2" "$rate" >>"$results.rate"
    printf '%s %s %s\n' "$1-cpu" "$2" "$(per "$((($(server_cpu) - cpu) * 1000000 / $(getconf CLK_TCK)))" "$count")" >>"$results.cpu"
    printf '%s %s %s\n' "$1-wal" "$2" "$(per "$(($(wal_position) - wal))" "$count")" >>"$results.wal"
}

for ((round = 1; round <= rounds; round++)); do
    for clients in 8 32; do
        for way in "${ways[@]}"; do
            IFS='|' read -r name script settings <<<"$way"
            measure "$clients" "$name" "$script" "$settings"
        done
    done
done

echo "$(nproc) cores of $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1), PostgreSQL $pg_major (fsync on), $rounds rounds of $seconds s"
echo
echo "Transactions a second, by clients:"
echo
awk -f benches/writes/table.awk "$results.rate"
echo
echo "CPU time of the server for each transaction, microseconds:"
echo
awk -f benches/writes/table.awk "$results.cpu"
echo
echo "WAL of each transaction, bytes:"
echo
awk -f benches/writes/table.awk "$results.wal"
echo
echo "One statement for 100,000 rows, milliseconds, and WAL of each row, bytes:"
echo
for ((round = 1; round <= rounds; round++)); do
    for table in bare attached notifying messages_source; do
        sql -f benches/writes/reset.sql
        for verb in insert update copy; do
            wal=$(wal_position)
            took=$(sql -v table="$table" -c '\timing on' -f "benches/writes/bulk-$verb.sql" |
                sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -n 1)
            printf '%s %s %s\n' "$verb" "$table" "$took" >>"$results.bulk"
            printf '%s %s %s\n' "$verb-wal" "$table" "$(per "$(($(wal_position) - wal))" 100000)" >>"$results.bulk-wal"
        done
    done
done
awk -f benches/writes/table.awk "$results.bulk" "$results.bulk-wal"
if [[ -n ${RESULTS:-} ]]; then
    awk '{ printf "{\"part\":\"writes\",\"group\":\"%s\",\"name\":\"%s\",\"value\":%s}\n", $1, $2, $3 }' \
        "$results.rate" "$results.cpu" "$results.wal" "$results.bulk" "$results.bulk-wal" >>"$RESULTS"
fi

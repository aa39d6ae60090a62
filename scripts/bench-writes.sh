#!/usr/bin/env bash
# What an event costs whoever writes: transactions per second of one-row INSERTs into a table without triggers, into an
# attached one with either way of waking the daemon, and beside triggers that notify as other systems do.
#
#   scripts/bench-writes.sh [SECONDS [ROUNDS]]    default: 10 seconds each, 3 rounds
#
# All ways take turns in every round; the table shows medians and the spread. WAL is flushed (fsync is on).
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

# way, table or script, settings of its sessions
ways=(
    'bare|insert-bare|'
    'attached-coalesced|insert-attached|'
    'attached-direct|insert-attached|-c tidings.coalesce=off'
    'notify-trigger|insert-notifying|'
    'messages-trigger|insert-messages|'
    'publish-coalesced|publish|'
    'publish-direct|publish|-c tidings.coalesce=off'
    'bare-event-row|insert-event-row|'
)

results=$bench/results
for ((round = 1; round <= rounds; round++)); do
    for clients in 8 32; do
        for way in "${ways[@]}"; do
            IFS='|' read -r name script settings <<<"$way"
            # Each begins with empty tables and no checkpoint behind it.
            sql -f benches/writes/reset.sql
            rate=$(PGOPTIONS=$settings "$pg_bin/pgbench" -n -M prepared -c "$clients" -j 2 -T "$seconds" \
                -f "benches/writes/$script.sql" 2>/dev/null | sed -n 's/^tps = \([0-9.]*\).*/\1/p')
            printf '%s %s %s\n' "$clients" "$name" "$rate" >>"$results"
        done
    done
done

echo "$(nproc) cores of $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1), PostgreSQL $pg_major (fsync on), $rounds rounds of $seconds s"
echo
awk -f benches/writes/table.awk "$results"
echo
echo "One statement for 100,000 rows, milliseconds:"
echo
for ((round = 1; round <= rounds; round++)); do
    for table in bare attached notifying messages_source; do
        sql -f benches/writes/reset.sql
        for verb in insert update copy; do
            took=$(sql -v table="$table" -c '\timing on' -f "benches/writes/bulk-$verb.sql" |
                sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -n 1)
            printf '%s %s %s\n' "$verb" "$table" "$took" >>"$results.bulk"
        done
    done
done
awk -f benches/writes/table.awk "$results.bulk"
if [[ -n ${RESULTS:-} ]]; then
    awk '{ printf "{\"part\":\"writes\",\"group\":\"%s\",\"name\":\"%s\",\"value\":%s}\n", $1, $2, $3 }' \
        "$results" "$results.bulk" >>"$RESULTS"
fi

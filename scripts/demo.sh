#!/usr/bin/env bash
# A small shop with live traffic in a private PostgreSQL, the daemon beside it, and one tenant's
# events on your terminal until Ctrl-C.
#
# Everything it makes lies in .tidings/demo. Ports are taken from 15432 and 4000 upwards, on
# loopback only.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

"$root/scripts/deps.sh"
use_postgresql
cd "$root"
state=$(state_dir)
demo=$state/demo
mkdir -p "$demo"

# The lock is this script's alone: what it starts must not inherit it.
exec 9>"$demo/lock"
flock -n 9 || die "a demo of this checkout is running already" "Stop it with Ctrl-C in its terminal."

daemon='' traffic='' stream=''
stop_everything() {
    trap '' INT TERM HUP
    local pid
    for pid in $stream $traffic $daemon; do stop_process "$pid"; done
    scripts/cluster.sh stop "$demo" 9>&- || true
}
trap stop_everything EXIT
trap 'exit 129' HUP
trap 'echo; say "stopping"; exit 0' INT # the way a demo is meant to end
trap 'exit 143' TERM

# A secret that is made once and readable by its owner only.
secret() { # secret NAME BYTES
    if [[ ! -s $demo/$1 ]]; then (umask 077 && new_secret "$2" >"$demo/$1"); fi
    cat "$demo/$1"
}

build() {
    # The longest build goes first, and both share one cargo lock: in turn, not side by side.
    scripts/build-daemon.sh
    scripts/install-extension.sh
}

# psql as superuser, through the private socket.
sql() { PGOPTIONS='-c client_min_messages=warning' "$pg_bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$demo/run" -p "$port" -U postgres "$@"; }

# Loads the shop, unless it is there and was made from the same SQL.
load_shop() {
    local made_from
    made_from=$(cat demo/*.sql pg_extension/sql/*.sql | cksum)
    sql -d postgres -v daemon_password="$daemon_password" -v app_password="$app_password" -f demo/roles.sql
    if [[ $(sql -d postgres -At -c "select shobj_description(oid, 'pg_database')
        from pg_database where datname = 'shop'") == "$made_from" ]]; then
        return
    fi
    sql -d postgres -c 'drop database if exists shop with (force)' -c 'create database shop'
    sql -d shop -o /dev/null -f demo/shop.sql
    sql -d postgres -c "comment on database shop is '$made_from'"
}

start_daemon() {
    local http_port
    http_port=$(free_port 4000)
    address=127.0.0.1:$http_port
    export TIDINGS_DATABASE_URL=postgres://tidings_daemon:$daemon_password@127.0.0.1:$port/shop
    export TIDINGS_LISTEN=$address
    export TIDINGS_AUTH=jwt
    export TIDINGS_RESOLVE_ANONYMOUS_ROLE=shop_reader
    TIDINGS_JWT_SECRET=$(secret jwt.secret 32)
    export TIDINGS_JWT_SECRET
    start_tied "$target/release/tidings" serve >"$demo/daemon.log" 2>&1 9>&-
    daemon=$!
    await_http "http://$address/readyz" "$daemon" 30 || daemon_failed "did not become ready"
}

daemon_failed() {
    tail -n 20 "$demo/daemon.log" >&2
    die "the daemon $1" "Its log is in $demo/daemon.log."
}

# Good for a day; the next `make demo` prints new ones.
token() { "$target/release/tidings" token --tenant "$1" --user "$2" --expires 86400; }

introduce() {
    local psql=psql
    command -v psql >/dev/null || psql=$pg_bin/psql
    cat <<TEXT

The shop is open, $SECONDS s after the start. In a browser: http://$address/graphql, with this under "Headers":

  {"authorization": "Bearer $acme"}

In another terminal:

  # the other tenant: it sees its own orders and nothing of acme's
  curl -N http://$address/graphql -H 'accept: text/event-stream' -H 'content-type: application/json' \\
    -H 'authorization: Bearer $globex' \\
    -d '{"query":"subscription { orderChanged { operation record { id status total } old { status } changedColumns } }"}'

  # acme's chat over WebSocket
  npx -y wscat -s graphql-transport-ws -c ws://$address/graphql -w -1 \\
    -x '{"type":"connection_init","payload":{"authorization":"Bearer $acme"}}' \\
    -x '{"type":"subscribe","id":"1","payload":{"query":"subscription { messagePosted(room: 7) { room body } }"}}'

  # only what matters: a filter, decided as a WHERE clause would
  curl -N http://$address/graphql -H 'accept: text/event-stream' -H 'content-type: application/json' \\
    -H 'authorization: Bearer $acme' \\
    -d '$large'

  # what is there first, then every change of it
  curl -N http://$address/graphql -H 'accept: text/event-stream' -H 'content-type: application/json' \\
    -H 'authorization: Bearer $acme' \\
    -d '$initial'

  # change a row and watch it arrive below
  $psql '$app_url' -c "update shop.orders set status = 'delivered', note = 'by hand' where id = (select max(id) from shop.orders where tenant_id = 'acme')"

  # publish an event of your own
  $psql '$app_url' -c "select publish_event('chat', 'posted', '{\"room\": \"7\", \"body\": \"hello\"}', tenant_id => 'acme')"

Here are acme's orders, until Ctrl-C:

  curl -N http://$address/graphql -H 'accept: text/event-stream' -H 'content-type: application/json' \\
    -H 'authorization: Bearer $acme' \\
    -d '$orders'

TEXT
}

# Ends only if something went wrong: Ctrl-C ends the whole script.
stream_orders() {
    start_tied curl -sS -N "http://$address/graphql" -H 'accept: text/event-stream' \
        -H 'content-type: application/json' -H "authorization: Bearer $acme" -d "$orders" 9>&-
    stream=$!
    wait "$stream" || true
    stream=''
    kill -0 "$daemon" 2>/dev/null || daemon_failed "ended"
    say "error: the stream ended; the daemon's log is in $demo/daemon.log"
    return 1
}

daemon_password=$(secret daemon.password 16)
app_password=$(secret app.password 16)
orders='{"query":"subscription { orderChanged { operation record { id status total } old { status } changedColumns } }"}'
large='{"query":"subscription { orderChanged(filter: { total: { gte: 200 }, status: { in: [paid, shipped] } }) { record { id status total } } }"}'
initial='{"query":"subscription { orderChanged(filter: { total: { gte: 200 } }) @initial { operation record { id status total } } }"}'

build
scripts/cluster.sh start "$demo" 15432 --wake-up shop 9>&-
port=$(<"$demo/port")
app_url=postgres://shop_app:$app_password@127.0.0.1:$port/shop
load_shop
start_daemon
acme=$(token acme alice)
globex=$(token globex bob)
PGBENCH=$pg_bin/pgbench start_tied demo/traffic.sh "$app_url" >"$demo/traffic.log" 2>&1 9>&-
traffic=$!
introduce

stream_orders

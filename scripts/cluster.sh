#!/usr/bin/env bash
# A private PostgreSQL cluster: its own data folder, socket folder, port and log, loopback only.
#
#   scripts/cluster.sh start DIR PORT [--test] [--wake-up DATABASE]
#                                   make it if need be, start it, wait until it answers
#   scripts/cluster.sh stop DIR     stop it, wait until it is gone
#   scripts/cluster.sh status DIR   exit status 0 if it runs
#
# PORT is the first to try; DIR/port holds the one in use. The superuser is "postgres". Through the
# socket in DIR/run it needs no password: only the server's user (and root) can reach that folder.
# Over TCP every role needs one; with --test none does, and the data need not survive a power
# failure. With --wake-up the extension, which has to be installed, is preloaded, and its worker sends
# the NOTIFYs of that database.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

usage="usage: scripts/cluster.sh start DIR PORT [--test] [--wake-up DATABASE] | stop DIR | status DIR"
action=${1:-}
dir=${2:-}
[[ -n $dir ]] || die "$usage"
use_postgresql
# The server's working directory must be one that its user can enter.
mkdir -p "$dir"
cd "$dir"
dir=$PWD
data=$dir/data
log=$dir/server.log

# Seconds to wait for a start (it may have to recover after a crash) or a stop.
wait_s=60

pg_ctl() { run_as_server "$pg_bin/pg_ctl" -D "$data" -w -t "$wait_s" "$@"; }
is_running() { [[ -e $data/postmaster.pid || -r $data/PG_VERSION ]] && pg_ctl status >/dev/null 2>&1; }

own() { if ((EUID == 0)); then chown postgres: "$@"; fi; }

create() {
    local authentication=scram-sha-256
    if [[ $mode == test ]]; then authentication=trust; fi
    rm -rf "$data"
    mkdir -p "$data" "$dir/run"
    own "$data" "$dir/run"
    chmod 0700 "$data" "$dir/run"
    # Flushing a cluster that is minutes old is not worth the time; a crash here means: create again.
    if ! run_as_server "$pg_bin/initdb" -D "$data" -U postgres -E UTF8 --locale=C.UTF-8 --no-sync \
        --auth-local=trust --auth-host="$authentication" >"$dir/initdb.log" 2>&1; then
        tail -n 20 "$dir/initdb.log" >&2
        die "initdb failed" "The log is in $dir/initdb.log."
    fi
    run_as_server tee -a "$data/postgresql.conf" >/dev/null <<<"include 'tidings.conf'"
}

configure() {
    run_as_server tee "$data/tidings.conf" >/dev/null <<CONF
# Written at every start by scripts/cluster.sh.
port = $1
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir/run'
logging_collector = off
log_line_prefix = '%m [%p] %q%u@%d '
password_encryption = 'scram-sha-256'
CONF
    if [[ -n $served ]]; then
        run_as_server tee -a "$data/tidings.conf" >/dev/null <<CONF
shared_preload_libraries = 'tidings'
tidings.database = '$served'
CONF
    fi
    if [[ $mode == test ]]; then
        run_as_server tee -a "$data/tidings.conf" >/dev/null <<CONF
fsync = off
full_page_writes = off
max_connections = 200
max_prepared_transactions = 10
max_wal_senders = 4
log_min_messages = 'warning'
CONF
    fi
}

start() {
    local port=$1 attempt
    if is_running; then
        say "note: $dir was running already"
        return
    fi
    if [[ ! -r $data/tidings.conf || $(<"$data/PG_VERSION") != "$pg_major" ]]; then create; fi
    : >>"$log"
    own "$log"
    # Somebody may take a port between our look and the server's bind, so try a few.
    for attempt in 1 2 3 4 5; do
        port=$(free_port "$port")
        configure "$port"
        : >"$log"
        if pg_ctl -l "$log" start >/dev/null; then
            printf '%s\n' "$port" >"$dir/port"
            return
        fi
        grep -q 'could not bind' "$log" || break
        port=$((port + attempt))
    done
    tail -n 20 "$log" >&2
    die "PostgreSQL did not start" "The log is in $log. To begin again from nothing: rm -r $dir"
}

stop() {
    is_running || return 0
    pg_ctl -m fast stop >/dev/null 2>&1 || pg_ctl -m immediate stop >/dev/null 2>&1 ||
        die "PostgreSQL in $dir did not stop within $wait_s s" "Its log is in $log."
    rm -f "$dir/port"
}

mode=keep
served=
case $action in
start)
    [[ ${3:-} =~ ^[0-9]+$ ]] || die "$usage"
    port=$3
    shift 3
    while (($#)); do
        case $1 in
        --test) mode='test' ;;
        --wake-up)
            [[ ${2:-} =~ ^[a-z_]+$ ]] || die "$usage"
            served=$2
            shift
            ;;
        *) die "$usage" ;;
        esac
        shift
    done
    start "$port"
    ;;
stop) stop ;;
status) is_running ;;
*) die "$usage" ;;
esac

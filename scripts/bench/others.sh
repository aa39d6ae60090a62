# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the files share their variables; scripts/bench.sh sources them all
# Measurements that print a table of their own and are no part of the report. Sourced by scripts/bench.sh.

part_requests() {
    "${on_first_core[@]}" "$binaries/subscribe"
    echo
    start_server ours-sse || die "the daemon does not start" "The log is in $bench/ours-sse.log."
    "${on_last_core[@]}" "$binaries/bad_requests" --address "127.0.0.1:$port" --token "$token"
    stop_server
}

part_storm() {
    storm() { # storm STEP ARGUMENTS...
        start_server ours-sse || die "the daemon does not start" "The log is in $bench/ours-sse.log."
        "${on_last_core[@]}" "$binaries/storm" "$1" --address "127.0.0.1:$port" --token "$token" \
            --database-url "$database" --cursors "$bench/cursors" "${@:2}"
    }
    storm collect
    stop_server
    storm return --clients 5000
    curl -sS "http://127.0.0.1:$port/metrics" |
        sed -n 's/^tidings_replay_reads_total /statements that read missed events: /p'
    stop_server
}

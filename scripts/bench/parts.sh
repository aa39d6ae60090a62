# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the files share their variables; scripts/bench.sh sources them all
# The parts of the benchmark. Systems take turns within each round, so that whatever else the machine does meets all of
# them. Sourced by scripts/bench.sh.

part_fanout() {
    local round count system rate
    for ((round = 1; round <= rounds; round++)); do
        for count in "${crowd[@]}"; do
            say "fan-out, round $round of $rounds: $count subscribers"
            # Few enough that those who are fast are far from busy.
            rate=$((count <= 100 ? 100 : 20000 / count))
            local shapes=(--part fanout --round "$round" --subscribers "$count" --burst 100 --burst-s "$burst_s"
                --rates "$rate" --rate-s "$paced_s")
            for system in ours-sse ours-ws; do load_ours deliver "$system" "${shapes[@]}"; done
            for system in nchan async-graphql floor; do load_peer deliver "$system" "$count" "${shapes[@]}"; done
            # A burst of 100 would take these up to a minute at 5,000.
            local slow=(--part fanout --round "$round" --subscribers "$count" --burst-s "$burst_s" --rate-s "$paced_s"
                --burst "$((count > 1000 ? 10 : 100))" --rates "$((count > 1000 ? 2 : rate))")
            for system in node postgraphile yoga; do load_peer deliver "$system" "$count" "${slow[@]}"; done
        done
    done
}

part_latency() {
    local round system rate rates=100,300,1000
    for ((round = 1; round <= rounds; round++)); do
        say "latency, round $round of $rounds"
        local shape=(--part latency --round "$round" --subscribers 100 --rate-s "$latency_s" --probe)
        record "$binaries/load" hop --part latency --round "$round" --database-url "$database" --core 0 \
            --rates "$rates" --rate-s "$latency_s"
        for system in ours-sse ours-ws; do
            load_ours deliver "$system" "${shape[@]}" --rates "$rates"
            load_ours deliver "$system" "${shape[@]}" --rates "$rates" --direct
        done
        for system in nchan async-graphql floor; do
            load_peer deliver "$system" latency "${shape[@]}" --rates "$rates"
        done
        # One by one, so that who is too slow for the one is not spared the other.
        for system in node postgraphile yoga; do
            for rate in 100 1000; do load_peer deliver "$system" "at $rate" "${shape[@]}" --rates "$rate"; done
        done
    done
}

part_route() {
    local round system count
    for ((round = 1; round <= rounds; round++)); do
        say "route, round $round of $rounds: 2,000 subscribers of whom one is concerned"
        local shapes=(--part route --round "$round" --rate 500 --rate-s "$route_s" --connections 2000
            --subscriptions 2000)
        for system in ours-sse ours-ws; do load_ours route "$system" "${shapes[@]}"; done
        for system in nchan async-graphql node postgraphile yoga; do load_peer route "$system" 2000 "${shapes[@]}"; done
        for count in 100 1000 10000 100000; do
            if ((count > multiplexed)); then continue; fi
            say "route, round $round of $rounds: $count subscriptions on 100 connections"
            load_ours route ours-ws --part route-multiplexed --round "$round" --rate 500 --rate-s "$route_s" \
                --connections 100 --subscriptions "$count"
        done
    done
}

part_memory() {
    local round system
    for ((round = 1; round <= rounds; round++)); do
        say "memory, round $round of $rounds"
        for system in ours-sse ours-ws; do
            load_ours memory "$system" --part memory --round "$round" --steps "$idle"
        done
        load_ours memory ours-ws --part memory-multiplexed --round "$round" --steps 100 \
            --per-connection "$((multiplexed / 100))"
    done
    # Peers once: memory hardly differs from run to run.
    for system in nchan async-graphql node postgraphile yoga; do
        load_peer memory "$system" memory --part memory --steps "${crowd[-1]}"
    done
}

part_subscribe() {
    local round system
    for ((round = 1; round <= rounds; round++)); do
        say "subscribe, round $round of $rounds"
        load_ours subscribe ours-ws --part subscribe --round "$round" --subscriptions 10000 --connections 100
        for system in async-graphql node; do
            load_peer subscribe "$system" subscribe --part subscribe --round "$round" --subscriptions 10000 \
                --connections 100
        done
    done
}

part_writes() {
    RESULTS=$results scripts/bench-writes.sh "$writes_s" "$rounds" >"$bench/writes.log" || {
        cat "$bench/writes.log" >&2
        die "no results of the write side"
    }
}

# Single functions, and the tail.
part_micro() {
    "${on_first_core[@]}" "$binaries/subscribe" --json >>"$results"
    if [[ ! -x scripts/bench-micro.sh ]]; then
        say "note: there is no scripts/bench-micro.sh"
        return
    fi
    local what=()
    if ! command -v valgrind >/dev/null; then
        say "note: valgrind is not installed, so no instructions are counted (apt-get install valgrind)"
        what=(--times)
    fi
    if [[ $size == quick ]]; then what=(--times cursor/); fi
    {
        RESULTS=$results scripts/bench-micro.sh "${what[@]}" &&
            "${on_first_core[@]}" env RESULTS="$results" "$binaries/micro" tail fill --database-url "$database" &&
            start_server ours-sse &&
            "${on_last_core[@]}" env RESULTS="$results" "$binaries/micro" tail idle --database-url "$database" \
                --pid "$server" --seconds "$idle_s"
    } >"$bench/micro.log" 2>&1 || {
        tail -n 20 "$bench/micro.log" >&2
        die "no results of the micro benchmarks"
    }
    stop_server
}

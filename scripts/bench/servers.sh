# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the files share their variables; scripts/bench.sh sources them all
# How each system is started: each on the first core, with what its documentation recommends for load. Sourced by
# scripts/bench.sh.

# start_server SYSTEM: sets `port` and `server`, the process whose CPU time and memory count.
start_server() {
    local system=$1
    port=$(free_port "$((base_port + 100))")
    token=''
    bridge=''
    : >"$bench/$system.log"
    case $system in
    ours-*) start_ours ;;
    nchan) start_nchan ;;
    async-graphql) start_tied_at "$system" "$peers/target/release/async-graphql-peer" ;;
    node) start_tied_at "$system" "$(node_program)" "$peers/node/graphql-ws.mjs" ;;
    yoga) start_tied_at "$system" "$(node_program)" "$peers/node/yoga.mjs" ;;
    postgraphile) start_tied_at "$system" "$(node_program)" "$peers/node/postgraphile.mjs" ;;
    floor)
        start_tied "${on_first_core[@]}" "$binaries/floor" --listen "127.0.0.1:$port" --database-url "$database" \
            >"$bench/$system.log" 2>&1
        server=$!
        ;;
    esac
    await_port "$port" "$server" 30 || return 1
    if [[ $system == nchan ]]; then start_bridge; fi
}

stop_server() {
    if [[ -n ${bridge:-} ]]; then stop_process "$bridge"; fi
    if [[ -n ${server:-} ]]; then stop_process "$server"; fi
    bridge='' server=''
}

start_ours() {
    token=$our_token
    TIDINGS_LISTEN=127.0.0.1:$port start_tied "${on_first_core[@]}" "$binaries/tidings" serve \
        >"$bench/$system.log" 2>&1
    server=$!
    await_http "http://127.0.0.1:$port/readyz" "$server" 30
}

# start_tied_at SYSTEM COMMAND...: a peer that reads LISTEN and DATABASE_URL.
start_tied_at() {
    LISTEN=127.0.0.1:$port DATABASE_URL=$database NODE_ENV=production GRAPHILE_ENV=production \
        start_tied "${on_first_core[@]}" "${@:2}" >"$bench/$1.log" 2>&1
    server=$!
}

# One worker, because there is one core; no access log; messages are not kept, as nobody comes back for them here.
start_nchan() {
    local module
    module=$(nchan_module)
    mkdir -p "$bench/nginx"
    cat >"$bench/nginx/nginx.conf" <<CONF
load_module $module;
daemon off;
worker_processes 1;
worker_rlimit_nofile $(ulimit -n);
pid $bench/nginx/pid;
error_log $bench/nchan.log warn;
events { worker_connections $(ulimit -n); multi_accept on; }
http {
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_body_temp_path $bench/nginx/body;
    proxy_temp_path $bench/nginx/proxy;
    fastcgi_temp_path $bench/nginx/fastcgi;
    uwsgi_temp_path $bench/nginx/uwsgi;
    scgi_temp_path $bench/nginx/scgi;
    nchan_shared_memory_size 512M;
    server {
        listen 127.0.0.1:$port backlog=4096;
        location ~ ^/pub/(\\w+)\$ {
            nchan_publisher;
            nchan_channel_id \$1;
            nchan_message_buffer_length 0;
        }
        location ~ ^/sub/(\\w+)\$ {
            nchan_subscriber eventsource;
            nchan_channel_id \$1;
            nchan_subscriber_first_message newest;
        }
    }
}
CONF
    start_tied "${on_first_core[@]}" "$(nginx_of_nchan)" -p "$bench/nginx" -c "$bench/nginx/nginx.conf" \
        >>"$bench/nchan.log" 2>&1
    server=$!
}

# Between PostgreSQL and nchan; it shares the core of the load, and its CPU time does not count.
start_bridge() {
    start_tied "${on_last_core[@]}" "$binaries/bridge" --to "127.0.0.1:$port" --database-url "$database" \
        >"$bench/bridge.log" 2>&1
    bridge=$!
    local listening="select count(*) from pg_stat_activity where query = 'listen bench'"
    until [[ $(sql -At -c "$listening") != 0 ]]; do
        kill -0 "$bridge" 2>/dev/null || return 1
        sleep 0.05
    done
}

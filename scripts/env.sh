# shellcheck shell=bash
# Where things are, for every script beside this file: source it, do not run it.
#
# Read from the environment: PG_CONFIG (which PostgreSQL), CARGO_TARGET_DIR (where cargo builds),
# TIDINGS_STATE (where private clusters live). All have a default that fits a fresh checkout.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck disable=SC2034 # read by the scripts that source this file
target=${CARGO_TARGET_DIR:-$root/target}
supported_postgresql="14 to 18"

# rustup's own profile snippet is not read by non-login shells.
if ! command -v cargo >/dev/null && [[ -x ${HOME:-}/.cargo/bin/cargo ]]; then
    PATH=$HOME/.cargo/bin:$PATH
fi

say() { printf '%s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    if (($#)); then printf '       %s\n' "$@" >&2; fi
    exit 1
}

# --- PostgreSQL -------------------------------------------------------------------------------

# The pg_config to build against: PG_CONFIG, else the newest PostgreSQL that has server headers.
# Prints nothing if there is none. (Debian's /usr/bin/pg_config answers for libpq alone as well.)
find_pg_config() {
    if [[ -n ${PG_CONFIG:-} ]]; then
        command -v "$PG_CONFIG" || die "PG_CONFIG=$PG_CONFIG is not a program" \
            "Set it to the full path of a pg_config, or unset it."
        return
    fi
    local candidate
    while read -r candidate; do
        if has_server_headers "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done < <(
        find /usr/lib/postgresql -path '*/bin/pg_config' 2>/dev/null | sort -rV
        command -v pg_config
    )
}

has_server_headers() { [[ -x $1 && -r "$("$1" --includedir-server)/postgres.h" ]]; }

# Sets pg_config, pg_major, pg_bin and exports what pgrx's build script reads.
use_postgresql() {
    pg_config=$(find_pg_config)
    [[ -n $pg_config ]] || die "no PostgreSQL with server headers found" \
        "Run scripts/deps.sh, or set PG_CONFIG to the pg_config of your PostgreSQL."
    has_server_headers "$pg_config" || die "$pg_config has no server headers" \
        "Install the headers of that PostgreSQL (Debian: postgresql-server-dev-NN)."
    pg_major=$("$pg_config" --version)
    [[ $pg_major =~ ^PostgreSQL\ ([0-9]+) ]] || die "cannot read a version from: $pg_major"
    pg_major=${BASH_REMATCH[1]}
    ((pg_major >= 14 && pg_major <= 18)) || die "PostgreSQL $pg_major is not supported" \
        "Tidings builds against $supported_postgresql: set PG_CONFIG to one of those."
    # shellcheck disable=SC2034 # read by the scripts that source this file
    pg_bin=$("$pg_config" --bindir)
    export PGRX_PG_CONFIG_PATH=$pg_config
    # shellcheck disable=SC2034
    extension_features=(--no-default-features --features "pg$pg_major")
}

# PostgreSQL refuses to run as root, so root's clusters belong to user postgres.
run_as_server() {
    if ((EUID == 0)); then
        runuser -u postgres -- "$@"
    else
        "$@"
    fi
}

# The version to write where a control file says @CARGO_VERSION@.
workspace_version() {
    local version
    version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version *= *"\(.*\)"$/\1/p' "$root/Cargo.toml")
    [[ -n $version ]] || die "no version under [workspace.package] in Cargo.toml"
    printf '%s\n' "$version"
}

# --- Places -----------------------------------------------------------------------------------

# Prints the folder for private clusters: .tidings in the checkout, or a folder under /var/tmp if
# the server could not reach the checkout (root's home is closed to user postgres) or if the path
# is too long for a socket (107 bytes in all).
state_dir() {
    local dir=${TIDINGS_STATE:-$root/.tidings} reason=
    if ((${#dir} > 70)); then
        reason="its path is too long for a socket"
    elif ! mkdir -p "$dir" 2>/dev/null; then
        reason="it cannot be created"
    elif ! run_as_server test -x "$dir"; then
        reason="user postgres cannot reach it"
    fi
    if [[ -n $reason ]]; then
        local elsewhere
        elsewhere=/var/tmp/tidings-$EUID-$(cksum <<<"$root" | cut -d' ' -f1)
        say "note: clusters go to $elsewhere, not to $dir: $reason"
        dir=$elsewhere
        # The name can be guessed, so the folder counts only if it is ours.
        mkdir -p "$dir"
        [[ -O $dir && ! -L $dir ]] || die "$dir belongs to somebody else" \
            "Set TIDINGS_STATE to a folder of your own that user postgres can reach."
    fi
    chmod 0755 "$dir"
    printf '%s\n' "$dir"
}

# --- npm ---------------------------------------------------------------------------------------

# Installs the packages of folder $1 that its lock file names, unless they are there. None of them
# needs its installation scripts.
npm_install() {
    if [[ $1/node_modules/.package-lock.json -nt $1/package-lock.json ]]; then return; fi
    say "installing the npm packages of $1"
    npm --prefix "$1" ci --ignore-scripts --no-audit --no-fund --loglevel=error
}

# --- PyPI --------------------------------------------------------------------------------------

# Makes a Python environment in folder $1 with the packages that the requirements file $2 names, unless
# it is there.
python_install() {
    if cmp -s "$2" "$1/installed.txt"; then return; fi
    say "installing the Python packages of $2"
    rm -rf "$1"
    python3 -m venv "$1"
    "$1/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r "$2"
    cp "$2" "$1/installed.txt"
}

# --- nginx -------------------------------------------------------------------------------------

# Prints an nginx: NGINX, or one that is installed, or else Debian's package unpacked in folder $1. It is
# never installed, because that would start a service.
nginx_program() {
    local candidate package
    for candidate in "${NGINX:-}" "$(command -v nginx)" /usr/sbin/nginx "$1/usr/sbin/nginx"; do
        if [[ -n $candidate && -x $candidate ]]; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    command -v apt-get >/dev/null || die "no nginx found" "Install it, or set NGINX to the path of one."
    say "fetching nginx, which stays in $1"
    mkdir -p "$1"
    # Where the program is depends on the release.
    for package in nginx nginx-light nginx-core; do
        (cd "$1" && apt-get download "$package" >/dev/null 2>&1) || continue
        dpkg -x "$1/$package"_*.deb "$1"
        if [[ -x $1/usr/sbin/nginx ]]; then
            ! ldd "$1/usr/sbin/nginx" | grep 'not found' >&2 || die "nginx lacks the libraries above"
            printf '%s\n' "$1/usr/sbin/nginx"
            return
        fi
    done
    die "nginx cannot be fetched" "Run apt-get update, or install nginx, or set NGINX to the path of one."
}

# --- Ports and processes ----------------------------------------------------------------------

# Can a server take this TCP port? Asks the kernel's tables: nothing to install, no connection made.
# Connections that only wait for stray packets (state 06) do not stand in a server's way.
port_is_free() {
    local hex
    printf -v hex '%04X' "$1"
    ! awk -v port=":$hex" 'substr($2, length($2) - 4) == port && $4 != "06" { found = 1 } END { exit !found }' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# Prints the first free port at or after $1.
free_port() {
    local port
    for ((port = $1; port < $1 + 200; port++)); do
        if port_is_free "$port"; then
            printf '%s\n' "$port"
            return
        fi
    done
    die "no free port between $1 and $((port - 1))"
}

# Starts a command in the background that ends when this script does, even if it is killed with -9.
# Its process id is in $!.
start_tied() { setpriv --pdeathsig TERM -- "$@" & }

# Ends a process of ours and waits for it: TERM, then KILL after $2 seconds (default 10).
stop_process() {
    local pid=$1 deadline=$((SECONDS + ${2:-10}))
    kill -TERM "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do
        if ((SECONDS >= deadline)); then
            say "note: process $pid ignored SIGTERM, killing it"
            kill -KILL "$pid" 2>/dev/null || true
            break
        fi
        sleep 0.05
    done
    wait "$pid" 2>/dev/null || true
}

# Waits until $1 (an http URL) answers 2xx while process $2 lives, at most $3 seconds.
await_http() {
    local url=$1 pid=$2 deadline=$((SECONDS + $3))
    until curl -fsS -o /dev/null --max-time 2 "$url" 2>/dev/null; do
        kill -0 "$pid" 2>/dev/null || return 1
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# A secret of $1 random bytes, in hexadecimal.
new_secret() { od -An -v -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# Daemon and benches at once, with the same features of what they share: one after another each would be built anew.
build_benches() {
    cargo build --release -p tidings-daemon -p tidings-benches -p tidings-micro
}

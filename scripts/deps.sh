#!/usr/bin/env bash
# Makes sure that everything a build (and, by argument, the tests) needs is on this machine.
#
#   scripts/deps.sh [test]
#
# Looks first and installs only what is missing, with apt as root or through sudo; elsewhere it
# prints what to install. Cargo is never installed for you.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

purpose=${1:-build}
case $purpose in
build | test) ;;
*) die "usage: scripts/deps.sh [test]" ;;
esac

missing=()      # Debian packages
missing_why=()  # the same for people on other systems
need() { # need PACKAGE WHAT CONDITION...
    local package=$1 what=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        missing+=("$package")
        missing_why+=("$what")
    fi
}

have() { command -v "$1"; }
have_libclang() {
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' || ldconfig -p | grep -q libclang
}
have_libc_headers() { [[ -r /usr/include/stdlib.h ]]; }
have_chromium() { [[ -n ${CHROMIUM:-} ]] || have chromium || have chromium-browser || have google-chrome; }
have_faketime() { compgen -G '/usr/lib/*/faketime/libfaketime.so.1'; }
have_server() { [[ -n "$(find_pg_config)" ]] && [[ -x "$("$(find_pg_config)" --bindir)/initdb" ]]; }

check_rust() {
    local minimum version
    minimum=$(sed -n 's/^rust-version *= *"\(.*\)"$/\1/p' "$root/Cargo.toml")
    command -v cargo >/dev/null || die "cargo is missing; Rust $minimum or newer is needed" \
        "Install it with rustup (https://rustup.rs):" \
        "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
    version=$(cargo --version | cut -d' ' -f2)
    if [[ $(printf '%s\n' "$minimum" "$version" | sort -V | head -n1) != "$minimum" ]]; then
        die "cargo is $version; Rust $minimum or newer is needed" "Run: rustup update stable"
    fi
}

# The major version that apt would install as "postgresql", unless one is here already.
postgresql_major() {
    local here
    here=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null | sort -rV | head -n1)
    if [[ -n $here ]]; then
        printf '%s\n' "$here"
    else
        apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n1
    fi
}

check_rust
need curl curl have curl
need gcc "a C compiler" have cc
need libc6-dev "the C library's headers" have_libc_headers
need make make have make
need pkg-config pkg-config have pkg-config
need clang clang have clang
need libclang-dev libclang have_libclang
need util-linux "setpriv and runuser (util-linux)" have setpriv
if ! have_server >/dev/null 2>&1; then
    # Resolved after `apt-get update`: a fresh container has no package lists yet.
    missing+=(POSTGRESQL)
    missing_why+=("PostgreSQL ($supported_postgresql), its server and its server headers")
fi
if [[ $purpose == test ]]; then
    need nodejs "Node.js 18 or newer" have node
    need npm npm have npm
    need python3-venv "Python 3.11 or newer with venv" python3 -c 'import ensurepip, sys; assert sys.version_info >= (3, 11)'
    need shellcheck shellcheck have shellcheck
    need libfaketime "libfaketime" have_faketime
    need chromium "Chromium (or CHROMIUM, the path of one)" have_chromium
fi

if ((${#missing[@]} == 0)); then
    exit 0
fi

sudo=()
if ((EUID != 0)); then
    if command -v sudo >/dev/null; then sudo=(sudo); else sudo=(none); fi
fi
if ! command -v apt-get >/dev/null || [[ ${sudo[*]} == none ]]; then
    packages=${missing[*]/POSTGRESQL/postgresql postgresql-server-dev-all}
    die "missing: $(printf '%s; ' "${missing_why[@]}")" \
        "On Debian or Ubuntu, as root: apt-get update && apt-get install -y $packages" \
        "Elsewhere, install the same with your package manager and set PG_CONFIG if needed."
fi

log=$(mktemp -t tidings-deps.XXXXXX.log)
say "installing: $(printf '%s; ' "${missing_why[@]}")(log: $log)"
apt() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$@" >>"$log" 2>&1; }
apt_failed() {
    tail -n 20 "$log" >&2
    die "apt could not install: ${packages[*]}" "The whole log is in $log."
}

packages=("${missing[@]}")
apt update || apt_failed
for i in "${!packages[@]}"; do
    # Ubuntu's name, for a snap.
    if [[ ${packages[i]} == chromium ]] && ! apt-cache show chromium >/dev/null 2>&1; then
        packages[i]=chromium-browser
    fi
    if [[ ${packages[i]} == POSTGRESQL ]]; then
        major=$(postgresql_major)
        [[ -n $major ]] || die "apt offers no package postgresql" "Install PostgreSQL $supported_postgresql by hand."
        packages[i]=postgresql-$major
        packages+=("postgresql-server-dev-$major")
    fi
done
apt install -y --no-install-recommends "${packages[@]}" || apt_failed
rm -f "$log"

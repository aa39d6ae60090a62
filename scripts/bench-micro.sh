#!/usr/bin/env bash
# Micro benches: CPU time and instructions of each station of the path, one thread, no socket and no database.
#
#   scripts/bench-micro.sh [--counts | --times | --keep] [FILTER]
#
# FILTER is a part of the names, `route/` for example. --counts counts instructions only, --times measures time
# only, --keep keeps the counts as those that later runs are compared with. RESULTS names a file that gets a
# JSON line for each value.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"
cd "$root"

times=1 counts=1 keep=''
case ${1:-} in
--counts) times='' && shift ;;
--times) counts='' && shift ;;
--keep) times='' keep=1 && shift ;;
esac
filter=${1:-}
kept=$root/benches/micro/instructions.tsv

on_first_core=()
if (($(nproc) > 1)); then on_first_core=(taskset -c 0); fi

counted=$(mktemp)
trap 'rm -f "$counted" "$counted.log" "$counted.all"' EXIT

# Each call of a case does as many units of work as it says; a few calls are enough, since instructions do not vary.
calls=20

build_benches
# An earlier run may have measured what this one does not.
rm -rf "$target/criterion"
if [[ -n $times ]]; then
    cargo bench -p tidings-micro --bench cases --no-run
    "${on_first_core[@]}" cargo bench -q -p tidings-micro --bench cases -- "$filter" >&2
fi

if [[ -n $counts ]]; then
    command -v valgrind >/dev/null || die "valgrind is not installed, so nothing can be counted" \
        "Install it (Debian: valgrind), or pass --times."
    "$target/release/micro" cases >"$counted.all"
    while IFS=$'\t' read -r name _ _; do
        if [[ $name != *"$filter"* ]]; then continue; fi
        say "counting $name"
        valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no \
            --toggle-collect='micro::count::counted*' "$target/release/micro" count "$name" "$calls" \
            >/dev/null 2>"$counted.log" || {
            tail -n 20 "$counted.log" >&2
            die "$name could not be counted"
        }
        sum=$(sed -n 's/^.*Collected : \([0-9]*\).*$/\1/p' "$counted.log")
        [[ -n $sum && $sum != 0 ]] || die "callgrind counted nothing of $name"
        printf '%s\t%s\n' "$name" "$((sum / calls))" >>"$counted"
    done <"$counted.all"
fi

if [[ -n $keep ]]; then
    [[ -z $filter ]] || die "what is kept is kept whole: no filter with --keep"
    cp "$counted" "$kept"
fi
"$target/release/micro" report "$target/criterion" "$counted" "$kept"

#!/usr/bin/env bash
# Stops the private clusters of this checkout and removes them and everything that was built.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

state=$(state_dir)
for cluster in "$state"/*/; do
    if [[ -d $cluster/data ]]; then "$root/scripts/cluster.sh" stop "$cluster"; fi
done
rm -rf "$state" "$root/tests/clients/node_modules" "$root/ui/node_modules"
cd "$root"
cargo clean

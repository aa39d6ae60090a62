#!/usr/bin/env bash
# Builds GraphiQL into ui/dist, or with --check says whether what is kept there is what a build makes.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

case ${1:-} in
'' | --check) ;;
*) die "usage: scripts/build-ui.sh [--check]" ;;
esac

command -v npm >/dev/null || die "npm is missing" "Run: scripts/deps.sh test"
cd "$root"
npm_install ui
node ui/build.mjs "$@"

#!/usr/bin/env bash
# What a machine can check without running anything.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "$0")/env.sh"

use_postgresql
cd "$root"

say "lint: rustfmt"
cargo fmt --all --check

# Two calls: the extension is the only package whose features depend on the PostgreSQL at hand.
say "lint: clippy"
cargo clippy --workspace --exclude tidings --all-targets -- -D warnings
cargo clippy -p tidings "${extension_features[@]}" --all-targets -- -D warnings

if command -v shellcheck >/dev/null; then
    say "lint: shellcheck"
    git ls-files -z --cached --others --exclude-standard -- '*.sh' .ci/run | xargs -0 shellcheck -x
else
    say "lint: shellcheck is not installed, scripts go unchecked (apt-get install shellcheck)"
fi

# Advisories need a download, so they are not part of this.
if cargo deny --version >/dev/null 2>&1; then
    say "lint: cargo-deny"
    cargo deny check licenses bans sources
else
    say "lint: cargo-deny is not installed, licences go unchecked (cargo install cargo-deny --locked)"
fi

#!/usr/bin/env bash
# Steady life in the shop until it is stopped: a few transactions a second, for both tenants.
#
#   demo/traffic.sh DATABASE_URL [TRANSACTIONS_PER_SECOND]
set -euo pipefail

url=${1:?usage: demo/traffic.sh DATABASE_URL [TRANSACTIONS_PER_SECOND]}
rate=${2:-4}
here=$(cd "$(dirname "$0")" && pwd -P)

# A year: in practice, as long as whoever started this lives.
exec "${PGBENCH:-pgbench}" --no-vacuum --client=1 --time=31536000 --rate="$rate" \
    --file="$here/traffic/place_order.sql"@2 \
    --file="$here/traffic/advance_order.sql"@7 \
    --file="$here/traffic/archive_order.sql"@3 \
    --file="$here/traffic/chat.sql"@1 \
    "$url"

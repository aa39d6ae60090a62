#!/usr/bin/env bash
# Loads the shop into a fresh database container; the postgres image runs it once.
set -euo pipefail

run() { psql -X -q -v ON_ERROR_STOP=1 --username postgres --dbname shop -o /dev/null "$@"; }

run -v daemon_password="$SHOP_DAEMON_PASSWORD" -v app_password="$SHOP_APP_PASSWORD" -f /demo/roles.sql
run -f /demo/shop.sql

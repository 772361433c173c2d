#!/bin/sh
# Does a backup restore? deploy/drill.sh FILE restores it into an empty place, audits it, serves it, and removes it again.
# The running server is not touched. With DRILL_DATABASE_URL, an empty PostgreSQL database, it restores there instead of SQLite.
# BELLWIRE names the command; exit status 0 means that every step worked.
set -eu

backup=$(realpath "${1:?usage: deploy/drill.sh FILE}")
cd "$(dirname "$0")/.."
bellwire=${BELLWIRE:-.venv/bin/python run.py}
place=$(mktemp -d)
server=
trap 'test -z "$server" || { kill "$server" && wait "$server" || true; }; rm -rf "$place"' EXIT
started=$(date +%s)

# Nothing of the running installation: its database, Redis, port and providers stay untouched.
for name in $(env | sed -n 's/^\(BELLWIRE_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
export BELLWIRE_DATA_DIR="$place/data" BELLWIRE_DATABASE_URL="${DRILL_DATABASE_URL:-}" BELLWIRE_REDIS_URL=
export BELLWIRE_HOST=127.0.0.1 BELLWIRE_PORT=0 BELLWIRE_PUBLIC_URL= BELLWIRE_LOG_LEVEL=WARNING BELLWIRE_WORKERS=1
export BELLWIRE_APNS_KEY= BELLWIRE_FCM_KEY= BELLWIRE_VAPID_SUBJECT= BELLWIRE_MEDIA_URL=

rows=$($bellwire restore "$backup")
echo "restored rows: $rows"
ledger=$($bellwire check ledger)
echo "ledger: $ledger"
$bellwire > "$place/said" 2> "$place/log" &
server=$!
until url=$(sed -n 's/^Bellwire is at \([^ ]*\).*/\1/p' "$place/said") && test -n "$url"; do
  kill -0 "$server" 2> /dev/null || { cat "$place/log"; exit 1; }
  sleep 0.2
done
curl --silent --show-error --fail --output /dev/null "$url/readyz"
user=$($bellwire user list | sed -n '1s/.*"id": "\([0-9a-f]*\)".*/\1/p')
if test -n "$user"; then
  token=$($bellwire token --user "$user")
  curl --silent --show-error --fail --output /dev/null "$url/api/v2/chats" --header "Authorization: Bearer $token"
fi
echo "the backup of $(date -r "$backup" '+%Y-%m-%d %H:%M') is good: restored and serving after $(($(date +%s) - started)) s"

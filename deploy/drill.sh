#!/bin/sh
# Does a backup restore? deploy/drill.sh FILE restores it into an empty place, audits it, serves it, and removes it again.
# The running installation is not touched, and nothing is sent: no push, no call of a webhook.
# With DRILL_DATABASE_URL, an empty PostgreSQL database, it restores there; drop that database afterwards.
# BELLWIRE names the command. It needs curl. Exit status 0 means that every step worked.
set -eu

backup=$(realpath "${1:?usage: deploy/drill.sh FILE}")
root=$(cd "$(dirname "$0")/.." && pwd)
bellwire=${BELLWIRE:-$root/.venv/bin/python $root/run.py}
place=$(mktemp -d)
server=
remove() {
  test -z "$server" || kill "$server" 2> /dev/null || true
  wait
  rm -rf "$place"
}
trap remove EXIT
trap 'exit 1' HUP INT TERM
started=$(date +%s)

# No settings of the running installation: neither those of its .env, which is in another folder, nor of the environment.
cd "$place"
for name in $(env | sed -n 's/^\(BELLWIRE_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
export BELLWIRE_DATA_DIR="$place/data" BELLWIRE_DATABASE_URL="${DRILL_DATABASE_URL:-}"
export BELLWIRE_PORT=0 BELLWIRE_LOG_LEVEL=WARNING BELLWIRE_DRAIN_SECONDS=0 BELLWIRE_WEBHOOK_CALLS=false

rows=$($bellwire restore "$backup")
echo "restored rows: $rows"
ledger=$($bellwire check ledger)
echo "faults of the ledger: $ledger"
: > said
$bellwire > said 2> log &
server=$!
until url=$(sed -n 's/^Bellwire is at \([^ ]*\).*/\1/p' said) && test -n "$url"; do
  kill -0 "$server" 2> /dev/null || { cat log; exit 1; }
  sleep 0.2
done
user="drill-$started-$$@example.invalid"
$bellwire user add "$user" --name Drill > made
token=$($bellwire token --user "$user")
for path in readyz api/v1/users/me api/v2/chats; do
  curl --silent --show-error --fail --output answer "$url/$path" --header "Authorization: Bearer $token"
done
echo "the backup of $(date -r "$backup" '+%Y-%m-%d %H:%M') is good: restored and serving after $(($(date +%s) - started)) s"

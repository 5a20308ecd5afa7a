#!/usr/bin/env bash
# scripts/schemathesis.sh BINARY [SCHEMATHESIS-ARGS…]: starts BINARY and holds it to its own /openapi.json with generated
# requests: no 5xx, and no status, media type, header or body that the description does not have.
source "$(dirname "$0")/lib.sh"

[ $# -ge 1 ] || die "usage: schemathesis.sh PATH_OF_CHAT_SERVER"
binary=$1
shift
tool=$("$ROOT/scripts/tools.sh" schemathesis)
scratch

# All requests come from one address and a few people, whose limits are the only ones lifted.
export FOLKMOOT_AUTH__LOGIN_PER_MINUTE_ADDRESS=1000000
export FOLKMOOT_AUTH__LOGIN_PER_MINUTE_ACCOUNT=100000
export FOLKMOOT_AUTH__REGISTER_PER_HOUR_ADDRESS=1000000
export FOLKMOOT_SERVER__REQUESTS_PER_SECOND=1000000
export FOLKMOOT_SERVER__REQUEST_BURST=1000000
export FOLKMOOT_SERVER__CHANNELS_PER_HOUR=1000000
export FOLKMOOT_SERVER__INVITATIONS_PER_HOUR=1000000
export FOLKMOOT_GATEWAY__COMMANDS_PER_SECOND=1000000
export FOLKMOOT_GATEWAY__COMMAND_BURST=1000000
export FOLKMOOT_FILES__UPLOADS_PER_HOUR=1000000
export FOLKMOOT_FILES__MAX_UNATTACHED_PER_PERSON=100000
start_server "$binary" --no-demo

export FOLKMOOT_URL=http://127.0.0.1:$SERVER_PORT
export PYTHONDONTWRITEBYTECODE=1
cd "$ROOT/scripts/schemathesis"
status=0
"$tool" --config-file schemathesis.toml run "$FOLKMOOT_URL/openapi.json" \
    --max-examples 30 --generation-database none --no-color "$@" || status=$?
kill -0 "$SERVER_PID" 2>/dev/null || { tail -n 50 "$SCRATCH/server.log" >&2; die "chat-server ended under the requests"; }
[ "$status" -eq 0 ] || { grep -E 'ERROR|panicked' "$SCRATCH/server.log" | tail -n 20 >&2; exit "$status"; }

#!/usr/bin/env bash
# scripts/schemathesis.sh BINARY [SCHEMATHESIS-ARGS…]: starts BINARY and holds it to its own /openapi.json with generated
# requests: no 5xx, and no status, media type, header or body that the description does not have.
# SCHEMATHESIS_SECONDS (150) bounds the whole.
source "$(dirname "$0")/lib.sh"

[ $# -ge 1 ] || die "expected the path of a chat-server binary"
binary=$1
shift
tool=$("$ROOT/scripts/tools.sh" schemathesis)
scratch

# All requests come from one address: its limits are the only ones lifted.
cat >"$SCRATCH/chat-server.toml" <<'TOML'
TOML
start_server "$binary" --no-demo

export FOLKMOOT_URL=http://127.0.0.1:$SERVER_PORT
export PYTHONDONTWRITEBYTECODE=1
cd "$ROOT/scripts/schemathesis"
status=0
"$tool" --config-file schemathesis.toml run "$FOLKMOOT_URL/openapi.json" \
    --max-examples 20 --generation-database none --no-color "$@" || status=$?
kill -0 "$SERVER_PID" 2>/dev/null || { tail -n 50 "$SCRATCH/server.log" >&2; die "chat-server ended under the requests"; }
[ "$status" -eq 0 ] || { grep -E 'ERROR|panicked' "$SCRATCH/server.log" | tail -n 20 >&2; exit "$status"; }

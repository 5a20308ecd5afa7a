#!/usr/bin/env bash
# Takes the pictures of README.md again, from a server and a Chromium of its own.
source "$(dirname "$0")/lib.sh"

cd "$ROOT"
node=$(scripts/tools.sh node)
CHROMIUM_BIN=$(scripts/tools.sh chromium)
CHAT_SERVER_BIN=$TARGET_DIR/debug/chat-server
export CHROMIUM_BIN CHAT_SERVER_BIN
cargo build --locked --bin chat-server
[ -d web-tests/node_modules ] || (cd web-tests && retry 3 npm ci --no-audit --no-fund --loglevel=error)
mkdir -p docs/images
"$node" scripts/screenshots.mjs

#!/usr/bin/env bash
# The bar of DESIGN for one machine: 2,000 sockets in channels of 50, 100 messages/s, 10 % of the sockets dropped and
# resumed a minute. Fails when an acknowledged message was lost, doubled or reordered, or delivery p99 is 50 ms or more.
# SECONDS_OF_LOAD (60) tells for how long; P99_BAR_MS= (empty) reports the latency without judging it, for machines that
# are busy with other work; PROFILE (release) is the build that is loaded; arguments go to chat-load after the script's own.
source "$(dirname "$0")/lib.sh"

SOCKETS=2000
CHANNEL_SIZE=50
SECONDS_OF_LOAD=${SECONDS_OF_LOAD:-60}
P99_BAR_MS=${P99_BAR_MS-50}
PROFILE=${PROFILE:-release}

# A socket is an open file on both sides.
ulimit -n 10000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" -ge 2500 ] || die "needs 2,500 open files, the limit is $(ulimit -n): raise it with ulimit -n"

cd "$ROOT"
cargo build --profile "$PROFILE" --locked --quiet --bin chat-server --bin chat-load
scratch
server=$TARGET_DIR/$PROFILE/chat-server
"$server" seed --data-dir "$SCRATCH/data" --users "$SOCKETS" --channels $((SOCKETS / CHANNEL_SIZE)) \
    --members "$CHANNEL_SIZE" --tokens "$SCRATCH/tokens.jsonl"
start_server "$server" --no-demo
"$TARGET_DIR/$PROFILE/chat-load" --url "http://127.0.0.1:$SERVER_PORT" --tokens "$SCRATCH/tokens.jsonl" \
    --connections "$SOCKETS" --rate 100 --seconds "$SECONDS_OF_LOAD" --churn 10 --server-pid "$SERVER_PID" \
    --json "$SCRATCH/result.json" "$@"
p99=$(tr -d ' \n' <"$SCRATCH/result.json" | sed -n 's/.*"delivery_ms":{[^}]*"p99":\([0-9]*\).*/\1/p')
[ -n "$p99" ] || die "the result has no delivery_ms.p99"
[ -z "$P99_BAR_MS" ] || [ "$p99" -lt "$P99_BAR_MS" ] || die "delivery p99 is $p99 ms, the bar is $P99_BAR_MS ms"

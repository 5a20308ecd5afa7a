#!/usr/bin/env bash
# What users notice when the parts of a cluster are taken away: three Cassandra nodes, Pulsar, two gateways, an api and an
# auth process behind HAProxy, 2,000 sockets in channels of 50, 100 messages/s, 10 % churn a minute. One after another a
# Cassandra node is killed, one hangs, the broker is killed, a gateway is killed, and all of Cassandra hangs for 30 s. Prints
# a table and fails when a bar is missed. Takes about twelve minutes. Arguments go to folkmoot-chaos (--only gateway-killed,
# --sockets 200). The findings are kept in bench-results/; CHAOS_LOGS=DIR keeps what the processes said when a bar is missed.
source "$(dirname "$0")/lib.sh"

SOCKETS=2000
CHANNEL_SIZE=50

# A socket is an open file of this process, two of HAProxy, one of a gateway.
ulimit -n 20000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" -ge 10000 ] || die "needs 10,000 open files, the limit is $(ulimit -n): raise it with ulimit -n"

cd "$ROOT"
cargo build --release --locked --quiet --bin chat-server --bin folkmoot-chaos
mkdir -p bench-results
scratch
export CLUSTER_DIR=$SCRATCH/cluster CHAT_SERVER_BIN=$TARGET_DIR/release/chat-server
CLUSTER_PORT=$(free_port)
export CLUSTER_PORT

finish() {
    local status=$?
    if [ "$status" -ne 0 ] && [ -n "${CHAOS_LOGS:-}" ]; then
        mkdir -p "$CHAOS_LOGS"
        for log in "$CLUSTER_DIR"/*/log; do cp -R "$log" "$CHAOS_LOGS/$(basename "$(dirname "$log")")" || true; done
    fi
    "$ROOT/scripts/cluster.sh" down || true
    cleanup
}
trap finish EXIT

"$ROOT/scripts/cluster.sh" up --fresh
# shellcheck disable=SC1091 # written by the line above
source "$CLUSTER_DIR/cluster.env"
"$CHAT_SERVER_BIN" seed --config "$CLUSTER_CONFIG" --data-dir "$SCRATCH/seed" --users "$SOCKETS" \
    --channels $((SOCKETS / CHANNEL_SIZE)) --members "$CHANNEL_SIZE" --tokens "$SCRATCH/tokens.jsonl"
"$TARGET_DIR/release/folkmoot-chaos" --cluster "$ROOT/scripts/cluster.sh" --url "$CLUSTER_URL" --api "$CLUSTER_URL" \
    --tokens "$SCRATCH/tokens.jsonl" --json "bench-results/chaos-$(date +%Y%m%d-%H%M%S).json" "$@"

#!/usr/bin/env bash
# A whole organisation on this machine: 250,000 users in 5,000 channels, 75,000 of them connected over five gateways, one
# Cassandra node and Pulsar: the mean rate of messages, ten times that, and a gateway killed with all its sockets. Prints a table
# of what was measured beside its bars; fails only when something was lost, doubled or reordered. docs/scaling.md says more.
#
#     scripts/scale.sh [--sockets N] [--users N] [--channels N] [--gateways N] [--seconds S] [--embedded] [ARGS…]
#
# --seconds is the length of each phase. --embedded: one process on the embedded store, with as many sockets as it may hold. A small run:
# --sockets 2000 --users 5000 --channels 200 --seconds 20. Other arguments go to `folkmoot-scale run` (--help lists them). Needs 12 GiB of
# memory in full. The table, what was found and a picture of it over time are kept in bench-results/. SCALE_LOGS=DIR keeps what the processes
# said; PROFILE (release) is the build. Everything listens on 127.0.0.0/8 only, and ends with this script.
source "$(dirname "$0")/engines/lib.sh"

SOCKETS=
USERS=
CHANNELS=5000
GATEWAYS=5
SECONDS_EACH=60
EMBEDDED=
PASSED=()
PROFILE=${PROFILE:-release}

number() {
    case ${2:-} in '' | *[!0-9]* | 0*) die "$1 needs a number from 1 on" ;; esac
}

while [ $# -gt 0 ]; do
    case $1 in
        --sockets | --users | --channels | --gateways | --seconds)
            number "$@"
            case $1 in
                --sockets) SOCKETS=$2 ;;
                --users) USERS=$2 ;;
                --channels) CHANNELS=$2 ;;
                --gateways) GATEWAYS=$2 ;;
                --seconds) SECONDS_EACH=$2 ;;
            esac
            shift
            ;;
        --embedded) EMBEDDED=1 ;;
        --help | -h)
            sed -n '2,/^source/ { /^source/d; s/^# \{0,1\}//; p }' "$0"
            exit
            ;;
        *) PASSED+=("$1") ;;
    esac
    shift
done

# A socket is an open file of a gateway and of a process that holds it.
ulimit -n 20000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
FILES=$(ulimit -n)
# What a process needs beside its sockets.
EACH=$((FILES - 1400))
[ "$EACH" -gt 0 ] || die "needs 2,000 open files a process, the limit is $FILES: raise it with ulimit -n"
if [ -n "$EMBEDDED" ]; then
    GATEWAYS=1
    SOCKETS=${SOCKETS:-$EACH}
else
    SOCKETS=${SOCKETS:-75000}
    # When one is gone the others hold all.
    holding=$((GATEWAYS > 1 ? GATEWAYS - 1 : 1))
    [ "$SOCKETS" -le $((holding * (FILES - 1000))) ] ||
        die "$SOCKETS sockets do not fit into $holding gateways of $FILES open files (ulimit -n)"
fi
USERS=${USERS:-$((SOCKETS * 10 / 3))}
[ "$USERS" -ge "$SOCKETS" ] || die "--users $USERS: each of the $SOCKETS sockets is another user's"
WORKERS=$(((SOCKETS + 14999) / 15000))

cd "$ROOT"
if [ -z "${SCALE_BIN_DIR:-}" ]; then
    cargo build --profile "$PROFILE" --locked --quiet --bin chat-server --bin folkmoot-scale
    SCALE_BIN_DIR=$TARGET_DIR/$PROFILE
fi
SERVER=$SCALE_BIN_DIR/chat-server
SCALE=$SCALE_BIN_DIR/folkmoot-scale
mkdir -p bench-results
RESULT=bench-results/scale-$(date +%Y%m%d-%H%M%S)
scratch

keep_logs() {
    local log
    [ -n "${SCALE_LOGS:-}" ] || return 0
    mkdir -p "$SCALE_LOGS"
    for log in "$SCRATCH"/cluster/*/log; do cp -R "$log" "$SCALE_LOGS/$(basename "$(dirname "$log")")" || true; done
    cp "$SCRATCH/server.log" "$SCALE_LOGS/" 2>/dev/null || true
}

# seed ARGS…: people, channels, and tokens for those who connect.
seed() {
    local began=$SECONDS
    # shellcheck disable=SC2046 # two options and their values
    "$SERVER" seed "$@" --users "$USERS" --online "$SOCKETS" --tokens "$SCRATCH/tokens.jsonl" \
        $("$SCALE" spread --sockets "$SOCKETS" --users "$USERS" --channels "$CHANNELS")
    say "the store is filled after $((SECONDS - began)) s"
}

# run TITLE ARGS…: nicer than the servers are, which would have processors of their own.
run() {
    local title=$1
    shift
    "$SCALE" run --title "$title" --tokens "$SCRATCH/tokens.jsonl" --workers "$WORKERS" --seconds "$SECONDS_EACH" \
        --json "$RESULT.json" --picture "$RESULT.svg" "$@" ${PASSED[@]+"${PASSED[@]}"} | tee "$RESULT.txt"
    say "kept in $RESULT.{txt,json,svg}"
}

on_embedded() {
    trap 'keep_logs; cleanup' EXIT
    seed --data-dir "$SCRATCH/data"
    start_server "$SERVER" --no-demo
    run "$SOCKETS sockets, one process on the embedded store" --api "http://127.0.0.1:$SERVER_PORT" \
        --gateway "server,http://127.0.0.1:$SERVER_PORT,$SERVER_PID"
}

on_cluster() {
    # Throughput is what is measured: the JVMs run as servers do.
    export CLUSTER_DIR=$SCRATCH/cluster CLUSTER_NODES=1 CLUSTER_GATEWAYS=$GATEWAYS CLUSTER_TLS=0 CHAT_SERVER_BIN=$SERVER
    export ENGINES_JIT=${ENGINES_JIT:-full}
    CLUSTER_PORT=$(free_port)
    export CLUSTER_PORT
    trap 'keep_logs; "$ROOT/scripts/cluster.sh" down; cleanup' EXIT
    "$ROOT/scripts/cluster.sh" up --fresh >&2
    seed --config "$CLUSTER_DIR/cluster.toml" --data-dir "$SCRATCH/seed"
    cat >"$SCRATCH/reads.sh" <<READS
#!/bin/bash
# Single partitions that the node has read for the chat.
ENGINES_DIR="$CLUSTER_DIR" "$ROOT/scripts/engines/cassandra.sh" nodetool 1 tablestats folkmoot |
    awk '/Table: / { table = \$2 } /Local read count/ { sum += \$4; print table, \$4 >"/dev/stderr" } END { print sum + 0 }' \
        2>>"$CLUSTER_DIR/cassandra1/log/reads.txt"
READS
    chmod +x "$SCRATCH/reads.sh"
    local name
    local gateways=()
    for name in $(seq -f 'gateway%g' 1 "$GATEWAYS"); do
        gateways+=(--gateway "$name,http://127.0.0.1:$(cat "$CLUSTER_DIR/$name/port"),$(cat "$CLUSTER_DIR/$name/pid")")
    done
    run "$SOCKETS sockets of $USERS users in $CHANNELS channels, $GATEWAYS gateways, Cassandra and Pulsar" \
        --api "http://127.0.0.1:$(cat "$CLUSTER_DIR/api/port")" "${gateways[@]}" \
        --beside "cassandra,$(cat "$CLUSTER_DIR/cassandra1/pid")" --beside "pulsar,$(cat "$CLUSTER_DIR/pulsar/pid")" \
        --cluster "$ROOT/scripts/cluster.sh" --store-reads "$SCRATCH/reads.sh"
}

if [ -n "$EMBEDDED" ]; then on_embedded; else on_cluster; fi

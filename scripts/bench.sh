#!/usr/bin/env bash
# CPU per delivery, memory per socket and connects a second, beside a bare epoll broadcaster; durable sends, messages
# beside reactions, and pages of a long log on one Cassandra node and two gateways, beside the embedded store; memory and
# requests of the operator with 200 ChatClusters. Arguments go to folkmoot-bench (--only durable for one part, --quick);
# --only operator is the operator alone.
# BENCH_CLUSTER=0 leaves out what needs Cassandra and Pulsar. The numbers are kept in bench-results/.
source "$(dirname "$0")/lib.sh"

# 15,000 sockets, all open files of one process on either side.
ulimit -n 20000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" -ge 16000 ] || say "note: 15,000 sockets need 16,000 open files, the limit is $(ulimit -n)"

cd "$ROOT"
operator() {
    cargo bench --locked --quiet -p folkmoot-operator --bench steady
}
if [ "$*" = "--only operator" ]; then
    operator
    exit
fi

cargo build --release --locked --bin chat-server --bin folkmoot-bench
mkdir -p bench-results

bench() {
    "$TARGET_DIR/release/folkmoot-bench" --json "bench-results/$(date +%Y%m%d-%H%M%S).json" "$@"
}

# The cluster runs only while something needs it: it would take its share of what the other parts measure.
on_cluster() {
    scratch
    export CLUSTER_DIR=$SCRATCH/cluster CLUSTER_NODES=1 CLUSTER_GATEWAYS=2 CLUSTER_TLS=0
    # As servers run: throughput is what is measured.
    export CHAT_SERVER_BIN=$TARGET_DIR/release/chat-server ENGINES_JIT=full
    CLUSTER_PORT=$(free_port)
    export CLUSTER_PORT
    trap '"$ROOT/scripts/cluster.sh" down; cleanup' EXIT
    "$ROOT/scripts/cluster.sh" up --fresh
    # shellcheck disable=SC1091 # written by the line above
    source "$CLUSTER_DIR/cluster.env"
    bench --cluster "$CLUSTER_CONFIG" --gateway "$CLUSTER_GATEWAY1" --gateway "$CLUSTER_GATEWAY2" --api "$CLUSTER_API" "$@"
}

case " $* " in
    *" durable "* | *" reactions "* | *" long-log "* | *"=durable "* | *"=reactions "* | *"=long-log "*) on_cluster "$@" ;;
    *" --only"*) bench "$@" ;;
    *)
        failed=0
        bench "$@" || failed=$?
        operator || failed=$?
        [ "${BENCH_CLUSTER:-1}" = 0 ] || on_cluster --only durable --only reactions --only long-log "$@" || failed=$?
        exit "$failed"
        ;;
esac

#!/usr/bin/env bash
# What users of a chat on Kubernetes notice while it is scaled, replaced and killed, for minutes, with release builds: makes a
# cluster of processes with two nodes, three Cassandra nodes, Pulsar and the operator (scripts/kube/testbed.sh), runs chaos-cluster in it,
# and ends all of it. Prints a table for each row and fails when a bar is missed. Takes about 45 minutes; docs/chaos.md says what is
# done and how it is judged.
#
#     scripts/chaos-cluster.sh [--keep] [--record DIR] [ARGS…]
#
# ARGS go to chaos-cluster: --only scale|rollouts|availability, --minutes 2, --size 0.1. With --record a Prometheus scrapes the chats and
# the operator every 5 s, and leaves in DIR what it recorded.
#
# Needs Linux, root, 16 GiB and 20,000 open files. The findings are kept in bench-results/; of a run that fails target/chaos-cluster
# keeps what every process, pod and object said. FOLKMOOT_KIND_PROFILE=debug for trying the script itself.
FOLKMOOT_KIND_PROFILE=${FOLKMOOT_KIND_PROFILE:-release}
source "$(dirname "$0")/kube/testbed.sh"

LOGS=$TARGET_DIR/chaos-cluster
CASSANDRA_NODES=3
arguments=()
recording=
while [ $# -gt 0 ]; do
    case $1 in
        --keep) KEEP=1 ;;
        --record)
            recording=${2:-}
            [ -n "$recording" ] || die "--record needs a directory"
            [ -z "$(ls -A "$recording" 2>/dev/null)" ] || die "$recording is not empty: one run, one recording"
            case $recording in /*) ;; *) recording=$PWD/$recording ;; esac
            shift
            ;;
        *) arguments+=("$1") ;;
    esac
    shift
done

build() {
    local began=$SECONDS
    (cd "$ROOT" && cargo build --locked --quiet ${RELEASE[@]+"${RELEASE[@]}"} --bin chat-server --bin folkmoot --bin folkmoot-operator --bin chaos-cluster)
    say "built after $((SECONDS - began)) s"
}

ulimit -n 50000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" -ge 10000 ] || die "needs 10,000 open files, the limit is $(ulimit -n): raise it with ulimit -n"
[ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ] && [ -z "${KUBECONFIG:-}${FOLKMOOT_TEST_CASSANDRA:-}${FOLKMOOT_TEST_PULSAR:-}" ] ||
    die "this needs Linux and root, and no KUBECONFIG or engines in the environment: parts of the cluster are killed"
began=$SECONDS
# Fetched before anything is measured.
[ -z "$recording" ] || prometheus=$("$ROOT/scripts/tools.sh" prometheus)
begin_testbed
build
# shellcheck disable=SC2046 # one word for each
prepare_testbed $("$PROGRAMS/chaos-cluster" --namespaces)
say "ready after $((SECONDS - began)) s"
[ -z "$recording" ] || begin_recording "$prometheus" "$recording"
mkdir -p "$ROOT/bench-results"
inside "$PROGRAMS/chaos-cluster" --json "$ROOT/bench-results/chaos-cluster-$(date +%Y%m%d-%H%M%S).json" ${arguments[@]+"${arguments[@]}"}

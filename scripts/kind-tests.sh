#!/usr/bin/env bash
# The operator on a real Kubernetes with a real Cassandra and Pulsar: makes what is missing of them, installs the charts, runs
# the tests of kind-tests/, and ends what it started.
#
#     scripts/kind-tests.sh [--kind] [--keep] [TEST…]   all tests, or those whose name contains one of these; --keep leaves
#                                                       everything running, and says how to reach it
#     scripts/kind-tests.sh --list                      the names
#
# Which cluster: that of KUBECONFIG, if set. With --kind, one by `kind` with two workers, which needs Docker on this machine (Linux)
# and an image of a node that can be pulled. Otherwise one of processes in a network namespace (scripts/kube/cluster.sh), which
# needs Linux and root but neither Docker nor a registry; where that is not to be had and kind is, kind.
#
# The engines run as processes on an address that pods and tests reach, unless the environment names some, as
# target/engines/engines.env does (FOLKMOOT_TEST_CASSANDRA=…, FOLKMOOT_TEST_PULSAR=…, and so on). Beside KUBECONFIG they must be named, and
# FOLKMOOT_KIND_LOADED=1 says that the nodes have the images: folkmoot/chat-server and folkmoot/operator, each as VERSION and as `next`.
# Of that cluster nothing is touched but namespaces kt-*, folkmoot-system, and what the charts make.
#
# More environment: FOLKMOOT_KIND_NODE_IMAGE (for kind), FOLKMOOT_KIND_PROFILE (debug, or release),
# FOLKMOOT_KIND_CONCURRENCY (2; tests at once). Of a run that fails, target/kind-tests keeps what every process, pod and object said.
source "$(dirname "$0")/kube/testbed.sh"

LIST=
chosen=()
for argument in "$@"; do
    case $argument in
        --kind) CLUSTER=kind ;;
        --keep) KEEP=1 ;;
        --list) LIST=1 ;;
        -*) die "unknown option $argument; there are --kind, --keep and --list" ;;
        *) chosen+=("$argument") ;;
    esac
done

build() {
    local began=$SECONDS
    # One call: another choice of packages would choose other features of what they share, and compile that twice.
    E2E=$(cd "$ROOT" && cargo build --locked --quiet ${RELEASE[@]+"${RELEASE[@]}"} --bin chat-server --bin folkmoot --bin folkmoot-operator \
        --test e2e --message-format=json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\/e2e-[^"]*\)".*/\1/p' | tail -n 1)
    [ -x "$E2E" ] || die "cargo did not say where the tests are"
    say "built after $((SECONDS - began)) s"
}

if [ -n "$LIST" ]; then
    build
    "$E2E" --list
    exit
fi
began=$SECONDS
begin_testbed
build
# shellcheck disable=SC2046 # one word for each
prepare_testbed $("$E2E" --namespaces)
say "ready for tests after $((SECONDS - began)) s"
inside "$E2E" ${chosen[@]+"${chosen[@]}"}
say "kind-tests passed after $((SECONDS - began)) s"

#!/usr/bin/env bash
# The operator on a real Kubernetes with a real Cassandra and Pulsar: makes what is missing of them, installs the charts, runs
# the tests of kind-tests/, and ends what it started.
#
#     scripts/kind-tests.sh [--keep] [TEST…]   all tests, or those whose name contains one of these; --keep leaves everything
#                                              running, and says how to reach it
#     scripts/kind-tests.sh --list             the names
#
# Without KUBECONFIG, the cluster is one of processes in a network namespace (scripts/kube/cluster.sh), which needs Linux and root
# but neither Docker nor a registry; the engines run beside it, in its network. With KUBECONFIG, that cluster is used. It is
# asked for what tests make: namespaces kt-*, the charts' objects, and nothing else of it is touched. Then these are needed:
#
#     FOLKMOOT_KIND_LOADED=1        its nodes have the images already: folkmoot/chat-server and folkmoot/operator, each as VERSION
#                                   and as `next`; without it, `kind load image-archive` brings them to FOLKMOOT_KIND_CLUSTER (kind)
#     FOLKMOOT_TEST_CASSANDRA=…     engines that pods and tests reach under the same address, and all that is told of them in
#     FOLKMOOT_TEST_PULSAR=…        target/engines/engines.env
#     FOLKMOOT_KIND_REACH=port-forward   where the addresses of Services lead nowhere from here (any kind but cluster-ip)
#
# More environment: FOLKMOOT_KIND_PROFILE (debug; or release, of the images), FOLKMOOT_KIND_CONCURRENCY (3; tests at once). Of a run that fails,
# target/kind-tests keeps what every process, pod and object had to say.
source "$(dirname "$0")/lib.sh"

KEEP=
LIST=
chosen=()
for argument in "$@"; do
    case $argument in
        --keep) KEEP=1 ;;
        --list) LIST=1 ;;
        -*) die "unknown option $argument; there are --keep and --list" ;;
        *) chosen+=("$argument") ;;
    esac
done

LOGS=$TARGET_DIR/kind-tests
SYSTEM=folkmoot-system
VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml")
OWN_CLUSTER=
NODE_ADDRESS=10.111.0.1

cluster() { "$ROOT/scripts/kube/cluster.sh" "$@"; }

# inside COMMAND…: where the cluster can be reached, with kubectl and helm.
inside() {
    if [ -n "$OWN_CLUSTER" ]; then
        cluster exec --dir "$SCRATCH/kube" "$@"
    else
        "$@"
    fi
}

# --- begin ---

build() {
    local began=$SECONDS
    (
        cd "$ROOT"
        cargo build --locked --quiet --bin chat-server --bin folkmoot --bin folkmoot-operator
        cargo test --locked --quiet -p kind-tests --test e2e --no-run
    )
    E2E=$(cd "$ROOT" && cargo test --locked --quiet -p kind-tests --test e2e --no-run --message-format=json |
        sed -n 's/.*"executable":"\([^"]*\/e2e-[^"]*\)".*/\1/p' | tail -n 1)
    [ -x "$E2E" ] || die "expected cargo to tell where the tests are"
    say "built after $((SECONDS - began)) s"
}

begin_cluster() {
    if [ -n "${KUBECONFIG:-}" ]; then
        local command
        for command in kubectl helm; do
            command -v "$command" >/dev/null 2>&1 || die "expected $command: it installs the charts into the cluster of KUBECONFIG"
        done
        [ -n "${FOLKMOOT_TEST_CASSANDRA:-}" ] && [ -n "${FOLKMOOT_TEST_PULSAR:-}" ] ||
            die "expected FOLKMOOT_TEST_CASSANDRA and FOLKMOOT_TEST_PULSAR beside KUBECONFIG: engines that its pods reach"
        return
    fi
    [ "$(uname)" = Linux ] || die "expected Linux or KUBECONFIG: a cluster of processes is made on Linux only (elsewhere: make kind-test)"
    [ "$(id -u)" = 0 ] || die "expected root or KUBECONFIG: a node of processes needs namespaces and mounts (else: make kind-test)"
    # Whatever fetches, before it is out of the network's reach.
    "$ROOT/scripts/engines/cassandra.sh" install
    "$ROOT/scripts/engines/pulsar.sh" install
    OWN_CLUSTER=1
    cluster up --dir "$SCRATCH/kube"
}

# Both in the cluster's network, on the address of its node.
begin_engines() {
    [ -n "$OWN_CLUSTER" ] || return 0
    local engine pids=()
    for engine in cassandra pulsar; do
        inside env CASSANDRA_ADDRESSES=$NODE_ADDRESS PULSAR_ADDRESS=$NODE_ADDRESS \
            "$ROOT/scripts/engines/$engine.sh" up --dir "$SCRATCH/engines" >"$SCRATCH/$engine.log" 2>&1 &
        pids+=($!)
    done
    ENGINES_STARTING=${pids[*]}
}

engines_ready() {
    [ -n "$OWN_CLUSTER" ] || return 0
    local pid
    for pid in $ENGINES_STARTING; do
        wait "$pid" || { cat "$SCRATCH"/{cassandra,pulsar}.log >&2; die "the engines do not start"; }
    done
    cat "$SCRATCH"/{cassandra,pulsar}.log >&2
    set -a
    # shellcheck disable=SC1091 # written by the engines' scripts
    source "$SCRATCH/engines/engines.env"
    set +a
}

# The same programs under two tags: what an upgrade does is asked, not what a new version does.
load_images() {
    [ -z "${FOLKMOOT_KIND_LOADED:-}" ] || return 0
    local archive
    "$ROOT/scripts/images.sh" --profile "${FOLKMOOT_KIND_PROFILE:-debug}" --tag next --out "$SCRATCH/images" >/dev/null
    if [ -n "$OWN_CLUSTER" ]; then
        cluster load --dir "$SCRATCH/kube" "$SCRATCH"/images/*.tar
    else
        for archive in "$SCRATCH"/images/*.tar; do
            kind load image-archive "$archive" --name "${FOLKMOOT_KIND_CLUSTER:-kind}"
        done
    fi
    rm -r "$SCRATCH/images"
}

# A namespace for each test, with the strictest admission level there is, before the operator that watches them.
namespaces() {
    local name
    for name in $("$E2E" --namespaces) $SYSTEM; do
        inside kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Namespace
metadata:
  name: $name
  labels: {pod-security.kubernetes.io/enforce: restricted, folkmoot.dev/tests: "true"}
YAML
    done
}

install_charts() {
    local began=$SECONDS watched
    watched=$("$E2E" --namespaces | paste -s -d ,)
    # Kinds that add-ons bring: the operator is to find them. Where the add-ons are, their kinds stay.
    inside kubectl create -f "$ROOT/kind-tests/addons.yaml" >/dev/null 2>&1 || true
    inside helm upgrade --install folkmoot-crds "$ROOT/charts/folkmoot-crds" --namespace $SYSTEM --wait >/dev/null
    inside helm upgrade --install folkmoot "$ROOT/charts/folkmoot" --namespace $SYSTEM --wait --timeout 120s \
        --set "watch.namespaces={$watched}" >/dev/null
    say "the operator runs, $((SECONDS - began)) s after its charts came"
}

# --- end ---

gather() {
    mkdir -p "$LOGS"
    if [ -n "$OWN_CLUSTER" ]; then
        local process
        for process in "$SCRATCH"/kube/*/log/stdout.log; do
            cp "$process" "$LOGS/$(basename "$(dirname "$(dirname "$process")")").log" 2>/dev/null || true
        done
        cp "$SCRATCH/kube/kube-apiserver/audit.log" "$SCRATCH"/*.log "$LOGS" 2>/dev/null || true
    fi
    inside kubectl get events -A --sort-by=.lastTimestamp >"$LOGS/events.txt" 2>&1 || true
    inside kubectl get pods -A -o wide >"$LOGS/pods.txt" 2>&1 || true
    inside kubectl -n $SYSTEM logs --all-containers --prefix --tail=-1 -l app.kubernetes.io/name=folkmoot-operator >"$LOGS/operator.log" 2>&1 || true
    say "what everything said is in $LOGS"
}

end() {
    local status=$?
    trap - EXIT
    set +e
    if [ "$status" -ne 0 ] && [ -e "$SCRATCH/installing" ]; then gather; fi
    if [ -n "$KEEP" ] && [ -n "$OWN_CLUSTER" ]; then
        say "left running: scripts/kube/cluster.sh exec --dir $SCRATCH/kube kubectl get pods -A"
        say "the end: scripts/engines/{cassandra,pulsar}.sh down --dir $SCRATCH/engines; scripts/kube/cluster.sh down --dir $SCRATCH/kube; rm -r $SCRATCH"
        exit "$status"
    fi
    if [ -n "$OWN_CLUSTER" ]; then
        # Those that are still starting end with what they started.
        for pid in ${ENGINES_STARTING:-}; do
            if kill "$pid" 2>/dev/null; then wait "$pid"; fi
        done
        "$ROOT/scripts/engines/cassandra.sh" down --dir "$SCRATCH/engines"
        "$ROOT/scripts/engines/pulsar.sh" down --dir "$SCRATCH/engines"
        cluster down --dir "$SCRATCH/kube"
    elif [ -e "$SCRATCH/installing" ]; then
        kubectl delete chatclusters --all-namespaces -l folkmoot.dev/tests=true --timeout=90s
        helm uninstall folkmoot --namespace $SYSTEM
        kubectl delete namespace -l folkmoot.dev/tests=true --wait=false
    fi
    cleanup
    exit "$status"
}

# --- run ---

scratch
# Pods, which are other users, read what lies there.
chmod 755 "$SCRATCH"
ENGINES_STARTING=
trap end EXIT
began=$SECONDS
if [ -n "$LIST" ]; then
    build
    "$E2E" --list
    exit
fi
rm -rf "$LOGS"
begin_cluster
begin_engines
build
touch "$SCRATCH/installing"
load_images
namespaces
install_charts
engines_ready
say "ready for tests after $((SECONDS - began)) s"
export FOLKMOOT_KIND_TESTS=1 FOLKMOOT_KIND_LOGS=$LOGS FOLKMOOT_KIND_SYSTEM=$SYSTEM FOLKMOOT_KIND_ROOT=$ROOT \
    FOLKMOOT_KIND_CLI=$TARGET_DIR/debug/folkmoot FOLKMOOT_KIND_VERSION=$VERSION
if [ -n "$OWN_CLUSTER" ]; then export FOLKMOOT_KIND_AUDIT_LOG=$SCRATCH/kube/kube-apiserver/audit.log; fi
inside "$E2E" ${chosen[@]+"${chosen[@]}"}
say "kind-tests passed after $((SECONDS - began)) s"

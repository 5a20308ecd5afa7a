# shellcheck shell=bash
# A Kubernetes with the operator, a Cassandra and a Pulsar, for scripts/kind-tests.sh and scripts/chaos-cluster.sh: makes what is
# missing of them, and ends what it started. Sourced, never run. Those scripts say in their heads what of the environment it heeds; they
# set CLUSTER (kind, or nothing), KEEP, LOGS and CASSANDRA_NODES.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

LOGS=${LOGS:-$TARGET_DIR/kind-tests}
CLUSTER=${CLUSTER:-}
KEEP=${KEEP:-}
# Of Cassandra.
CASSANDRA_NODES=${CASSANDRA_NODES:-1}
PROFILE=${FOLKMOOT_KIND_PROFILE:-debug}
# Where programs are, of this profile.
PROGRAMS=$TARGET_DIR/$PROFILE
RELEASE=()
[ "$PROFILE" = debug ] || RELEASE=(--release)
ENGINES_STARTING=
RECORDING=
SYSTEM=folkmoot-system
# Of kind's cluster.
NAME=folkmoot-$$
VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml")

can_kind() { command -v kind >/dev/null 2>&1 && docker info >/dev/null 2>&1; }

choose_cluster() {
    if [ -n "${KUBECONFIG:-}" ] && [ "$CLUSTER" != kind ]; then
        [ -n "${FOLKMOOT_TEST_CASSANDRA:-}" ] && [ -n "${FOLKMOOT_TEST_PULSAR:-}" ] ||
            die "KUBECONFIG needs FOLKMOOT_TEST_CASSANDRA and FOLKMOOT_TEST_PULSAR beside it: engines that its pods reach"
        [ -n "${FOLKMOOT_KIND_LOADED:-}" ] ||
            die "KUBECONFIG needs FOLKMOOT_KIND_LOADED=1 beside it, once its nodes have the images (scripts/images.sh --tag next)"
        CLUSTER=given
    elif [ "$CLUSTER" = kind ]; then
        can_kind || die "kind is missing, or Docker does not answer: https://kind.sigs.k8s.io"
        [ "$(uname)" = Linux ] || die "this needs Linux: elsewhere the nodes of kind do not reach engines of this machine (else: KUBECONFIG=…)"
    elif [ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ]; then
        CLUSTER=processes
    elif [ "$(uname)" = Linux ] && can_kind; then
        CLUSTER=kind
    else
        die "there is no cluster to test on: it takes Linux and root (a cluster of processes), kind with Docker on Linux, or KUBECONFIG"
    fi
}

cluster() { "$ROOT/scripts/kube/cluster.sh" "$@"; }

# inside COMMAND…: where the cluster can be reached, with kubectl and helm.
inside() {
    if [ "$CLUSTER" = processes ]; then
        cluster exec --dir "$SCRATCH/kube" "$@"
    else
        "$@"
    fi
}

# --- begin ---

# A control plane that writes down what accounts of pods ask for, and two workers.
begin_kind() {
    mkdir -p "$SCRATCH/audit"
    cp "$ROOT/scripts/kube/audit.yaml" "$SCRATCH/audit/policy.yaml"
    cat >"$SCRATCH/kind.yaml" <<YAML
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
- role: control-plane
  extraMounts: [{hostPath: $SCRATCH/audit, containerPath: /audit}]
  kubeadmConfigPatches:
  - |
    kind: ClusterConfiguration
    apiServer:
      extraArgs:
        audit-policy-file: /audit/policy.yaml
        audit-log-path: /audit/audit.log
        enable-admission-plugins: NodeRestriction,OwnerReferencesPermissionEnforcement
      extraVolumes: [{name: audit, hostPath: /audit, mountPath: /audit, readOnly: false, pathType: DirectoryOrCreate}]
- role: worker
- role: worker
YAML
    touch "$SCRATCH/kind"
    kind create cluster --name "$NAME" --config "$SCRATCH/kind.yaml" --kubeconfig "$SCRATCH/kubeconfig" --wait 180s \
        ${FOLKMOOT_KIND_NODE_IMAGE:+--image "$FOLKMOOT_KIND_NODE_IMAGE"} >&2
    export KUBECONFIG=$SCRATCH/kubeconfig FOLKMOOT_KIND_REACH=port-forward FOLKMOOT_KIND_AUDIT_LOG=$SCRATCH/audit/audit.log
}

begin_cluster() {
    local tool
    if [ "$CLUSTER" != processes ]; then
        for tool in kubectl helm; do PATH=$(dirname "$("$ROOT/scripts/tools.sh" $tool)"):$PATH; done
        export PATH
    fi
    # Whatever fetches, before it is out of the network's reach.
    if [ -z "${FOLKMOOT_TEST_CASSANDRA:-}" ]; then
        "$ROOT/scripts/engines/cassandra.sh" install
        "$ROOT/scripts/engines/pulsar.sh" install
    fi
    case $CLUSTER in
        processes)
            cluster up --nodes 2 --dir "$SCRATCH/kube"
            export FOLKMOOT_KIND_AUDIT_LOG=$SCRATCH/kube/kube-apiserver/audit.log
            ;;
        kind) begin_kind ;;
    esac
}

# This machine's address in the network of the nodes.
engines_address() {
    if [ "$CLUSTER" = processes ]; then
        echo 10.111.0.1
    else
        docker network inspect kind --format '{{range .IPAM.Config}}{{println .Gateway}}{{end}}' | grep -m 1 '^[0-9.]*$'
    fi
}

begin_engines() {
    [ -z "${FOLKMOOT_TEST_CASSANDRA:-}" ] || return 0
    local address addresses pids=()
    address=$(engines_address)
    addresses=$address
    if [ "$CASSANDRA_NODES" -gt 1 ]; then
        [ "$CLUSTER" = processes ] || die "several nodes of Cassandra need a cluster of processes, or engines of your own"
        addresses=10.111.0.11,10.111.0.12,10.111.0.13
    fi
    inside env "CASSANDRA_ADDRESSES=$addresses" \
        "$ROOT/scripts/engines/cassandra.sh" up "$CASSANDRA_NODES" --dir "$SCRATCH/engines" >"$SCRATCH/cassandra.log" 2>&1 &
    pids+=($!)
    inside env "PULSAR_ADDRESS=$address" "$ROOT/scripts/engines/pulsar.sh" up --dir "$SCRATCH/engines" >"$SCRATCH/pulsar.log" 2>&1 &
    pids+=($!)
    ENGINES_STARTING=${pids[*]}
}

engines_ready() {
    [ -n "$ENGINES_STARTING" ] || return 0
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
    "$ROOT/scripts/images.sh" --profile "$PROFILE" --tag next --out "$SCRATCH/images" >/dev/null
    if [ "$CLUSTER" = processes ]; then
        cluster load --dir "$SCRATCH/kube" "$SCRATCH"/images/*.tar
    else
        for archive in "$SCRATCH"/images/*.tar; do kind load image-archive "$archive" --name "$NAME"; done
    fi
    rm -r "$SCRATCH/images"
}

# namespaces NAME…: with the strictest admission level there is, before the operator that watches them.
namespaces() {
    local name
    for name in "$@" $SYSTEM; do
        cat <<YAML
---
apiVersion: v1
kind: Namespace
metadata:
  name: $name
  labels: {pod-security.kubernetes.io/enforce: restricted, folkmoot.dev/tests: "true"}
YAML
    done | inside kubectl apply -f - >/dev/null
}

# install_charts NAMESPACE…: of an operator that watches these.
install_charts() {
    local began=$SECONDS watched
    watched=$(IFS=, && echo "$*")
    # Kinds that add-ons bring: the operator is to find them. Where the add-ons are, their kinds stay.
    inside kubectl create -f "$ROOT/kind-tests/addons.yaml" >/dev/null 2>&1 || true
    inside helm upgrade --install folkmoot-crds "$ROOT/charts/folkmoot-crds" --namespace $SYSTEM --wait >/dev/null
    inside helm upgrade --install folkmoot "$ROOT/charts/folkmoot" --namespace $SYSTEM --wait --timeout 120s \
        --set "watch.namespaces={$watched}" >/dev/null
    say "the operator runs, $((SECONDS - began)) s after its charts came"
}

# begin_recording PROMETHEUS DIR: what the metrics of chats and operator are from now until the testbed ends.
begin_recording() {
    local waited=0
    inside "$ROOT/scripts/kube/record.sh" "$1" "$2" "$SCRATCH" &
    RECORDING=$!
    until grep -qs 'ready to receive web requests' "$SCRATCH/prometheus.log"; do
        kill -0 "$RECORDING" 2>/dev/null && [ "$waited" -lt 300 ] || { cat "$SCRATCH/prometheus.log" >&2; die "Prometheus does not start"; }
        sleep 0.1
        waited=$((waited + 1))
    done
    say "recording into $2"
}

end_recording() {
    [ -n "$RECORDING" ] || return 0
    kill "$(cat "$SCRATCH/prometheus.pid")" 2>/dev/null
    wait "$RECORDING"
    RECORDING=
}

# --- end ---

gather() {
    mkdir -p "$LOGS"
    local process
    for process in "$SCRATCH"/kube/*/log/stdout.log; do
        cp "$process" "$LOGS/$(basename "$(dirname "$(dirname "$process")")").log" 2>/dev/null || true
    done
    for process in "$SCRATCH"/engines/*/log; do
        mkdir -p "$LOGS/engines"
        cp -r "$process" "$LOGS/engines/$(basename "$(dirname "$process")")" 2>/dev/null || true
    done
    cp "${FOLKMOOT_KIND_AUDIT_LOG:-/nowhere}" "$SCRATCH"/*.log "$LOGS" 2>/dev/null || true
    [ ! -e "$SCRATCH/kind" ] || kind export logs "$LOGS/kind" --name "$NAME" >/dev/null 2>&1 || true
    inside kubectl get events -A --sort-by=.lastTimestamp >"$LOGS/events.txt" 2>&1 || true
    inside kubectl get pods -A -o wide >"$LOGS/pods.txt" 2>&1 || true
    inside kubectl -n $SYSTEM logs --all-containers --prefix --tail=-1 -l app.kubernetes.io/name=folkmoot-operator >"$LOGS/operator.log" 2>&1 || true
    say "what everything said is in $LOGS"
}

tell_what_runs() {
    case $CLUSTER in
        processes)
            say "left running: scripts/kube/cluster.sh exec --dir $SCRATCH/kube kubectl get pods -A"
            say "its end: scripts/kube/cluster.sh down --dir $SCRATCH/kube"
            ;;
        kind) say "left running: KUBECONFIG=$SCRATCH/kubeconfig kubectl get pods -A; its end: kind delete cluster --name $NAME" ;;
        given) say "left as it is: the namespaces kt-* and $SYSTEM" ;;
    esac
    [ -z "$ENGINES_STARTING" ] || say "the engines' end: scripts/engines/{cassandra,pulsar}.sh down --dir $SCRATCH/engines; then rm -r $SCRATCH"
}

end() {
    local status=$? pid
    trap - EXIT
    set +e
    end_recording
    if [ "$status" -ne 0 ] && [ -e "$SCRATCH/installing" ]; then gather; fi
    if [ -n "$KEEP" ] && [ -e "$SCRATCH/installing" ]; then
        tell_what_runs
        exit "$status"
    fi
    if [ -n "$ENGINES_STARTING" ]; then
        # Those that are still starting end with what they started.
        for pid in $ENGINES_STARTING; do
            if kill "$pid" 2>/dev/null; then wait "$pid"; fi
        done
        "$ROOT/scripts/engines/cassandra.sh" down --dir "$SCRATCH/engines"
        "$ROOT/scripts/engines/pulsar.sh" down --dir "$SCRATCH/engines"
    fi
    case $CLUSTER in
        processes) [ ! -d "$SCRATCH/kube" ] || cluster down --dir "$SCRATCH/kube" ;;
        kind) [ ! -e "$SCRATCH/kind" ] || kind delete cluster --name "$NAME" --kubeconfig "$SCRATCH/kubeconfig" ;;
        given)
            kubectl delete chatclusters --all-namespaces -l folkmoot.dev/tests=true --timeout=90s
            helm uninstall folkmoot --namespace $SYSTEM
            kubectl delete namespace -l folkmoot.dev/tests=true --wait=false
            ;;
    esac
    cleanup
    exit "$status"
}

# begin_testbed: a cluster, and engines that start meanwhile. Whoever calls it compiles next, and then prepares the testbed.
begin_testbed() {
    scratch
    # Pods, which are other users, read what lies there.
    chmod 755 "$SCRATCH"
    choose_cluster
    rm -rf "$LOGS"
    trap end EXIT
    begin_cluster
    begin_engines
}

# prepare_testbed NAMESPACE…: images, an operator that watches these namespaces, and engines that are ready. The programs that run in
# it find out from the environment where everything is.
prepare_testbed() {
    touch "$SCRATCH/installing"
    load_images
    namespaces "$@"
    install_charts "$@"
    engines_ready
    export FOLKMOOT_KIND_TESTS=1 FOLKMOOT_KIND_LOGS=$LOGS FOLKMOOT_KIND_SYSTEM=$SYSTEM FOLKMOOT_KIND_ROOT=$ROOT \
        FOLKMOOT_KIND_PROGRAMS=$PROGRAMS FOLKMOOT_KIND_VERSION=$VERSION
    [ "$CLUSTER" = given ] || export FOLKMOOT_KIND_OURS=1
    [ ! -d "$SCRATCH/engines" ] || export FOLKMOOT_KIND_ENGINES=$SCRATCH/engines
}

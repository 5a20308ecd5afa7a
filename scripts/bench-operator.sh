#!/usr/bin/env bash
# What the operator costs: memory at rest with one ChatCluster and with 200, requests to the API server when nothing happens, and
# how long a changed spec takes to be applied. On a real API server without nodes (scripts/kube/cluster.sh) and a real Cassandra;
# nobody listens where Pulsar should be, so every ChatCluster is asked about every five seconds, six times as often as when all is well.
# Jobs are told to be complete, since there is no node that could run them. Prints a table. BENCH_CLUSTERS (200) and BENCH_SECONDS (60)
# make it smaller.
source "$(dirname "$0")/lib.sh"

COUNT=${BENCH_CLUSTERS:-200}
SECONDS_AT_REST=${BENCH_SECONDS:-60}

cd "$ROOT"
cargo build --release --locked --quiet --bin folkmoot-operator
scratch
KUBE=$SCRATCH/kube
ENGINES=$SCRATCH/engines
OPERATOR=

finish() {
    [ -z "$OPERATOR" ] || kill "$OPERATOR" 2>/dev/null || true
    scripts/kube/cluster.sh down --dir "$KUBE" >&2 || true
    scripts/engines/cassandra.sh down --dir "$ENGINES" >&2 || true
    cleanup
}
trap finish EXIT

scripts/kube/cluster.sh up --dir "$KUBE" --control-plane-only >&2
scripts/engines/cassandra.sh up --dir "$ENGINES" >&2
# shellcheck disable=SC1091 # written by the line above
source "$ENGINES/engines.env"

admin() { scripts/kube/cluster.sh exec --dir "$KUBE" kubectl "$@"; }

# The operator is a service account, since the audit log has what those ask for, and nobody else's requests.
admin create namespace bench >/dev/null
admin -n bench create serviceaccount operator >/dev/null
admin create clusterrolebinding bench-operator --clusterrole=cluster-admin --serviceaccount=bench:operator >/dev/null
admin apply --server-side -f charts/folkmoot-crds/templates/chatclusters.yaml >/dev/null
admin -n bench create secret generic cassandra-ca --from-file="ca.crt=$FOLKMOOT_TEST_CASSANDRA_CA_FILE" >/dev/null
admin wait --for=condition=Established crd/chatclusters.folkmoot.dev --timeout=30s >/dev/null

cp "$KUBE/kubeconfig" "$SCRATCH/kubeconfig"
admin config set-credentials operator --token="$(admin -n bench create token operator --duration=2h)" \
    --kubeconfig "$SCRATCH/kubeconfig" >/dev/null
admin config set-context --current --user=operator --kubeconfig "$SCRATCH/kubeconfig" >/dev/null

PORT=$(free_port)
KUBECONFIG=$SCRATCH/kubeconfig "$TARGET_DIR/release/folkmoot-operator" run --namespace bench --name bench --listen "127.0.0.1:$PORT" \
    --default-image folkmoot/chat-server:bench >"$SCRATCH/operator.log" 2>&1 &
OPERATOR=$!

# until_true SECONDS COMMAND…
until_true() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        kill -0 "$OPERATOR" 2>/dev/null || { cat "$SCRATCH/operator.log" >&2; die "the operator ended"; }
        [ "$SECONDS" -lt "$until" ] || die "not so in time: $*"
        sleep 0.2
    done
}

chat() {
    cat <<YAML
---
apiVersion: folkmoot.dev/v1alpha1
kind: ChatCluster
metadata: {name: chat-$1, namespace: bench}
spec:
  cassandra:
    contactPoints: ["${FOLKMOOT_TEST_CASSANDRA%%,*}"]
    caSecretRef: {name: cassandra-ca, key: ca.crt}
  pulsar: {url: "pulsar://127.0.0.1:1", adminUrl: "http://127.0.0.1:1"}
YAML
}

# make_chats FROM TO: all of their Deployments are there when this returns.
make_chats() {
    local number
    for number in $(seq "$1" "$2"); do chat "$number"; done | admin apply -f - >/dev/null
    until_true 300 jobs_made "$2"
    admin -n bench get jobs -o name | while IFS= read -r job; do
        admin -n bench patch "$job" --subresource=status --type=merge -p \
            '{"status": {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:01Z", "succeeded": 1, "uncountedTerminatedPods": {}, "conditions": [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]}}' >/dev/null
    done
    until_true 300 deployments_made $((3 * $2))
}
counted() { [ "$(admin -n bench get "$1" -o name | wc -l)" -ge "$2" ]; }
jobs_made() { counted jobs "$1"; }
deployments_made() { counted deployments "$1"; }

rss_mib() { awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$OPERATOR/status"; }
processor_seconds() { awk -v tick="$(getconf CLK_TCK)" '{ printf "%.2f", ($14 + $15) / tick }' "/proc/$OPERATOR/stat"; }
requests() { grep -c '"system:serviceaccount:bench:operator"' "$KUBE/kube-apiserver/audit.log"; }
writes() { grep '"system:serviceaccount:bench:operator"' "$KUBE/kube-apiserver/audit.log" | grep -cE '"verb":"(create|update|patch|delete)"'; }
renewals() { grep '"system:serviceaccount:bench:operator"' "$KUBE/kube-apiserver/audit.log" | grep -c '"resource":"leases"'; }

# at_rest LABEL: a row.
at_rest() {
    local all lease wrote cpu
    sleep 20
    all=$(requests) lease=$(renewals) wrote=$(writes) cpu=$(processor_seconds)
    sleep "$SECONDS_AT_REST"
    all=$(($(requests) - all)) lease=$(($(renewals) - lease)) wrote=$(($(writes) - wrote))
    cpu=$(awk -v a="$cpu" -v b="$(processor_seconds)" 'BEGIN { printf "%.2f", b - a }')
    printf '  %-18s %8s MiB %14s %22s %18s s\n' "$1" "$(rss_mib)" "$((all - lease))" "$wrote (of the lease)" "$cpu"
}

until_true 60 http_ok "$PORT" /readyz
make_chats 1 1
printf '\nThe operator at rest, for %s s\n' "$SECONDS_AT_REST"
printf '  %-18s %12s %14s %22s %20s\n' "" "resident" "requests" "writes" "processor time"
one=$(at_rest "1 ChatCluster")
echo "$one"
began=$SECONDS
make_chats 1 "$COUNT"
made=$((SECONDS - began))
many=$(at_rest "$COUNT ChatClusters")
echo "$many"

# From the change of a spec to the Deployment that follows from it, as an observer sees it, with what kubectl itself takes.
slowest=0
for replicas in 3 4 5 6 7; do
    began=$(date +%s%3N)
    admin -n bench scale "chatcluster/chat-$COUNT" --replicas=$replicas >/dev/null
    until [ "$(admin -n bench get "deployment/chat-$COUNT-gateway" -o 'jsonpath={.spec.replicas}')" = $replicas ]; do
        [ $(($(date +%s%3N) - began)) -lt 30000 ] || die "a changed spec was not applied within 30 s"
    done
    took=$(($(date +%s%3N) - began))
    [ "$took" -le "$slowest" ] || slowest=$took
done
printf '\n  a changed spec among %s is applied after at most %s ms (of 5); %s were made in %s s\n' "$COUNT" "$slowest" "$COUNT" "$made"
printf '  bars: 20 MiB with one, 50 MiB and next to no requests with 200, 1000 ms\n'

#!/usr/bin/env bash
# Checks the charts: they lint and render with every set of values in their ci/, refuse those in ci/refused/ with the message
# that each expects, give nobody a right to everything, and deploy/ is what they give. Then a real API server is asked to
# take all of it, without doing it.
#
#     scripts/charts.sh [--offline]   --offline: without the API server
source "$(dirname "$0")/lib.sh"

KUBE=$ROOT/scripts/kube
# Helm would ask for the version of its own libraries.
HELM_KUBE=(--kube-version 1.34.0 --api-versions monitoring.coreos.com/v1)
helm=$("$ROOT/scripts/tools.sh" helm)

# render CHART NAMESPACE OUT ARGS…
render() {
    local chart=$1 namespace=$2 out=$3
    shift 3
    "$helm" template folkmoot "$ROOT/charts/$chart" --namespace "$namespace" "${HELM_KUBE[@]}" "$@" >"$out"
}

# What is granted is named. Comments may hold a star, the texts of a definition too.
check_rights() {
    local hit
    if hit=$(grep -v '^ *#' "$1" | grep -nE "(apiGroups|resources|verbs|nonResourceURLs|namespace):.*\*|^ *- ['\"]?\*['\"]? *$|cluster-admin|\b(escalate|impersonate|bind)\b"); then
        die "$1 grants too much: $hit"
    fi
}

# Every container says what it may not do, what it needs, and a tag or digest that is not `latest`.
check_pods() {
    local wanted
    grep -q '^kind: \(Deployment\|StatefulSet\)$' "$1" || return 0
    for wanted in 'runAsNonRoot: true' 'allowPrivilegeEscalation: false' 'drop: \[ALL\]' 'type: RuntimeDefault' 'readinessProbe:' \
        'livenessProbe:' 'memory:'; do
        grep -q "$wanted" "$1" || die "$1 has pods without $wanted"
    done
    ! grep -E '^ *image: ' "$1" | grep -vE 'image: "[^"]+(:[A-Za-z0-9_.-]+|@sha256:[0-9a-f]{64})"$' || die "$1 has an image without a version"
    ! grep -E '^ *image: .*:latest' "$1" || die "$1 has an image that changes"
}

check_chart() {
    local chart=$1 values name expected
    local sets=("$ROOT/charts/$chart/values.yaml" "$ROOT/charts/$chart"/ci/*-values.yaml)
    for values in "${sets[@]}"; do
        name=$(basename "$values" .yaml)
        "$helm" lint --strict --quiet "$ROOT/charts/$chart" --kube-version 1.34.0 --values "$values"
        render "$chart" folkmoot "$SCRATCH/rendered/$chart-$name.yaml" --values "$values"
        check_pods "$SCRATCH/rendered/$chart-$name.yaml"
        [ "$chart" = folkmoot-crds ] || check_rights "$SCRATCH/rendered/$chart-$name.yaml"
    done
    for values in "$ROOT/charts/$chart"/ci/refused/*.yaml; do
        expected=$(sed -n '1s/^# expect: //p' "$values")
        [ -n "$expected" ] || die "$values does not begin with '# expect: '"
        if render "$chart" folkmoot /dev/null --values "$values" 2>"$SCRATCH/refusal"; then die "$chart takes $values"; fi
        grep -qF -- "$expected" "$SCRATCH/refusal" || { cat "$SCRATCH/refusal" >&2; die "$values is refused without: $expected"; }
    done
    say "$chart: ${#sets[@]} sets of values render, $(find "$ROOT/charts/$chart/ci/refused" -name '*.yaml' | wc -l | tr -d ' ') are refused"
}

# The versions of all charts are that of the workspace, so that a release cannot forget one.
check_versions() {
    local version chart
    version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml")
    for chart in "$ROOT"/charts/*/Chart.yaml; do
        [ "$(grep -cE "^(version|appVersion): $version\$" "$chart")" = 2 ] || die "$chart is not of version $version"
    done
}

# ask ARGS…: kubectl against the API server of this script.
ask() { KUBECONFIG=$SCRATCH/kube/kubeconfig "$kubectl" "$@"; }

# What the API server refuses, or would have to leave out, is wrong. It knows nobody's ServiceMonitor.
check_by_server() {
    local rendered namespace refused=
    kubectl=$("$ROOT/scripts/tools.sh" kubectl)
    "$KUBE/cluster.sh" up --dir "$SCRATCH/kube" --control-plane-only >&2
    ask apply --server-side --filename "$SCRATCH/rendered/folkmoot-crds-values.yaml" >/dev/null
    ask wait --for=condition=Established --timeout=60s crd/chatclusters.folkmoot.dev >/dev/null
    for namespace in folkmoot folkmoot-system team-a team-b chat; do
        ask create namespace "$namespace" >/dev/null
        ask label namespace "$namespace" pod-security.kubernetes.io/{warn,enforce}=restricted >/dev/null
    done
    # Of what names no namespace, such as an example.
    ask config set-context --current --namespace=folkmoot >/dev/null
    for rendered in "$SCRATCH"/rendered/*.yaml "$ROOT"/deploy/*.yaml "$ROOT"/examples/*.yaml; do
        ! grep -q '^kind: ServiceMonitor' "$rendered" || continue
        # A warning is one for whoever installs it, so it counts.
        if ! ask apply --server-side --force-conflicts --dry-run=server --validate=strict --filename "$rendered" >/dev/null \
            2>"$SCRATCH/said" || [ -s "$SCRATCH/said" ]; then
            refused="$refused $rendered"
            cat "$SCRATCH/said" >&2
        fi
    done
    [ -z "$refused" ] || die "the API server does not take$refused"
    say "the API server takes all charts, manifests and examples"
}

end() {
    [ ! -e "$SCRATCH/kube" ] || "$KUBE/cluster.sh" down --dir "$SCRATCH/kube"
    cleanup
}

scratch
trap end EXIT
mkdir "$SCRATCH/rendered"
for chart in "$ROOT"/charts/*/; do check_chart "$(basename "$chart")"; done
check_versions
"$ROOT/scripts/manifests.sh" --check
case ${1:-} in
    '') check_by_server ;;
    --offline) ;;
    *) die "unknown argument '$1'; there is --offline" ;;
esac

#!/usr/bin/env bash
# Makes the plain manifests out of the charts, for those who do without Helm.
#
#     scripts/manifests.sh            writes deploy/operator.yaml
#     scripts/manifests.sh --check    says whether it is what the charts give, and changes nothing
source "$(dirname "$0")/lib.sh"

FILE=deploy/operator.yaml
NAMESPACE=folkmoot-system

helm=$("$ROOT/scripts/tools.sh" helm)

# render RELEASE ARGS…: a chart of that name, without the labels that say that Helm looks after it.
render() {
    local chart=$1
    shift
    "$helm" template "$chart" "$ROOT/charts/$chart" --namespace "$NAMESPACE" --kube-version 1.34.0 "$@" |
        grep -v -e '^ *app.kubernetes.io/managed-by: Helm$' -e '^ *helm.sh/chart: ' -e '^# Source: '
}

manifest() {
    cat <<'YAML'
# Generated from charts/ by scripts/manifests.sh; a test keeps it fresh.
#
#     kubectl apply --server-side -f deploy/operator.yaml
#
# The kind ChatCluster, and the operator for all namespaces in folkmoot-system. Deleting all of this deletes every ChatCluster with
# it: delete the Deployment alone to stop the operator.
YAML
    render folkmoot-crds
    cat <<YAML
---
apiVersion: v1
kind: Namespace
metadata:
  name: $NAMESPACE
  labels:
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/enforce-version: latest
YAML
    render folkmoot --set watch.clusterWide=true
}

cd "$ROOT"
scratch
manifest >"$SCRATCH/manifest.yaml"
case ${1:-} in
    '')
        mkdir -p "$(dirname "$FILE")"
        cp "$SCRATCH/manifest.yaml" "$FILE"
        ;;
    --check)
        diff -u "$FILE" "$SCRATCH/manifest.yaml" ||
            die "$FILE is not what the charts give: run scripts/manifests.sh"
        ;;
    *) die "unknown argument '$1'; there is --check" ;;
esac

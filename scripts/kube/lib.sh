# shellcheck shell=bash
# shellcheck disable=SC2034 # the variables are for those who source it
# Shared by the scripts of this directory: where the pieces of Kubernetes are. Sourced, never run.
source "$(dirname "${BASH_SOURCE[0]}")/../engines/lib.sh"

KUBE=$ROOT/scripts/kube
KUBERNETES_VERSION=1.34.4

# Version of COMPONENT, which scripts/kube/modules/COMPONENT pins together with all it is built from.
component_version() {
    case $1 in
        kubernetes) echo "$KUBERNETES_VERSION" ;;
        etcd) echo 3.6.4 ;;
        cni) echo 1.7.1 ;;
        coredns) echo 1.12.1 ;;
        crictl) echo 1.34.0 ;;
        helm) echo 3.19.0 ;;
        *) die "unknown component '$1'; there are kubernetes, etcd, cni, coredns, crictl and helm" ;;
    esac
}

# Where the programs of COMPONENT are once build.sh has made them.
component_dir() { echo "$CACHE/$1-$(component_version "$1")"; }

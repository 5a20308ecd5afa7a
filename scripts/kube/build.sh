#!/usr/bin/env bash
# Builds Kubernetes and what a node of it needs from the Go module proxy, into $FOLKMOOT_CACHE (~/.cache/folkmoot), for
# machines that can pull no image. Prints the directory of each; what is there already costs a look at its checksums.
#
#     scripts/kube/build.sh              all of it: about 12 minutes of two cores, once
#     scripts/kube/build.sh helm etcd    some of it
#
# The sources are those of the checksums in scripts/kube/modules/*/go.sum. Environment: GOPROXY, as for every use of Go.
source "$(dirname "$0")/lib.sh"

COMPONENTS="kubernetes etcd cni coredns crictl helm"
# What the go.mod files ask for; `go` older than 1.21 does not even understand them.
GO_MINOR=24
GO_VERSION=1.26.8

recent_go() {
    local version
    version=$("$1" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ -n "$version" ] && [ "$version" -ge "$GO_MINOR" ]
}

# Go's own toolchain is a module too: a machine without Go fetches it from where the rest comes from.
find_go() {
    local candidate architecture dir fresh proxy
    for candidate in "$(type -P go || echo /nowhere)" /usr/local/go/bin/go /usr/lib/go-1.*/bin/go; do
        if recent_go "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    case $(uname -m) in
        x86_64) architecture=linux-amd64 ;;
        aarch64) architecture=linux-arm64 ;;
        *) die "Go is missing or too old, 1.$GO_MINOR or newer is needed: https://go.dev/dl" ;;
    esac
    dir=$CACHE/go-$GO_VERSION
    if [ ! -x "$dir/bin/go" ]; then
        say "fetching Go $GO_VERSION (once)"
        if ! command -v curl >/dev/null 2>&1 || ! command -v unzip >/dev/null 2>&1; then apt_install curl unzip; fi
        proxy=${GOPROXY:-https://proxy.golang.org}
        proxy=${proxy%%[,|]*}
        fresh=$(staging)
        retry 3 curl -fsSL -o "$fresh/go.zip" "$proxy/golang.org/toolchain/@v/v0.0.1-go$GO_VERSION.$architecture.zip"
        (cd "$fresh" && grep " $architecture\$" "$KUBE/go-toolchain.txt" | sed "s/ $architecture\$/ go.zip/" | sha256sum --check --quiet) >&2
        unzip -q "$fresh/go.zip" -d "$fresh"
        chmod -R u+w,a+rX "$fresh/golang.org"
        chmod a+x "$fresh/golang.org/toolchain@v0.0.1-go$GO_VERSION.$architecture"/{bin,pkg/tool/*}/*
        settle "$fresh/golang.org/toolchain@v0.0.1-go$GO_VERSION.$architecture" "$dir"
        rm -rf "$fresh"
    fi
    echo "$dir/bin/go"
}

# compile COMPONENT OUTPUT LDFLAGS PACKAGE…: exactly what its go.mod and go.sum say, without the paths of this machine.
compile() {
    local component=$1 output=$2 flags=$3
    shift 3
    (
        cd "$KUBE/modules/$component" || exit
        CGO_ENABLED=0 GOWORK=off GOFLAGS='' GOTOOLCHAIN=local GOCACHE=$CACHE/build/go GOMODCACHE=$CACHE/build/go-modules \
            retry 3 "$GO" build -mod=readonly -modcacherw -trimpath -ldflags "-s -w $flags" -o "$output" "$@"
    ) >&2
}

make_kubernetes() {
    local flags='' package
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $package.gitVersion=v$KUBERNETES_VERSION -X $package.gitTreeState=clean"
        flags+=" -X $package.gitMajor=1 -X $package.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")"
        flags+=" -X $package.buildDate=1970-01-01T00:00:00Z"
    done
    # One call: the links run beside the compiles.
    compile kubernetes "$1/" "$flags" \
        k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kube-proxy,kubeadm,kubectl}
}

make_etcd() { compile etcd "$1/etcd" "" go.etcd.io/etcd/server/v3; }

make_cni() {
    compile cni "$1/" "" github.com/containernetworking/plugins/plugins/{main/bridge,main/loopback,ipam/host-local,meta/portmap}
}

make_coredns() { compile coredns "$1/coredns" "" github.com/coredns/coredns; }

make_crictl() {
    compile crictl "$1/crictl" "-X sigs.k8s.io/cri-tools/pkg/version.Version=v$(component_version crictl)" \
        sigs.k8s.io/cri-tools/cmd/crictl
}

make_helm() {
    compile helm "$1/helm" "-X helm.sh/helm/v3/internal/version.version=v$(component_version helm)" helm.sh/helm/v3/cmd/helm
}

# The checksum of what a component is made from stands beside its programs: another pin is another build.
pins() { cat "$KUBE/modules/$1/go.mod" "$KUBE/modules/$1/go.sum" | sha256sum | cut -d ' ' -f 1; }

whole() {
    local dir=$1
    [ "$(cat "$dir/PINS" 2>/dev/null)" = "$(pins "$2")" ] &&
        (cd "$dir" && sha256sum --check --quiet SHA256SUMS) >/dev/null 2>&1
}

build() {
    local component=$1 dir fresh began=$SECONDS
    dir=$(component_dir "$component")
    if ! whole "$dir" "$component"; then
        say "building $component $(component_version "$component") (once)"
        GO=${GO:-$(find_go)}
        fresh=$(staging)
        mkdir -p "$CACHE/build"
        touch "$CACHE/build/$component.begun"
        "make_$component" "$fresh"
        chmod -R a+rX "$fresh"
        (cd "$fresh" && sha256sum -- * >SHA256SUMS)
        pins "$component" >"$fresh/PINS"
        rm -rf "$dir"
        settle "$fresh" "$dir"
        rm "$CACHE/build/$component.begun"
        say "$component is in $dir after $((SECONDS - began)) s"
        BUILT=1
    fi
    echo "$dir"
}

[ "$(uname)" = Linux ] || die "this needs Linux: elsewhere, use kind (make kind-test) or a cluster of your own (KUBECONFIG=…)"
# shellcheck disable=SC2086 # one word for each component
[ $# -gt 0 ] || set -- $COMPONENTS
for component in "$@"; do component_version "$component" >/dev/null; done
mkdir -p "$CACHE"
# Of two that build at once, one waits and finds everything there.
exec 9>"$CACHE/kube-build.lock"
flock 9
BUILT=
for component in "$@"; do build "$component"; done
# The sources and half-built packages are of no use afterwards, and are gigabytes; unless another build was interrupted, which goes on
# with them.
if [ -n "$BUILT" ] && ! compgen -G "$CACHE/build/*.begun" >/dev/null; then rm -rf "$CACHE/build/go" "$CACHE/build/go-modules"; fi

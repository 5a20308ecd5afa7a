#!/usr/bin/env bash
# A real Kubernetes on this machine without a registry: control plane and a node or two as plain processes, in a network namespace
# of their own that has no way out.
#
#     scripts/kube/cluster.sh up [--dir DIR] [--nodes 2 | --control-plane-only]   start it, ready when this returns
#     scripts/kube/cluster.sh down [--dir DIR]                        stop it and forget it
#     scripts/kube/cluster.sh status [--dir DIR]                      which processes run
#     scripts/kube/cluster.sh exec [--dir DIR] COMMAND…               run it where the cluster can be reached; kubectl and
#                                                                     helm are in its PATH, KUBECONFIG is set
#     scripts/kube/cluster.sh load [--dir DIR] ARCHIVE…               images, made by scripts/images.sh, for its nodes
#     scripts/kube/cluster.sh kill|start NAME [--dir DIR]             SIGKILL one process, start it again
#
# Clusters of different DIR (target/kube) run beside each other. DIR has NAME/{pid,log} of each process, kubeconfig, kube.env
# and kube-apiserver/audit.log with what service accounts asked for. Each node has a zone of its own; they share the network, so one
# kube-proxy serves both. A node needs root. With --control-plane-only nothing is run, so
# objects come to be and pods stay pending: enough for most tests of controllers. It needs no root, and is on a loopback
# address: KUBECONFIG suffices to reach it.
source "$(dirname "$0")/lib.sh"

ENGINES_DIR=${KUBE_DIR:-$TARGET_DIR/kube}
NODE=folkmoot
NODE_ADDRESS=10.111.0.1
# Beside the nodes', for whatever else is to be reached from pods: three nodes of Cassandra need an address each.
MORE_ADDRESSES="10.111.0.11 10.111.0.12 10.111.0.13"
NOWHERE=10.111.0.254
SERVICES=10.96.0.0/16
PODS=10.244.0.0/16
DNS_ADDRESS=10.96.0.10
CONTROL_PLANE="etcd kube-apiserver kube-controller-manager kube-scheduler"
NODE_PROCESSES="containerd kubelet kube-proxy containerd2 kubelet2"

BIN=$(component_dir kubernetes)

# Paths and names that must be short or on a disk, one set for each DIR.
paths() {
    local id
    id=folkmoot-$(cksum <<<"$DIR" | cut -d ' ' -f 1)
    NAMESPACE=$id
    SOCKETS=/run/$id
    DISK=/var/lib/$id
    PKI=$DIR/pki
    export KUBECONFIG=$DIR/kubeconfig
}

is_control_plane_only() { [ ! -e "$DIR/node" ]; }

# The numbers of the nodes.
nodes() { [ ! -e "$DIR/node" ] || seq 1 "$(cat "$DIR/node")"; }

# as_node I: its name, its address, and the suffix of whatever each node has one of. Of the first there is none.
as_node() {
    MY_SUFFIX=
    [ "$1" = 1 ] || MY_SUFFIX=$1
    MY_NUMBER=$1
    MY_NAME=$NODE$MY_SUFFIX
    MY_ADDRESS=${NODE_ADDRESS%.*}.$1
    MY_SOCKET=$SOCKETS/containerd$MY_SUFFIX.sock
    # Whatever a kubelet finds below its own root and does not know, it removes.
    MY_CGROUP=$NAMESPACE$MY_SUFFIX
}

# `ip netns exec` would hide the cgroups.
inside() {
    if is_control_plane_only; then "$@"; else nsenter --net="/run/netns/$NAMESPACE" -- "$@"; fi
}

kubectl() { inside "$BIN/kubectl" "$@"; }

# run NAME COMMAND…: in the cluster's network. What it makes may be read by pods, which are other users.
run() {
    local dir=$DIR/$1
    shift
    mkdir -p "$dir/log"
    (
        umask 022
        if is_control_plane_only; then launch "$dir" "$@"; else launch "$dir" nsenter --net="/run/netns/$NAMESPACE" -- "$@"; fi
    )
}

packages() {
    local command missing=
    for command in containerd ctr runc iptables conntrack ip nsenter cc; do
        command -v "$command" >/dev/null 2>&1 || missing=1
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null 2>&1 ||
        die "a node needs containerd, runc, iptables, conntrack, iproute2, util-linux and a C compiler"
    apt_install containerd runc iptables conntrack iproute2 util-linux gcc libc6-dev
}

# --- network ---

# An uplink that leads nowhere: kube-proxy's rewriting of addresses needs a route, though nothing may leave.
network() {
    ip netns add "$NAMESPACE"
    ip -n "$NAMESPACE" link set lo up
    ip -n "$NAMESPACE" link add node0 type veth peer name void0
    ip -n "$NAMESPACE" link set void0 up
    local address
    for address in $(for node in $(nodes); do as_node "$node"; echo "$MY_ADDRESS"; done) $MORE_ADDRESSES; do
        ip -n "$NAMESPACE" addr add "$address/24" dev node0
    done
    ip -n "$NAMESPACE" link set node0 up
    ip -n "$NAMESPACE" neigh add "$NOWHERE" lladdr 02:00:00:00:00:fe dev node0 nud permanent
    ip -n "$NAMESPACE" route add default via "$NOWHERE" dev node0
    inside sysctl -qw net.ipv4.ip_forward=1
    inside sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
}

# --- control plane ---

certificates() {
    cat >"$DIR/kubeadm.yaml" <<YAML
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $NODE_ADDRESS, bindPort: 6443}
nodeRegistration: {name: $NODE, criSocket: "unix://$SOCKETS/containerd.sock"}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v$KUBERNETES_VERSION
certificatesDir: $PKI
controlPlaneEndpoint: $API_ADDRESS:6443
networking: {serviceSubnet: $SERVICES, podSubnet: $PODS}
apiServer: {certSANs: [127.0.0.1, localhost, $API_ADDRESS]}
etcd: {local: {dataDir: $DIR/etcd/data, serverCertSANs: [127.0.0.1, $API_ADDRESS]}}
encryptionAlgorithm: ECDSA-P256
YAML
    inside "$BIN/kubeadm" init phase certs all --config "$DIR/kubeadm.yaml" >"$DIR/kubeadm.log" 2>&1
    inside "$BIN/kubeadm" init phase kubeconfig all --kubeconfig-dir "$DIR/kubeconfigs" --config "$DIR/kubeadm.yaml" >>"$DIR/kubeadm.log" 2>&1
    if [ "$(nodes | wc -l)" -gt 1 ]; then
        as_node 2
        sed "s/name: $NODE,/name: $MY_NAME,/" "$DIR/kubeadm.yaml" >"$DIR/kubeadm2.yaml"
        inside "$BIN/kubeadm" init phase kubeconfig kubelet --kubeconfig-dir "$DIR/kubeconfigs/2" --config "$DIR/kubeadm2.yaml" >>"$DIR/kubeadm.log" 2>&1
        mv "$DIR/kubeconfigs/2/kubelet.conf" "$DIR/kubeconfigs/kubelet2.conf"
    fi
    # kubeadm, which refuses loopback addresses, points some of them at the node's.
    sed -i "s#https://$NODE_ADDRESS:6443#https://$API_ADDRESS:6443#" "$DIR"/kubeconfigs/*.conf
    cp "$DIR/kubeconfigs/super-admin.conf" "$KUBECONFIG"
    cp "$ROOT/scripts/kube/audit.yaml" "$DIR/audit.yaml"
}

run_etcd() {
    run etcd "$BIN_ETCD/etcd" "--name=$NODE" "--data-dir=$DIR/etcd/data" --unsafe-no-fsync \
        "--listen-client-urls=https://$ADDRESS:2379" "--advertise-client-urls=https://$ADDRESS:2379" \
        "--listen-peer-urls=http://$ADDRESS:2380" "--initial-advertise-peer-urls=http://$ADDRESS:2380" \
        "--initial-cluster=$NODE=http://$ADDRESS:2380" \
        "--cert-file=$PKI/etcd/server.crt" "--key-file=$PKI/etcd/server.key" --client-cert-auth "--trusted-ca-file=$PKI/etcd/ca.crt"
}

run_kube-apiserver() {
    local reconciler=()
    # On loopback there is nobody whom the address of the `kubernetes` service could serve.
    if is_control_plane_only; then reconciler=(--endpoint-reconciler-type=none); fi
    run kube-apiserver "$BIN/kube-apiserver" "--bind-address=$LISTEN" --secure-port=6443 "--advertise-address=$API_ADDRESS" \
        ${reconciler[@]+"${reconciler[@]}"} "--etcd-servers=https://$ADDRESS:2379" "--etcd-cafile=$PKI/etcd/ca.crt" \
        "--etcd-certfile=$PKI/apiserver-etcd-client.crt" "--etcd-keyfile=$PKI/apiserver-etcd-client.key" \
        "--client-ca-file=$PKI/ca.crt" "--tls-cert-file=$PKI/apiserver.crt" "--tls-private-key-file=$PKI/apiserver.key" \
        "--kubelet-client-certificate=$PKI/apiserver-kubelet-client.crt" "--kubelet-client-key=$PKI/apiserver-kubelet-client.key" \
        --kubelet-preferred-address-types=InternalIP --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement \
        "--service-cluster-ip-range=$SERVICES" --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        "--service-account-key-file=$PKI/sa.pub" "--service-account-signing-key-file=$PKI/sa.key" \
        "--audit-policy-file=$DIR/audit.yaml" "--audit-log-path=$DIR/kube-apiserver/audit.log"
}

run_kube-controller-manager() {
    run kube-controller-manager "$BIN/kube-controller-manager" "--kubeconfig=$DIR/kubeconfigs/controller-manager.conf" \
        "--bind-address=$ADDRESS" "--cert-dir=$DIR/kube-controller-manager/pki" \
        --leader-elect=false --use-service-account-credentials=true "--root-ca-file=$PKI/ca.crt" \
        "--service-account-private-key-file=$PKI/sa.key" "--cluster-signing-cert-file=$PKI/ca.crt" \
        "--cluster-signing-key-file=$PKI/ca.key" --allocate-node-cidrs=true "--cluster-cidr=$PODS" \
        "--service-cluster-ip-range=$SERVICES"
}

run_kube-scheduler() {
    run kube-scheduler "$BIN/kube-scheduler" "--kubeconfig=$DIR/kubeconfigs/scheduler.conf" "--bind-address=$ADDRESS" \
        "--cert-dir=$DIR/kube-scheduler/pki" --leader-elect=false
}

control_plane() {
    local name
    run_etcd
    run_kube-apiserver
    await "$DIR/kube-apiserver" 90 kubectl get --raw /readyz >/dev/null 2>&1 || die "the API server is not ready: see $DIR/kube-apiserver/log"
    run_kube-controller-manager
    run_kube-scheduler
    await "$DIR/kube-controller-manager" 60 kubectl get serviceaccount default >/dev/null 2>&1
    # The certificate by which the API server asks the kubelet is of this group.
    kubectl create clusterrolebinding kubeadm:cluster-admins --clusterrole=cluster-admin --group=kubeadm:cluster-admins >/dev/null
    for name in $CONTROL_PLANE; do alive "$DIR/$name" || die "$name ended: see $DIR/$name/log"; done
}

# --- node ---

# What no registry is asked for: the first process of pods, and DNS.
node_images() {
    local root=$DIR/image
    rm -rf "$root"
    mkdir -p "$root"
    cc -Os -static -s -o "$root/pause" "$KUBE/pause.c"
    chmod -R a+rX "$root"
    "$ROOT/scripts/images/archive.sh" "$root" "$DIR/pause.tar" 65535:65535 /pause registry.k8s.io/pause:3.10.1 >/dev/null
    rm "$root/pause"
    cp "$(component_dir coredns)/coredns" "$root/coredns"
    chmod a+rx "$root/coredns"
    "$ROOT/scripts/images/archive.sh" "$root" "$DIR/coredns.tar" 0 /coredns "registry.k8s.io/coredns/coredns:v$(component_version coredns)" >/dev/null
    rm -r "$root"
}

load() {
    local archive
    local node
    for node in $(nodes); do
        as_node "$node"
        for archive in "$@"; do ctr -a "$MY_SOCKET" -n k8s.io images import "$archive" >&2; done
    done
}

# Pods of several clusters must not meet in one cgroup.
cgroups() {
    local controller
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        mkdir -p "/sys/fs/cgroup/$MY_CGROUP"
        for controller in cpuset cpu io memory hugetlb pids; do
            echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
            echo "+$controller" >"/sys/fs/cgroup/$MY_CGROUP/cgroup.subtree_control"
        done 2>/dev/null || true
    else
        for controller in /sys/fs/cgroup/*/; do mkdir -p "$controller$MY_CGROUP" 2>/dev/null || true; done
        # A new cpuset is empty, and takes no process until it is told its share.
        for controller in cpus mems; do
            cat "/sys/fs/cgroup/cpuset/cpuset.$controller" >"/sys/fs/cgroup/cpuset/$MY_CGROUP/cpuset.$controller" 2>/dev/null || true
        done
    fi
}

begin_containerd() {
    local dir=$DIR/containerd$MY_SUFFIX
    mkdir -p "$dir/cni" "$SOCKETS" "$DISK"
    cat >"$dir/config.toml" <<TOML
version = 2
root = "$DISK/containerd$MY_SUFFIX"
state = "$SOCKETS/containerd$MY_SUFFIX"
[grpc]
  address = "$MY_SOCKET"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10.1"
  tolerate_missing_hugetlb_controller = true
  # Machines without CAP_SYS_RESOURCE: a negative oom_score_adj makes runc die there.
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "$(component_dir cni)"
  conf_dir = "$dir/cni"
TOML
    # A bridge for each node: pods of both reach each other by the one network that they are in.
    cat >"$dir/cni/10-bridge.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "folkmoot$MY_SUFFIX", "plugins": [
  {"type": "bridge", "bridge": "cni$((MY_NUMBER - 1))", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$SOCKETS/cni$MY_SUFFIX", "ranges": [[{"subnet": "${PODS%.0.0/*}.$((MY_NUMBER - 1)).0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
    chmod -R a+rX "$dir/cni"
    run "containerd$MY_SUFFIX" containerd -c "$dir/config.toml"
    await "$dir" 30 ctr -a "$MY_SOCKET" version >/dev/null
}

begin_kubelet() {
    local dir=$DIR/kubelet$MY_SUFFIX
    mkdir -p "$dir/pki" "$dir/manifests" "$DISK"
    printf 'nameserver 127.0.0.1\n' >"$dir/resolv.conf"
    cat >"$dir/config.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $MY_ADDRESS
healthzBindAddress: $MY_ADDRESS
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$MY_CGROUP
containerRuntimeEndpoint: unix://$MY_SOCKET
clusterDNS: [$DNS_ADDRESS]
clusterDomain: cluster.local
resolvConf: $dir/resolv.conf
staticPodPath: $dir/manifests
failSwapOn: false
failCgroupV1: false
imageGCHighThresholdPercent: 100
# Images and disks of a development machine are not the node's to judge.
evictionHard: {memory.available: 100Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
YAML
    run "kubelet$MY_SUFFIX" "$BIN/kubelet" "--config=$dir/config.yaml" "--kubeconfig=$DIR/kubeconfigs/kubelet$MY_SUFFIX.conf" \
        "--root-dir=$DISK/kubelet$MY_SUFFIX" "--cert-dir=$dir/pki" "--hostname-override=$MY_NAME" "--node-ip=$MY_ADDRESS" \
        "--node-labels=topology.kubernetes.io/zone=zone$MY_NUMBER"
}

run_containerd() { as_node 1 && begin_containerd; }
run_containerd2() { as_node 2 && begin_containerd; }
run_kubelet() { as_node 1 && begin_kubelet; }
run_kubelet2() { as_node 2 && begin_kubelet; }

run_kube-proxy() {
    mkdir -p "$DIR/kube-proxy"
    cat >"$DIR/kube-proxy/config.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $KUBECONFIG}
mode: iptables
clusterCIDR: $PODS
hostnameOverride: $NODE
conntrack: {maxPerCore: 0}
YAML
    run kube-proxy "$BIN/kube-proxy" "--config=$DIR/kube-proxy/config.yaml"
}

begin_nodes() {
    local node
    node_images
    for node in $(nodes); do
        as_node "$node"
        cgroups
        begin_containerd
    done
    load "$DIR/pause.tar" "$DIR/coredns.tar"
    for node in $(nodes); do
        as_node "$node"
        begin_kubelet
    done
    run_kube-proxy
    for node in $(nodes); do
        as_node "$node"
        await "$DIR/kubelet$MY_SUFFIX" 90 kubectl wait --for=condition=Ready "node/$MY_NAME" --timeout=1s >/dev/null 2>&1
    done
    kubectl apply -f "$KUBE/manifests/" >/dev/null
    await "$DIR/kubelet" 120 kubectl -n kube-system rollout status deployment/coredns --timeout=1s >/dev/null 2>&1
}

# --- commands ---

addresses() {
    if is_control_plane_only; then
        [ -s "$DIR/address" ] || free_addresses 1 6443 >"$DIR/address"
        ADDRESS=$(cat "$DIR/address")
        API_ADDRESS=$ADDRESS
        LISTEN=$ADDRESS
    else
        ADDRESS=127.0.0.1
        API_ADDRESS=$NODE_ADDRESS
        LISTEN=0.0.0.0
    fi
    BIN_ETCD=$(component_dir etcd)
}

environment_file() {
    {
        echo "KUBECONFIG='$KUBECONFIG'"
        if ! is_control_plane_only; then
            echo "KUBE_NETWORK='/run/netns/$NAMESPACE'"
            echo "KUBE_NODE_ADDRESS='$NODE_ADDRESS'"
        fi
    } >"$DIR/kube.env"
}

up() {
    local began=$SECONDS
    if [ -e "$DIR/kube.env" ] && alive "$DIR/kube-apiserver"; then
        say "it runs already"
        return
    fi
    down
    mkdir -p "$DIR"
    if [ -n "$ONLY_CONTROL_PLANE" ]; then
        "$KUBE/build.sh" kubernetes etcd >/dev/null
    else
        [ "$(id -u)" = 0 ] || die "a node needs root; --control-plane-only does not"
        packages
        "$KUBE/build.sh" >/dev/null
        echo "$NODES" >"$DIR/node"
    fi
    # A cluster that did not become whole is not left behind.
    trap 'say "stopping what was started"; STATUS=1 down' EXIT
    addresses
    is_control_plane_only || network
    certificates
    control_plane
    say "the control plane is ready after $((SECONDS - began)) s"
    is_control_plane_only || begin_nodes
    environment_file
    trap - EXIT
    say "Kubernetes $KUBERNETES_VERSION is ready after $((SECONDS - began)) s: KUBECONFIG=$KUBECONFIG"
    is_control_plane_only || say "its network: nsenter --net=/run/netns/$NAMESPACE, or scripts/kube/cluster.sh exec kubectl get pods -A"
}

unmount_all() {
    awk -v a="$DISK/" -v b="$SOCKETS/" 'index($2, a) == 1 || index($2, b) == 1 { print $2 }' /proc/mounts | sort -r |
        while read -r mount; do umount -l "$mount" 2>/dev/null || true; done
}

down() {
    local name group socket
    for name in kubelet kubelet2 kube-proxy; do end "$DIR/$name"; done
    for socket in "$SOCKETS"/containerd{,2}.sock; do
        [ ! -S "$socket" ] ||
            timeout 60 "$(component_dir crictl)/crictl" --runtime-endpoint "unix://$socket" rmp -fa >/dev/null 2>&1 || true
    done
    for name in containerd containerd2 kube-scheduler kube-controller-manager kube-apiserver etcd; do
        # All have nothing to lose but their state, which goes with them.
        if alive "$DIR/$name" && [ "${name%2}" != containerd ]; then kill -9 "$(cat "$DIR/$name/pid")"; fi
        end "$DIR/$name"
    done
    if [ -e "$DIR/node" ]; then
        unmount_all
        ip netns del "$NAMESPACE" 2>/dev/null || true
        for group in /sys/fs/cgroup/{,*/}"$NAMESPACE"{,2}; do
            [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
        done
        rm -rf "${DISK:?}" "${SOCKETS:?}"
    fi
    for name in kube.env kubeconfig kubeconfigs pki etcd node address audit.yaml kubeadm.yaml kubeadm2.yaml pause.tar coredns.tar; do
        rm -rf "${DIR:?}/$name"
    done
    # Logs of the last run stay: whoever looks into a failure comes after the end.
    rm -f "$DIR/kube-apiserver/audit.log"
}

status() {
    local name
    for name in $CONTROL_PLANE $NODE_PROCESSES; do
        if alive "$DIR/$name"; then
            echo "$name runs, pid $(cat "$DIR/$name/pid")"
        elif [ -d "$DIR/$name" ]; then
            echo "$name does not run"
        fi
    done
}

exec_inside() {
    [ -e "$DIR/kube.env" ] || die "there is no cluster in $DIR: scripts/kube/cluster.sh up"
    PATH=$BIN:$(component_dir helm):$PATH
    export PATH
    # Whoever is run here lives as long as it likes, and reads what it likes.
    umask 022
    inside "$@"
}

ONLY_CONTROL_PLANE=
NODES=1
command=${1:-}
[ $# -eq 0 ] || shift
if [ "$command" = exec ]; then
    if [ "${1:-}" = --dir ]; then
        engine_options --dir "${2:-}"
        shift 2
    fi
else
    options=()
    while [ $# -gt 0 ]; do
        case $1 in
            --control-plane-only) ONLY_CONTROL_PLANE=1 ;;
            --nodes)
                NODES=${2:-}
                [ "$NODES" = 1 ] || [ "$NODES" = 2 ] || die "--nodes must be 1 or 2"
                shift
                ;;
            *) options+=("$1") ;;
        esac
        shift
    done
    engine_options ${options[@]+"${options[@]}"}
    set -- ${ARGUMENTS[@]+"${ARGUMENTS[@]}"}
fi
DIR=$ENGINES_DIR
paths
case $command in
    up | down | status) "$command" ;;
    load) load "$@" ;;
    exec) exec_inside "$@" ;;
    kill | start)
        [[ " $CONTROL_PLANE $NODE_PROCESSES " == *" ${1:-} "* ]] || die "no such process; there are $CONTROL_PLANE $NODE_PROCESSES"
        addresses
        if [ "$command" = kill ]; then murder "$DIR/$1"; else "run_$1"; fi
        ;;
    *) die "unknown command; there are up, down, status, exec, load, kill and start" ;;
esac

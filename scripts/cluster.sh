#!/usr/bin/env bash
# A whole cluster on this machine: three Cassandra nodes, Pulsar, two gateways, an api and an auth process behind HAProxy.
#
#     scripts/cluster.sh up [--dir DIR] [--fresh]   start all of it, or what of it does not run, and say where to connect
#     scripts/cluster.sh down [--dir DIR]           stop all of it; the data stays
#     scripts/cluster.sh status [--dir DIR]         which processes run
#     scripts/cluster.sh kill|stop|cont NAME        SIGKILL, SIGSTOP, SIGCONT to one
#     scripts/cluster.sh start NAME                 start one again, ready when this returns
#     scripts/cluster.sh end NAME                   stop one as Kubernetes would: SIGTERM, and it drains
#
# NAME is cassandra1, cassandra2, cassandra3, pulsar, gateway1, gateway2, api, auth or haproxy. DIR (target/cluster) has
# NAME/{pid,log} and, of our own processes, NAME/{port,admin_port}; cluster.toml, the settings they share; cluster.env, where
# everything is. Environment: CLUSTER_DIR, CLUSTER_PORT (8080), CLUSTER_NODES (3), CLUSTER_GATEWAYS (2), CLUSTER_TLS=0 for plain
# connections to Cassandra and Pulsar, CHAT_SERVER_BIN (built in release mode when not given), HAPROXY_BIN, and those of
# scripts/engines.
source "$(dirname "$0")/engines/lib.sh"

ENGINES_DIR=${CLUSTER_DIR:-$TARGET_DIR/cluster}
PORT=${CLUSTER_PORT:-8080}
NODES=${CLUSTER_NODES:-3}
GATEWAYS=${CLUSTER_GATEWAYS:-2}
TLS=${CLUSTER_TLS:-1}

cassandra() { "$ENGINES/cassandra.sh" "$@" --dir "$DIR"; }
pulsar() { "$ENGINES/pulsar.sh" "$@" --dir "$DIR"; }

gateways() { seq -f 'gateway%g' 1 "$GATEWAYS"; }

servers() {
    gateways
    echo api
    echo auth
}

find_haproxy() {
    local candidate=${HAPROXY_BIN:-haproxy}
    if ! command -v "$candidate" >/dev/null 2>&1 && [ -x /usr/sbin/haproxy ]; then candidate=/usr/sbin/haproxy; fi
    if ! command -v "$candidate" >/dev/null 2>&1; then
        if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
            die "the cluster's processes stand behind HAProxy (Debian: apt-get install haproxy; macOS: brew install haproxy)"
        fi
        apt_install haproxy
        candidate=/usr/sbin/haproxy
    fi
    command -v "$candidate"
}

binary() {
    if [ -n "${CHAT_SERVER_BIN:-}" ]; then
        [ -x "$CHAT_SERVER_BIN" ] || die "CHAT_SERVER_BIN=$CHAT_SERVER_BIN is not an executable file"
        echo "$CHAT_SERVER_BIN"
    else
        (cd "$ROOT" && cargo build --release --locked --quiet --bin chat-server) >&2
        echo "$TARGET_DIR/release/chat-server"
    fi
}

# What all processes share, also `chat-server migrate` and `seed`.
settings() {
    # shellcheck disable=SC1091 # written by the engines' scripts
    source "$DIR/engines.env"
    local points pulsar_url=$FOLKMOOT_TEST_PULSAR_TLS
    local cassandra_ca="ca_file = \"$FOLKMOOT_TEST_CASSANDRA_CA_FILE\""
    if [ "$TLS" = 0 ]; then
        cassandra_ca=
        pulsar_url=$FOLKMOOT_TEST_PULSAR
    fi
    points=\"${FOLKMOOT_TEST_CASSANDRA//,/\", \"}\"
    cat >"$DIR/cluster.toml" <<TOML
[store]
engine = "cassandra"

[cassandra]
contact_points = [$points]
keyspace = "folkmoot"
local_datacenter = "dc1"
replication = ["dc1:$((NODES < 3 ? NODES : 3))"]
user = "$FOLKMOOT_TEST_CASSANDRA_USER"
password_file = "$FOLKMOOT_TEST_CASSANDRA_PASSWORD_FILE"
$cassandra_ca

[bus]
engine = "pulsar"

[pulsar]
url = "$pulsar_url"
admin_url = "$FOLKMOOT_TEST_PULSAR_ADMIN"
tenant = "folkmoot"
namespace = "cluster"
token_file = "$FOLKMOOT_TEST_PULSAR_TOKEN_FILE"
ca_file = "$FOLKMOOT_TEST_PULSAR_CA_FILE"

[gateway]
# Nobody waits here for a user's phone to come back gently.
drain_window_seconds = 2

[auth]
# All who try it come from this machine's address.
login_per_minute_address = 1000
register_per_hour_address = 1000
TOML
}

# Ports that a process keeps as long as DIR is there: clients and HAProxy find it again after a restart.
ports() {
    local name kind
    for name in $(servers); do
        mkdir -p "$DIR/$name/log"
        for kind in port admin_port hop_port; do
            [ -s "$DIR/$name/$kind" ] || free_port >"$DIR/$name/$kind"
        done
    done
}

start_server_process() {
    local name=$1 dir=$DIR/$1 roles=${1%%[0-9]*}
    local hop=()
    if [ "$roles" = gateway ]; then hop=(--set "cluster.listen=127.0.0.1:$(cat "$dir/hop_port")"); fi
    # The name by which processes know that another one is of the cluster (chat-server/cluster/src/tls.rs).
    certificate "$name" 127.0.0.1 processes.folkmoot.internal
    launch "$dir" "$(cat "$DIR/binary")" serve --roles "$roles" --config "$DIR/cluster.toml" --data-dir "$dir/data" \
        --listen "127.0.0.1:$(cat "$dir/port")" --admin-listen "127.0.0.1:$(cat "$dir/admin_port")" \
        --set "cluster.name=$name" --set "cluster.ca_file=$DIR/tls/ca.pem" \
        --set "cluster.cert_file=$DIR/tls/$name.pem" --set "cluster.key_file=$DIR/tls/$name.key" \
        ${hop[@]+"${hop[@]}"}
}

# backend NAME BALANCE SERVER…: checked by readiness, which a process that drains or lacks its store takes back. When none is
# ready, asking one is better than refusing for all: it answers `overloaded`, and serves what it has in memory.
backend() {
    local name
    printf '\nbackend %s\n    balance %s\n    option httpchk GET /readyz\n' "$1" "$2"
    shift 2
    for name in "$@"; do
        printf '    server %s 127.0.0.1:%s check port %s inter 500ms fall 2 rise 1\n' \
            "$name" "$(cat "$DIR/$name/port")" "$(cat "$DIR/$name/admin_port")"
    done
    printf '    option allbackups\n'
    for name in "$@"; do
        printf '    server %s-unready 127.0.0.1:%s backup\n' "$name" "$(cat "$DIR/$name/port")"
    done
}

start_haproxy() {
    local dir=$DIR/haproxy files
    mkdir -p "$dir/log"
    # Each socket is two open files.
    files=$(ulimit -Hn)
    if [ "$files" = unlimited ] || [ "$files" -gt 200000 ]; then files=200000; fi
    ulimit -n "$files" 2>/dev/null || files=$(ulimit -n)
    {
        cat <<CFG
global
    maxconn $(((files - 200) / 2))

defaults
    mode http
    timeout connect 2s
    timeout http-request 10s
    timeout client 2m
    timeout server 2m
    # Of sockets. The gateway finds those that are gone, by pings.
    timeout tunnel 1h
    retries 2
    option redispatch

frontend chat
    bind ${CLUSTER_ADDRESS:-127.0.0.1}:$PORT
    # What a client says of itself is not passed on.
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    use_backend gateways if { path /v1/ws }
    use_backend auths if { path_beg /v1/auth/ } || { path /.well-known/jwks.json }
    default_backend apis
CFG
        # shellcheck disable=SC2046 # one word for each gateway
        backend gateways leastconn $(gateways)
        backend apis roundrobin api
        backend auths roundrobin auth
    } >"$dir/haproxy.cfg"
    launch "$dir" "$(find_haproxy)" -db -f "$dir/haproxy.cfg"
}

server_ready() { http_ok "$(cat "$DIR/$1/admin_port")" /readyz; }
haproxy_ready() { http_ok "$PORT" /.well-known/jwks.json "${CLUSTER_ADDRESS:-127.0.0.1}"; }

# start NAME, ready when this returns.
start() {
    local began=$SECONDS
    case $1 in
        cassandra*) cassandra start "${1#cassandra}" ;;
        pulsar) pulsar start ;;
        haproxy)
            alive "$DIR/haproxy" || start_haproxy
            await "$DIR/haproxy" 30 haproxy_ready
            ;;
        *)
            alive "$DIR/$1" || start_server_process "$1"
            await "$DIR/$1" 60 server_ready "$1"
            say "$1 on 127.0.0.1:$(cat "$DIR/$1/port"), pid $(cat "$DIR/$1/pid"), ready after $((SECONDS - began)) s"
            ;;
    esac
}

engines() {
    local first= second=
    cassandra up "$NODES" ${FRESH:+--fresh} &
    first=$!
    pulsar up ${FRESH:+--fresh} &
    second=$!
    # Both have ended before either's failure ends this.
    wait "$first" || first=
    wait "$second" || second=
    [ -n "$first" ] && [ -n "$second" ] || die "the engines do not start"
}

describe_cluster() {
    local name
    {
        echo "CLUSTER_URL='http://${CLUSTER_ADDRESS:-127.0.0.1}:$PORT'"
        echo "CLUSTER_CONFIG='$DIR/cluster.toml'"
        for name in $(servers); do
            echo "CLUSTER_$(tr '[:lower:]' '[:upper:]' <<<"$name")='http://127.0.0.1:$(cat "$DIR/$name/port")'"
        done
    } >"$DIR/cluster.env"
}

up() {
    local began=$SECONDS name migrating server
    find_haproxy >/dev/null
    mkdir -p "$DIR"
    server=$(binary)
    echo "$server" >"$DIR/binary"
    say "chat-server is built ($((SECONDS - began)) s)"
    # A cluster that did not become whole is not left behind.
    trap 'say "stopping what was started"; down' EXIT
    engines
    say "the engines are up ($((SECONDS - began)) s)"
    settings
    ports
    migrating=$SECONDS
    "$server" migrate --config "$DIR/cluster.toml" --data-dir "$DIR/migrate"
    say "tables and topics are there after $((SECONDS - migrating)) s"
    # All begin, then each is waited for.
    for name in $(servers); do
        alive "$DIR/$name" || start_server_process "$name"
    done
    for name in $(servers) haproxy; do start "$name"; done
    describe_cluster
    trap - EXIT
    cat <<TEXT

The cluster is up after $((SECONDS - began)) s:

    http://${CLUSTER_ADDRESS:-127.0.0.1}:$PORT        the web client; the first account that you make owns it
    $DIR/*/log/    what each process says
    scripts/cluster.sh kill gateway1      take something away; start gateway1 brings it back
    make cluster-down                     stops all of it, and keeps the data
TEXT
}

down() {
    local name
    end "$DIR/haproxy"
    for name in $(servers); do
        # All are asked before the first is waited for.
        if alive "$DIR/$name"; then kill -CONT "$(cat "$DIR/$name/pid")"; kill "$(cat "$DIR/$name/pid")"; fi
    done
    for name in $(servers); do end "$DIR/$name"; done
    cassandra down
    pulsar down
    rm -f "$DIR/cluster.env"
}

status() {
    local name
    cassandra status
    pulsar status
    for name in $(servers) haproxy; do
        if alive "$DIR/$name"; then echo "$name runs, pid $(cat "$DIR/$name/pid")"; else echo "$name does not run"; fi
    done
}

command=${1:-}
[ $# -eq 0 ] || shift
engine_options "$@"
DIR=$ENGINES_DIR
set -- ${ARGUMENTS[@]+"${ARGUMENTS[@]}"}
case $command in
    up | down | status) "$command" ;;
    start | kill | stop | cont | end)
        [ -d "$DIR/${1:-.}/log" ] || die "no such process; there are: $(cd "$DIR" 2>/dev/null && ls -d -- */log | sed 's#/log##' | tr '\n' ' ')"
        case $command in
            start) start "$1" ;;
            kill) murder "$DIR/$1" ;;
            stop) signal "$DIR/$1" STOP ;;
            cont) signal "$DIR/$1" CONT ;;
            end) end "$DIR/$1" ;;
        esac
        ;;
    *) die "unknown command; there are up, down, status, start, kill, stop, cont and end" ;;
esac

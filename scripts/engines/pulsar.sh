#!/usr/bin/env bash
# A real Apache Pulsar (broker, bookie and metadata in one process) on a loopback address, for tests and for `make cluster`.
#
#     scripts/engines/pulsar.sh up [--dir DIR] [--fresh]   start it
#     scripts/engines/pulsar.sh down [--dir DIR]           stop it
#     scripts/engines/pulsar.sh status [--dir DIR]         whether it runs
#     scripts/engines/pulsar.sh start|kill|stop|cont       start it again, SIGKILL, SIGSTOP, SIGCONT
#     scripts/engines/pulsar.sh install                    only fetch it, into $FOLKMOOT_CACHE
#
# DIR (target/engines) holds pulsar/{pid,address,log,…}, the certificates in tls/, a token and engines.env with what a client
# needs. --fresh forgets earlier data. Environment: PULSAR_ADDRESS (a free one of 127.0.0.0/8), PULSAR_PORT (6650),
# PULSAR_TLS_PORT (6651), PULSAR_HTTP_PORT (8080), PULSAR_HEAP (512m), ENGINES_JIT, ENGINES_NICE (until it is ready), JAVA_HOME. Tokens are
# asked for on all ports.
source "$(dirname "$0")/lib.sh"

VERSION=4.0.6
HOME_DIR=$CACHE/pulsar-$VERSION
PORT=${PULSAR_PORT:-6650}
TLS_PORT=${PULSAR_TLS_PORT:-6651}
HTTP_PORT=${PULSAR_HTTP_PORT:-8080}
HEAP=${PULSAR_HEAP:-512m}

install() {
    [ ! -e "$HOME_DIR" ] || return 0
    local began=$SECONDS fresh
    say "fetching Apache Pulsar $VERSION (244 MB, once)"
    fresh=$(staging)
    maven dependency:get -Dtransitive=false \
        -Dartifact="org.apache.pulsar:pulsar-server-distribution:$VERSION:tar.gz:bin"
    maven dependency:copy -Dartifact="org.apache.pulsar:pulsar-server-distribution:$VERSION:tar.gz:bin" \
        -DoutputDirectory="$fresh"
    verify "$fresh" "$ENGINES/pulsar/SHA256SUMS"
    tar -xzf "$fresh"/*.tar.gz -C "$fresh"
    settle "$fresh/apache-pulsar-$VERSION" "$HOME_DIR"
    rm -rf "$fresh"
    say "Pulsar is in $HOME_DIR after $((SECONDS - began)) s"
}

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# What `pulsar tokens create --subject folkmoot` makes, without a JVM: a JSON Web Token signed with HMAC-SHA-256.
token() {
    local signed key
    key=$(od -An -v -tx1 "$ENGINES_DIR/pulsar/secret.key" | tr -d ' \n')
    signed=$(printf '{"alg":"HS256"}' | base64url).$(printf '{"sub":"folkmoot"}' | base64url)
    printf '%s.%s' "$signed" "$(printf %s "$signed" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64url)"
}

# put KEY VALUE: sets it in the configuration, whether or not it is there.
put() {
    local conf=$DIR/standalone.conf
    grep -v "^$1=" "$conf" >"$conf.new"
    printf '%s=%s\n' "$1" "$2" >>"$conf.new"
    mv "$conf.new" "$conf"
}

configure() {
    local address
    mkdir -p "$DIR/log"
    if [ -e "$DIR/address" ]; then
        address=$(cat "$DIR/address")
    else
        address=${PULSAR_ADDRESS:-$(free_addresses 1 "$PORT")}
        echo "$address" >"$DIR/address"
        free_port >"$DIR/bookie_port"
        openssl rand 32 >"$DIR/secret.key"
        token >"$ENGINES_DIR/pulsar.token"
    fi
    authority
    certificate pulsar "$address"
    cp "$HOME_DIR/conf/standalone.conf" "$DIR/standalone.conf"
    # The file that is shipped ends without a newline.
    echo >>"$DIR/standalone.conf"
    put bindAddress "$address"
    put advertisedAddress "$address"
    put brokerServicePort "$PORT"
    put brokerServicePortTls "$TLS_PORT"
    put webServicePort "$HTTP_PORT"
    put tlsCertificateFilePath "$ENGINES_DIR/tls/pulsar.pem"
    put tlsKeyFilePath "$ENGINES_DIR/tls/pulsar.key"
    put tlsTrustCertsFilePath "$ENGINES_DIR/tls/ca.pem"
    put authenticationEnabled true
    put authenticationProviders org.apache.pulsar.broker.authentication.AuthenticationProviderToken
    put tokenSecretKey "file://$DIR/secret.key"
    put authorizationEnabled true
    put superUserRoles folkmoot
    put brokerClientAuthenticationPlugin org.apache.pulsar.client.impl.auth.AuthenticationToken
    put brokerClientAuthenticationParameters "file://$ENGINES_DIR/pulsar.token"
    # The bookie on loopback, and small.
    put listeningInterface "$([ "$(uname)" = Darwin ] && echo lo0 || echo lo)"
    put allowLoopback true
    put numIOThreads 2
    put numHttpServerThreads 8
    put bookkeeperClientNumberWorkerThreads 2
    put numOrderedExecutorThreads 2
    put dbStorage_writeCacheMaxSizeMb 32
    put dbStorage_readAheadCacheMaxSizeMb 32
    put dbStorage_rocksDB_blockCacheSize 33554432
    put managedLedgerCacheSizeMB 64
    # A reader that has seen everything learns of the next message at once, not 10 ms later.
    put managedLedgerNewEntriesCheckDelayInMillis 0
    put journalMaxGroupWaitMSec 1
    put topicLevelPoliciesEnabled true
    put systemTopicEnabled true
    put forceDeleteNamespaceAllowed true
    put forceDeleteTenantAllowed true
    put brokerShutdownTimeoutMs 5000
}

launch_broker() {
    local java_home
    java_home=$(dirname "$(dirname "$(find_java)")")
    launch "$DIR" env "JAVA_HOME=$java_home" "PULSAR_MEM=-Xms$HEAP -Xmx$HEAP -XX:MaxDirectMemorySize=512m" \
        "PULSAR_GC=-XX:+UseG1GC" "PULSAR_EXTRA_OPTS=-XX:+ExitOnOutOfMemoryError $(jit)" "PULSAR_GC_LOG=" \
        "PULSAR_STANDALONE_CONF=$DIR/standalone.conf" "PULSAR_LOG_DIR=$DIR/log" \
        PULSAR_LOG_APPENDER=Console PULSAR_ROUTING_APPENDER_DEFAULT=Console \
        "$HOME_DIR/bin/pulsar" standalone --no-functions-worker --no-stream-storage \
        --advertised-address "$(cat "$DIR/address")" --num-bookies 1 --bookkeeper-port "$(cat "$DIR/bookie_port")" \
        --metadata-dir "$DIR/metadata" --bookkeeper-dir "$DIR/bookkeeper"
}

# The broker's own health check: it publishes a message and reads it.
ready() {
    http_ok "$HTTP_PORT" /admin/v2/brokers/health "$(cat "$DIR/address")" "Authorization: Bearer $(cat "$ENGINES_DIR/pulsar.token")"
}

start() {
    local began=$SECONDS
    alive "$DIR" || launch_broker
    await "$DIR" 180 ready
    at_full_priority "$DIR"
    say "pulsar on $(cat "$DIR/address"):$PORT, pid $(cat "$DIR/pid"), ready after $((SECONDS - began)) s"
    describe
}

describe() {
    local address
    address=$(cat "$DIR/address")
    environment pulsar <<ENV
FOLKMOOT_TEST_PULSAR='pulsar://$address:$PORT'
FOLKMOOT_TEST_PULSAR_TLS='pulsar+ssl://$address:$TLS_PORT'
FOLKMOOT_TEST_PULSAR_ADMIN='http://$address:$HTTP_PORT'
FOLKMOOT_TEST_PULSAR_TOKEN_FILE='$ENGINES_DIR/pulsar.token'
FOLKMOOT_TEST_PULSAR_CA_FILE='$ENGINES_DIR/tls/ca.pem'
FOLKMOOT_TEST_PULSAR_PID='$(cat "$DIR/pid")'
ENV
}

up() {
    install
    [ -z "$FRESH" ] || { end "$DIR" && rm -rf "$DIR"; }
    alive "$DIR" || configure
    # One that did not become ready is not left behind.
    trap down EXIT
    start
    trap - EXIT
}

down() {
    end "$DIR"
    rm -f "$ENGINES_DIR/pulsar.env"
    [ ! -d "$ENGINES_DIR" ] || merge_environment
}

status() {
    if alive "$DIR"; then
        echo "pulsar runs on $(cat "$DIR/address"):$PORT, pid $(cat "$DIR/pid")"
    else
        echo "pulsar does not run"
    fi
}

command=${1:-}
[ $# -eq 0 ] || shift
engine_options "$@"
DIR=$ENGINES_DIR/pulsar
case $command in
    install) install ;;
    up) up ;;
    down) down ;;
    status) status ;;
    start)
        [ -e "$DIR/address" ] || die "there is no Pulsar in $ENGINES_DIR: up makes one"
        start
        ;;
    kill) murder "$DIR" ;;
    stop) signal "$DIR" STOP ;;
    cont) signal "$DIR" CONT ;;
    *) die "unknown command; there are up, down, status, start, kill, stop, cont and install" ;;
esac

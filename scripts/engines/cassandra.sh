#!/usr/bin/env bash
# Real Apache Cassandra nodes on loopback addresses of this machine, for tests and for `make cluster`.
#
#     scripts/engines/cassandra.sh up [N] [--dir DIR] [--fresh]   start N (1) nodes, or what of them does not run
#     scripts/engines/cassandra.sh down [--dir DIR]               stop them
#     scripts/engines/cassandra.sh status [--dir DIR]             which run, on which address
#     scripts/engines/cassandra.sh start|kill|stop|cont I         node I: start it, SIGKILL, SIGSTOP, SIGCONT
#     scripts/engines/cassandra.sh nodetool I ARGS…               Cassandra's own tool on node I
#     scripts/engines/cassandra.sh install                        only fetch it, into $FOLKMOOT_CACHE
#
# DIR (target/engines) holds everything of the nodes: cassandraI/{pid,address,conf,data,log}, the certificates in tls/, and
# engines.env with what a client needs. --fresh forgets earlier data. Environment: CASSANDRA_ADDRESSES=127.0.11.1,…
# (free ones of 127.0.0.0/8), CASSANDRA_PORT (9042), CASSANDRA_STORAGE_PORT (7000), CASSANDRA_HEAP (1G for one node, 768M each
# for several), ENGINES_JIT, ENGINES_NICE (of a node until it is ready), JAVA_HOME. Passwords are asked for, and TLS is served on the same port as plain connections.
source "$(dirname "$0")/lib.sh"

VERSION=5.0.5
HOME_DIR=$CACHE/cassandra-$VERSION
CONF=$ENGINES/cassandra
PORT=${CASSANDRA_PORT:-9042}
STORAGE_PORT=${CASSANDRA_STORAGE_PORT:-7000}
TOKENS=16

install() {
    [ ! -e "$HOME_DIR" ] || return 0
    local began=$SECONDS fresh
    say "fetching Apache Cassandra $VERSION (66 MB, once)"
    fresh=$(staging)
    maven -f "$CONF/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$fresh"
    verify "$fresh" "$CONF/SHA256SUMS"
    settle "$fresh" "$HOME_DIR"
    say "Cassandra is in $HOME_DIR after $((SECONDS - began)) s"
}

node_dir() { echo "$ENGINES_DIR/cassandra$1"; }
address_of() { cat "$(node_dir "$1")/address"; }

# The numbers of the nodes that DIR knows.
nodes() {
    local i=1
    while [ -e "$(node_dir $i)/address" ]; do
        echo $i
        i=$((i + 1))
    done
}

# addresses N: those of earlier, which the data belongs to, or new ones. One a line.
addresses() {
    local known
    known=$(for i in $(nodes); do address_of "$i"; done)
    if [ -n "$known" ]; then
        [ "$(wc -l <<<"$known")" -eq "$1" ] || die "$ENGINES_DIR has $(wc -l <<<"$known") nodes, not $1; --fresh begins anew"
        echo "$known"
    elif [ -n "${CASSANDRA_ADDRESSES:-}" ]; then
        [ "$(tr , '\n' <<<"$CASSANDRA_ADDRESSES" | wc -l)" -ge "$1" ] || die "CASSANDRA_ADDRESSES has fewer than $1 addresses"
        tr , '\n' <<<"$CASSANDRA_ADDRESSES" | head -n "$1"
    else
        free_addresses "$1" "$PORT"
    fi
}

# initial_tokens I N: every Nth of the ring's TOKENS×N equal parts. Given tokens spare fresh nodes the wait for each other.
initial_tokens() {
    local k step tokens=
    step=$((9223372036854775807 / (TOKENS * $2) * 2))
    for k in $(seq 0 $((TOKENS - 1))); do
        tokens=$tokens,$((-9223372036854775807 + step * (k * $2 + $1 - 1)))
    done
    echo "${tokens#,}"
}

# configure I N ADDRESS SEEDS
configure() {
    local dir tokens
    dir=$(node_dir "$1")
    mkdir -p "$dir/conf" "$dir/log"
    echo "$3" >"$dir/address"
    tokens=$(initial_tokens "$1" "$2")
    cat >"$dir/conf/cassandra.yaml" <<YAML
cluster_name: folkmoot
num_tokens: $TOKENS
initial_token: "$tokens"
auto_bootstrap: false
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: GossipingPropertyFileSnitch
listen_address: $3
rpc_address: $3
native_transport_port: $PORT
storage_port: $STORAGE_PORT
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "$4"
data_file_directories: ["$dir/data"]
commitlog_directory: "$dir/commitlog"
saved_caches_directory: "$dir/saved_caches"
hints_directory: "$dir/hints"
cdc_raw_directory: "$dir/cdc"
commitlog_sync: periodic
commitlog_sync_period: 10000ms
commitlog_total_space: 512MiB
commitlog_segment_size: 32MiB
disk_optimization_strategy: ssd
memtable_heap_space: 128MiB
memtable_offheap_space: 128MiB
memtable_allocation_type: offheap_objects
key_cache_size: 16MiB
file_cache_size: 128MiB
networking_cache_size: 32MiB
concurrent_reads: 16
concurrent_writes: 16
concurrent_counter_writes: 4
concurrent_compactors: 1
compaction_throughput: 64MiB/s
sstable:
  selected_format: bti
storage_compatibility_mode: NONE
uuid_sstable_identifiers_enabled: true
auto_snapshot: false
# Half the round trips of the first variant for the conditional batches that every append is.
paxos_variant: v2
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
# Many short connections of tests: passwords are not looked up for each.
credentials_validity: 60s
roles_validity: 60s
permissions_validity: 60s
client_encryption_options:
  enabled: true
  optional: true
  keystore: "$ENGINES_DIR/tls/cassandra.p12"
  keystore_password: $STORE_PASSWORD
  store_type: PKCS12
YAML
    # A rack each: with three copies, every node has one.
    printf 'dc=dc1\nrack=rack%s\n' "$1" >"$dir/conf/cassandra-rackdc.properties"
    cp "$CONF/logback.xml" "$dir/conf/logback.xml"
}

keystore() {
    certificate cassandra "$@"
    local tls=$ENGINES_DIR/tls
    if [ "$tls/cassandra.p12" -nt "$tls/cassandra.pem" ]; then return; fi
    openssl pkcs12 -export -name cassandra -in "$tls/cassandra.pem" -inkey "$tls/cassandra.key" -certfile "$tls/ca.pem" \
        -passout "pass:$STORE_PASSWORD" -out "$tls/cassandra.p12"
}

# start_node I: returns at once.
start_node() {
    local dir heap count java
    dir=$(node_dir "$1")
    count=$(nodes | wc -l)
    java=$(find_java)
    if [ "$count" -gt 1 ]; then heap=${CASSANDRA_HEAP:-768M}; else heap=${CASSANDRA_HEAP:-1G}; fi
    free_port >"$dir/jmx_port"
    coarse_timers
    # What an earlier start said must not be taken for what this one says.
    rm -f "$dir/log/"system.log*
    # The short waits only suit nodes that are all on one machine. The cost of hashing passwords is for attackers, who are
    # not here; clients that connect again all at once are. Three copies of the accounts: logins outlive a node. Workers do
    # not take the name of every stage that they work for: each time that is a system call. Changes of the schema are in the
    # commit log, which is enough where only processes die: tests make thousands of tables.
    # shellcheck disable=SC2046 # no argument, or one
    launch "$dir" "$java" "@$CONF/jvm17.options" "-Xms$heap" "-Xmx$heap" -XX:MaxDirectMemorySize=512M -Xss256k \
        -XX:+ExitOnOutOfMemoryError $(jit) -Dcassandra.set_sep_thread_name=false \
        "-Dcassandra.config=file://$dir/conf/cassandra.yaml" "-Dcassandra.storagedir=$dir" "-Dcassandra.logdir=$dir/log" \
        "-Dlogback.configurationFile=file://$dir/conf/logback.xml" "-Dcassandra.jmx.local.port=$(cat "$dir/jmx_port")" \
        -Dcassandra.available_processors=2 -Dcassandra.disable_paxos_auto_repairs=true -Djava.library.path= -Djna.nosys=true \
        -Dcassandra.ring_delay_ms=2000 -Dcassandra.test.flush_local_schema_changes=false -Dcassandra.skip_wait_for_gossip_to_settle=0 \
        -Dcassandra.consistent.rangemovement=false -Dcassandra.superuser_setup_delay_ms=200 \
        "-Dcassandra.system_auth.default_rf=$((count < 3 ? count : 3))" -Dcassandra.auth_bcrypt_gensalt_log2_rounds=4 \
        -cp "$dir/conf:$HOME_DIR/*" org.apache.cassandra.service.CassandraDaemon
}

# ready I: the node serves clients, knows all others, and its first account exists.
ready() {
    local dir other log
    dir=$(node_dir "$1")
    log=$dir/log/system.log
    grep -qs 'Starting listening for CQL clients' "$log" || return 1
    # Whichever of fresh nodes is first makes the account for all.
    [ -e "$dir/account" ] || grep -qs 'Created default superuser role' "$ENGINES_DIR"/cassandra[0-9]*/log/system.log || return 1
    if [ ! -e "$dir/account" ]; then
        for other in $(nodes); do
            [ "$other" = "$1" ] || grep -qs "$(address_of "$other"):$STORAGE_PORT is now UP" "$log" || return 1
        done
    fi
    listens "$(address_of "$1")" "$PORT"
}

wait_for_node() {
    local dir
    dir=$(node_dir "$1")
    await "$dir" 180 ready "$1"
    touch "$dir/account"
    say "cassandra$1 on $(address_of "$1"):$PORT, pid $(cat "$dir/pid"), ready after $((SECONDS - $2)) s"
}

describe() {
    local points= pids= i
    for i in $(nodes); do
        points=$points,$(address_of "$i"):$PORT
        pids="$pids $(cat "$(node_dir "$i")/pid" 2>/dev/null || true)"
    done
    printf %s cassandra >"$ENGINES_DIR/cassandra.password"
    environment cassandra <<ENV
FOLKMOOT_TEST_CASSANDRA='${points#,}'
FOLKMOOT_TEST_CASSANDRA_USER='cassandra'
FOLKMOOT_TEST_CASSANDRA_PASSWORD_FILE='$ENGINES_DIR/cassandra.password'
FOLKMOOT_TEST_CASSANDRA_CA_FILE='$ENGINES_DIR/tls/ca.pem'
FOLKMOOT_TEST_CASSANDRA_PIDS='${pids# }'
ENV
}

up() {
    local count=${1:-1} began=$SECONDS list seeds i=0 address
    install
    [ -z "$FRESH" ] || { down && rm -rf "$ENGINES_DIR"/cassandra[0-9]*; }
    list=$(addresses "$count")
    seeds=$(tr '\n' , <<<"$list" | sed 's/,$//')
    authority
    # shellcheck disable=SC2086 # one word for each address
    keystore $list
    # Nodes that did not all become ready are not left behind.
    trap down EXIT
    for address in $list; do
        i=$((i + 1))
        alive "$(node_dir "$i")" || configure "$i" "$count" "$address" "$seeds"
    done
    for i in $(nodes); do
        if ! alive "$(node_dir "$i")"; then start_node "$i"; fi
    done
    for i in $(nodes); do wait_for_node "$i" "$began"; done
    describe
    trap - EXIT
}

down() {
    local i
    for i in $(nodes); do
        # All are asked before the first is waited for.
        if alive "$(node_dir "$i")"; then kill -CONT "$(cat "$(node_dir "$i")/pid")"; kill "$(cat "$(node_dir "$i")/pid")"; fi
    done
    for i in $(nodes); do end "$(node_dir "$i")"; done
    rm -f "$ENGINES_DIR/cassandra.env"
    [ ! -d "$ENGINES_DIR" ] || merge_environment
}

status() {
    local i
    for i in $(nodes); do
        if alive "$(node_dir "$i")"; then
            echo "cassandra$i runs on $(address_of "$i"):$PORT, pid $(cat "$(node_dir "$i")/pid")"
        else
            echo "cassandra$i does not run"
        fi
    done
}

start() {
    local began=$SECONDS
    alive "$(node_dir "$1")" || start_node "$1"
    wait_for_node "$1" "$began"
    at_full_priority "$(node_dir "$1")"
    describe
}

nodetool() {
    local dir
    dir=$(node_dir "$1")
    shift
    "$(find_java)" "@$CONF/jvm17.options" -Xmx128m "-Dlogback.configurationFile=file://$CONF/logback-tools.xml" \
        "-Dcassandra.storagedir=$dir" -cp "$HOME_DIR/*" org.apache.cassandra.tools.NodeTool \
        -h 127.0.0.1 -p "$(cat "$dir/jmx_port")" "$@"
}

command=${1:-}
[ $# -eq 0 ] || shift
if [ "$command" = nodetool ]; then
    [ -e "$(node_dir "${1:-}")/jmx_port" ] || die "no such node; name it by its number"
    nodetool "$@"
    exit
fi
engine_options "$@"
set -- ${ARGUMENTS[@]+"${ARGUMENTS[@]}"}
case $command in
    install) install ;;
    up) up "$@" ;;
    down) down ;;
    status) status ;;
    start | kill | stop | cont)
        [ -e "$(node_dir "${1:-}")/address" ] || die "no such node; name it by its number"
        case $command in
            start) start "$1" ;;
            kill) murder "$(node_dir "$1")" ;;
            stop) signal "$(node_dir "$1")" STOP ;;
            cont) signal "$(node_dir "$1")" CONT ;;
        esac
        ;;
    *) die "unknown command; there are up, down, status, start, kill, stop, cont, nodetool and install" ;;
esac

# shellcheck shell=bash
# Shared by the scripts of the engines: Java and Maven, certificates, processes by the pid files that they leave.
# Sourced, never run.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

ENGINES=$ROOT/scripts/engines
ENGINES_DIR=${ENGINES_DIR:-$TARGET_DIR/engines}
STORE_PASSWORD=folkmoot
# Keys and tokens are nobody else's to read.
umask 077

# engine_options ARGS…: takes --dir DIR and --fresh out of the arguments; the others are left in ARGUMENTS.
ARGUMENTS=()
FRESH=
trap 'exit 130' INT
trap 'exit 143' TERM
engine_options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --dir)
                [ $# -gt 1 ] || die "--dir needs a directory"
                ENGINES_DIR=$2
                shift
                ;;
            --fresh) FRESH=1 ;;
            -*) die "unknown option $1; there are --dir DIR and --fresh" ;;
            *) ARGUMENTS+=("$1") ;;
        esac
        shift
    done
    case $ENGINES_DIR in /*) ;; *) ENGINES_DIR=$PWD/$ENGINES_DIR ;; esac
}

is_java_17() { [ -x "$1" ] && "$1" -version 2>&1 | head -n 1 | grep -q '"17[."]'; }

search_java() {
    local candidate
    for candidate in "${JAVA_HOME:-/nowhere}/bin/java" /usr/lib/jvm/*17*/bin/java \
        "$(/usr/libexec/java_home -v 17 2>/dev/null || echo /nowhere)/bin/java" "$(type -P java || echo /nowhere)"; do
        if is_java_17 "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# The path of a Java 17, which is what both engines are released for.
find_java() {
    search_java && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt_install openjdk-17-jre-headless && search_java && return
    fi
    die "Cassandra and Pulsar need Java 17 (Debian 12: apt-get install openjdk-17-jre-headless); JAVA_HOME=… names one"
}

# maven ARGS…: runs Maven, quiet, refusing what does not have the checksum that its repository tells.
maven() {
    if ! command -v mvn >/dev/null 2>&1; then
        if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
            die "the engines are fetched by Maven (Debian: apt-get install maven; macOS: brew install maven)"
        fi
        apt_install maven
    fi
    JAVA_HOME=$(dirname "$(dirname "$(find_java)")") retry 3 mvn -B -ntp -q -C -Dstyle.color=never "$@" >&2
}

# verify DIR SUMS: every file that SUMS lists is there with its SHA-256, and no other.
verify() {
    local listed found
    if command -v sha256sum >/dev/null 2>&1; then
        (cd "$1" && sha256sum --check --quiet "$2") >&2 || return 1
    else
        (cd "$1" && shasum -a 256 --check "$2") >/dev/null || return 1
    fi
    listed=$(wc -l <"$2")
    found=$(find "$1" -type f | wc -l)
    [ "$listed" -eq "$found" ] || die "$1 has $((found)) files, $((listed)) are listed"
}

# The option of the JVM for ENGINES_JIT: `quick` (the default) compiles each method once and lightly, so that an engine is up with
# a third of the processor time and fast from its first second; `full` is what servers run with, and is faster from its
# second minute: for measuring throughput.
jit() {
    case ${ENGINES_JIT:-quick} in
        quick) echo -XX:TieredStopAtLevel=1 ;;
        full) ;;
        *) die "ENGINES_JIT=$ENGINES_JIT: expected quick or full" ;;
    esac
}

# --- certificates ---

# The authority of this directory's certificates: DIR/tls/ca.pem.
authority() {
    local tls=$ENGINES_DIR/tls fresh
    [ ! -e "$tls/ca.pem" ] || return 0
    command -v openssl >/dev/null 2>&1 || die "making certificates needs openssl"
    mkdir -p "$ENGINES_DIR"
    fresh=$(mktemp -d "$ENGINES_DIR/tls.XXXXXX")
    openssl ecparam -name prime256v1 -genkey -noout -out "$fresh/ca.key"
    openssl req -x509 -new -key "$fresh/ca.key" -sha256 -days 3650 -subj "/CN=Folkmoot test authority" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -out "$fresh/ca.pem"
    settle "$fresh" "$tls"
}

# certificate NAME ADDRESS|DNS-NAME…: DIR/tls/NAME.pem and NAME.key (PKCS #8), for these, as server and as client.
certificate() {
    local name=$1 tls=$ENGINES_DIR/tls address names=DNS:localhost,DNS:$1
    shift
    for address in "$@"; do
        case $address in
            [0-9]* | *:*) names=$names,IP:$address ;;
            *) names=$names,DNS:$address ;;
        esac
    done
    if [ -e "$tls/$name.pem" ] && [ "$(cat "$tls/$name.names")" = "$names" ]; then return; fi
    openssl ecparam -name prime256v1 -genkey -noout -out "$tls/$name.ec"
    openssl pkcs8 -topk8 -nocrypt -in "$tls/$name.ec" -out "$tls/$name.key"
    rm "$tls/$name.ec"
    openssl req -new -key "$tls/$name.key" -subj "/CN=$name" -out "$tls/$name.csr"
    cat >"$tls/$name.ext" <<EXT
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = $names
EXT
    openssl x509 -req -in "$tls/$name.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -set_serial "0x$(openssl rand -hex 8)" \
        -sha256 -days 3650 -extfile "$tls/$name.ext" -out "$tls/$name.pem" 2>/dev/null
    rm "$tls/$name.csr" "$tls/$name.ext"
    echo "$names" >"$tls/$name.names"
}

# --- processes ---

# launch DIR COMMAND…: starts it in a session of its own, so that Ctrl-C at a test does not end an engine that others
# share; DIR/pid tells its process, DIR/log/stdout.log what it says.
launch() {
    local dir=$1 detach=
    shift
    command -v setsid >/dev/null 2>&1 && detach=setsid
    [ -z "${ENGINES_NICE:-}" ] || detach="nice -n $ENGINES_NICE $detach"
    # One that ended by itself left its number.
    rm -f "$dir/pid"
    # The engine outlives whoever starts it, and must not go on holding what is open there: a lock, say.
    # shellcheck disable=SC2016 # expanded by the inner shell
    $detach bash -c 'exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- && echo $$ >"$1/pid.new" && mv "$1/pid.new" "$1/pid" && shift && exec "$@"' _ "$dir" "$@" \
        >"$dir/log/stdout.log" 2>&1 </dev/null &
    until [ -s "$dir/pid" ]; do sleep 0.02; done
}

# at_full_priority DIR: ends what ENGINES_NICE began, now that the engine of DIR is ready: it starts with that niceness, as if it had
# processors of its own to start with. Lowering it takes root.
at_full_priority() {
    local thread
    [ -n "${ENGINES_NICE:-}" ] || return 0
    # Twice: threads that were begun meanwhile have it of those that began them.
    for thread in "/proc/$(cat "$1/pid")"/task/* "/proc/$(cat "$1/pid")"/task/*; do
        renice -n 0 -p "$(basename "$thread")" >/dev/null 2>&1 || true
    done
}

# coarse_timers: what is started from here on may be woken half a millisecond late (Linux only). Cassandra's workers that have
# nothing to do look for work every ten microseconds and more, which three nodes on two cores have no time for:
# docs/cluster.md has what it costs.
coarse_timers() { [ ! -w /proc/self/timerslack_ns ] || echo 500000 2>/dev/null >/proc/self/timerslack_ns || true; }

# alive DIR: whether the process of DIR/pid runs. All that we start have DIR in their arguments: a number that the system
# gave to another process since is not mistaken for ours.
alive() {
    local pid
    pid=$(cat "$1/pid" 2>/dev/null) && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 1
    # For a moment, while it becomes another program, it has no arguments.
    runs "$1" "$pid" || { sleep 0.2 && runs "$1" "$pid"; }
}

# runs DIR PID: whether DIR is in the arguments of a process.
runs() {
    # Read to their end: a pipe that is closed early fails its writer, and with it the answer.
    if [ -r /proc/self/cmdline ]; then
        tr '\0' ' ' <"/proc/$2/cmdline" 2>/dev/null | grep -F -- "$1" >/dev/null
    else
        ps -o args= -p "$2" | grep -F -- "$1" >/dev/null
    fi
}

# signal DIR SIGNAL: to the process of DIR/pid.
signal() {
    alive "$1" || die "$(basename "$1") does not run"
    kill "-$2" "$(cat "$1/pid")"
}

# gone DIR SECONDS: waits until the process of DIR/pid has ended.
gone() {
    local waited=0
    while alive "$1"; do
        [ "$waited" -lt $(($2 * 10)) ] || return 1
        sleep 0.1
        waited=$((waited + 1))
    done
}

# end DIR: asks the process of DIR/pid to end, and ends it after 20 s.
end() {
    if alive "$1"; then
        kill -CONT "$(cat "$1/pid")" 2>/dev/null || true
        kill "$(cat "$1/pid")" 2>/dev/null || true
        gone "$1" 20 || kill -9 "$(cat "$1/pid")" 2>/dev/null || true
        gone "$1" 5 || die "process $(cat "$1/pid") does not end"
    fi
    rm -f "$1/pid"
}

# murder DIR: SIGKILL, and waits until it is gone.
murder() {
    signal "$1" KILL
    gone "$1" 10 || die "process $(cat "$1/pid") does not die"
    rm -f "$1/pid"
}

# The end of what the process of DIR said.
last_words() { tail -n 20 "$1"/log/*.log | cut -c 1-240 >&2 || true; }

# await DIR SECONDS COMMAND…: until COMMAND succeeds. Fails with the end of the logs when the process of DIR ends.
await() {
    local dir=$1 limit=$(($2 * 5)) waited=0
    shift 2
    until "$@"; do
        if ! alive "$dir"; then
            last_words "$dir"
            die "$(basename "$dir") ended before it was ready"
        fi
        if [ "$waited" -ge "$limit" ]; then
            last_words "$dir"
            die "$(basename "$dir") is not ready after $((limit / 5)) s"
        fi
        sleep 0.2
        waited=$((waited + 1))
    done
}

listens() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# free_addresses N PORT: N loopback addresses side by side with nobody on PORT; where only 127.0.0.1 is there, that one.
free_addresses() {
    local net i
    if [ "$(uname)" = Darwin ]; then
        [ "$1" = 1 ] || die "several nodes need addresses of their own: sudo ifconfig lo0 alias 127.0.0.2, and so on;
then CASSANDRA_ADDRESSES=127.0.0.1,127.0.0.2,127.0.0.3"
        echo 127.0.0.1
        return
    fi
    while :; do
        net=127.$((1 + RANDOM % 250)).$((RANDOM % 250))
        for i in $(seq 1 "$1"); do
            ! listens "$net.$i" "$2" || continue 2
        done
        break
    done
    for i in $(seq 1 "$1"); do echo "$net.$i"; done
}

# environment NAME: standard input becomes DIR/NAME.env; DIR/engines.env is all of them together.
environment() {
    cat >"$ENGINES_DIR/$1.env.new"
    mv "$ENGINES_DIR/$1.env.new" "$ENGINES_DIR/$1.env"
    merge_environment
}

merge_environment() {
    local new=$ENGINES_DIR/engines.env.$$
    cat "$ENGINES_DIR"/cassandra.env "$ENGINES_DIR"/pulsar.env >"$new" 2>/dev/null || true
    mv "$new" "$ENGINES_DIR/engines.env"
}

# shellcheck shell=bash
# shellcheck disable=SC2034 # the variables are for those who source it
# Shared by the scripts beside it: sourced, never run. Runs on bash 3.2, which is what macOS has.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${FOLKMOOT_CACHE:-$HOME/.cache/folkmoot}
TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
case $TARGET_DIR in /*) ;; *) TARGET_DIR=$ROOT/$TARGET_DIR ;; esac
export CARGO_TARGET_DIR=$TARGET_DIR

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# retry TIMES COMMAND…: for steps that need the network. Waits 2, 4, 6, … seconds between tries.
retry() {
    local times=$1 try=1
    shift
    until "$@"; do
        [ "$try" -lt "$times" ] || return 1
        say "failed, try $try of $times: $*"
        sleep $((try * 2))
        try=$((try + 1))
    done
}

# apt_install PACKAGE…: for root on Debian. Another one that installs is waited for.
apt_install() {
    say "installing $*"
    retry 3 apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive retry 3 apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends "$@" >&2
}

# A directory to prepare an installation in, beside where it goes, so that moving it there is one step.
staging() {
    mkdir -p "$CACHE"
    mktemp -d "$CACHE/staging.XXXXXX"
}

# settle FROM TO: moves a complete installation to its place. Of two that are ready at once, one stays.
settle() {
    if ! mv -T "$1" "$2" 2>/dev/null; then
        [ -e "$2" ] || mv "$1" "$2"
        rm -rf "$1"
    fi
}

# How many processors this machine has.
cores() { getconf _NPROCESSORS_ONLN; }

# A loopback port that nobody listens on, below the range that the kernel hands out to clients.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 10000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

# http_ok PORT PATH [ADDRESS] [HEADER]: whether GET answers 200. Needs no curl.
http_ok() {
    local status=
    {
        exec 3<>"/dev/tcp/${3:-127.0.0.1}/$1" || return 1
        printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n' "$2" "${3:-127.0.0.1}" \
            "${4:+$4$'\r\n'}" >&3
        IFS= read -r -t 5 status <&3 || true
        exec 3>&-
    } 2>/dev/null
    case $status in "HTTP/1.1 200"*) return 0 ;; *) return 1 ;; esac
}

# A scratch directory and at most one server for each script; both go when the script ends, however it ends.
SCRATCH=
SERVER_PID=
SERVER_PORT=
SERVER_ADMIN_PORT=

scratch() {
    SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/folkmoot.XXXXXX")
    trap cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

stop_server() {
    [ -n "$SERVER_PID" ] || return 0
    kill "$SERVER_PID" 2>/dev/null || true
    local waited=0
    while kill -0 "$SERVER_PID" 2>/dev/null && [ "$waited" -lt 100 ]; do
        sleep 0.1
        waited=$((waited + 1))
    done
    kill -9 "$SERVER_PID" 2>/dev/null || true
    wait "$SERVER_PID" 2>/dev/null || true
    SERVER_PID=
}

cleanup() {
    stop_server
    [ -z "$SCRATCH" ] || rm -rf "$SCRATCH"
}

# start_server BINARY [ARGS…]: `chat-server dev` on free loopback ports with data in $SCRATCH/data, ready when this
# returns. Sets SERVER_PID, SERVER_PORT and SERVER_ADMIN_PORT; the log is $SCRATCH/server.log.
start_server() {
    local binary=$1
    shift
    SERVER_PORT=$(free_port)
    SERVER_ADMIN_PORT=$(free_port)
    "$binary" dev --data-dir "$SCRATCH/data" --listen "127.0.0.1:$SERVER_PORT" \
        --admin-listen "127.0.0.1:$SERVER_ADMIN_PORT" "$@" >"$SCRATCH/server.log" 2>&1 </dev/null &
    SERVER_PID=$!
    local waited=0
    until http_ok "$SERVER_ADMIN_PORT" /readyz; do
        kill -0 "$SERVER_PID" 2>/dev/null || { cat "$SCRATCH/server.log" >&2; die "chat-server ended before it was ready"; }
        [ "$waited" -lt 300 ] || { cat "$SCRATCH/server.log" >&2; die "chat-server is not ready after 30 s"; }
        sleep 0.1
        waited=$((waited + 1))
    done
}

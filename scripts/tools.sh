#!/usr/bin/env bash
# Installs what the tests need beyond Rust, pinned, into $FOLKMOOT_CACHE (~/.cache/folkmoot), and prints where it is:
#
#     scripts/tools.sh cargo-deny|cargo-fuzz|schemathesis|moto|chromium|node|prometheus|helm|kubectl
#
# Running it again costs nothing: what is there in the right version stays. `make run` needs none of these.
source "$(dirname "$0")/lib.sh"

CARGO_DENY=0.20.2
CARGO_FUZZ=0.13.2
CARGO_TOOLS=$CACHE/cargo-tools

# cargo_tool NAME VERSION: from crates.io, whose index holds the checksum of the sources, with the dependencies of
# its own lock file. Optimised little: built in a third of the time, and these tools run for seconds.
cargo_tool() {
    local name=$1 version=$2 binary=$CARGO_TOOLS/bin/$1
    if [ "$("$binary" --version 2>/dev/null || true)" != "$name $version" ]; then
        say "installing $name $version (one to two minutes, once)"
        CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
            CARGO_TARGET_DIR=$CACHE/build/$name \
            retry 3 cargo install --locked --force --quiet --no-default-features --root "$CARGO_TOOLS" "$name@$version" >&2
        rm -rf "$CACHE/build/$name"
        [ "$("$binary" --version)" = "$name $version" ] || die "$binary is not $name $version"
    fi
    echo "$binary"
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.14 python3.13 python3.12 python3.11 python3; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt_install python3 python3-venv
        if python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo python3
            return
        fi
    fi
    die "this needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv); PYTHON=… names another"
}

# python_tool NAME BINARY: from PyPI, with what scripts/NAME/requirements.txt lists. Every file that pip takes is checked
# against the hashes in there; their checksum names the environment.
python_tool() {
    local name=$1 binary=$2 requirements=$ROOT/scripts/$1/requirements.txt sum dir
    sum=$(cksum <"$requirements" | cut -d ' ' -f 1)
    dir=$CACHE/$name-$sum
    if [ ! -e "$dir/complete" ]; then
        say "installing $name"
        rm -rf "$dir"
        "$(find_python)" -m venv "$dir" >&2
        retry 3 "$dir/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
            -r "$requirements" >&2
        "$dir/bin/$binary" --help >/dev/null
        touch "$dir/complete"
    fi
    echo "$dir/bin/$binary"
}

find_chromium() {
    local candidate
    if [ -n "${CHROMIUM_BIN:-}" ]; then
        [ -x "$CHROMIUM_BIN" ] || die "CHROMIUM_BIN=$CHROMIUM_BIN is not an executable file"
        echo "$CHROMIUM_BIN"
        return
    fi
    for candidate in chromium chromium-browser google-chrome google-chrome-stable \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" "/Applications/Chromium.app/Contents/MacOS/Chromium"; do
        if command -v "$candidate" >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    # Ubuntu's package of this name is a stub for a snap, which cannot read a test's temporary profile.
    if [ "$(id -u)" = 0 ] && grep -qs '^ID=debian' /etc/os-release; then
        apt_install chromium fonts-noto-color-emoji
        command -v chromium
        return
    fi
    die "the browser test needs Chromium or Chrome (Debian: apt-get install chromium); CHROMIUM_BIN=… names another"
}

find_node() {
    # zlib.crc32 is the newest thing that the tests use: Node.js 20.15.
    if ! command -v npm >/dev/null 2>&1 ||
        ! node -e 'process.exit(typeof require("node:zlib").crc32 === "function" ? 0 : 1)' 2>/dev/null; then
        die "the tests of the web client need Node.js 20.15 or newer with npm: https://nodejs.org"
    fi
    command -v node
}

# Debian's package is unpacked, not installed: installed, it would also run a service.
find_prometheus() {
    local dir=$CACHE/prometheus staged
    if [ -n "${PROMETHEUS_BIN:-}" ]; then
        [ -x "$PROMETHEUS_BIN" ] || die "PROMETHEUS_BIN=$PROMETHEUS_BIN is not an executable file"
        echo "$PROMETHEUS_BIN"
        return
    fi
    if command -v prometheus; then return; fi
    if [ ! -e "$dir" ]; then
        command -v apt-get >/dev/null 2>&1 && command -v dpkg >/dev/null 2>&1 ||
            die "recording metrics needs Prometheus: https://prometheus.io/download; PROMETHEUS_BIN=… names one"
        say "fetching prometheus"
        staged=$(staging)
        [ "$(id -u)" != 0 ] || retry 3 apt-get update -qq >&2
        (cd "$staged" && retry 3 apt-get download -qq -o APT::Sandbox::User=root prometheus >&2)
        dpkg -x "$staged"/prometheus_*.deb "$staged/root"
        "$staged/root/usr/bin/prometheus" --version >/dev/null
        settle "$staged/root" "$dir"
        rm -rf "$staged"
    fi
    echo "$dir/usr/bin/prometheus"
}

# kube_tool NAME COMPONENT: what is installed already does; else it is built from Go modules, like the cluster of the tests.
kube_tool() {
    if command -v "$1" >/dev/null 2>&1; then
        command -v "$1"
    else
        echo "$("$ROOT/scripts/kube/build.sh" "$2")/$1"
    fi
}

case ${1:-} in
    cargo-deny) cargo_tool cargo-deny "$CARGO_DENY" ;;
    cargo-fuzz) cargo_tool cargo-fuzz "$CARGO_FUZZ" ;;
    schemathesis) python_tool schemathesis schemathesis ;;
    moto) python_tool moto moto_server ;;
    chromium | node | prometheus) "find_$1" ;;
    helm) kube_tool helm helm ;;
    kubectl) kube_tool kubectl kubernetes ;;
    *) die "unknown tool; there are cargo-deny, cargo-fuzz, schemathesis, moto, chromium, node, prometheus, helm and kubectl" ;;
esac

#!/usr/bin/env bash
# Says plainly what a machine lacks to build Folkmoot: Rust by rustup, and a C compiler for the bundled SQLite.
source "$(dirname "$0")/lib.sh"

if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
    # shellcheck disable=SC2016 # to be pasted as it is
    die 'cargo is installed but not on your PATH. Run this, then make again:

    source "$HOME/.cargo/env"'
fi

if ! command -v cargo >/dev/null 2>&1; then
    die 'Rust is missing. Install rustup as https://rustup.rs tells (it needs no root), open a new shell and run
make again. The toolchain that rust-toolchain.toml names then installs itself.'
fi

wanted=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml")
if ! command -v rustup >/dev/null 2>&1; then
    have=$(rustc --version | cut -d ' ' -f 2)
    oldest=$(printf '%s\n%s\n' "$wanted" "$have" | sort -t . -k 1,1n -k 2,2n -k 3,3n | head -n 1)
    [ "$oldest" = "$wanted" ] || die "Rust $have is too old, $wanted is needed. Update it, or install rustup as
https://rustup.rs tells: it brings the right one by itself."
fi

compiler=${CC:-cc}
if ! command -v "${compiler%% *}" >/dev/null 2>&1; then
    die "no C compiler ('$compiler'): SQLite is compiled into the server. Install one and run make again:

    Debian, Ubuntu   sudo apt-get install build-essential
    Fedora           sudo dnf install gcc
    Alpine           sudo apk add build-base
    macOS            xcode-select --install"
fi

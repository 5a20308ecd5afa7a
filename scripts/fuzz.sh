#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS (60), one after the other; arguments name single targets. A crash ends it with
# the input that did it in fuzz/artifacts. libFuzzer's instrumentation needs a nightly toolchain.
source "$(dirname "$0")/lib.sh"

FUZZ_SECONDS=${FUZZ_SECONDS:-60}
unset CARGO_TARGET_DIR
cd "$ROOT"
command -v rustup >/dev/null 2>&1 || die "fuzzing needs a nightly toolchain from rustup: https://rustup.rs"
rustup run nightly rustc --version >/dev/null 2>&1 ||
    die "fuzzing needs a nightly toolchain: rustup toolchain install nightly --profile minimal"
scripts/tools.sh cargo-fuzz >/dev/null
export PATH=$CACHE/cargo-tools/bin:$PATH

targets=${*:-$(cargo +nightly fuzz list)}
cargo +nightly fuzz build
built=fuzz/target/$(rustc +nightly -vV | sed -n 's/^host: //p')/release
for target in $targets; do
    say "=== $target, $FUZZ_SECONDS s"
    mkdir -p "fuzz/corpus/$target" "fuzz/seeds/$target" "fuzz/artifacts/$target"
    # Not `cargo fuzz run`, which looks for changes again before each target. 64 KiB is the largest frame; a hang is a
    # finding too.
    "$built/$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -artifact_prefix="fuzz/artifacts/$target/" \
        -max_total_time="$FUZZ_SECONDS" -max_len=65536 -timeout=10 -rss_limit_mb=2048 -print_funcs=0
done
say "=== all targets ran clean"

#!/usr/bin/env bash
# Everything that CI checks, step by step; `make test` calls it.
#
#     scripts/test.sh                 all steps, stopping at the first that fails (with CI=true: going on)
#     scripts/test.sh fmt clippy      some of them
#     scripts/test.sh --busy test     the same with one core kept busy by something else: no test may judge by speed
#     scripts/test.sh --list          their names, in order
source "$(dirname "$0")/lib.sh"

STEPS="fmt clippy test doc deny openapi web charts images kube load"
# In CI these run beside `kube`, which waits most of the time, and with less of the processor. The longest compilations come last:
# `kube` begins with a short one.
BESIDE_KUBE="charts images web openapi deny doc load"

# The real Cassandra and Pulsar of all tests start while the tests are compiled, and end with their step. Whoever has some
# names them in the environment instead: FOLKMOOT_TEST_CASSANDRA=host:port, FOLKMOOT_TEST_PULSAR=pulsar://host:port and
# so on, see docs/cluster.md.
engines_to_start() {
    [ -n "${FOLKMOOT_TEST_CASSANDRA:-}" ] || echo cassandra
    [ -n "${FOLKMOOT_TEST_PULSAR:-}" ] || echo pulsar
}

begin_engines() {
    local engine
    # One after the other: both may have to install Maven.
    for engine in $(engines_to_start); do "$ROOT/scripts/engines/$engine.sh" install; done
    mkdir -p "$SCRATCH/engines"
    for engine in $(engines_to_start); do
        "$ROOT/scripts/engines/$engine.sh" up --dir "$SCRATCH/engines" >"$SCRATCH/$engine.log" 2>&1 &
        echo $! >"$SCRATCH/$engine.starting"
    done
}

# Their addresses are in the environment when this returns.
engines_ready() {
    local engine
    for engine in $(engines_to_start); do
        wait "$(cat "$SCRATCH/$engine.starting")" || { cat "$SCRATCH/$engine.log" >&2; die "$engine does not start"; }
        rm "$SCRATCH/$engine.starting"
        cat "$SCRATCH/$engine.log" >&2
    done
    if [ -e "$SCRATCH/engines/engines.env" ]; then
        set -a
        # shellcheck disable=SC1091 # written by the engines' scripts
        source "$SCRATCH/engines/engines.env"
        set +a
    fi
}

end_engines() {
    local engine pid
    [ -d "$SCRATCH/engines" ] || return 0
    for engine in cassandra pulsar; do
        if pid=$(cat "$SCRATCH/$engine.starting" 2>/dev/null); then
            kill "$pid" 2>/dev/null || true
            while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
        fi
        "$ROOT/scripts/engines/$engine.sh" down --dir "$SCRATCH/engines"
    done
    rm -r "$SCRATCH/engines"
}

step_fmt() {
    cargo fmt --all --check
    cargo fmt --manifest-path fuzz/Cargo.toml --check
}

step_clippy() { cargo clippy --workspace --all-targets --locked --quiet -- -D warnings; }

step_test() {
    # Most tests wait for something most of the time.
    export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(cores)))}
    begin_engines
    cargo test --workspace --locked --no-run
    engines_ready
    # One run shows everything that fails: neither a failed binary nor the first command keeps the rest from running.
    local library failed=
    cargo test --workspace --locked --no-fail-fast || failed=1
    # Once more through the other driver, which is a feature and needs a native library.
    library=$("$ROOT/scripts/engines/libcassandra.sh")
    CASSANDRA_SYS_LIB_PATH=$library cargo test --workspace --locked --no-fail-fast \
        --features chat-server/cassandra-cpp --test store_cassandra_cpp || failed=1
    [ -z "$failed" ]
}

# The crates are read in this repository, where what is private can be read too: links to it are fine.
step_doc() {
    RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" \
        cargo doc --workspace --no-deps --locked --quiet
}

step_deny() {
    local deny
    deny=$("$ROOT/scripts/tools.sh" cargo-deny)
    "$deny" --locked check --hide-inclusion-graph licenses bans sources
    # The advisories live in a git repository of their own, which not every machine reaches. What was fetched before is
    # used; a machine that never reached it says so and goes on.
    if GIT_TERMINAL_PROMPT=0 "$deny" --locked check advisories 2>"$SCRATCH/advisories"; then
        cat "$SCRATCH/advisories"
    elif grep -q 'failed to fetch advisory database' "$SCRATCH/advisories"; then
        say "advisories: the database cannot be reached from here, so they were not checked"
    else
        cat "$SCRATCH/advisories" >&2
        return 1
    fi
}

step_openapi() {
    cargo build --locked --quiet --bin chat-server
    "$ROOT/scripts/schemathesis.sh" "$TARGET_DIR/debug/chat-server"
}

step_web() {
    local node chromium
    node=$("$ROOT/scripts/tools.sh" node)
    chromium=$("$ROOT/scripts/tools.sh" chromium)
    cargo build --locked --quiet --bin chat-server
    (
        cd "$ROOT/web-tests"
        retry 3 npm ci --no-audit --no-fund --loglevel=error
        CHROMIUM_BIN=$chromium CHAT_SERVER_BIN=$TARGET_DIR/debug/chat-server "$node" --test unit/*.test.mjs run.mjs
    )
}

step_charts() { "$ROOT/scripts/charts.sh"; }

# The images hold what their programs load, and the same program gives the same image.
step_images() {
    cargo build --locked --quiet --bin chat-server --bin folkmoot-operator
    "$ROOT/scripts/images/check.sh" --bin-dir "$TARGET_DIR/debug"
}

# The operator on a real Kubernetes made of processes, with the engines beside it. Other machines have `make kind-test`.
step_kube() {
    if [ -z "${KUBECONFIG:-}" ] && { [ "$(uname)" != Linux ] || [ "$(id -u)" != 0 ]; }; then
        say "NOT TESTED HERE: the operator on a cluster. One of processes needs Linux and root; make kind-test or KUBECONFIG=… do without"
        return
    fi
    "$ROOT/scripts/kind-tests.sh"
}

# `make load` in a third of the time: long enough for every socket to connect, drop and resume. It judges what was lost,
# doubled or reordered; how fast a machine is that also runs tests says nothing.
# Then a small run of `make scale`, whose processes must find each other and whose promises are the same.
step_load() {
    PROFILE=quick SECONDS_OF_LOAD=20 P99_BAR_MS= "$ROOT/scripts/load.sh"
    PROFILE=quick "$ROOT/scripts/scale.sh" --embedded --sockets 1000 --users 3000 --channels 100 --seconds 5
}

if [ "${1:-}" = --list ]; then
    tr ' ' '\n' <<<"$STEPS"
    exit 0
fi

# Keeps one core busy for as long as this script runs: the loop ends with it, even when it is killed.
begin_busy() {
    (
        trap - EXIT INT TERM
        while kill -0 $$ 2>/dev/null; do :; done
    ) &
    BUSY_PID=$!
}

end_busy() {
    [ -n "$BUSY_PID" ] || return 0
    kill "$BUSY_PID" 2>/dev/null || true
    wait "$BUSY_PID" 2>/dev/null || true
    BUSY_PID=
}

# Runs steps in a process group of their own, which can be ended as one.
begin_beside() {
    set -m
    nice -n 10 "$ROOT/scripts/test.sh" "$@" >"$SCRATCH/beside.log" 2>&1 </dev/null &
    BESIDE_PID=$!
    set +m
}

# Waits for them, and says what they said. One that did not come to its end has failed.
end_beside() {
    local step line
    wait "$BESIDE_PID" || true
    BESIDE_PID=
    sed '/^=== summary$/,$d' "$SCRATCH/beside.log"
    for step in "$@"; do
        line=$(sed '1,/^=== summary$/d' "$SCRATCH/beside.log" | grep "^  $step ") || line="  $step FAILED 0 s"
        # shellcheck disable=SC2086 # a word each: step, outcome, seconds
        note ${line% s}
    done
}

kill_beside() {
    [ -z "$BESIDE_PID" ] || kill -- "-$BESIDE_PID" 2>/dev/null || true
}

# note STEP OUTCOME SECONDS: for the summary.
note() {
    [ "$2" = ok ] || failed="$failed $1"
    summary="$summary$(printf '  %-8s %-6s %5d s' "$@")"$'\n'
}

BESIDE_PID=
BUSY_PID=
busy=
if [ "${1:-}" = --busy ]; then
    busy=yes
    shift
fi

chosen=${*:-$STEPS}
for step in $chosen; do
    case " $STEPS " in *" $step "*) ;; *) die "no step '$step'; there are: $STEPS" ;; esac
done

cd "$ROOT"
scratch
trap 'kill_beside; end_busy; end_engines; cleanup' EXIT
[ -z "$busy" ] || begin_busy
beside=
if [ "${CI:-}" = true ]; then
    case " $chosen " in
        *" kube "*)
            for step in $BESIDE_KUBE; do
                case " $chosen " in *" $step "*) beside="$beside $step" ;; esac
            done
            ;;
    esac
fi
summary=
failed=
for step in $chosen; do
    case " $beside " in *" $step "*) continue ;; esac
    # shellcheck disable=SC2086 # one word for each
    [ "$step" != kube ] || [ -z "$beside" ] || begin_beside $beside
    printf '\n=== %s\n' "$step"
    began=$SECONDS
    # Not `if step_…`: there `set -e` is off, and a failure inside of the step would go unnoticed.
    set +e
    (set -e; trap - EXIT; "step_$step")
    status=$?
    set -e
    end_engines
    took=$((SECONDS - began))
    outcome=ok
    [ "$status" -eq 0 ] || outcome=FAILED
    printf '=== %s %s, %d s\n' "$step" "$outcome" "$took"
    note "$step" "$outcome" "$took"
    # shellcheck disable=SC2086 # one word for each
    [ "$step" != kube ] || [ -z "$beside" ] || end_beside $beside
    [ -z "$failed" ] || [ "${CI:-}" = true ] || break
done
printf '\n=== summary\n%s' "$summary"
if [ -n "$failed" ]; then
    printf '\nfailed:%s. Run it alone with: make test STEPS="%s"\n' "$failed" "${failed# }"
    exit 1
fi

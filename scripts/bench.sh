#!/usr/bin/env bash
# CPU per delivery, memory per socket and connects a second, beside a bare epoll broadcaster; arguments go to
# folkmoot-bench. The numbers are kept in bench-results/.
source "$(dirname "$0")/lib.sh"

# 15,000 sockets, all open files of one process on either side.
ulimit -n 20000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" -ge 16000 ] || say "note: 15,000 sockets need 16,000 open files, the limit is $(ulimit -n)"

cd "$ROOT"
cargo build --release --locked --bin chat-server --bin folkmoot-bench
mkdir -p bench-results
exec "$TARGET_DIR/release/folkmoot-bench" --json "bench-results/$(date +%Y%m%d-%H%M%S).json" "$@"

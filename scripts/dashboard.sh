#!/usr/bin/env bash
# Draws the dashboard of the operator's chart as it shows a recording of scripts/chaos-cluster.sh --record: docs/images/dashboard.png.
#
#     scripts/dashboard.sh [--namespace kt-chaos-scale] [--from TIME] [--to TIME] DIR
#
# DIR is what Prometheus left. It stays as it is: a Prometheus of our own reads a copy and evaluates every query. Grafana itself is not
# needed: its panels are npm packages (scripts/dashboard), which Chromium draws. Without --from and --to, such as 2026-11-26T09:00Z, it is
# from a minute before the first socket until the chat is gone. Fails when a panel has no data.
source "$(dirname "$0")/lib.sh"

picture=$ROOT/docs/images/dashboard.png
namespace=kt-chaos-scale
recording=
arguments=()
while [ $# -gt 0 ]; do
    case $1 in
        --help)
            sed -n '2,/^source/{/^#/s/^# \{0,1\}//p;}' "$0"
            exit
            ;;
        --namespace | --from | --to)
            [ -n "${2:-}" ] || die "$1 needs a value"
            if [ "$1" = --namespace ]; then namespace=$2; else arguments+=("$1" "$2"); fi
            shift
            ;;
        -*) die "unknown option $1; there are --namespace, --from and --to" ;;
        *)
            [ -z "$recording" ] || die "more than one directory: $1"
            recording=$1
            ;;
    esac
    shift
done
[ -n "$recording" ] || die "no directory was named: one that scripts/chaos-cluster.sh --record wrote"
[ -d "$recording/wal" ] || die "$recording is no data directory of a Prometheus"

node=$("$ROOT/scripts/tools.sh" node)
prometheus=$("$ROOT/scripts/tools.sh" prometheus)
CHROMIUM_BIN=$("$ROOT/scripts/tools.sh" chromium)
export CHROMIUM_BIN
modules=$ROOT/scripts/dashboard
[ "$modules/node_modules/.package-lock.json" -nt "$modules/package-lock.json" ] || (cd "$modules" && retry 3 npm ci --loglevel=error >&2)

scratch
cp -R "$recording" "$SCRATCH/data"
rm -f "$SCRATCH/data/lock"
: >"$SCRATCH/prometheus.yml"
SERVER_PORT=$(free_port)
# Whatever its age, it is kept.
"$prometheus" "--config.file=$SCRATCH/prometheus.yml" "--storage.tsdb.path=$SCRATCH/data" --storage.tsdb.retention.time=20y \
    "--web.listen-address=127.0.0.1:$SERVER_PORT" >"$SCRATCH/prometheus.log" 2>&1 </dev/null &
SERVER_PID=$!
waited=0
until http_ok "$SERVER_PORT" /-/ready; do
    kill -0 "$SERVER_PID" 2>/dev/null || { cat "$SCRATCH/prometheus.log" >&2; die "Prometheus ended before it was ready"; }
    [ "$waited" -lt 300 ] || { cat "$SCRATCH/prometheus.log" >&2; die "Prometheus is not ready after 30 s"; }
    sleep 0.1
    waited=$((waited + 1))
done
"$node" "$ROOT/scripts/dashboard/main.mjs" --namespace "$namespace" ${arguments[@]+"${arguments[@]}"} \
    "http://127.0.0.1:$SERVER_PORT" "$picture"
say "drew ${picture#"$ROOT/"}"

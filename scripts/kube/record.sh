#!/usr/bin/env bash
# What a Prometheus records of the chats and the operator of a cluster, every 5 s until SIGTERM; runs where the cluster's pods can be
# reached, with kubectl and KUBECONFIG:
#
#     scripts/kube/record.sh PROMETHEUS DIR WORK      into DIR; WORK gets prometheus.pid of this script, configuration and log
#
# Labels are those that the Prometheus operator makes of the ServiceMonitors, ours of each chat
# (operator/src/controller/build/service_monitor.rs) and the chart's of the operator, so that the dashboard and the alerts find what
# they ask for. Pods are found by the EndpointSlices of their Services; Debian's Prometheus cannot ask for them itself.
source "$(dirname "$0")/../lib.sh"

[ $# = 3 ] || die "usage: record.sh PROMETHEUS DIR WORK"
PROMETHEUS=$1
DIR=$2
WORK=$3
mkdir -p "$DIR"
: >"$WORK/prometheus.log"
echo $$ >"$WORK/prometheus.pid"

cat >"$WORK/prometheus.yml" <<YAML
global: {scrape_interval: 5s, scrape_timeout: 4s}
scrape_configs:
- job_name: folkmoot
  metrics_path: /metrics
  file_sd_configs:
  - {files: ["$WORK/prometheus-targets.yml"]}
YAML

# The operator's ServiceMonitor takes over no labels of its Service.
cat >"$WORK/prometheus-targets.tmpl" <<'TEMPLATE'
{{- range .items}}
{{- $namespace := .metadata.namespace}}
{{- $service := index .metadata.labels "kubernetes.io/service-name"}}
{{- $instance := index .metadata.labels "app.kubernetes.io/instance"}}
{{- $component := index .metadata.labels "app.kubernetes.io/component"}}
{{- $operator := eq (index .metadata.labels "app.kubernetes.io/name") "folkmoot-operator"}}
{{- $endpoints := .endpoints}}
{{- range .ports}}
{{- if or (eq .name "admin") (and $operator (eq .name "http"))}}
{{- $port := .}}
{{- range $endpoints}}
- targets: ["{{index .addresses 0}}:{{$port.port}}"]
  labels:
    namespace: {{$namespace}}
    service: {{$service}}
    job: {{$service}}
    endpoint: {{$port.name}}
    container: {{if $operator}}operator{{else}}chat-server{{end}}
    {{- with .targetRef}}
    pod: {{.name}}
    {{- end}}
    {{- if not $operator}}
    app_kubernetes_io_instance: {{$instance}}
    app_kubernetes_io_component: {{$component}}
    {{- end}}
{{- end}}
{{- end}}
{{- end}}
{{- end}}
TEMPLATE

targets() {
    nice -n 19 kubectl get endpointslices --all-namespaces -l 'app.kubernetes.io/name in (folkmoot, folkmoot-operator)' \
        --output "go-template-file=$WORK/prometheus-targets.tmpl" >"$WORK/prometheus-targets.new" 2>>"$WORK/prometheus.log" || return 0
    # Prometheus reads it again whenever another one takes its place.
    cmp -s "$WORK/prometheus-targets.new" "$WORK/prometheus-targets.yml" || mv "$WORK/prometheus-targets.new" "$WORK/prometheus-targets.yml"
}

# Only with what others leave of the processors: those are measured.
GOMAXPROCS=1 nice -n 19 "$PROMETHEUS" "--config.file=$WORK/prometheus.yml" "--storage.tsdb.path=$DIR" --storage.tsdb.retention.time=10y \
    --web.listen-address=127.0.0.1:9090 >>"$WORK/prometheus.log" 2>&1 </dev/null &
pid=$!
ending=
trap 'ending=1; kill "$pid" 2>/dev/null || true' INT TERM
while [ -z "$ending" ] && kill -0 "$pid" 2>/dev/null; do
    targets
    sleep 5 &
    wait "$!" || true
done
# All that was scraped is written down when it has ended.
while kill -0 "$pid" 2>/dev/null; do wait "$pid" || true; done
[ -n "$ending" ] || die "Prometheus ended: see $WORK/prometheus.log"

{{/* Labels by which things of this release are selected. They never change. */}}
{{- define "folkmoot.selectorLabels" -}}
app.kubernetes.io/name: folkmoot-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "folkmoot.labels" -}}
{{ include "folkmoot.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Reference of an image: (dict "image" VALUES "root" $). */}}
{{- define "folkmoot.image" -}}
{{- with .image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.root.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The namespaces that are watched, as JSON. */}}
{{- define "folkmoot.namespaces" -}}
{{- .Values.watch.namespaces | default (list .Release.Namespace) | uniq | sortAlpha | toJson -}}
{{- end }}

{{/*
What the operator may do where it watches: one list for the Role and the ClusterRole. It knows by watching and changes by
server-side apply, which asks for `patch`, and for `create` where nothing is there yet. `delete` is for what a changed spec, or a copy
that somebody made of a child, leaves behind.
*/}}
{{- define "folkmoot.rules" -}}
# ChatClusters: watched; the finalizer of `deletionPolicy: Delete` is put on and taken off. Their spec is not written.
- apiGroups: [folkmoot.dev]
  resources: [chatclusters]
  verbs: [list, watch, patch]
# What is said of them.
- apiGroups: [folkmoot.dev]
  resources: [chatclusters/status]
  verbs: [patch]
# But for one number, once: when somebody else is to decide how many gateways there are, it begins with those that run.
- apiGroups: [folkmoot.dev]
  resources: [chatclusters/scale]
  verbs: [patch]
# Children name the ChatCluster as an owner whose end waits for theirs; some clusters admit that only with this right.
- apiGroups: [folkmoot.dev]
  resources: [chatclusters/finalizers]
  verbs: [update]
# The roles gateway, api and auth. Here and below, `get` sees before a first apply whether a name is somebody else's already.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
# Which template of the gateways is the newest, to which new sockets are led while others are replaced.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list, watch]
# Who decides how many gateways there are, where a ChatCluster wants that.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
# Names that lead to their pods, the identities of those, and their settings.
- apiGroups: [""]
  resources: [services, serviceaccounts, configmaps]
  verbs: [get, list, watch, create, patch, delete]
# Signing keys and internal certificates are made, rotated and deleted. Logins and authorities that a ChatCluster refers to are
# read, to know when they change: names of those are the user's, so the right cannot be narrowed to some.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
# Migrations of the tables, and the end of a keyspace.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch]
# How many pods may be away at once.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Which connections pods may open and take; the way in by an Ingress controller.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies, ingresses]
  verbs: [get, list, watch, create, patch, delete]
# The way in by the Gateway API, where a ChatCluster wants it.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
# What Prometheus reads and warns of, where its operator is installed.
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors, prometheusrules]
  verbs: [get, list, watch, create, patch, delete]
# Which gateways are ready, how many sockets they hold, why a migration failed. Gateways that leave are marked, so that these go and
# no others; one that was emptied and is left all the same is deleted.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch, delete]
# Transitions, for `kubectl describe`.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

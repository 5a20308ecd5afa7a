{{/* Labels of every object: (dict "name" NAME "root" $). */}}
{{- define "backends.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/part-of: folkmoot-dev-backends
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "backends.selectorLabels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* What the restricted admission level asks of a container. */}}
{{- define "backends.securityContext" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end }}

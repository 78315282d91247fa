{{- define "convoy.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The release's name, with the chart's unless it is in it. */}}
{{- define "convoy.fullname" -}}
{{- $name := include "convoy.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "convoy.serviceAccountName" -}}
{{- $default := .Values.serviceAccount.create | ternary (include "convoy.fullname" .) "default" }}
{{- .Values.serviceAccount.name | default $default }}
{{- end }}

{{/* Takes a list: the root and the component. */}}
{{- define "convoy.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "convoy.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Takes a list: the root and the component. */}}
{{- define "convoy.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{ include "convoy.selectorLabels" . }}
app.kubernetes.io/part-of: convoy
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Takes a list: an image, and its tag unless it has one. */}}
{{- define "convoy.image" -}}
{{- $image := index . 0 }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository ($image.tag | default (index . 1)) }}
{{- end }}
{{- end }}

{{/* Takes a list: an IP address and a port. */}}
{{- define "convoy.address" -}}
{{- printf (contains ":" (index . 0) | ternary "[%s]:%v" "%s:%v") (index . 0) (index . 1) }}
{{- end }}

{{/* What the pod security standard `restricted` asks of a Pod. Takes the root. */}}
{{- define "convoy.podSecurityContext" -}}
runAsNonRoot: true
{{- if not (kindIs "invalid" .Values.runAsUser) }}
runAsUser: {{ .Values.runAsUser }}
runAsGroup: {{ .Values.runAsUser }}
fsGroup: {{ .Values.runAsUser }}
{{- end }}
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* And of a container, with nothing to write to but what is mounted. */}}
{{- define "convoy.containerSecurityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* Over zones, then over nodes. Takes a list: the root and selector labels. */}}
{{- define "convoy.spread" -}}
{{- $labels := index . 1 }}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- topologyKey: {{ . }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- $labels | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}

{{/* Namespaces whose Secrets declare members, as a YAML list. */}}
{{- define "convoy.memberNamespaces" -}}
{{- .Values.memberNamespaces | default (list .Release.Namespace "argocd") | uniq | toYaml }}
{{- end }}

{{/* Where Envoys find xDS: the name of its Service. */}}
{{- define "convoy.xdsName" -}}
{{- printf "%s.%s.svc" (include "convoy.fullname" .) .Release.Namespace }}
{{- end }}

{{/* Not empty if xDS has its certificates of Convoy's own authority. */}}
{{- define "convoy.ownAuthority" -}}
{{- if not (or .Values.xds.certificateSecret .Values.xds.plaintextForDevelopment) }}true{{ end }}
{{- end }}

{{/* What Convoy labels the Envoys with that it keeps. */}}
{{- define "convoy.envoyLabels" -}}
app.kubernetes.io/name: envoy
app.kubernetes.io/component: gateway
app.kubernetes.io/managed-by: convoy
{{- end }}

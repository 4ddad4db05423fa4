{{- define "ironbridge.name" -}}
{{- if contains .Chart.Name .Release.Name -}}{{ .Release.Name }}{{- else -}}{{ .Release.Name }}-{{ .Chart.Name }}{{- end -}}
{{- end -}}

{{- define "ironbridge.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "ironbridge.name" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{- define "ironbridge.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* A part is one adapter or one flow: (dict "root" $ "kind" "adapters" "name" "liquidlogic" "part" {…}). */}}
{{- define "ironbridge.part.name" -}}
{{ include "ironbridge.name" .root }}-{{ .name | replace "_" "-" }}
{{- end -}}

{{- define "ironbridge.part.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name | replace "_" "-" }}
{{- end -}}

{{- define "ironbridge.part.labels" -}}
{{ include "ironbridge.labels" .root }}
app.kubernetes.io/component: {{ .name | replace "_" "-" }}
{{- end -}}

{{/* A value as TOML. JSON's scalars are TOML's; a number stays whole, which toToml would not see to. */}}
{{- define "ironbridge.toml" -}}
{{- if kindIs "map" . -}}
{ {{- range $i, $key := keys . | sortAlpha }}{{ if $i }}, {{ end }}{{ toRawJson $key }} = {{ include "ironbridge.toml" (index $ $key) }}{{ end -}} }
{{- else if kindIs "slice" . -}}
[{{- range $i, $each := . }}{{ if $i }}, {{ end }}{{ include "ironbridge.toml" $each }}{{ end -}}]
{{- else -}}
{{ toRawJson . }}
{{- end -}}
{{- end -}}

{{- define "ironbridge.section" -}}
{{- range $key := keys . | sortAlpha }}
{{- if not (kindIs "invalid" (index $ $key)) }}
{{ $key }} = {{ include "ironbridge.toml" (index $ $key) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* A part's settings file holds the part's own section and no other: it needs no secret of the others. */}}
{{- define "ironbridge.settings" -}}
{{- $values := .root.Values -}}
{{- if not $values.kafka.bootstrap_servers }}{{ fail "set kafka.bootstrap_servers" }}{{ end -}}
{{- $kafka := $values.kafka -}}
{{- if $values.kafkaCa.existingSecret }}{{ $kafka = merge (dict "ssl_cafile" "/etc/ironbridge-kafka/ca.crt") $kafka }}{{ end -}}
[kafka]
{{- include "ironbridge.section" $kafka }}

[telemetry]
{{- include "ironbridge.section" $values.telemetry }}

[retention]
{{- include "ironbridge.section" $values.retention }}

[http]
listen = "0.0.0.0:{{ $values.http.port }}"

[console]
{{- include "ironbridge.section" $values.console }}

[{{ .kind }}.{{ .name }}]
{{- include "ironbridge.section" .part.settings }}
{{ end -}}

{{- define "ironbridge.secret" -}}
- name: IRONBRIDGE_{{ .setting | upper | replace "." "__" }}
  valueFrom:
    secretKeyRef:
      name: {{ .from.existingSecret }}
      key: {{ .from.key }}
{{- end -}}

{{- define "ironbridge.env" -}}
{{- range $setting, $from := .root.Values.secrets }}
{{- if $from }}
{{ include "ironbridge.secret" (dict "setting" $setting "from" $from) }}
{{- end }}
{{- end }}
{{- range $setting, $from := .part.secrets }}
{{ include "ironbridge.secret" (dict "setting" (printf "%s.%s.%s" $.kind $.name $setting) "from" $from) }}
{{- end }}
{{- with concat .root.Values.env (default list .part.env) }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "ironbridge.claim" -}}
{{ default (printf "%s-drop" (include "ironbridge.part.name" .)) .part.dropFolder.existingClaim }}
{{- end -}}

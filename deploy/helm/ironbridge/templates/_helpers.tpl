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

{{/* How many workers a target has: 0 is 0, and only what is not given is 1. */}}
{{- define "ironbridge.replicas" -}}
{{ if kindIs "invalid" .replicas }}1{{ else }}{{ .replicas }}{{ end }}
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

{{/* Refuses what is secret among settings: (dict "where" "kafka" "settings" {…} "path" ""). A ConfigMap is no place for it. */}}
{{- define "ironbridge.no-secrets" -}}
{{- $it := . -}}
{{- if kindIs "map" .settings -}}
{{- range $key, $value := .settings -}}
{{- $path := ternary $key (printf "%s.%s" $it.path $key) (eq $it.path "") -}}
{{- if and (kindIs "string" $value) $value (or (regexMatch "(?i)(secret|password|passwd|passphrase|token|credentials?|(api|access|private|account|shared|subscription|supplier|signing)_?key)$" $key) (regexMatch "://[^/@\\s]*:[^/@\\s]+@|(?i)[?;&](password|pwd|sharedaccesskey|accountkey)=" $value)) -}}
{{- fail (printf "%s: `%s` holds a secret, which a ConfigMap would show: name it below `secrets`, with the Secret that has it (existingSecret, key) or with a file (file)" $it.where $path) -}}
{{- end -}}
{{- include "ironbridge.no-secrets" (dict "where" $it.where "settings" $value "path" $path) -}}
{{- end -}}
{{- else if kindIs "slice" .settings -}}
{{- range $i, $value := .settings -}}
{{- include "ironbridge.no-secrets" (dict "where" $it.where "settings" (dict (toString $i) $value) "path" $it.path) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A part's section, and those of the flows that write to it where it is a target with flows of its own. */}}
{{- define "ironbridge.sections" }}

{{ include "ironbridge.no-secrets" (dict "where" (printf "%s.%s.settings" .kind .name) "settings" .part.settings "path" "") -}}
[{{ .kind }}.{{ .name }}]
{{- include "ironbridge.section" .part.settings }}
{{- $target := .name }}
{{- range $flow, $settings := .part.flows }}

{{ include "ironbridge.no-secrets" (dict "where" (printf "targets.%s.flows.%s" $target $flow) "settings" $settings "path" "") -}}
[flows.{{ $flow }}]
{{- include "ironbridge.section" (merge (dict "target" $target) $settings) }}
{{- end }}
{{- end -}}

{{/* The parts that should run somewhere on this state, as JSON: every adapter and flow of the chart but those kept back, and what runs elsewhere. */}}
{{- define "ironbridge.expected" -}}
{{- $parts := list -}}
{{- range $name := keys .Values.adapters | sortAlpha -}}
{{- $parts = append $parts (printf "adapter/%s" $name) -}}
{{- end -}}
{{- range $name := keys .Values.targets | sortAlpha -}}
{{- $target := index $.Values.targets $name -}}
{{- if ne (include "ironbridge.replicas" $target) "0" -}}
{{- range $flow := default (list $name) (keys (default dict $target.flows) | sortAlpha) -}}
{{- $parts = append $parts (printf "flow/%s" $flow) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{ concat $parts .Values.expectedElsewhere | uniq | toJson }}
{{- end -}}

{{/* A part's settings file holds the part's own section and no other: it needs no secret of the others. The console has all. */}}
{{- define "ironbridge.settings" -}}
{{- $values := .root.Values -}}
{{- if not $values.kafka.bootstrap_servers }}{{ fail "set kafka.bootstrap_servers" }}{{ end -}}
{{- $kafka := $values.kafka -}}
{{- if $values.kafkaCa.existingSecret }}{{ $kafka = merge (dict "ssl_cafile" "/etc/ironbridge-kafka/ca.crt") $kafka }}{{ end -}}
{{ range $where := list "kafka" "telemetry" "retention" "console" }}
{{- include "ironbridge.no-secrets" (dict "where" $where "settings" (index $values $where) "path" "") }}
{{- end -}}
expected = {{ include "ironbridge.expected" .root }}

[kafka]
{{- include "ironbridge.section" $kafka }}

[telemetry]
{{- include "ironbridge.section" $values.telemetry }}

[retention]
{{- include "ironbridge.section" $values.retention }}

[http]
{{- if eq .kind "console" }}
{{- if eq (int $values.http.port) (int $values.http.probes) }}{{ fail "http.port and http.probes are the same port: choose another for one of them" }}{{ end }}
listen = "0.0.0.0:{{ $values.http.port }}"
{{- end }}
probes = "0.0.0.0:{{ $values.http.probes }}"

[console]
{{- if eq .kind "console" }}
{{- /* Spans lie beside the process that made them: here there are none. */}}
{{- include "ironbridge.section" (merge (dict) $values.console (dict "spans_kept" 0)) }}
{{- range $kind := list "adapters" "targets" }}
{{- range $name, $part := index $values $kind }}

{{- include "ironbridge.sections" (dict "kind" $kind "name" $name "part" $part) }}
{{- end }}
{{- end }}
{{- else }}
serve = false
{{- include "ironbridge.sections" . }}
{{- end }}
{{ end -}}

{{/* The parts whose systems a pod reaches: the part itself, and for the console all of them. As YAML: {parts: […]}. */}}
{{- define "ironbridge.reached" -}}
{{- $parts := list -}}
{{- if eq .kind "console" -}}
{{- range $kind := list "adapters" "targets" -}}
{{- range $name, $part := index $.root.Values $kind -}}
{{- $parts = append $parts (dict "kind" $kind "name" $name "part" $part) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- $parts = append $parts (dict "kind" .kind "name" .name "part" .part) -}}
{{- end -}}
{{ toYaml (dict "parts" $parts) }}
{{- end -}}

{{- define "ironbridge.secret" -}}
{{- $name := .setting | upper | replace "." "__" | printf "IRONBRIDGE_%s" -}}
{{- if .from.file -}}
- name: {{ $name }}_FILE
  value: {{ .from.file | quote }}
{{- else -}}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ .from.existingSecret }}
      key: {{ .from.key }}
{{- end -}}
{{- end -}}

{{- define "ironbridge.env" -}}
{{- $env := concat .root.Values.env (default list .part.env) -}}
{{- range $setting, $from := .root.Values.secrets }}
{{- if and $from (or (eq $.kind "console") (not (hasPrefix "console." $setting))) }}
{{ include "ironbridge.secret" (dict "setting" $setting "from" $from) }}
{{- end }}
{{- end }}
{{- range (fromYaml (include "ironbridge.reached" .)).parts }}
{{- $it := . }}
{{- range $setting, $from := .part.secrets }}
{{ include "ironbridge.secret" (dict "setting" (printf "%s.%s.%s" $it.kind $it.name $setting) "from" $from) }}
{{- end }}
{{- if eq $.kind "console" }}{{ $env = concat $env (default list .part.env) | uniq }}{{ end }}
{{- end }}
{{- with $env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "ironbridge.claim" -}}
{{ default (printf "%s-drop" (include "ironbridge.part.name" .)) .part.dropFolder.existingClaim }}
{{- end -}}

{{- define "ironbridge.folder" -}}
{{ if eq .of "console" }}drop-{{ .name | replace "_" "-" }}{{ else }}drop{{ end }}
{{- end -}}

{{/* The console as a part: {console: …} where it shall be served, and nothing where not. */}}
{{- define "ironbridge.console" -}}
{{- if .Values.console.serve -}}
{{- if or (hasKey .Values.adapters "console") (hasKey .Values.targets "console") }}{{ fail "an adapter or a target is called console: call it something else and say `system` in its settings" }}{{ end -}}
{{- if not .Values.console.issuer }}{{ fail "set console.issuer: people have to sign in to the console (or console.serve to false)" }}{{ end -}}
{{ toYaml (dict "console" .Values.consolePod) }}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{- define "ironbridge.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{- define "ironbridge.pod.security" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "ironbridge.container.security" -}}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
privileged: false
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "ironbridge.pod" -}}
{{- $values := .root.Values -}}
{{- $reached := (fromYaml (include "ironbridge.reached" .)).parts -}}
{{- $mounts := concat $values.extraVolumeMounts (default list .part.extraVolumeMounts) -}}
{{- $volumes := concat $values.extraVolumes (default list .part.extraVolumes) -}}
{{- if eq .kind "console" -}}
{{- range $reached -}}
{{- $mounts = concat $mounts (default list .part.extraVolumeMounts) | uniq -}}
{{- $volumes = concat $volumes (default list .part.extraVolumes) | uniq -}}
{{- end -}}
{{- end -}}
metadata:
  labels:
    {{- include "ironbridge.part.labels" . | nindent 4 }}
    {{- with merge (dict) (default dict .part.podLabels) $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A changed setting restarts its part.
    checksum/settings: {{ include "ironbridge.settings" . | sha256sum }}
    {{- with merge (dict) (default dict .part.podAnnotations) $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "ironbridge.serviceAccount" .root }}
  automountServiceAccountToken: {{ $values.serviceAccount.automount }}
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- include "ironbridge.pod.security" . | nindent 4 }}
  containers:
    - name: ironbridge
      image: {{ include "ironbridge.image" .root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [{{ if eq .kind "console" }}console{{ else }}run, {{ .name | quote }}{{ end }}, --file, /etc/ironbridge/ironbridge.toml]
      env:
        {{- include "ironbridge.env" . | nindent 8 }}
      ports:
        {{- if eq .kind "console" }}
        - {name: http, containerPort: {{ $values.http.port }}}
        {{- end }}
        - {name: probes, containerPort: {{ $values.http.probes }}}
      # It is answered from the first second on, also while the process waits for Kafka or the state.
      startupProbe:
        httpGet: {path: /healthz, port: probes}
        periodSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /healthz, port: probes}
        periodSeconds: 20
        timeoutSeconds: 5
        failureThreshold: 6
      # Not /progress: a part that is late is seldom mended by a restart. The alerts watch that.
      readinessProbe:
        httpGet: {path: /readyz, port: probes}
        periodSeconds: 15
        timeoutSeconds: 10
      securityContext:
        {{- include "ironbridge.container.security" . | nindent 8 }}
      resources:
        {{- toYaml (default $values.resources .part.resources) | nindent 8 }}
      volumeMounts:
        - {name: settings, mountPath: /etc/ironbridge, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- if $values.kafkaCa.existingSecret }}
        - {name: kafka-ca, mountPath: /etc/ironbridge-kafka, readOnly: true}
        {{- end }}
        {{- range $reached }}
        {{- $folder := default dict .part.dropFolder }}
        {{- if $folder.enabled }}
        # Extracts are only ever read.
        - {name: {{ include "ironbridge.folder" (dict "of" $.kind "name" .name) }}, mountPath: {{ default "/drop" $folder.mountPath | quote }}, readOnly: true}
        {{- end }}
        {{- end }}
        {{- with $mounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with $values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: settings
      configMap: {name: {{ include "ironbridge.part.name" . }}}
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- if $values.kafkaCa.existingSecret }}
    - name: kafka-ca
      secret:
        secretName: {{ $values.kafkaCa.existingSecret }}
        items: [{key: {{ $values.kafkaCa.key | quote }}, path: ca.crt}]
    {{- end }}
    {{- range $reached }}
    {{- $folder := default dict .part.dropFolder }}
    {{- if $folder.enabled }}
    - name: {{ include "ironbridge.folder" (dict "of" $.kind "name" .name) }}
      persistentVolumeClaim: {claimName: {{ include "ironbridge.claim" (dict "root" $.root "name" .name "part" .part) }}}
    {{- end }}
    {{- end }}
    {{- with $volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq .kind "targets" }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "ironbridge.part.selector" . | nindent 10 }}
  {{- end }}
{{- end -}}

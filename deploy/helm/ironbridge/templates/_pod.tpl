{{- define "ironbridge.pod" -}}
{{- $values := .root.Values -}}
{{- $folder := default dict .part.dropFolder -}}
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
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: ironbridge
      image: "{{ $values.image.repository }}:{{ default .root.Chart.AppVersion $values.image.tag }}"
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [run, {{ .name | quote }}, --file, /etc/ironbridge/ironbridge.toml]
      env:
        {{- include "ironbridge.env" . | nindent 8 }}
      ports:
        - {name: http, containerPort: {{ $values.http.port }}}
      # A first start may have to bring the state's tables up to date.
      startupProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 20
        timeoutSeconds: 5
        failureThreshold: 6
      # Not /progress: a part that is late is seldom mended by a restart. The alerts watch that.
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 15
        timeoutSeconds: 10
      securityContext:
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
        privileged: false
        capabilities: {drop: [ALL]}
      resources:
        {{- toYaml (default $values.resources .part.resources) | nindent 8 }}
      volumeMounts:
        - {name: settings, mountPath: /etc/ironbridge, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- if $values.kafkaCa.existingSecret }}
        - {name: kafka-ca, mountPath: /etc/ironbridge-kafka, readOnly: true}
        {{- end }}
        {{- if $folder.enabled }}
        # Extracts are only ever read.
        - {name: drop, mountPath: {{ default "/drop" $folder.mountPath | quote }}, readOnly: true}
        {{- end }}
        {{- with concat $values.extraVolumeMounts (default list .part.extraVolumeMounts) }}
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
    {{- if $folder.enabled }}
    - name: drop
      persistentVolumeClaim: {claimName: {{ include "ironbridge.claim" . }}}
    {{- end }}
    {{- with concat $values.extraVolumes (default list .part.extraVolumes) }}
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

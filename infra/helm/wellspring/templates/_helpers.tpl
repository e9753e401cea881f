{{- define "wellspring.name" -}}
{{- $name := .Release.Name }}
{{- if not (contains .Chart.Name $name) }}{{ $name = printf "%s-%s" $name .Chart.Name }}{{ end }}
{{- trunc 40 $name | trimSuffix "-" }}
{{- end }}

{{- define "wellspring.labels" -}}
{{ include "wellspring.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "wellspring.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wellspring.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{- /* What every pod is: nobody of the system, without a token for the cluster. */}}
{{- define "wellspring.pod" -}}
serviceAccountName: {{ include "wellspring.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "wellspring.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* What every container of ours has: image, settings, secrets, places. */}}
{{- define "wellspring.container" -}}
image: {{ include "wellspring.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: {{- include "wellspring.confined" . | nindent 2 }}
{{- end }}

{{- define "wellspring.environment" -}}
{{- if .Values.lake.address }}
- {name: WELLSPRING_LAKE, value: {{ .Values.lake.address | quote }}}
{{- end }}
{{- if .Values.vault.address }}
- {name: WELLSPRING_VAULT, value: {{ .Values.vault.address | quote }}}
{{- end }}
{{- if .Values.existingSecret }}
- {name: WELLSPRING_SECRETS, value: /run/secrets/wellspring}
{{- end }}
{{- with .Values.s3 }}
{{- if .endpoint }}
- {name: AWS_ENDPOINT_URL, value: {{ .endpoint | quote }}}
{{- end }}
{{- if .region }}
- {name: AWS_REGION, value: {{ .region | quote }}}
{{- end }}
{{- if .existingSecret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: access-key-id}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: secret-access-key}}
{{- end }}
{{- end }}
- {name: TMPDIR, value: /tmp}
{{- end }}

{{- define "wellspring.configMounts" -}}
- {name: config, mountPath: /etc/wellspring, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- if .Values.existingSecret }}
- {name: secrets, mountPath: /run/secrets/wellspring, readOnly: true}
{{- end }}
{{- end }}

{{- define "wellspring.placeMounts" -}}
{{- range $place := list "lake" "vault" }}
{{- if not (index $.Values $place).address }}
- {name: {{ $place }}, mountPath: /srv/wellspring/{{ $place }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "wellspring.configVolumes" -}}
- name: config
  projected:
    sources:
      - configMap: {name: {{ include "wellspring.name" . }}}
      {{- with .Values.registries.laboratories }}
      - configMap:
          name: {{ include "wellspring.name" $ }}-laboratories
          items:
            {{- range $file, $_ := . }}
            - {key: {{ $file }}, path: laboratories/{{ $file }}}
            {{- end }}
      {{- end }}
- name: tmp
  emptyDir: {sizeLimit: {{ .Values.driver.tmpSize }}}
{{- with .Values.existingSecret }}
- name: secrets
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{- define "wellspring.placeVolumes" -}}
{{- range $place := list "lake" "vault" }}
{{- with index $.Values $place }}
{{- if not .address }}
- name: {{ $place }}
  persistentVolumeClaim: {claimName: {{ .existingClaim | default (printf "%s-%s" (include "wellspring.name" $) $place) }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The settings; with flink.enabled, those of the runner lead to the chart's own job server and pools. */}}
{{- define "wellspring.settings" -}}
{{- $settings := deepCopy .Values.settings }}
{{- if .Values.flink.enabled }}
{{- $slots := mul .Values.flink.taskManagers .Values.flink.slots }}
{{- $server := printf "%s-flink-jobserver" (include "wellspring.name" .) }}
{{- $own := default dict (get $settings "runner") }}
{{- $options := prepend (default list (get $own "options")) (printf "--artifact_endpoint=%s:8098" $server) }}
{{- $runner := dict "kind" "flink" "job_endpoint" (printf "%s:8099" $server) "worker_pool" "localhost:50000" "parallelism" $slots }}
{{- $_ := set $settings "runner" (merge (dict "options" $options) $own $runner) }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

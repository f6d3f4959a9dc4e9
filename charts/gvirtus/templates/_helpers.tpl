{{/* Labels of all objects. Call with (list . "component"). */}}
{{- define "gvirtus.labels" -}}
{{- $root := index . 0 -}}
{{ include "gvirtus.selector" . }}
app.kubernetes.io/part-of: gvirtus
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
{{- end -}}

{{/* What selects a component's pods: it must never change. */}}
{{- define "gvirtus.selector" -}}
app.kubernetes.io/name: gvirtus-{{ index . 1 }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "gvirtus.image" -}}
{{- $root := index . 0 -}}
{{ $root.Values.image.registry }}/gvirtus-{{ index . 1 }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- end -}}

{{/* GVIRTUS_ENDPOINT of the pods. */}}
{{- define "gvirtus.endpoint" -}}
{{- if .Values.webhook.endpoint -}}
{{ .Values.webhook.endpoint }}
{{- else if .Values.broker.enabled -}}
broker://gvirtus-broker.{{ .Release.Namespace }}.svc:34568
{{- else -}}
tcp://gvirtus-backend.{{ .Release.Namespace }}.svc:34567
{{- end -}}
{{- end -}}

{{- define "gvirtus.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* "true" where NVIDIA's Multi-Process Service runs beside backends. */}}
{{- define "gvirtus.mps" -}}
{{- if .Values.devicePlugin.mps.enabled -}}
{{- if not .Values.devicePlugin.enabled }}{{ fail "devicePlugin.mps.enabled needs devicePlugin.enabled" }}{{ end -}}
{{- if .Values.softgpu.enabled }}{{ fail "devicePlugin.mps.enabled needs NVIDIA's driver, which softgpu.enabled does without" }}{{ end -}}
true
{{- end -}}
{{- end -}}

{{/* Pod Security's level "restricted". */}}
{{- define "gvirtus.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "gvirtus.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

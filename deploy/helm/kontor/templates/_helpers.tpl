{{- define "kontor.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "kontor.selector" -}}
app.kubernetes.io/name: kontor
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kontor.labels" -}}
{{ include "kontor.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "kontor.config" -}}
{{- $own := dict "data" "/var/lib/kontor" "keyFile" "/etc/kontor-keys/kontor.key" "agents" "0.0.0.0:8443" "plainHTTP" true "linger" (printf "%ds" (int .Values.lingerSeconds)) -}}
{{- $_ := set $own "listen" (list (dict "address" "0.0.0.0:8080" "profile" "strict")) -}}
{{- $_ := set $own "url" (required "say where clients reach the exchange: url" .Values.url) -}}
{{- $_ := set $own "agentURL" (required "say where agents reach the exchange: agentURL" .Values.agentURL) -}}
{{- if .Values.metrics.enabled }}{{ $_ := set $own "private" "0.0.0.0:9090" }}{{ end -}}
{{- toYaml (mergeOverwrite $own .Values.config) -}}
{{- end }}

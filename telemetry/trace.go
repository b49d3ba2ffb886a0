package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// A Tracer makes spans and sends them to a collector. A nil *Tracer makes none.
type Tracer struct {
	tracer   trace.Tracer
	provider *sdk.TracerProvider
}

// A Parent names a span of another process or of long ago, in the form of the
// header traceparent (W3C Trace Context). "" is none.
type Parent = string

// End ends a span, as failed if it gets an error.
type End func(error)

func nothing(error) {}

// OpenTracer sends spans by OTLP over HTTP. Where to, and how much, is said by
// the environment variables of OpenTelemetry (OTEL_EXPORTER_OTLP_ENDPOINT,
// OTEL_TRACES_SAMPLER and so on), which its library reads.
func OpenTracer(ctx context.Context, service, version string, log *slog.Logger) (*Tracer, error) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces not sent", "error", err) }))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the exporter of traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", service), attribute.String("service.version", version),
	), resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describe the process for traces: %w", err)
	}
	p := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
	return &Tracer{p.Tracer("github.com/kontor-cloud/kontor", trace.WithInstrumentationVersion(version)), p}, nil
}

// closeWithin is how long the last spans may take on their way.
const closeWithin = 5 * time.Second

// Close sends what is left.
func (t *Tracer) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	return t.provider.Shutdown(ctx)
}

// Start begins a span that goes on with parent, or a trace of its own. It
// points at links. Attributes are pairs of a key and a value.
func (t *Tracer) Start(ctx context.Context, parent Parent, links []Parent, name string, attributes ...string) (context.Context, End) {
	if t == nil {
		return ctx, nothing
	}
	options := []trace.SpanStartOption{trace.WithAttributes(pairs(attributes)...)}
	for _, l := range links {
		if c := remote(l); c.IsValid() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: c}))
		}
	}
	ctx = trace.ContextWithRemoteSpanContext(ctx, remote(parent))
	ctx, span := t.tracer.Start(ctx, name, options...)
	return ctx, ender(span)
}

// Within begins a span inside that of ctx. Where there is none it does nothing.
func Within(ctx context.Context, name string, attributes ...string) (context.Context, End) {
	outer := trace.SpanFromContext(ctx)
	if !outer.IsRecording() {
		return ctx, nothing
	}
	ctx, span := outer.TracerProvider().Tracer("github.com/kontor-cloud/kontor").Start(ctx, name, trace.WithAttributes(pairs(attributes)...))
	return ctx, ender(span)
}

func ender(span trace.Span) End {
	return func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

func pairs(texts []string) []attribute.KeyValue {
	kvs := make([]attribute.KeyValue, 0, len(texts)/2)
	for i := 0; i+1 < len(texts); i += 2 {
		kvs = append(kvs, attribute.String(texts[i], texts[i+1]))
	}
	return kvs
}

// ParentOf names the span of ctx for those who go on with it later. It is ""
// for one that nobody records.
func ParentOf(ctx context.Context) Parent {
	c := trace.SpanContextFromContext(ctx)
	if !c.IsSampled() {
		return ""
	}
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-01"
}

// remote reads a parent. What is none gives an invalid context.
func remote(p Parent) trace.SpanContext {
	if p == "" {
		return trace.SpanContext{}
	}
	h := propagation.MapCarrier{"traceparent": p}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), h))
}

// request begins the span of a request, inside the trace that its client names.
// Its name comes with its route.
func (t *Tracer) request(req *http.Request) (*http.Request, trace.Span) {
	ctx := propagation.TraceContext{}.Extract(req.Context(), propagation.HeaderCarrier(req.Header))
	ctx, span := t.tracer.Start(ctx, req.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", req.Method), attribute.String("url.path", clip(req.URL.Path)),
	))
	return req.WithContext(ctx), span
}

// answered ends the span of a request.
func answered(span trace.Span, r *route, w *measured) {
	if r.pattern != none {
		span.SetName(r.method + " " + r.pattern)
		span.SetAttributes(attribute.String("http.route", r.pattern))
	}
	span.SetAttributes(
		attribute.Int("http.response.status_code", w.status), attribute.String("kontor.request", w.Header().Get("X-Request-Id")))
	if w.status >= http.StatusInternalServerError || w.status == 0 {
		span.SetStatus(codes.Error, http.StatusText(w.status))
	}
	span.End()
}

const maxPath = 512

func clip(path string) string { return path[:min(len(path), maxPath)] }

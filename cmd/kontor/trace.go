package main

import (
	"context"
	"log/slog"

	"github.com/kontor-cloud/kontor/telemetry"
)

// openTracer gives a tracer if the environment says where traces go, and none
// otherwise.
func (a *app) openTracer(ctx context.Context, log *slog.Logger) (*telemetry.Tracer, error) {
	wanted := a.env["OTEL_EXPORTER_OTLP_ENDPOINT"] != "" || a.env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] != ""
	if !wanted || a.env["OTEL_SDK_DISABLED"] == "true" || a.env["OTEL_TRACES_EXPORTER"] == "none" {
		return nil, nil
	}
	return telemetry.OpenTracer(ctx, "kontor", version(), log)
}

// traceDatabase shows transactions and statements inside the spans that they are for.
func traceDatabase(ctx context.Context, name, text string) (context.Context, func(error)) {
	if text == "" {
		return telemetry.Within(ctx, name)
	}
	return telemetry.Within(ctx, name, "db.query.text", text)
}

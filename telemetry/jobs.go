package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Jobs measures work in the background. A nil *Jobs measures nothing.
type Jobs struct {
	runs    *prometheus.CounterVec
	seconds *prometheus.CounterVec
	last    *prometheus.GaugeVec
}

// NewJobs adds the metrics of background work to m.
func NewJobs(m *Metrics) *Jobs {
	if m == nil {
		return nil
	}
	j := &Jobs{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_job_runs_total", Help: "Runs of background work, by job and outcome (ok or failed).",
		}, []string{"job", "outcome"}),
		seconds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_job_duration_seconds_total", Help: "Time that background work took, by job.",
		}, []string{"job"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kontor_job_last_success_timestamp_seconds", Help: "When background work last succeeded in this process, by job.",
		}, []string{"job"}),
	}
	m.registry.MustRegister(j.runs, j.seconds, j.last)
	return j
}

// Run does a job and notes how it went.
func (j *Jobs) Run(ctx context.Context, name string, do func(context.Context) error) error {
	if j == nil {
		return do(ctx)
	}
	began := time.Now()
	err := do(ctx)
	j.seconds.WithLabelValues(name).Add(time.Since(began).Seconds())
	outcome := "failed"
	if err == nil {
		outcome = "ok"
		j.last.WithLabelValues(name).SetToCurrentTime()
	}
	j.runs.WithLabelValues(name, outcome).Inc()
	return err
}

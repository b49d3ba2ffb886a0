package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Calls measures what an agent asks of its platform. A nil *Calls measures nothing.
type Calls struct {
	seconds *prometheus.HistogramVec
	waited  prometheus.Histogram
}

// NewCalls adds the metrics of a region's calls to m, until the function that
// it returns is called.
func NewCalls(m *Metrics, region string) (calls *Calls, remove func()) {
	if m == nil {
		return nil, func() {}
	}
	of := prometheus.Labels{"region": region}
	c := &Calls{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_driver_call_duration_seconds", Help: "How long calls to the platform took, by operation, kind and outcome.",
			Buckets: seconds, ConstLabels: of,
		}, []string{"operation", "kind", "outcome"}),
		waited: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kontor_driver_wait_duration_seconds", Help: "How long calls waited for their turn, as the driver's limits on rate and parallel calls want.",
			Buckets: seconds, ConstLabels: of,
		}),
	}
	m.registry.MustRegister(c.seconds, c.waited)
	return c, func() {
		m.registry.Unregister(c.seconds)
		m.registry.Unregister(c.waited)
	}
}

// Waited notes how long a call waited for its turn.
func (c *Calls) Waited(d time.Duration) {
	if c != nil {
		c.waited.Observe(d.Seconds())
	}
}

// Called notes a call and its outcome: "ok", or the class of failure.
func (c *Calls) Called(operation, kind, outcome string, took time.Duration) {
	if c != nil {
		c.seconds.WithLabelValues(operation, kind, outcome).Observe(took.Seconds())
	}
}

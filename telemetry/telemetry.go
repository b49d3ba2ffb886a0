// Package telemetry is how operators see into a process of Kontor: metrics in
// the form of Prometheus, traces in that of OpenTelemetry, health, profiles and
// recent log lines, all on a listener of their own.
//
// Nouns do not know this package. They count in plain integers and hand out
// what they have counted; rows (Row) give that its names. What is measured on the
// way, such as requests and calls to a platform, has an instrument here.
package telemetry

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics is what one process shows. A nil *Metrics measures nothing.
type Metrics struct {
	registry *prometheus.Registry
}

// New makes the metrics of a process, with those of Go and of the process
// itself.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kontor_build_info", Help: "Always 1; what runs is in the labels.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Gatherer reads all metrics.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// A Type says how a value behaves.
type Type int

// Counters only grow; gauges move either way.
const (
	Counter Type = iota
	Gauge
)

// A Row is one metric that is read when somebody asks.
type Row struct {
	Name   string
	Help   string
	Type   Type
	Labels []string

	// Read puts each value with its labels' values, in the order of Labels.
	Read func(put Put)

	// Sizes, in place of Read, reads a histogram without labels.
	Sizes func() Sizes
}

// Put takes one value of a row.
type Put func(value float64, labels ...string)

// Sizes is how many things of what size there were.
type Sizes struct {
	Count   uint64
	Sum     float64
	Buckets map[float64]uint64 // upper bound → how many are not larger
}

// One reads a row that has a single value.
func One(read func() float64) func(Put) {
	return func(put Put) { put(read()) }
}

// Add shows rows, all with the same further labels, until the function that it
// returns is called.
func (m *Metrics) Add(labels map[string]string, rows []Row) (remove func()) {
	if m == nil {
		return func() {}
	}
	t := make(table, len(rows))
	for i, r := range rows {
		t[i] = described{r, prometheus.NewDesc(r.Name, r.Help, r.Labels, labels)}
	}
	m.registry.MustRegister(t)
	return func() { m.registry.Unregister(t) }
}

// A table is rows as Prometheus collects them.
type table []described

type described struct {
	Row
	desc *prometheus.Desc
}

// Describe names the rows.
func (t table) Describe(out chan<- *prometheus.Desc) {
	for _, r := range t {
		out <- r.desc
	}
}

// Collect reads the rows.
func (t table) Collect(out chan<- prometheus.Metric) {
	for _, r := range t {
		if r.Sizes != nil {
			s := r.Sizes()
			out <- prometheus.MustNewConstHistogram(r.desc, s.Count, s.Sum, s.Buckets)
			continue
		}
		of := prometheus.CounterValue
		if r.Type == Gauge {
			of = prometheus.GaugeValue
		}
		r.Read(func(value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(r.desc, of, value, labels...)
		})
	}
}

// seconds are the bounds of histograms of time.
var seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

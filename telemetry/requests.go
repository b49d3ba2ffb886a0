package telemetry

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Requests measures HTTP requests by route, and traces them if there is a
// tracer. A nil *Requests measures nothing.
type Requests struct {
	tracer   *Tracer
	total    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	unrouted *route
}

// none is the route of what no route takes.
const none = "none"

// NewRequests adds the metrics of requests to m.
func NewRequests(m *Metrics, t *Tracer) *Requests {
	if m == nil {
		return nil
	}
	r := &Requests{
		tracer: t,
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kontor_http_requests_total", Help: "Requests answered, by route, method and status; those that were refused for their rate have 429.",
		}, []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kontor_http_request_duration_seconds", Help: "How long requests took; polls of agents and event streams wait by intent.", Buckets: seconds,
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kontor_http_requests_in_flight", Help: "Requests that are being answered, polls of agents among them.",
		}),
	}
	r.unrouted = &route{of: r, pattern: none, method: "any"}
	m.registry.MustRegister(r.total, r.seconds, r.inFlight)
	return r
}

// Serve measures all that next answers. What no route takes counts as route
// "none", so that strangers cannot make up labels.
func (r *Requests) Serve(next http.Handler) http.Handler {
	if r == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		began := time.Now()
		r.inFlight.Inc()
		m := &measured{ResponseWriter: w, route: r.unrouted}
		defer func() {
			r.inFlight.Dec()
			m.route.note(m.status, time.Since(began))
		}()
		if r.tracer != nil {
			traced, span := r.tracer.request(req)
			defer func() { answered(span, m.route, m) }()
			req = traced
		}
		next.ServeHTTP(m, req)
	})
}

// Route names what next answers. The name is the pattern of the path, never
// the path.
func (r *Requests) Route(method, pattern string, next http.Handler) http.Handler {
	if r == nil {
		return next
	}
	of := &route{of: r, pattern: pattern, method: method}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if m, ok := w.(*measured); ok {
			m.route = of
		}
		next.ServeHTTP(w, req)
	})
}

// Beneath gives the writer that a measured one stands on: net/http knows only
// its own where it has to close a connection.
func Beneath(w http.ResponseWriter) http.ResponseWriter {
	if m, ok := w.(*measured); ok {
		return m.ResponseWriter
	}
	return w
}

// A measured response remembers its status and its route.
type measured struct {
	http.ResponseWriter
	route  *route
	status int
}

// WriteHeader remembers the status, unless it is a preliminary one.
func (m *measured) WriteHeader(status int) {
	if m.status == 0 && status >= http.StatusOK {
		m.status = status
	}
	m.ResponseWriter.WriteHeader(status)
}

// Write answers with 200 if nothing else was said.
func (m *measured) Write(b []byte) (int, error) {
	if m.status == 0 {
		m.status = http.StatusOK
	}
	return m.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (m *measured) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// A route has its counters at hand: looking them up by labels would cost more
// than counting.
type route struct {
	of              *Requests
	pattern, method string

	mu      sync.Mutex // held while one is added
	seconds atomic.Pointer[prometheus.Observer]
	codes   atomic.Pointer[[]counted]
}

type counted struct {
	status int
	total  prometheus.Counter
}

// note counts an answer. One that was never written, as its client went away, has status 0.
func (r *route) note(status int, took time.Duration) {
	observer := r.seconds.Load()
	if observer == nil {
		o := r.of.seconds.WithLabelValues(r.pattern, r.method)
		observer = &o
		r.seconds.Store(observer)
	}
	(*observer).Observe(took.Seconds())
	r.counter(status).Inc()
}

func (r *route) counter(status int) prometheus.Counter {
	if all := r.codes.Load(); all != nil {
		for _, c := range *all {
			if c.status == status {
				return c.total
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := counted{status, r.of.total.WithLabelValues(r.pattern, r.method, strconv.Itoa(status))}
	var all []counted
	if old := r.codes.Load(); old != nil {
		all = append(all, *old...)
	}
	all = append(all, c)
	r.codes.Store(&all)
	return c.total
}

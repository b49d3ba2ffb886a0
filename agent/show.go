package agent

import (
	"context"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/telemetry"
)

// show has the agent's state shown to who watches, until the function that it
// returns is called.
func (a *agent) show() (hide func()) {
	m := a.config.Metrics
	calls, forget := telemetry.NewCalls(m, a.link.region())
	a.throttle.calls = calls
	remove := m.Add(map[string]string{"region": a.link.region()}, a.rows())
	if h := a.config.Health; h != nil {
		h.Check("platform", a.platformWorks)
		h.Serving()
	}
	return func() { forget(); remove() }
}

// platformWorks tells why the platform gives no answer, if so.
func (a *agent) platformWorks(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.order {
		if k.failures > 0 {
			return fault.Unavailable.Errorf("the platform gives no list of kind %s: %s", k.name, a.trouble)
		}
		if k.list != nil && !k.known {
			return fault.Unavailable.Errorf("the platform has not been looked at yet")
		}
	}
	return nil
}

func (a *agent) rows() []telemetry.Row {
	return []telemetry.Row{
		{
			Name: "kontor_agent_resources", Help: "Resources that the agent looks after, by kind and the state that it reported.",
			Type: telemetry.Gauge, Labels: []string{"kind", "state"}, Read: a.countResources,
		},
		{
			Name: "kontor_agent_orphans", Help: "Things on the platform that carry the exchange's id and that it did not mention.",
			Type: telemetry.Gauge, Labels: []string{"kind"}, Read: a.countOrphans,
		},
		{
			Name: "kontor_agent_look_age_seconds", Help: "How long ago the last whole list of the platform began, by kind.",
			Type: telemetry.Gauge, Labels: []string{"kind"}, Read: a.lookAges,
		},
		{
			Name: "kontor_agent_breaker_open", Help: "1 while the platform is left alone, as it did not answer.",
			Type: telemetry.Gauge, Read: telemetry.One(func() float64 { return truth(a.throttle.breaker.State() != gobreaker.StateClosed) }),
		},
		{
			Name: "kontor_agent_intents", Help: "Calls to the platform that are announced in the journal and not known to be over.",
			Type: telemetry.Gauge, Read: telemetry.One(func() float64 { return float64(a.journal.intents()) }),
		},
		{
			Name: "kontor_agent_queue_length", Help: "Resources that wait for a worker.",
			Type: telemetry.Gauge, Read: telemetry.One(func() float64 { return float64(a.queue.length()) }),
		},
		{
			Name: "kontor_agent_reports_waiting", Help: "Observations that wait to be sent to the exchange.",
			Type: telemetry.Gauge, Read: telemetry.One(func() float64 { return float64(a.report.length()) }),
		},
	}
}

func (a *agent) countResources(put telemetry.Put) {
	type class struct{ kind, state string }
	count := map[class]int{}
	a.mu.Lock()
	for _, e := range a.mirror.byID {
		count[class{e.kind.name, string(e.said.State)}]++
	}
	a.mu.Unlock()
	for c, n := range count {
		put(float64(n), c.kind, c.state)
	}
}

func (a *agent) countOrphans(put telemetry.Put) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.order {
		if k.list != nil {
			put(float64(len(k.orphans)), k.name)
		}
	}
}

func (a *agent) lookAges(put telemetry.Put) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.order {
		if k.list != nil && !k.looked.IsZero() {
			put(time.Since(k.looked).Seconds(), k.name)
		}
	}
}

// show has the link's state shown to who watches.
func (l *link) show(c Config) (hide func()) {
	if c.Health != nil {
		c.Health.Check("exchange", func(context.Context) error {
			if !l.up.Load() {
				return fault.Unavailable.Errorf("the exchange at %s does not answer", l.identity().URL)
			}
			return nil
		})
	}
	return c.Metrics.Add(map[string]string{"region": l.region()}, []telemetry.Row{
		{
			Name: "kontor_agent_connected", Help: "1 while the exchange answers.",
			Type: telemetry.Gauge, Read: telemetry.One(func() float64 { return truth(l.up.Load()) }),
		},
		{
			Name: "kontor_agent_certificate_expiry_timestamp_seconds", Help: "When the agent's certificate ends, unless it is renewed before.",
			Type: telemetry.Gauge, Read: telemetry.One(func() float64 { return float64(l.identity().leaf.NotAfter.Unix()) }),
		},
	})
}

// truth is how Prometheus has it.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// intents is how many calls are open.
func (j *journal) intents() (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, i := range j.state {
		if i.Call != "" {
			n++
		}
	}
	return n
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.line)
}

func (r *reporter) length() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.order)
}

package placement

import (
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kontor-cloud/kontor/policy"
)

// Version of the engine. It grows with every change after which the same inputs may
// give another record; the record says by which it was made.
const Version = 1

// An Engine decides. It remembers compiled policies and verdicts, which changes no
// decision, and may be used by many at once. Its zero value is ready for use.
type Engine struct {
	mu       sync.Mutex
	programs cache[[2]policy.Digest, *policy.Program] // by policy and data
	columns  cache[policy.Digest, *column]            // by bound policy
	metrics  column
	usual    atomic.Int64 // how many misses the last decision had: room for the next
}

// How many policies are remembered, compiled and bound to parameters.
const (
	maxPrograms = 2000
	maxColumns  = 500
)

// A cache holds so many things, and forgets those that were used least lately.
type cache[K comparable, V any] struct {
	of    map[K]*used[V]
	clock int64
}

type used[V any] struct {
	value V
	last  int64
}

func (c *cache[K, V]) get(k K) (v V, ok bool) {
	u := c.of[k]
	if u == nil {
		return v, false
	}
	c.clock++
	u.last = c.clock
	return u.value, true
}

func (c *cache[K, V]) put(k K, v V, limit int) {
	if c.of == nil {
		c.of = map[K]*used[V]{}
	}
	if len(c.of) >= limit {
		var oldest K
		last := c.clock + 1
		for k, u := range c.of {
			if u.last < last {
				oldest, last = k, u.last
			}
		}
		delete(c.of, oldest)
	}
	c.clock++
	c.of[k] = &used[V]{v, c.clock}
}

// bind gives what a request's use of a policy is, compiled at most once.
func (e *Engine) bind(d *policy.Data, u PolicyUse) (*column, error) {
	key := [2]policy.Digest{u.Policy.Digest(), d.Digest}
	e.mu.Lock()
	program, ok := e.programs.get(key)
	e.mu.Unlock()
	if !ok {
		var err error
		if program, err = d.Compile(u.Policy); err != nil {
			return nil, err
		}
		e.mu.Lock()
		e.programs.put(key, program, maxPrograms)
		e.mu.Unlock()
	}
	bound, err := program.Bind(u.Parameters)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c, ok := e.columns.get(bound.Digest)
	if !ok {
		c = &column{bound: bound}
		e.columns.put(bound.Digest, c, maxColumns)
	}
	return c, nil
}

// A column has what was found out about each service, by its slot.
type column struct {
	bound *policy.Bound
	cells atomic.Pointer[[]atomic.Pointer[cell]]

	mu      sync.Mutex
	demands map[demanded]*Demand // of the policy
}

// demanded is what tells the demands of a policy apart.
type demanded struct {
	dimension       policy.Dimension
	subject, needed string
}

// maxDemands bounds how many demands of a policy are shared.
const maxDemands = 200

// demand gives the one for a reason.
func (c *column) demand(r policy.Reason) *Demand {
	key := demanded{r.Dimension, r.Subject, r.Needed}
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.demands[key]
	if !ok {
		d = shared(r.Dimension, ofPolicy(c.bound.Name(), r.Subject), words(r.Needed))
		if c.demands == nil {
			c.demands = map[demanded]*Demand{}
		}
		if len(c.demands) < maxDemands {
			c.demands[key] = d
		}
	}
	return d
}

// A cell is right for as long as the service has the same facts and the verdict holds.
type cell struct {
	of      *service
	verdict *policy.Verdict
	misses  []Miss // the verdict's reasons
	facts   metrics
	until   time.Time
	from    time.Time
}

// metrics are the facts that scores count.
type metrics struct{ carbon, seal int64 }

// at gives the place of a cell, making room.
func (c *column) at(slot int) *atomic.Pointer[cell] {
	if cells := c.cells.Load(); cells != nil && slot < len(*cells) {
		return &(*cells)[slot]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.cells.Load()
	if old != nil && slot < len(*old) {
		return &(*old)[slot]
	}
	grown := make([]atomic.Pointer[cell], max(64, 2*slot))
	if old != nil {
		for i := range *old {
			grown[i].Store((*old)[i].Load())
		}
	}
	c.cells.Store(&grown)
	return &grown[slot]
}

// judge gives the misses of a service by the column's policy, from memory if it can.
func (c *column) judge(s *service, now time.Time) []Miss {
	at := c.at(s.slot)
	if old := at.Load(); old != nil && old.of == s && old.verdict.Holds(now) {
		return old.misses
	}
	v := c.bound.Judge(s.facts.At(now))
	fresh := &cell{of: s, verdict: v, misses: make([]Miss, len(v.Reasons))}
	for i, r := range v.Reasons {
		fresh.misses[i] = Miss{Demand: c.demand(r), Had: words(r.Had)}
	}
	at.Store(fresh)
	return fresh.misses
}

// measure gives the facts that scores count.
func (c *column) measure(s *service, now time.Time) metrics {
	at := c.at(s.slot)
	if old := at.Load(); old != nil && old.of == s && !now.Before(old.from) && (old.until.IsZero() || now.Before(old.until)) {
		return old.facts
	}
	v := s.facts.At(now)
	m := metrics{carbon: worstCarbon, seal: 0}
	if n, known := v.Int("region.carbon_gco2e_kwh"); known {
		m.carbon = min(max(n, 0), worstCarbon)
	}
	if n, known := v.Int("seal.score"); known {
		m.seal = min(max(n, 0), 100_000)
	}
	at.Store(&cell{of: s, facts: m, from: v.Now, until: v.Until})
	return m
}

// An order is a request that was understood.
type order struct {
	Request
	text     json.RawMessage
	digest   policy.Digest
	policies []*column
	near     vector
	only     map[string]bool
	not      map[string]bool
}

func (e *Engine) understand(m *Market, in Request) (*order, error) {
	if err := in.Validate(); err != nil {
		return nil, err
	}
	o := &order{Request: in.normal()}
	for _, u := range o.Policies {
		c, err := e.bind(m.data, u)
		if err != nil {
			return nil, err
		}
		o.policies = append(o.policies, c)
	}
	var err error
	if o.text, o.digest, err = o.canonical(); err != nil {
		return nil, err
	}
	if o.Near != nil {
		o.near = o.Near.At.vector()
	}
	o.only, o.not = set(o.Only), set(o.Not)
	return o, nil
}

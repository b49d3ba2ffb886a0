package fake

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// A Fault is something that goes wrong with a number of calls.
type Fault struct {
	Op    string // ensure, delete, list, inventory, console; "" is any
	Kind  string // of thing; "" is any
	Times int    // how many calls; 0 is one
	Skip  int    // so many calls go well before

	Err   error // what the caller is told; default: Unavailable
	Done  bool  // the work is done all the same: a 500 after a create
	Short bool  // a list ends there, as if that were all
	Hang  bool  // the answer never comes: the caller waits until its patience ends
}

// Fail scripts a fault. Several may be in force; the oldest that fits strikes.
func (p *Platform) Fail(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.Times = max(1, f.Times)
	if f.Err == nil {
		f.Err = fault.Unavailable.Errorf("the platform answered 500")
	}
	p.faults = append(p.faults, &f)
}

// Throttle makes the next n calls fail as one that came too early, with the
// delay that the platform asks for.
func (p *Platform) Throttle(n int, after time.Duration) {
	p.Fail(Fault{Times: n, Err: fault.RetryAfter(fault.Unavailable.Errorf("too many requests"), after)})
}

// Outage begins or ends a time in which no call succeeds. What runs, runs on.
func (p *Platform) Outage(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outage = on
}

// Calm ends an outage and forgets all faults that have not struck.
func (p *Platform) Calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outage, p.faults = false, nil
}

// Vanish removes a thing as somebody would who does not ask: whoever uses it
// keeps a reference to nothing. It reports whether the thing was there.
func (p *Platform) Vanish(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.accounts {
		for _, r := range a.racks() {
			if r.drop(id) {
				return true
			}
		}
	}
	return false
}

// Switch turns a machine on or off behind its owner's back.
func (p *Platform) Switch(id string, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.accounts {
		if r := a.instances.rows[id]; r != nil {
			r.Have.On, r.Have.PowerSince = on, time.Now().UTC()
			p.record(a.owner, Instances, id, r)
		}
	}
}

// Calls tells how many calls there were of an operation on a kind.
func (p *Platform) Calls(op, kind string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[op+" "+kind]
}

// Made tells how many things of a kind were ever made. One that was made twice
// counts twice.
func (p *Platform) Made(kind string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made[kind]
}

// Count tells how many things of a kind there are now, of all owners.
func (p *Platform) Count(kind string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[kind]
}

// Has reports whether the owner has a thing of any kind with this id.
func (p *Platform) Has(owner driver.Owner, id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.account(owner).racks(), func(r rack) bool { return r.has(id) })
}

// gate is where every call passes. The second error means that nothing was
// done; the first one is for after the work, whose success it hides.
func (p *Platform) gate(ctx context.Context, op, kind string) (after, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.prompt()
	p.calls[op+" "+kind]++
	f := p.strike(op, kind)
	if f == nil && p.outage {
		f = &Fault{Err: fault.Unavailable.Errorf("the platform does not answer")}
	}
	p.mu.Unlock()
	switch {
	case f == nil:
		return nil, nil
	case f.Hang:
		<-ctx.Done()
		f = &Fault{Err: ctx.Err(), Done: f.Done}
	}
	if f.Short {
		return nil, errShort
	}
	if f.Done {
		return f.Err, nil
	}
	return nil, f.Err
}

// errShort is the end of a list that is not complete.
var errShort = errors.New("this is all")

// strike finds the fault that hits this call and uses it up.
func (p *Platform) strike(op, kind string) *Fault {
	for i, f := range p.faults {
		if f.Op != "" && f.Op != op || f.Kind != "" && f.Kind != kind {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times--; f.Times == 0 {
			p.faults = slices.Delete(p.faults, i, i+1)
		}
		return f
	}
	return nil
}

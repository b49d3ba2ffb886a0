package fake

import (
	"context"
	"iter"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// strays yields what was made by hand.
func (p *Platform) strays(ctx context.Context) iter.Seq2[driver.Stray, error] {
	return func(yield func(driver.Stray, error) bool) {
		after, err := p.gate(ctx, "strays", "")
		if err == nil {
			err = after
		}
		if err != nil {
			yield(driver.Stray{}, err)
			return
		}
		for _, s := range p.handmade() {
			if !yield(s, nil) {
				return
			}
		}
	}
}

func (p *Platform) handmade() (all []driver.Stray) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.account(nobody).racks() {
		r.stray(func(s driver.Stray) bool {
			all = append(all, s)
			return true
		})
	}
	return all
}

// stray shows each thing of a table as a stray.
func (k keeper[T, P]) stray(yield func(driver.Stray) bool) bool {
	for native, r := range k.rows {
		have := k.look(r, time.Now())
		m := P(&have).Base()
		m.ID = ""
		if !yield(driver.Stray{Kind: driver.Kind(k.kind), Native: native, Name: m.Name, Thing: have}) {
			return false
		}
	}
	return true
}

// takeOver gives the account what nobody has.
func (a *account) takeOver(ctx context.Context, kind driver.Kind, native string, as driver.Meta) error {
	lost, err := a.p.gate(ctx, "adopt", string(kind))
	if err != nil {
		return err
	}
	a.p.mu.Lock()
	defer a.p.mu.Unlock()
	a.p.sweep()
	for _, r := range a.racks() {
		if r.kind != string(kind) {
			continue
		}
		if err := a.p.owned(kind, native, a, as.ID); err != nil {
			return err
		}
		if id, ours := r.native(native); ours && id == as.ID {
			return lost
		}
		if r.has(as.ID) {
			return fault.Conflict.Errorf("there is another %s with the id %s", kind, as.ID)
		}
		if err := r.take(native, as); err != nil {
			return err
		}
		return lost
	}
	return fault.Unsupported.Errorf("a %q cannot be adopted", kind)
}

// owned is a Conflict if a thing belongs to somebody else, or goes by another id.
func (p *Platform) owned(kind driver.Kind, native string, by *account, id string) error {
	for owner, a := range p.accounts {
		if owner == nobody {
			continue
		}
		for _, r := range a.racks() {
			if r.kind != string(kind) {
				continue
			}
			if have, ok := r.native(native); ok && (a != by || have != id) {
				return fault.Conflict.Errorf("%s %s has an owner", kind, native)
			}
		}
	}
	return nil
}

// native finds a thing by its native id.
func (k keeper[T, P]) native(native string) (id string, ok bool) {
	for id, r := range k.rows {
		if P(&r.Have).Base().Native == native {
			return id, true
		}
	}
	return "", false
}

// take moves a thing from nobody's account to this one. The journal has it
// twice for a moment, and never not at all.
func (k keeper[T, P]) take(native string, as driver.Meta) error {
	hand := k.p.account(nobody)
	from := keeper[T, P]{hand, tableOf[T](hand)}
	r := from.rows[native]
	if r == nil || !r.Gone.IsZero() {
		return fault.Missing.Errorf("there is no %s %s that belongs to nobody", k.kind, native)
	}
	have := r.Have
	for _, ref := range k.refs(&have) {
		if _, ours := k.idOf(ref); !ours {
			return fault.Conflict.Errorf("%s %s refers to %s, which is not ours", k.kind, native, ref)
		}
	}
	if k.rename != nil {
		k.rename(&have, func(ref string) string {
			id, _ := k.idOf(ref)
			return id
		})
	}
	m := P(&have).Base()
	m.ID, m.Attempt, m.Name, m.URN = as.ID, as.Attempt, as.Name, as.URN
	from.forget(native, r)
	moved := &row[T]{Have: have, Ready: r.Ready, Seen: r.Seen}
	k.rows[as.ID] = moved
	k.p.count[k.kind]++
	k.hold(&moved.Have)
	if k.adopt != nil {
		k.adopt(&moved.Have)
	}
	k.p.record(k.owner, k.kind, as.ID, moved)
	k.p.record(nobody, k.kind, native, nil)
	return nil
}

// idOf is the id by which the account has what was made by hand.
func (a *account) idOf(native string) (string, bool) {
	for _, r := range a.racks() {
		if id, ok := r.native(native); ok {
			return id, true
		}
	}
	return "", native == ""
}

// tableOf finds an account's table of a kind by the type of its things.
func tableOf[T any](a *account) *table[T] {
	for _, t := range []any{
		a.networks, a.subnets, a.routeTables, a.gateways, a.securityGroups,
		a.publicIPs, a.nics, a.images, a.volumes, a.instances,
	} {
		if t, ok := t.(*table[T]); ok {
			return t
		}
	}
	panic("no such table")
}

// settleAdoptions takes from nobody what an adoption had given to somebody when
// the process ended.
func (p *Platform) settleAdoptions() {
	for _, hand := range p.account(nobody).racks() {
		hand.stray(func(s driver.Stray) bool {
			if p.owned(s.Kind, s.Native, nil, "") != nil {
				hand.drop(s.Native)
			}
			return true
		})
	}
}

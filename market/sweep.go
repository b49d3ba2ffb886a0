package market

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/placement"
)

// A ground is what a decision stood on, as far as it can drift. It never changes.
type ground struct {
	request placement.Request
	stands  []stand
}

// A stand is a place that a decision chose, with who owned it then.
type stand struct {
	placement.Placement
	Owner string `json:"owner"`
}

// stands are the places of a decision on the market that it was made on.
func (s *stock) stands(d *placement.Decision) []stand {
	all := make([]stand, len(d.Chosen))
	for i, p := range d.Chosen {
		all[i] = stand{p, s.by[p.Region].candidate.Owner}
	}
	return all
}

// A standing is what runs by a decision: an order with the workspaces that it made, or a workspace alone.
type standing struct {
	tenant, name, order, decision string
	workspaces                    []string
}

// Sweep looks at all that runs by a decision, on the market as it is now: what is not as it was decided
// is noted, with a plan, and what is again is forgotten. It is a job. The statements that it takes do not grow with
// what runs as it should: requests stay in memory.
func (s *Store) Sweep(ctx context.Context, now time.Time) error {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	market, err := s.stock(ctx, time.Now())
	if err != nil {
		return err
	}
	all, err := s.standings(ctx)
	if err != nil {
		return err
	}
	if err := s.recall(ctx, all); err != nil {
		return err
	}
	market = s.withEnded(market)
	noted, err := db.All(ctx, s.DB, scanDrift, driftColumns)
	if err != nil {
		return err
	}
	before, found := make(map[[2]string]*Drift, len(noted)), make(map[[2]string]*Drift, len(noted))
	for _, d := range noted {
		before[d.key()] = d
	}
	for _, one := range all {
		g := s.grounds[one.decision]
		if g == nil { // from before anybody looked for drift
			continue
		}
		d, err := s.inspect(market, one, g, now)
		if err != nil { // one that cannot be understood hides no other, and what is known of it stays
			s.Log.WarnContext(ctx, "drift not looked for", "tenant", one.tenant, "subject", one.name, "error", err)
			d = before[[2]string{one.tenant, one.name}]
		}
		if d != nil {
			found[d.key()] = d
		}
	}
	return s.note(ctx, noted, found, now)
}

// standings lists what runs by decisions, in two statements.
func (s *Store) standings(ctx context.Context) ([]*standing, error) {
	orders, err := s.live(ctx)
	if err != nil {
		return nil, err
	}
	var all []*standing
	by := map[string]*standing{}
	for _, o := range orders {
		one := &standing{tenant: o.Quote.Tenant, name: o.ID, order: o.ID, decision: o.Quote.Decision}
		all, by[one.decision] = append(all, one), one
	}
	if s.Placed == nil {
		return all, nil
	}
	placed, err := s.Placed(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range placed {
		one := by[p.Decision]
		if one == nil {
			one = &standing{tenant: p.Tenant, name: p.Region + "." + p.Workspace, decision: p.Decision}
			all = append(all, one)
		}
		one.workspaces = append(one.workspaces, p.Region+"/"+p.Workspace)
	}
	for _, one := range all {
		slices.Sort(one.workspaces)
	}
	return all, nil
}

// maxRecalled is how many decisions are read by one statement.
const maxRecalled = 500

// recall reads the grounds of decisions that are not in memory, and forgets those that nothing runs by.
func (s *Store) recall(ctx context.Context, all []*standing) error {
	kept := make(map[string]*ground, len(all))
	var fresh []string
	for _, one := range all {
		if kept[one.decision] = s.grounds[one.decision]; kept[one.decision] == nil {
			fresh = append(fresh, one.decision)
		}
	}
	s.grounds = kept
	for ids := range slices.Chunk(fresh, maxRecalled) {
		args := make([]any, maxRecalled) // always as many, so that it is one statement to the database
		for i := range args {
			args[i] = ids[min(i, len(ids)-1)]
		}
		type row struct {
			id string
			ground
		}
		rows, err := db.All(ctx, s.DB, func(scan func(...any) error) (r row, err error) {
			var packed []byte
			if err := scan(&r.id, db.JSON(&r.stands), &packed); err != nil {
				return r, err
			}
			body, err := unpack(packed)
			if err != nil {
				return r, err
			}
			return r, json.Unmarshal(body, &r.request)
		}, `SELECT decision.id, decision.stands, input.body FROM decision
			JOIN decision_input AS input ON input.kind = 'request' AND input.digest = decision.request
			WHERE decision.id IN (`+db.In(1, maxRecalled)+`)`, args...)
		if err != nil {
			return err
		}
		for _, r := range rows {
			s.grounds[r.id] = &r.ground
		}
	}
	return nil
}

// withEnded adds the regions in which something runs though their price sheets have ended: they sell no more, but
// what is known of them can be looked at.
func (s *Store) withEnded(m *stock) *stock {
	with := *m
	for _, g := range s.grounds {
		if g == nil {
			continue
		}
		for _, x := range g.stands {
			r, err := s.Providers.Snapshot().Region(x.Region)
			sheet := m.lastSheet(x.Region)
			if m.by[x.Region] != nil || err != nil || sheet == nil {
				continue
			}
			c := source{region: r, seller: m.sellers[x.Region], sheet: sheet}.candidate()
			c.Offers = nil
			if next, err := with.market.With(c); err == nil { // else its claims mean nothing, and it is as good as gone
				with.market = next
			}
		}
	}
	return &with
}

// inspect gives what has drifted, nil if nothing has.
func (s *Store) inspect(m *stock, one *standing, g *ground, now time.Time) (*Drift, error) {
	r := g.request
	r.Now = placement.Tick(now)
	places := make([]placement.Placement, len(g.stands))
	for i := range g.stands {
		places[i] = g.stands[i].Placement
	}
	d := &Drift{Tenant: one.tenant, Name: one.name, Decision: one.decision, Order: one.order, Workspaces: one.workspaces}
	reviewed, err := s.engine.Review(m.market, r, places)
	if err != nil {
		return nil, err
	}
	must := make([]bool, len(places))
	for i, x := range reviewed {
		for _, miss := range x.Misses {
			must[i] = true
			d.Reasons = append(d.Reasons, Reason{x.Group, x.Region, x.Provider, miss.Dimension, miss.Subject, miss.Needed.String(), miss.Had.String()})
		}
		if owner, known := m.ownerOf(x.Region); known && owner != g.stands[i].Owner {
			d.Reasons = append(d.Reasons, Reason{x.Group, x.Region, x.Provider, OwnerChanged, "of " + x.Provider, g.stands[i].Owner, owner})
		}
	}
	price, dearer, err := m.dearer(r, places, now)
	if err != nil {
		return nil, err
	}
	for i, x := range dearer {
		d.Reasons = append(d.Reasons, x)
		if i > 0 { // it is more than it may be: nothing is kept
			must = slices.Repeat([]bool{true}, len(places))
		}
	}
	if len(d.Reasons) == 0 {
		return nil, nil
	}
	d.Plan, err = s.remedy(m, r, places, must)
	d.Plan.Hourly = price.Hourly
	return d, err
}

// dearer says whether it costs more than was agreed, or will by sheets that are published, and then whether that is more
// than the customer would pay.
func (s *stock) dearer(r placement.Request, places []placement.Placement, now time.Time) (p *Price, reasons []Reason, err error) {
	if p, err = s.price(places, now); err != nil {
		return nil, nil, err
	}
	agreed := money.Amount{Currency: money.EUR}
	for _, x := range places {
		agreed.Nano += x.Hourly
	}
	most, subject := p.Hourly, "of an hour"
	if most.Nano <= agreed.Nano {
		next, moment, err := s.changed(places, now, func(next money.Amount) bool { return next.Nano > agreed.Nano })
		if err != nil || next == nil {
			return p, nil, err
		}
		most, subject = next.Hourly, "of an hour from "+moment.Format(time.RFC3339)
	}
	reasons = append(reasons, Reason{Dimension: placement.TooDear, Subject: subject, Needed: agreed.String(), Had: most.String()})
	if r.MaxPrice != nil && most.Nano > r.MaxPrice.Nano {
		reasons = append(reasons, Reason{Dimension: placement.TooDear, Subject: subject, Needed: "at most " + r.MaxPrice.String(), Had: most.String()})
	}
	return p, reasons, nil
}

// note writes down what is new or differs, and removes what is well again.
func (s *Store) note(ctx context.Context, noted []*Drift, found map[[2]string]*Drift, now time.Time) error {
	var gone, fresh []*Drift
	before := make(map[[2]string]*Drift, len(noted))
	for _, old := range noted {
		before[old.key()] = old
		switch next := found[old.key()]; {
		case next == nil:
			gone = append(gone, old)
		case bytes.Equal(next.body(), old.body()):
			delete(found, old.key())
		}
	}
	fresh = slices.SortedFunc(maps.Values(found), func(a, b *Drift) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Name, b.Name))
	})
	if len(gone)+len(fresh) == 0 {
		return nil
	}
	err := s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		for _, d := range gone {
			if _, err := db.Exec(ctx, tx, `DELETE FROM drift WHERE tenant = $1 AND subject = $2`, d.Tenant, d.Name); err != nil {
				return err
			}
			d.tell(ctx, "drift-ended")
		}
		for _, d := range fresh {
			if _, err := db.Exec(ctx, tx, `
				INSERT INTO drift (tenant, subject, since, seen_at, body) VALUES ($1, $2, $3, $3, $4)
				ON CONFLICT (tenant, subject) DO UPDATE SET seen_at = excluded.seen_at, body = excluded.body`,
				d.Tenant, d.Name, db.Micros(now), db.JSON(d)); err != nil {
				return err
			}
			if old := before[d.key()]; old == nil || !slices.Equal(old.Reasons, d.Reasons) {
				d.tell(ctx, "drift")
			}
		}
		return nil
	})
	if err == nil {
		s.flags.spoil()
		s.DB.Bus().Tell(topic, "")
		s.Log.InfoContext(ctx, "drift noted", "drifted", len(fresh), "well_again", len(gone))
	}
	return err
}

// tell notes in the tenant's log what has happened to each workspace, or to the order if it has none.
func (d *Drift) tell(ctx context.Context, action string) {
	c := audit.Change{Chain: d.Tenant, Resource: resourceName(d.Tenant, "drift", d.Name), Action: action, Detail: d.Summary()}
	if len(d.Workspaces) == 0 {
		audit.Note(ctx, c)
	}
	for _, w := range d.Workspaces {
		c.Region, c.Workspace, _ = strings.Cut(w, "/")
		audit.Note(ctx, c)
	}
}

func (d *Drift) key() [2]string { return [2]string{d.Tenant, d.Name} }

func (d *Drift) body() []byte {
	b, _ := json.Marshal(d) // texts and numbers
	return b
}

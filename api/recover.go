package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/tenant"
	"github.com/kontor-cloud/kontor/urn"
	"github.com/kontor-cloud/kontor/wire"
)

// While an exchange is recovered it only listens: agents are told of nothing
// that is wanted, so they change nothing, no orphan is given up, and clients
// can only read. Each agent is asked for what its platform has of this
// exchange, and rows are written from that.

// A Recovery is how far the recovery of an exchange is.
type Recovery struct {
	Exchange string             `json:"exchange"`
	Regions  []*RecoveredRegion `json:"regions"`
	Unknown  []string           `json:"unknown"` // what no platform holds
}

// A RecoveredRegion says what came of one region.
type RecoveredRegion struct {
	Region    string      `json:"region"`
	Done      bool        `json:"done"`
	Trouble   string      `json:"trouble,omitempty"` // why it is not
	Recovered int         `json:"recovered"`         // resources written; workspaces are among them
	Tenants   []string    `json:"tenants,omitempty"` // made anew, without members
	Left      []Remaining `json:"left,omitempty"`    // things that stay orphans, and resources of which something was guessed
}

// A Remaining is a thing about which something could not be known.
type Remaining struct {
	ID    string   `json:"id"`
	Kind  string   `json:"kind"`
	URN   string   `json:"urn,omitempty"`
	Why   []string `json:"why"`
	Taken bool     `json:"recovered"` // in spite of that
}

// unknowable is what no platform holds of any resource.
var unknowable = []string{
	"accounts, tokens, members, roles and role assignments, unless a backup of the keys was restored before (roles and assignments in no case)",
	"labels, annotations and extensions of resources, and how their authors spelled references",
	"when resources were made and changed, and the log of their states",
	"workspaces that held nothing, and roles and labels of those that did",
	"shared security group rules: each group has them as its own",
	"the security group of an instance: its NICs have it as theirs",
	"whether a public address was brought along by its owner",
	"what was wanted and not yet made, and what was being deleted",
	"whether a machine that is off was meant to be",
}

type recovery struct {
	mu sync.Mutex
	by map[string]*RecoveredRegion
}

// Recovery tells how far the recovery is.
func (x *Exchange) Recovery() Recovery {
	x.recovery.mu.Lock()
	defer x.recovery.mu.Unlock()
	r := Recovery{Exchange: x.Providers.Exchange, Unknown: unknowable, Regions: []*RecoveredRegion{}}
	for _, region := range x.Providers.Snapshot().All() {
		one := RecoveredRegion{Region: region.Name, Trouble: "its agent has not come yet"}
		if known := x.recovery.by[region.Name]; known != nil {
			one = *known
		}
		r.Regions = append(r.Regions, &one)
	}
	return r
}

// recoverAgain is after how long a region is asked again that had trouble.
const recoverAgain = time.Second

// RecoverRegions recovers each region when its agent comes, until ctx ends, and
// calls done after each.
func (x *Exchange) RecoverRegions(ctx context.Context, done func(RecoveredRegion)) error {
	for {
		for _, r := range x.Providers.Snapshot().All() {
			state, _ := x.Providers.Liveness(r.Name)
			if state != provider.Alive || r.InventoryAt.IsZero() || x.recovered(r.Name) {
				continue
			}
			one, err := x.recoverRegion(ctx, r)
			if one.Done = err == nil; err != nil {
				one.Trouble = err.Error()
				x.Log.WarnContext(ctx, "region not recovered yet", "region", r.Name, "error", err)
			}
			x.recovery.mu.Lock()
			x.recovery.by[r.Name] = &one
			x.recovery.mu.Unlock()
			if one.Done {
				done(one)
			}
		}
		select {
		case <-time.After(recoverAgain):
		case <-ctx.Done():
			return nil
		}
	}
}

func (x *Exchange) recovered(region string) bool {
	x.recovery.mu.Lock()
	defer x.recovery.mu.Unlock()
	if x.recovery.by == nil {
		x.recovery.by = map[string]*RecoveredRegion{}
	}
	r := x.recovery.by[region]
	return r != nil && r.Done
}

// A salvage is one region on its way back.
type salvage struct {
	*Exchange
	env   resource.Env
	names map[string]urn.URN // by the id of a resource
	out   RecoveredRegion
}

func (x *Exchange) recoverRegion(ctx context.Context, r *provider.Region) (RecoveredRegion, error) {
	s := &salvage{Exchange: x, names: map[string]urn.URN{}, out: RecoveredRegion{Region: r.Name}}
	s.env = resource.Env{Region: r.Name, Kinds: r.Kinds, Inventory: &r.Inventory}
	found := map[*resource.Kind][]wire.Holding{}
	for _, k := range resource.Kinds() {
		if !k.Kept {
			continue
		}
		some, err := x.holdings(ctx, r.Name, k)
		if err != nil {
			return s.out, err
		}
		found[k] = some
		for _, h := range some {
			if u, err := urn.Parse(h.URN); err == nil {
				s.names[h.ID] = u
			}
		}
	}
	for _, k := range resource.Kinds() {
		for _, h := range found[k] {
			if err := s.take(ctx, k, h); err != nil {
				return s.out, err
			}
		}
	}
	return s.out, nil
}

func (x *Exchange) holdings(ctx context.Context, region string, k *resource.Kind) ([]wire.Holding, error) {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	b, err := x.desk.ask(ctx, region, wire.Request{Verb: wire.VerbHoldings, Resource: k.Name})
	if err != nil {
		return nil, err
	}
	var all []wire.Holding
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fault.Unavailable.Errorf("read what the agent of region %s holds: %w", region, err)
	}
	return all, nil
}

// take writes one resource, or notes why it cannot. Only what may pass is an error.
func (s *salvage) take(ctx context.Context, k *resource.Kind, h wire.Holding) error {
	f, why := s.understand(k, h)
	if why != "" {
		s.leave(h, false, append(h.Problems, why)...)
		return nil
	}
	if err := s.house(ctx, f.URN); err != nil {
		return err
	}
	written, err := s.Resources.Recover(ctx, f, s.env)
	switch {
	case errors.Is(err, fault.Unavailable):
		return err
	case err != nil:
		s.leave(h, false, reasons(err)...)
	default:
		if written {
			s.out.Recovered++
		}
		if len(h.Notes) > 0 {
			s.leave(h, true, h.Notes...)
		}
	}
	return nil
}

// reasons are an error and what it says about fields.
func reasons(err error) []string {
	why := []string{err.Error()}
	for _, s := range fault.SourcesOf(err) {
		why = append(why, "at "+s.Pointer)
	}
	return why
}

func (s *salvage) leave(h wire.Holding, taken bool, why ...string) {
	s.out.Left = append(s.out.Left, Remaining{ID: h.ID, Kind: h.Kind, URN: cmp.Or(h.URN, h.Name), Why: why, Taken: taken})
}

// understand puts names in the place of ids, or says why it cannot.
func (s *salvage) understand(k *resource.Kind, h wire.Holding) (f resource.Found, why string) {
	u, known := s.names[h.ID]
	switch {
	case !known:
		return f, "the platform does not tell its name"
	case u.Collection != k.Collection || u.Provider != k.Provider+"/v1":
		return f, "its name is that of another kind"
	case h.Leaving:
		return f, "the platform is removing it"
	case len(h.Problems) > 0:
		return f, "SECA has no words for it"
	}
	var spec any
	if err := json.Unmarshal(h.Spec, &spec); err != nil {
		return f, "its agent has not told what it is"
	}
	lost := map[string]bool{}
	b, err := json.Marshal(s.resolve(u, spec, lost))
	if err != nil {
		return f, err.Error()
	}
	for id := range lost {
		return f, "it refers to " + id + ", which the platform does not have"
	}
	return resource.Found{ID: h.ID, Kind: k, URN: u, Spec: b, Native: h.Native, Power: h.Power, Restarts: h.Restarts}, ""
}

// resolve puts names in the place of ids, short where they lie in the same workspace.
func (s *salvage) resolve(at urn.URN, v any, lost map[string]bool) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = s.resolve(at, v[k], lost)
		}
	case []any:
		for k := range v {
			v[k] = s.resolve(at, v[k], lost)
		}
	case string:
		id, ok := strings.CutPrefix(v, wire.Foreign)
		if !ok {
			break
		}
		u, known := s.names[id]
		switch {
		case !known:
			lost[id] = true
		case u.Tenant == at.Tenant && u.Workspace == at.Workspace:
			return u.Resource()
		default:
			return u.String()
		}
	}
	return v
}

// house makes the tenant and the workspace that a resource is in.
func (s *salvage) house(ctx context.Context, u urn.URN) error {
	_, err := s.Tenants.Tenant(ctx, u.Tenant)
	if fault.KindOf(err) == fault.Missing {
		if err = s.Tenants.CreateTenant(ctx, tenant.Tenant{Name: u.Tenant}, nil); err == nil {
			s.out.Tenants = append(s.out.Tenants, u.Tenant)
		}
	}
	if err != nil || u.Workspace == "" {
		return err
	}
	space, _ := resource.KindNamed("workspace")
	name := space.URN(u.Tenant, "", "", u.Workspace)
	if _, err = s.Resources.Get(ctx, s.env.Region, name); fault.KindOf(err) != fault.Missing {
		return err
	}
	if _, _, err = s.Resources.Put(ctx, space, name, resource.Input{}, nil, s.env); err == nil {
		s.out.Recovered++
	}
	return err
}

func (c *call) showRecovery() (reply, error) {
	if !c.server.Recover {
		return reply{}, fault.Missing.Errorf("this exchange is not being recovered")
	}
	return reply{status: http.StatusOK, body: c.server.Recovery()}, nil
}

// readOnly refuses what would change resources during a recovery.
func (c *call) readOnly() error {
	if c.server.Recover && c.kind != nil && !slices.Contains([]string{http.MethodGet, http.MethodHead}, c.req.Method) {
		return fault.Unavailable.Errorf("the exchange is being recovered from its agents; until that is over it can only be read")
	}
	return nil
}

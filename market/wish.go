package market

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/provider"
)

// A Wish is a request as customers write it: policies and places by their names.
type Wish struct {
	Region     string                                `json:"region,omitempty"` // virtual one, in which it is made: its policy must allow, too
	Groups     []placement.Group                     `json:"groups,omitempty"`
	Policies   []string                              `json:"policies,omitempty"`   // NAME or NAME@VERSION; all must allow
	Parameters map[string]map[string]json.RawMessage `json:"parameters,omitempty"` // by policy, then by name

	MaxPrice *money.Amount      `json:"maxPrice,omitempty"` // of everything, for an hour
	Term     offer.Term         `json:"term,omitempty"`     // how long it is wanted; a month if nothing is said
	Budget   *money.Amount      `json:"budget,omitempty"`   // of everything, for the term
	Deadline time.Time          `json:"deadline,omitzero"`  // when the term must be over
	Near     *Nearness          `json:"near,omitempty"`
	Spread   []placement.Spread `json:"spread,omitempty"`

	Only           []string          `json:"only,omitempty"` // regions; empty: all
	Not            []string          `json:"not,omitempty"`  // regions or providers
	Away           []string          `json:"away,omitempty"` // likewise: their owners must keep none of it
	Ties           []placement.Tie   `json:"ties,omitempty"`
	MinReliability int64             `json:"minReliability,omitempty"`
	Weights        placement.Weights `json:"weights,omitzero"`
}

// Nearness is a place from where it must be reached quickly: a region that says where it
// stands, or a point.
type Nearness struct {
	Place  string `json:"place,omitempty"`
	At     string `json:"at,omitempty"`     // degrees north and east: "45.7640,4.8357"
	MaxRTT string `json:"maxRTT,omitempty"` // "30ms"; empty: only the score counts it
}

// NearTo reads a place: degrees north and east, like "45.7640,4.8357", or the name of a region.
func NearTo(place, maxRTT string) *Nearness {
	if _, err := ParsePoint(place); err == nil {
		return &Nearness{At: place, MaxRTT: maxRTT}
	}
	return &Nearness{Place: place, MaxRTT: maxRTT}
}

// Understand gives what a wish of a tenant asks for, by the policies as they are now.
func (s *Store) Understand(ctx context.Context, tenant string, w Wish) (placement.Request, error) {
	r := placement.Request{
		Groups: w.Groups, MaxPrice: w.MaxPrice, Term: w.Term, Budget: w.Budget, Deadline: w.Deadline, Spread: w.Spread,
		Only: w.Only, MinReliability: w.MinReliability, Weights: w.Weights, Ties: w.Ties,
	}
	if w.Region != "" {
		v, ok := VirtualNamed(w.Region)
		if !ok || v.Tenant != "" && v.Tenant != tenant {
			return r, fault.At(fault.Invalid.Errorf("there is no virtual region %s", w.Region), "/region")
		}
		w.Policies = v.with(w.Policies)
	}
	away, err := s.sameOwners(ctx, w.Away)
	if err != nil {
		return r, err
	}
	r.Not = slices.Concat(w.Not, away)
	for i, name := range w.Policies {
		p, err := s.Policy(ctx, tenant, name)
		if errors.Is(err, fault.Missing) { // it is not the path that is wrong
			err = fault.Invalid.Errorf("%w", err)
		}
		if err != nil {
			return r, fault.At(err, "/policies/"+strconv.Itoa(i))
		}
		r.Policies = append(r.Policies, placement.PolicyUse{Policy: p, Parameters: w.Parameters[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(w.Parameters)) {
		if !slices.Contains(w.Policies, name) {
			return r, fault.At(fault.Invalid.Errorf("there are parameters for policy %s, which is not asked for", name), "/parameters/"+name)
		}
	}
	r.Near, err = s.near(w.Near)
	return r, err
}

// sameOwners lists the providers that belong to the owners of some regions or providers.
func (s *Store) sameOwners(ctx context.Context, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	now, err := s.stock(ctx, time.Now().Add(-maxAge))
	if err != nil {
		return nil, err
	}
	var all []string
	for i, name := range names {
		owner, found := now.ownerOf(name)
		if !found {
			return nil, fault.At(fault.Invalid.Errorf("there is no region and no provider named %q", name), "/away/"+strconv.Itoa(i))
		}
		for _, seller := range now.sellers {
			if seller.Owner == owner {
				all = append(all, seller.Name)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (s *stock) ownerOf(name string) (string, bool) {
	for region, seller := range s.sellers {
		if region == name || seller.Name == name {
			return seller.Owner, true
		}
	}
	return "", false
}

func (s *Store) near(n *Nearness) (*placement.Near, error) {
	if n == nil {
		return nil, nil
	}
	near := &placement.Near{Place: n.Place}
	switch at := site(s.place(n.Place)); {
	case n.At != "":
		var err error
		if near.At, err = ParsePoint(n.At); err != nil {
			return nil, fault.At(fault.Invalid.Errorf("%w; write degrees north and east, like 45.7640,4.8357", err), "/near/at")
		}
		if near.Place == "" {
			near.Place = n.At
		}
	case at == nil:
		return nil, fault.At(fault.Invalid.Errorf("nobody knows where %q is; say /near/at, degrees north and east", n.Place), "/near/place")
	default:
		near.At = *at
	}
	var err error
	near.Max, err = n.limit()
	return near, fault.At(err, "/near/maxRTT")
}

// limit is the longest round trip in microseconds, 0 if any will do.
func (n *Nearness) limit() (int64, error) {
	if n.MaxRTT == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(n.MaxRTT)
	if err != nil || d <= 0 || d > time.Second {
		return 0, fault.Invalid.Errorf("%q is no round trip such as 30ms, at most 1s", n.MaxRTT)
	}
	return d.Microseconds(), nil
}

// place gives the annotations of a region, if it is one.
func (s *Store) place(name string) map[string]string {
	r, err := s.Providers.Snapshot().Region(name)
	if err != nil {
		r = &provider.Region{}
	}
	return r.Annotations
}

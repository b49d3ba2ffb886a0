package placement_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
)

// site is a region that sells small machines.
func site(region, owner, country, price string, at *placement.Point) placement.Candidate {
	c := right()
	c.Region, c.Provider, c.Owner, c.Country, c.At = region, owner, owner, country, at
	c.Offers[0].Price = euros(price)
	return c
}

func parts(ties ...placement.Tie) placement.Request {
	need := []offer.Need{{Kind: offer.Instance, SKU: "seca.d2xs", Count: 1}}
	return placement.Request{Now: november, Ties: ties, Groups: []placement.Group{{Name: "primary", Needs: need}, {Name: "standby", Needs: need}}}
}

func TestTies(t *testing.T) {
	villeurbanne := placement.Point{Lat: 45_770_000, Lon: 4_880_000}
	sites := []placement.Candidate{
		site("a", "alpha", "FR", "0.01", &lyon), site("b", "alpha", "FR", "0.02", &villeurbanne),
		site("c", "beta", "FR", "0.03", &villeurbanne), site("d", "gamma", "DE", "0.04", &berlin), site("e", "delta", "DE", "0.05", nil),
	}
	both := []string{"standby", "primary"}
	for _, c := range []struct {
		tie  placement.Tie
		want string
	}{
		{placement.Tie{Groups: both, Different: []string{"region"}}, "a b"},
		{placement.Tie{Groups: both, Different: []string{"owner"}}, "a c"},
		{placement.Tie{Groups: both, Different: []string{"owner", "country"}}, "a d"},
		{placement.Tie{Groups: both, Different: []string{"owner"}, Same: []string{"country"}, Within: 2000}, "a c"},
		{placement.Tie{Groups: both, Different: []string{"country"}, Within: 20_000}, "a d"},
		{placement.Tie{Groups: both, Within: 1}, "a a"},
		{placement.Tie{Groups: both, Different: []string{"country"}, Within: 5000}, "tie primary and standby: needed different country, within 5.0 ms, had no two regions that may"},
		{placement.Tie{Groups: both, Different: []string{"owner"}, Same: []string{"provider"}}, "tie primary and standby: needed different owner, same provider, had no two regions that may"},
	} {
		d := decide(t, parts(c.tie), sites...)
		got := ""
		if d.Problem != nil {
			got = d.Problem.String()
		} else {
			got = d.Chosen[0].Region + " " + d.Chosen[1].Region
		}
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c.tie, got, c.want)
		}
		again := c.tie
		again.Groups = []string{"primary", "standby", "primary"}
		if other := decide(t, parts(again), sites[3], sites[0], sites[4], sites[2], sites[1]); string(other.Append(nil)) != string(d.Append(nil)) {
			t.Errorf("%+v: the order of what is said counts", c.tie)
		}
	}
	// Copies of one group may share what groups must not.
	r := parts(placement.Tie{Groups: both, Different: []string{"owner"}})
	r.Groups[0].Copies = 2
	if d := decide(t, r, sites...); d.Problem != nil || d.Chosen[0].Region != "a" || d.Chosen[1].Region != "a" || d.Chosen[2].Region != "c" {
		t.Errorf("%+v", d)
	}
}

func TestWrongTiesAreRefused(t *testing.T) {
	for _, c := range []struct {
		tie placement.Tie
		at  string
	}{
		{placement.Tie{Groups: []string{"primary", "primary"}, Same: []string{"owner"}}, "/ties/0/groups"},
		{placement.Tie{Groups: []string{"primary", "standbye"}, Same: []string{"owner"}}, "did you mean standby"},
		{placement.Tie{Groups: []string{"primary", "standby"}, Different: []string{"town"}}, "/ties/0/different"},
		{placement.Tie{Groups: []string{"primary", "standby"}}, "must say something"},
		{placement.Tie{Groups: []string{"primary", "standby"}, Within: -1}, "/ties/0/within"},
	} {
		err := parts(c.tie).Validate()
		text := ""
		if err != nil {
			text = err.Error()
			for _, s := range fault.SourcesOf(err) {
				text += " " + s.Pointer
			}
		}
		if !errors.Is(err, fault.Invalid) || !strings.Contains(text, c.at) {
			t.Errorf("%+v: %s, want %s", c.tie, text, c.at)
		}
	}
}

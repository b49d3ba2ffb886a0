package market

import (
	"errors"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/policy"
)

func TestPoliciesHaveVersions(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		save := func(rule string, seen ...int64) (*Saved, error) {
			var if1 *int64
			if len(seen) > 0 {
				if1 = &seen[0]
			}
			return w.SavePolicy(t.Context(), "acme", policy.Policy{Name: "mine", Rule: rule}, if1)
		}
		for _, step := range []struct {
			rule string
			want int
		}{{"true", 1}, {"true", 1}, {`region.country == "FR"`, 2}, {"true", 3}} {
			if p, err := save(step.rule); err != nil || p.Version != step.want || p.Rule != step.rule {
				t.Errorf("%s: %+v %v, want version %d", step.rule, p, err, step.want)
			}
		}
		if _, err := save("false", 2); !errors.Is(err, fault.Stale) {
			t.Errorf("a stale put: %v", err)
		}
		if p, err := w.Policy(t.Context(), "acme", "mine@2"); err != nil || p.Rule != `region.country == "FR"` {
			t.Errorf("version 2: %v %v", p, err)
		}
		if err := w.DeletePolicy(t.Context(), "acme", "mine"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Policy(t.Context(), "acme", "mine"); !errors.Is(err, fault.Missing) {
			t.Errorf("a deleted policy: %v", err)
		}
		if _, err := w.Policy(t.Context(), "acme", "mine@3"); err != nil {
			t.Errorf("what decisions name is gone: %v", err)
		}
		if all, err := w.SavedPolicies(t.Context(), "acme"); err != nil || len(all) != 0 {
			t.Errorf("list: %v %v", all, err)
		}
		if err := w.DeletePolicy(t.Context(), "acme", "mine"); !errors.Is(err, fault.Missing) {
			t.Errorf("deleted twice: %v", err)
		}
		if p, err := save("true"); err != nil || p.Version != 4 {
			t.Errorf("after its deletion: %+v %v", p, err)
		}
	})
}

func TestPoliciesAreTheirTenants(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		if _, err := w.SavePolicy(t.Context(), "acme", policy.Policy{Name: "mine", Rule: "true"}, nil); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"mine", "mine@1"} {
			if _, err := w.Policy(t.Context(), "other", name); !errors.Is(err, fault.Missing) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.Policy(t.Context(), "other", "eu-resident"); err != nil {
			t.Errorf("a ready-made one: %v", err)
		}
		if _, err := w.SavePolicy(t.Context(), "acme", policy.Policy{Name: "eu-resident", Rule: "true"}, nil); !errors.Is(err, fault.Conflict) {
			t.Errorf("the name of a ready-made one: %v", err)
		}
	})
}

func TestARuleThatMeansNothingIsPointedAt(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t))
	_, err := w.SavePolicy(t.Context(), "acme", policy.Policy{Name: "mine", Rule: "true &&\n  region.contry == \"FR\""}, nil)
	if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "2:9") || !strings.Contains(err.Error(), "country") || fault.SourcesOf(err)[0].Pointer != "/rule" {
		t.Errorf("error %v, sources %v", err, fault.SourcesOf(err))
	}
}

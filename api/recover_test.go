package api

import (
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/urn"
	"github.com/kontor-cloud/kontor/wire"
)

// While it is recovered an exchange wants nothing, gives up nothing, and is
// only read.
func TestNothingIsChangedDuringARecovery(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		paths := w.fill()
		i := w.intruder(w.agents())
		i.join("r1")
		var all, c wire.Changes
		i.post(wire.PathChanges, wire.Follow{}, &all)
		orphan := []wire.Orphan{{ID: "o1", Kind: "block-storage"}}
		var v wire.Verdicts
		i.post(wire.PathOrphans, orphan, &v)
		check(t, w.Providers.ApproveOrphan(t.Context(), "r1", "o1"))
		if i.post(wire.PathOrphans, orphan, &v); len(v.Remove) != 1 {
			t.Fatalf("an approved orphan: %+v", v)
		}

		w.Recover = true
		v = wire.Verdicts{}
		if i.post(wire.PathOrphans, orphan, &v); len(v.Remove) != 0 {
			t.Errorf("gives up %v", v.Remove)
		}
		if i.post(wire.PathChanges, wire.Follow{Since: all.Revision, Epoch: all.Epoch}, &c); !c.Reset || c.Revision != 0 || len(c.Resources) != 0 {
			t.Errorf("an agent hears %+v", c)
		}
		for _, m := range []string{"PUT", "DELETE"} {
			if status, body := w.do("acme-admin", m, paths[1], aVolume); status != 503 || !strings.Contains(body, "recovered") {
				t.Errorf("%s: %d %s", m, status, body)
			}
		}
		w.ok("acme-admin", "GET", paths[1], "")
		if body := w.ok("op", "GET", "/providers/kontor.exchange/v1/recovery", ""); !strings.Contains(body, `"region":"r1"`) || !strings.Contains(body, "annotations") {
			t.Errorf("%s", body)
		}
		if status, _ := w.do("acme-admin", "GET", "/providers/kontor.exchange/v1/recovery", ""); status != 403 {
			t.Errorf("a customer reads the recovery: %d", status)
		}
	})
}

// What cannot be understood stays where it is, and is told.
func TestSalvage(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		k, _ := resource.KindNamed("block-storage")
		r, err := w.Providers.Snapshot().Region("r1")
		check(t, err)
		s := &salvage{Exchange: w.Exchange, names: map[string]urn.URN{}, out: RecoveredRegion{Region: "r1"}}
		s.env = resource.Env{Region: "r1", Kinds: r.Kinds, Inventory: &r.Inventory}
		spec := []byte(`{"sizeGB":3,"skuRef":{"resource":"skus/seca.rd100"}}`)
		name := func(tenant, id string) string {
			u := k.URN(tenant, "w", "", id)
			s.names[id] = u
			return u.String()
		}
		good := wire.Holding{ID: "good", URN: name("lost", "good"), Stray: wire.Stray{Kind: "block-storage", Native: "n1", Spec: spec, Notes: []string{"guessed"}}}
		for _, h := range []wire.Holding{
			good, good, // a second time changes nothing
			{ID: "leaving", URN: name("lost", "leaving"), Leaving: true, Stray: wire.Stray{Spec: spec}},
			{ID: "strange", URN: name("lost", "strange"), Stray: wire.Stray{Spec: spec, Problems: []string{"no words"}}},
			{ID: "nameless", Stray: wire.Stray{Spec: spec}},
			{ID: "alone", URN: name("lost", "alone"), Stray: wire.Stray{Spec: []byte(`{"sizeGB":3,"skuRef":{"resource":"skus/seca.rd100"},"sourceImageRef":{"resource":"foreign:nowhere"}}`)}},
			{ID: "bad", URN: name("lost", "bad"), Stray: wire.Stray{Spec: []byte(`{"sizeGB":0,"skuRef":{"resource":"skus/seca.rd100"}}`)}},
		} {
			check(t, s.take(t.Context(), k, h))
		}
		var left []string
		for _, l := range s.out.Left {
			if !l.Taken {
				left = append(left, l.ID)
			}
		}
		if got := strings.Join(left, " "); got != "leaving strange nameless alone bad" {
			t.Errorf("left: %s (%+v)", got, s.out.Left)
		}
		if s.out.Recovered != 2 || len(s.out.Tenants) != 1 { // and the workspace
			t.Errorf("%+v", s.out)
		}
		got, err := w.Resources.Get(t.Context(), "r1", k.URN("lost", "w", "", "good"))
		check(t, err)
		if got.ID != "good" || got.Observed.Native != "n1" || !got.Wanted().Lived {
			t.Errorf("%+v", got)
		}
		if state, _ := w.Providers.Liveness("r1"); state == provider.Alive {
			t.Error("the region is alive without an agent")
		}
	})
}

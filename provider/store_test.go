package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/wire"
)

func names(s *Snapshot) string {
	var b []string
	for _, r := range s.All() {
		b = append(b, r.Name)
	}
	return strings.Join(b, " ")
}

func TestRegionsAreInTheOrderOfTheirCreation(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		before := s.Snapshot()
		for _, name := range []string{"z", "a"} {
			no(t, s.CreateRegion(t.Context(), Region{Name: name, Labels: map[string]string{"tier": "gold"}}))
		}
		no(t, s.PutRegion(t.Context(), Region{Name: "r1", Display: "First", Country: "DE", City: "Bremen"}))
		no(t, s.PutRegion(t.Context(), Region{Name: "m"}))
		kind(t, s.CreateRegion(t.Context(), Region{Name: "a"}), fault.Conflict)
		other, err := Open(t.Context(), s.DB, envelopetest.Box(t, s.DB)) // after a restart
		no(t, err)
		for _, snapshot := range []*Snapshot{s.Snapshot(), other.Snapshot()} {
			if got, want := names(snapshot), "r1 z a m"; got != want {
				t.Errorf("regions %q, want %q", got, want)
			}
			r, err := snapshot.Region("r1")
			no(t, err)
			if r.Display != "First" || r.City != "Bremen" || r.Country != "DE" || r.CreatedAt.IsZero() {
				t.Errorf("region %+v", r)
			}
			z, err := snapshot.Region("z")
			no(t, err)
			if z.Labels["tier"] != "gold" {
				t.Errorf("region %+v", z)
			}
		}
		if names(before) != "r1" {
			t.Error("an old snapshot has changed")
		}
		_, err = s.Snapshot().Region("nowhere")
		kind(t, err, fault.Missing)
	})
}

func TestManyRegionsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if err := s.CreateRegion(t.Context(), Region{Name: fmt.Sprintf("n-%d", i)}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := len(s.Snapshot().All()); n != 21 {
			t.Errorf("%d regions, want 21", n)
		}
	})
}

func TestRegionIsDeletedUnlessChecked(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		stop := errors.New("stop")
		if err := s.DeleteRegion(t.Context(), "r1", func(context.Context, *db.Tx) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("error %v", err)
		}
		if names(s.Snapshot()) != "r1" {
			t.Error("the region is gone")
		}
		no(t, s.DeleteRegion(t.Context(), "r1", nil))
		if names(s.Snapshot()) != "" {
			t.Error("the region is still there")
		}
		kind(t, s.DeleteRegion(t.Context(), "r1", nil), fault.Missing)
	})
}

func TestInventoryIsSavedWhenItIsNews(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		free := 7
		told := wire.Inventory{Driver: "fake", Kinds: []string{"instance"}, Console: true, Version: "1.2", Inventory: driver.Inventory{
			Zones: []string{"a"}, Free: driver.Capacity{VCPU: &free}, Features: []driver.Feature{driver.IPv6},
		}}
		save := func(s *Store, want bool) {
			t.Helper()
			changed, err := s.SaveInventory(t.Context(), "r1", told)
			no(t, err)
			if changed != want {
				t.Errorf("changed %t, want %t", changed, want)
			}
		}
		save(s, true)
		before := s.DB.Statements()
		save(s, false)
		if n := s.DB.Statements() - before; n != 0 {
			t.Errorf("%d queries for what is no news", n)
		}
		other, err := Open(t.Context(), s.DB, envelopetest.Box(t, s.DB))
		no(t, err)
		save(other, false)
		r, err := other.Snapshot().Region("r1")
		no(t, err)
		if diff := cmp.Diff(told, r.report()); diff != "" {
			t.Error(diff)
		}
		no(t, s.PutRegion(t.Context(), Region{Name: "r1", Display: "x"}))
		save(s, false) // the operator's change leaves it alone
		told.Trouble = "does not answer"
		save(s, true)
		_, err = s.SaveInventory(t.Context(), "nowhere", told)
		kind(t, err, fault.Missing)
	})
}

func TestRegionsAreChecked(t *testing.T) {
	for pointer, r := range map[string]Region{
		"/name":    {Name: "A"},
		"/country": {Name: "a", Country: "Sweden"},
		"/display": {Name: "a", Display: strings.Repeat("x", maxText+1)},
		"/city":    {Name: "a", City: strings.Repeat("x", maxText+1)},
	} {
		err := r.Validate()
		if fault.KindOf(err) != fault.Invalid || fault.SourcesOf(err)[0].Pointer != pointer {
			t.Errorf("%s: %v", pointer, err)
		}
	}
	no(t, Region{Name: "se-sto-1.bolaget", Country: "SE"}.Validate())
}

func TestAgentIsAliveThenSilentThenUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &Store{seen: liveness{start: start}}
		check := func(want State, since time.Duration) {
			t.Helper()
			if got, at := s.Liveness("r1"); got != want || at.Sub(start) != since {
				t.Errorf("after %v: %s since %v, want %s since %v", time.Since(start), got, at.Sub(start), want, since)
			}
		}
		wait := func(d time.Duration) { time.Sleep(d) } // in the bubble's time
		check(Unknown, 0)
		wait(time.Second)
		s.seen.note("r1", time.Now())
		wait(9 * time.Second)
		s.seen.note("r1", time.Now())
		check(Alive, time.Second)
		wait(10 * time.Second)
		check(Alive, time.Second)
		wait(time.Millisecond)
		check(Silent, 10*time.Second)
		wait(20 * time.Second)
		check(Unknown, 10*time.Second)
		s.seen.note("r1", start) // a late message is no sign of life
		check(Unknown, 10*time.Second)
		s.seen.note("r1", time.Now())
		check(Alive, 40*time.Second+time.Millisecond)
	})
}

func TestOrphansComeAndGoWithTheReports(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		a := wire.Orphan{ID: "a", Kind: "instance", Name: "vm", Native: "n-1"}
		b := wire.Orphan{ID: "b", Kind: "block-storage"}
		report := func(list ...wire.Orphan) []string {
			t.Helper()
			approved, err := s.ReportOrphans(ctx, "r1", list)
			no(t, err)
			return approved
		}
		report(a, b)
		kind(t, s.ApproveOrphan(ctx, "r1", "nothing"), fault.Missing)
		no(t, s.ApproveOrphan(ctx, "r1", "a"))
		before := s.DB.Statements()
		if diff := cmp.Diff([]string{"a"}, report(a, b)); diff != "" {
			t.Error(diff)
		}
		if n := s.DB.Statements() - before; n != 1 {
			t.Errorf("%d queries for a list that is no news, want 1", n)
		}
		a.Native = "n-2"
		report(a)
		list, err := s.Orphans(ctx, "")
		no(t, err)
		if len(list) != 1 || list[0].Orphan != a || list[0].Region != "r1" || list[0].ApprovedAt.IsZero() || list[0].FirstSeen.After(list[0].LastSeen) {
			t.Errorf("orphans %+v", list)
		}
		report()
		if got := report(a); got != nil { // the same id again: not what was approved
			t.Errorf("approved %v", got)
		}
		_, err = s.ReportOrphans(ctx, "r1", []wire.Orphan{{}})
		kind(t, err, fault.Invalid)
		_, err = s.ReportOrphans(ctx, "nowhere", []wire.Orphan{a})
		kind(t, err, fault.Missing)
	})
}

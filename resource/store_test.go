package resource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
	"github.com/kontor-cloud/kontor/wire"
)

func testEnv() Env {
	e := Env{Region: "r1", Inventory: &driver.Inventory{
		Zones:        []string{"a", "b"},
		InstanceSKUs: []driver.InstanceSKU{{SKU: driver.SKU{Name: "seca.d2xs"}, VCPU: 1, RAMGiB: 1}},
		StorageSKUs:  []driver.StorageSKU{{SKU: driver.SKU{Name: "seca.rd100"}, IOPS: 100, Type: "remote-durable"}},
		NetworkSKUs:  []driver.NetworkSKU{{SKU: driver.SKU{Name: "seca.n1k"}, Mbps: 1000}},
		Images:       []driver.OfferImage{{Name: "tiny", Arch: "amd64"}},
		Features:     []driver.Feature{driver.AntiAffinity, driver.ImageFromVolume, driver.IPv6, driver.MoreThanOneNIC},
	}}
	for _, k := range Kinds() {
		if k.Kept {
			e.Kinds = append(e.Kinds, k.Name)
		}
	}
	return e
}

func kindOf(t testing.TB, name string) *Kind {
	t.Helper()
	k, ok := KindNamed(name)
	if !ok {
		t.Fatalf("no kind %s", name)
	}
	return k
}

// at names a resource of tenant t1, in workspace w1 if the kind has one.
func at(k *Kind, name string) urn.URN {
	u := k.URN("t1", "", "", name)
	if k.Scope >= Workspace {
		u.Workspace = "w1"
	}
	if k.Scope == Network {
		u.Network = "n1"
	}
	return u
}

func put(t testing.TB, s *Store, kind, name, spec string) *Resource {
	t.Helper()
	k := kindOf(t, kind)
	r, _, err := s.Put(t.Context(), k, at(k, name), Input{Spec: json.RawMessage(spec)}, nil, testEnv())
	if err != nil {
		t.Fatalf("put %s %s: %v", kind, name, err)
	}
	return r
}

func get(t testing.TB, s *Store, kind, name string) *Resource {
	t.Helper()
	k := kindOf(t, kind)
	region := "r1"
	if k.Global {
		region = ""
	}
	r, err := s.Get(t.Context(), region, at(k, name))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func observe(t testing.TB, s *Store, o wire.Observation) {
	t.Helper()
	strangers, err := s.Observe(t.Context(), "r1", []wire.Observation{o})
	if err != nil || len(strangers) > 0 {
		t.Fatalf("observe: strangers %v, error %v", strangers, err)
	}
}

func active(r *Resource) wire.Observation {
	return wire.Observation{ID: r.ID, Generation: r.Generation, Presence: wire.Present, State: seca.Active}
}

func states(r *Resource) []seca.State {
	var out []seca.State
	entries, err := r.Log.Entries()
	if err != nil {
		panic(err)
	}
	for _, c := range entries {
		out = append(out, c.State)
	}
	return out
}

const (
	volumeSpec   = `{"sizeGB":10,"skuRef":{"resource":"skus/seca.rd100"}}`
	instanceSpec = `{"skuRef":{"resource":"seca.compute/v1/tenants/t1/skus/seca.d2xs"},"zone":"a","bootVolume":{"deviceRef":{"resource":"block-storages/v1"}}}`
	networkSpec  = `{"cidr":{"ipv4":"10.1.0.0/16"},"skuRef":{"resource":"skus/seca.n1k"}}`
)

func stack(t testing.TB, s *Store) *Resource {
	t.Helper()
	put(t, s, "workspace", "w1", `null`)
	put(t, s, "block-storage", "v1", volumeSpec)
	return put(t, s, "instance", "i1", instanceSpec)
}

func TestTransitionLogIsExact(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		r := stack(t, s)
		observe(t, s, active(r)) // the agent was so quick that nobody saw it creating
		want := []seca.State{"active", "creating", "pending"}
		if diff := cmp.Diff(want, states(get(t, s, "instance", "i1"))); diff != "" {
			t.Fatal(diff)
		}
		shown := put(t, s, "instance", "i1", instanceSpec)
		if shown.State != seca.Active {
			t.Errorf("the answer to an update says %s, want active", shown.State)
		}
		if got := get(t, s, "instance", "i1"); got.State != seca.Updating {
			t.Errorf("the store says %s after an update, want updating", got.State)
		}
		observe(t, s, active(r)) // of the old generation: no news
		if got := get(t, s, "instance", "i1"); got.State != seca.Updating {
			t.Errorf("an old observation made it %s", got.State)
		}
		observe(t, s, active(get(t, s, "instance", "i1")))
		for _, action := range []string{"start", "restart", "stop"} {
			k := kindOf(t, "instance")
			if err := s.Act(t.Context(), k, at(k, "i1"), action, nil, testEnv()); err != nil {
				t.Fatal(err)
			}
			again := map[string]string{"start": "start", "restart": "start", "stop": "stop"}[action]
			if err := s.Act(t.Context(), k, at(k, "i1"), again, nil, testEnv()); fault.KindOf(err) != fault.Conflict {
				t.Errorf("%s after %s: %v, want a conflict", again, action, err)
			}
			observe(t, s, active(get(t, s, "instance", "i1")))
		}
		want = []seca.State{"active", "updating", "active", "updating", "active", "updating", "active", "updating", "active", "creating", "pending"}
		if diff := cmp.Diff(want, states(get(t, s, "instance", "i1"))); diff != "" {
			t.Error(diff)
		}
	})
}

// TestWhatWasSaidBeforeIsNoNews has observations come twice, out of order, and
// from an agent that has ended.
func TestWhatWasSaidBeforeIsNoNews(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		r := stack(t, s)
		said := func(life string, seq int64, state seca.State) wire.Observation {
			o := active(r)
			o.Life, o.Seq, o.State = life, seq, state
			return o
		}
		for _, o := range []wire.Observation{
			said("a", 2, seca.Active), said("a", 1, seca.Creating), said("a", 2, seca.Active),
			said("b", 1, seca.Updating), said("b", 2, seca.Active), said("a", 3, seca.Updating), said("b", 1, seca.Updating),
		} {
			observe(t, s, o)
		}
		want := []seca.State{"active", "updating", "active", "creating", "pending"}
		if diff := cmp.Diff(want, states(get(t, s, "instance", "i1"))); diff != "" {
			t.Error(diff)
		}
	})
}

func TestUnknownChangesNoState(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		r := stack(t, s)
		observe(t, s, active(r))
		k := kindOf(t, "instance")
		if err := s.Delete(t.Context(), k, r.URN, nil, testEnv()); err != nil {
			t.Fatal(err)
		}
		r = get(t, s, "instance", "i1")
		observe(t, s, wire.Observation{ID: r.ID, Generation: r.Generation, Presence: wire.Unknown, Reason: "Outage"})
		if got := get(t, s, "instance", "i1"); got.State != seca.Deleting || got.Observed.Presence != wire.Unknown {
			t.Errorf("state %s, presence %s; want deleting and unknown", got.State, got.Observed.Presence)
		}
		observe(t, s, wire.Observation{ID: r.ID, Generation: r.Generation - 1, Presence: wire.Absent})
		get(t, s, "instance", "i1") // absence from before the deletion is no proof
		observe(t, s, wire.Observation{ID: r.ID, Generation: r.Generation, Presence: wire.Absent})
		if _, err := s.Get(t.Context(), "r1", r.URN); fault.KindOf(err) != fault.Missing {
			t.Errorf("after its absence was seen: %v, want missing", err)
		}
	})
}

func TestWorkspaceGoesWithItsLastResource(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		ctx := t.Context()
		r := stack(t, s)
		ws, vol, inst := kindOf(t, "workspace"), kindOf(t, "block-storage"), kindOf(t, "instance")
		if err := s.Delete(ctx, ws, at(ws, "w1"), nil, testEnv()); fault.KindOf(err) != fault.Conflict {
			t.Fatalf("delete a workspace in use: %v, want a conflict", err)
		}
		if err := s.Delete(ctx, vol, at(vol, "v1"), nil, testEnv()); fault.KindOf(err) != fault.Conflict {
			t.Fatalf("delete a volume in use: %v, want a conflict", err)
		}
		v := get(t, s, "block-storage", "v1")
		for _, err := range []error{
			s.Delete(ctx, inst, r.URN, nil, testEnv()), s.Delete(ctx, vol, v.URN, nil, testEnv()), s.Delete(ctx, ws, at(ws, "w1"), nil, testEnv()),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, x := range []*Resource{get(t, s, "instance", "i1"), get(t, s, "block-storage", "v1")} {
			if got := get(t, s, "workspace", "w1"); got.State != seca.Deleting {
				t.Errorf("workspace is %s before its last resource is gone", got.State)
			}
			observe(t, s, wire.Observation{ID: x.ID, Generation: x.Generation, Presence: wire.Absent})
		}
		if _, err := s.Get(ctx, "r1", at(ws, "w1")); fault.KindOf(err) != fault.Missing {
			t.Errorf("workspace after its last resource: %v, want missing", err)
		}
		put(t, s, "workspace", "w1", `{}`) // the name is free again
		gone, _, err := s.List(ctx, "r1", at(ws, ""), Page{Size: 10, Deleted: OnlyDeleted})
		if err != nil || len(gone) != 1 {
			t.Errorf("tombstones: %d, %v; want 1", len(gone), err)
		}
	})
}

func TestReferencesAreEchoedAndResolved(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		r := stack(t, s)
		var spec seca.InstanceSpec
		if err := json.Unmarshal(get(t, s, "instance", "i1").Spec, &spec); err != nil {
			t.Fatal(err)
		}
		if got := spec.BootVolume.DeviceRef.Resource; got != "block-storages/v1" {
			t.Errorf("reference came back as %q", got)
		}
		if err := json.Unmarshal(r.Wanted().Spec, &spec); err != nil {
			t.Fatal(err)
		}
		if got, want := spec.BootVolume.DeviceRef.Resource, "seca.storage/v1/tenants/t1/workspaces/w1/block-storages/v1"; got != want {
			t.Errorf("the agent gets %q, want %q", got, want)
		}
	})
}

func TestConditionalWrites(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		k := kindOf(t, "workspace")
		seven := int64(7)
		_, _, err := s.Put(t.Context(), k, at(k, "w1"), Input{}, &seven, testEnv())
		if fault.KindOf(err) != fault.Stale {
			t.Errorf("conditional put of nothing: %v, want stale", err)
		}
		r := put(t, s, "workspace", "w1", `{}`)
		if _, _, err = s.Put(t.Context(), k, at(k, "w1"), Input{}, &r.Version, testEnv()); err != nil {
			t.Error(err)
		}
		if err := s.Delete(t.Context(), k, at(k, "w1"), &r.Version, testEnv()); fault.KindOf(err) != fault.Stale {
			t.Errorf("delete with the old version: %v, want stale", err)
		}
	})
}

func TestListPagesInOrderAndNeverLeavesTheCollection(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		put(t, s, "workspace", "w1", `{}`)
		for i := range 7 {
			put(t, s, "block-storage", fmt.Sprintf("v%d", i), volumeSpec)
		}
		k := kindOf(t, "block-storage")
		var names []string
		after := ""
		for {
			page, next, err := s.List(t.Context(), "r1", at(k, ""), Page{Size: 3, After: after})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page {
				names = append(names, r.URN.Name)
			}
			if after = next; next == "" {
				break
			}
		}
		if diff := cmp.Diff([]string{"v0", "v1", "v2", "v3", "v4", "v5", "v6"}, names); diff != "" {
			t.Error(diff)
		}
		put(t, s, "network", "n1", networkSpec)
		put(t, s, "subnet", "s1", `{"cidr":{"ipv4":"10.1.1.0/24"},"zone":"a","routeTableRef":{"resource":""}}`)
		n := kindOf(t, "network")
		if networks, _, err := s.List(t.Context(), "r1", at(n, ""), Page{Size: 3}); err != nil || len(networks) != 1 {
			t.Errorf("%d networks, %v; want 1: a subnet lies below it by name, not in its collection", len(networks), err)
		}
		_, _, err := s.List(t.Context(), "r1", at(k, ""), Page{Size: 3, After: "seca.storage/v1/tenants/a/workspaces/w1/block-storages/v0 x"})
		if fault.KindOf(err) != fault.Malformed {
			t.Errorf("a token of another tenant's list: %v, want malformed", err)
		}
	})
}

func TestOneNameIsMadeOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		k := kindOf(t, "workspace")
		var made sync.Map
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				r, created, err := s.Put(context.Background(), k, at(k, "w1"), Input{}, nil, testEnv())
				if err != nil {
					t.Error(err)
				} else if created {
					made.Store(i, r.ID)
				}
			})
		}
		wg.Wait()
		n := 0
		made.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Errorf("%d writers made it, want 1", n)
		}
	})
}

// TestFeedNeverSkips has 16 writers commit in whatever order the database
// likes, while a reader follows: it must see every change of every writer.
func TestFeedNeverSkips(t *testing.T) {
	const writers, each = 16, 40
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		put(t, s, "workspace", "w1", `{}`)
		k := kindOf(t, "block-storage")
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					if _, _, err := s.Put(context.Background(), k, at(k, fmt.Sprintf("v%d-%d", w, i)), Input{Spec: json.RawMessage(volumeSpec)}, nil, testEnv()); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		seen := map[string]int{}
		since, last := int64(1), false
		for {
			out, more, err := s.Follow(t.Context(), "r1", since, 7)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range out {
				if r.Revision <= since {
					t.Fatalf("revision %d came after %d", r.Revision, since)
				}
				since = r.Revision
				seen[r.URN]++
			}
			if len(out) == 0 && !more {
				if last {
					break
				}
				select {
				case <-done:
					last = true
				default:
				}
			}
		}
		if len(seen) != writers*each {
			t.Errorf("saw %d resources, want %d", len(seen), writers*each)
		}
		for u, n := range seen {
			if n != 1 {
				t.Errorf("saw %s %d times", u, n)
			}
		}
	})
}

func TestRejectionsPointAtTheField(t *testing.T) {
	d := dbtest.SQLite(t)
	s := NewStore(d)
	stack(t, s)
	for _, c := range []struct{ kind, spec, pointer string }{
		{"instance", `{"zone":7}`, "/spec/zone"},
		{"instance", `{"skuRef":{"resource":"skus/no"},"zone":"a","bootVolume":{"deviceRef":{"resource":"block-storages/v1"}}}`, "/spec/skuRef"},
		{"instance", `{"skuRef":{"resource":"skus/seca.d2xs"},"zone":"c","bootVolume":{"deviceRef":{"resource":"block-storages/v1"}}}`, "/spec/zone"},
		{"instance", `{"skuRef":{"resource":"skus/seca.d2xs"},"bootVolume":{"deviceRef":{"resource":"block-storages/no"}}}`, "/spec/bootVolume/deviceRef"},
		{"instance", `{"skuRef":{"resource":"skus/seca.d2xs"},"bootVolume":{"deviceRef":{"resource":"tenants/t2/workspaces/w1/block-storages/v1"}}}`, "/spec/bootVolume/deviceRef"},
		{"block-storage", `{"sizeGB":0,"skuRef":{"resource":"skus/seca.rd100"}}`, "/spec/sizeGB"},
		{"block-storage", `{"sizeGB":1,"skuRef":{"tenant":"x","resource":"tenants/t1/skus/seca.rd100"}}`, "/spec/skuRef"},
		{"network", `{"cidr":{"ipv4":"8.8.0.0/16"},"skuRef":{"resource":"skus/seca.n1k"}}`, "/spec/cidr"},
		{"security-group", `{"rules":[{"direction":"ingress","ports":{}}]}`, "/spec/rules/0/ports"},
		{"security-group-rule", `{"direction":"in"}`, "/spec/direction"},
		{"role", `{"permissions":[{"provider":"nobody","resources":["*"],"verb":["get"]}]}`, "/spec/permissions/0/provider"},
	} {
		k := kindOf(t, c.kind)
		_, _, err := s.Put(t.Context(), k, at(k, "x"), Input{Spec: json.RawMessage(c.spec)}, nil, testEnv())
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Invalid || len(f.Sources) == 0 || f.Sources[0].Pointer != c.pointer {
			t.Errorf("%s %s: %v (sources %v), want invalid at %s", c.kind, c.spec, err, fault.SourcesOf(err), c.pointer)
		}
	}
}

package resource

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
	"github.com/kontor-cloud/kontor/wire"
)

// virtual is the environment of a virtual region whose things r1 keeps, and
// calls otherwise.
func virtual(host string) Env {
	e := testEnv()
	e.Region, e.Host, e.Decision = "eu", host, "d1"
	e.Names = map[string]string{"zone/a": "nova-1", "seca.compute/seca.d2xs": "r1.small", "seca.storage/seca.rd100": "r1.ssd"}
	return e
}

func putIn(t testing.TB, s *Store, e Env, kind string, u urn.URN, spec string) (*Resource, error) {
	t.Helper()
	r, _, err := s.Put(t.Context(), kindOf(t, kind), u, Input{Spec: json.RawMessage(spec)}, nil, e)
	return r, err
}

func names(rs []wire.Resource) (all []string) {
	for _, r := range rs {
		all = append(all, r.Kind+" "+r.URN[strings.LastIndex(r.URN, "/")+1:])
	}
	return all
}

// TestAVirtualRegionNamesWhatAnotherKeeps follows a machine from its order to its end.
func TestAVirtualRegionNamesWhatAnotherKeeps(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, e, ctx := NewStore(d), virtual("r1"), t.Context()
		put(t, s, "workspace", "w0", `{}`) // r1 itself is in use, too
		for _, x := range []struct{ kind, name, spec string }{{"workspace", "w1", `{}`}, {"block-storage", "v1", volumeSpec}, {"instance", "i1", instanceSpec}} {
			if _, err := putIn(t, s, e, x.kind, at(kindOf(t, x.kind), x.name), x.spec); err != nil {
				t.Fatal(x.name, err)
			}
		}
		instance := kindOf(t, "instance")
		r, err := s.Get(ctx, "eu", at(instance, "i1"))
		if err != nil || r.Region != "eu" || r.Host != "r1" {
			t.Fatalf("%+v, %v", r, err)
		}
		if !strings.Contains(string(r.Spec), `"zone":"a"`) || !strings.Contains(string(r.Spec), "seca.d2xs") {
			t.Errorf("its author wrote %s", r.Spec)
		}
		if w, err := s.Get(ctx, "eu", at(workspaces, "w1")); err != nil || w.Decision != "d1" {
			t.Errorf("%+v, %v", w, err)
		}
		if placed, err := s.Placed(ctx); err != nil || len(placed) != 1 || placed[0].URN.Name != "w1" || placed[0].Decision != "d1" {
			t.Errorf("placed are %+v, %v", placed, err)
		}
		wanted, _, err := s.Follow(ctx, "r1", 0, 100)
		if err != nil || !slices.Equal(names(wanted), []string{"block-storage v1", "instance i1"}) {
			t.Fatal(names(wanted), err)
		}
		if spec := string(wanted[1].Spec); !strings.Contains(spec, `"zone":"nova-1"`) || !strings.Contains(spec, "skus/r1.small") {
			t.Errorf("the agent is to make %s", spec)
		}
		if none, _, err := s.Follow(ctx, "eu", 0, 100); err != nil || len(none) > 0 {
			t.Errorf("a virtual region has an agent: %v, %v", none, err)
		}
		if _, err := s.Get(ctx, "r1", at(instance, "i1")); fault.KindOf(err) != fault.Missing {
			t.Errorf("it is named in r1, too: %v", err)
		}
		if err := s.Empty(ctx, d, "r1"); err == nil || !strings.Contains(err.Error(), "4 resources") {
			t.Errorf("r1 may go: %v", err)
		}

		before, err := s.Newest(ctx, "eu", "t1")
		if err != nil {
			t.Fatal(err)
		}
		observe(t, s, active(r))
		all, next, more, err := s.Since(ctx, "eu", "t1", "", before, 10)
		if err != nil || more || len(all) != 1 || all[0].URN.Name != "i1" || all[0].State != seca.Active {
			t.Errorf("since %d: %v %v %v", before, all, more, err)
		}
		if err := s.Act(ctx, instance, at(instance, "i1"), "start", nil, e); err != nil {
			t.Error(err)
		}
		for _, x := range []struct{ kind, name string }{{"instance", "i1"}, {"block-storage", "v1"}, {"workspace", "w1"}} {
			k := kindOf(t, x.kind)
			if err := s.Delete(ctx, k, at(k, x.name), nil, e); err != nil {
				t.Fatal(x.name, err)
			}
		}
		wanted, _, err = s.Follow(ctx, "r1", 0, 100)
		if err != nil || len(wanted) != 2 {
			t.Fatal(names(wanted), err)
		}
		var gone []wire.Observation
		for _, w := range wanted {
			gone = append(gone, wire.Observation{ID: w.ID, Generation: w.Generation, Presence: wire.Absent})
		}
		if _, err := s.Observe(ctx, "r1", gone); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(ctx, "eu", at(workspaces, "w1")); fault.KindOf(err) != fault.Missing {
			t.Errorf("the workspace is still there: %v", err)
		}
		all, _, _, err = s.Since(ctx, "eu", "t1", "", next, 10)
		var told []string
		for _, r := range all {
			told = append(told, r.URN.Name+" "+r.lifecycle())
		}
		slices.Sort(told)
		if err != nil || !slices.Equal(told, []string{"i1 gone", "v1 gone", "w1 gone"}) {
			t.Errorf("events: %v, %v", told, err)
		}
	})
}

func TestAHostHasEachWorkspaceNameOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		put(t, s, "workspace", "w1", `{}`)
		_, err := putIn(t, s, virtual("r1"), "workspace", at(workspaces, "w1"), `{}`)
		if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "region r1") {
			t.Errorf("%v", err)
		}
		if _, err := putIn(t, s, virtual("r2"), "workspace", at(workspaces, "w1"), `{}`); err != nil {
			t.Errorf("elsewhere: %v", err)
		}
	})
}

func TestThingsOfTwoHostsAreNotUsedTogether(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		for host, workspace := range map[string]string{"r1": "w1", "r2": "w2"} {
			if _, err := putIn(t, s, virtual(host), "workspace", at(workspaces, workspace), `{}`); err != nil {
				t.Fatal(err)
			}
		}
		volume := kindOf(t, "block-storage")
		if _, err := putIn(t, s, virtual("r1"), "block-storage", volume.URN("t1", "w1", "", "v1"), volumeSpec); err != nil {
			t.Fatal(err)
		}
		spec := strings.Replace(instanceSpec, `"block-storages/v1"`, `"workspaces/w1/block-storages/v1"`, 1)
		_, err := putIn(t, s, virtual("r2"), "instance", kindOf(t, "instance").URN("t1", "w2", "", "i1"), spec)
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "lies in region r1, and this in r2") {
			t.Errorf("%v", err)
		}
		// Its place was looked up before it moved: nothing is written for the wrong agent.
		if _, err := putIn(t, s, virtual("r2"), "block-storage", volume.URN("t1", "w1", "", "v2"), volumeSpec); !errors.Is(err, fault.Stale) {
			t.Errorf("at the wrong host: %v", err)
		}
		if host, err := s.HostOf(t.Context(), "eu", at(workspaces, "w2")); err != nil || host != "r2" {
			t.Errorf("w2 is kept by %q, %v", host, err)
		}
	})
}

func TestOnlyWorkspacesHaveWishes(t *testing.T) {
	e := virtual("r1")
	e.Extension = func(key, value string) error {
		if key != "kontor.exchange/policy" {
			return errors.New("is unknown")
		}
		return nil
	}
	s := NewStore(dbtest.SQLite(t))
	write := func(kind, name, key string) error {
		k := kindOf(t, kind)
		_, _, err := s.Put(t.Context(), k, at(k, name), Input{Extensions: map[string]string{key: "x"}, Spec: json.RawMessage(`{}`)}, nil, e)
		return err
	}
	if err := write("workspace", "w1", "kontor.exchange/policy"); err != nil {
		t.Error(err)
	}
	if err := write("workspace", "w1", "kontor.exchange/polices"); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	if err := write("internet-gateway", "g1", "kontor.exchange/policy"); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}

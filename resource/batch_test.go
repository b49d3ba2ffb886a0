package resource

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
)

// pair is a machine with its volume in each of two workspaces, at two hosts, machines first.
func pair(t *testing.T, name string) (all []Write) {
	t.Helper()
	for _, x := range []struct{ kind, name, spec string }{{"instance", "i1", instanceSpec}, {"block-storage", "v1", volumeSpec}, {"workspace", "", "{}"}} {
		for host, workspace := range map[string]string{"r1": name + "1", "r2": name + "2"} {
			k := kindOf(t, x.kind)
			u := k.URN("t1", workspace, "", x.name)
			if k == workspaces {
				u = k.URN("t1", "", "", workspace)
			}
			all = append(all, Write{Kind: k, URN: u, Input: Input{Spec: json.RawMessage(x.spec)}, Env: virtual(host)})
		}
	}
	return all
}

func (s *Store) makeAll(ctx context.Context, writes []Write) error {
	var announce func()
	err := s.db.InTx(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		_, announce, err = s.Make(ctx, tx, writes)
		return err
	})
	if err == nil {
		announce()
	}
	return err
}

func TestAllIsMadeOrNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		_, changed := s.Changed("r2")
		if err := s.makeAll(t.Context(), pair(t, "a")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		default:
			t.Error("nobody told the agent of r2")
		}
		for _, host := range []string{"r1", "r2"} {
			wanted, _, err := s.Follow(t.Context(), host, 0, 100)
			if err != nil || !slices.Equal(names(wanted), []string{"block-storage v1", "instance i1"}) && !slices.Equal(names(wanted), []string{"instance i1", "block-storage v1"}) {
				t.Errorf("%s is to make %v, %v", host, names(wanted), err)
			}
		}
		again := append(pair(t, "b"), pair(t, "a")[0])
		if err := s.makeAll(t.Context(), again); !errors.Is(err, fault.Conflict) {
			t.Errorf("one is there: %v", err)
		}
		if _, err := s.Get(t.Context(), "eu", workspaces.URN("t1", "", "", "b1")); fault.KindOf(err) != fault.Missing {
			t.Errorf("some of it was made: %v", err)
		}
		limited(t, d, s, "instance", 3)
		if err := s.makeAll(t.Context(), pair(t, "c")); !errors.Is(err, fault.Denied) {
			t.Errorf("two more than two of at most three: %v", err)
		}
	})
}

// TestManyMakeAtTheSameHosts finds locks taken in another order.
func TestManyMakeAtTheSameHosts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		var wg sync.WaitGroup
		for i := range 8 {
			writes := pair(t, string(rune('a'+i)))
			wg.Go(func() {
				if err := s.makeAll(t.Context(), writes); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if all, _, _, err := s.Since(t.Context(), "eu", "t1", "", 0, 1000); err != nil || len(all) != 8*6 {
			t.Errorf("%d of %d, %v", len(all), 8*6, err)
		}
	})
}

func TestWorkspacesAreUnmadeAsOne(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		if err := s.makeAll(t.Context(), append(pair(t, "a"), pair(t, "b")...)); err != nil {
			t.Fatal(err)
		}
		unmake := func(names ...string) error {
			var announce func()
			err := d.InTx(t.Context(), func(ctx context.Context, tx *db.Tx) (err error) {
				announce, err = s.Unmake(ctx, tx, "eu", "t1", names)
				return err
			})
			if err == nil {
				announce()
			}
			return err
		}
		outside := Input{Spec: json.RawMessage(strings.Replace(instanceSpec, "block-storages/v1", "workspaces/a2/block-storages/v1", 1))}
		if _, _, err := s.Put(t.Context(), kindOf(t, "instance"), kindOf(t, "instance").URN("t1", "b2", "", "thief"), outside, nil, virtual("r2")); err != nil {
			t.Fatal(err)
		}
		if err := unmake("a1", "a2"); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "thief") {
			t.Errorf("one is used from outside: %v", err)
		}
		_, changed := s.Changed("r2")
		if err := unmake("a1", "b1", "b2"); err != nil {
			t.Fatal(err)
		}
		if err := unmake("a2"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		default:
			t.Error("nobody told the agent of r2")
		}
		left, _, _, err := s.Since(t.Context(), "eu", "t1", "", 0, 1000)
		if err != nil || len(left) != 13 {
			t.Fatalf("%d resources, %v", len(left), err)
		}
		for _, r := range left {
			if !r.Leaving() {
				t.Errorf("%s stays", r.URN)
			}
		}
		if err := unmake("a1", "a2", "b1", "b2"); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

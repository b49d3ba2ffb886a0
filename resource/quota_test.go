package resource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

// limited has tenant t1 with a limit.
func limited(t testing.TB, d *db.DB, s *Store, meter string, most int64) {
	t.Helper()
	if _, err := d.ExecContext(t.Context(), `INSERT INTO tenant (name, display, created_at) VALUES ('t1', '', 0) ON CONFLICT DO NOTHING`); err != nil {
		t.Fatal(err)
	}
	if err := s.SetQuota(t.Context(), "t1", meter, &most); err != nil {
		t.Fatal(err)
	}
}

func quota(t testing.TB, s *Store, meter string) Quota {
	t.Helper()
	all, err := s.Quotas(t.Context(), "t1")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range all {
		if q.Meter == meter {
			return q
		}
	}
	t.Fatalf("no quota %s", meter)
	return Quota{}
}

// try puts a volume of so many GB into a region.
func try(ctx context.Context, s *Store, region, name string, gb int) error {
	k, _ := KindNamed("block-storage")
	env := testEnv()
	env.Region = region
	_, _, err := s.Put(ctx, k, at(k, name), Input{Spec: json.RawMessage(fmt.Sprintf(`{"sizeGB":%d,"skuRef":"skus/seca.rd100"}`, gb))}, nil, env)
	return err
}

func exceeded(t testing.TB, err error, want Exceeded) {
	t.Helper()
	var e Exceeded
	if fault.KindOf(err) != fault.Denied || !errors.As(err, &e) || e != want {
		t.Errorf("%v, want %+v", err, want)
	}
}

// TestQuotaHoldsUnderARace has two processes make things of one tenant in many
// regions at the same time: as many get in as may.
func TestQuotaHoldsUnderARace(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		const clients, regions = 64, 16
		d := opened(t, url)
		stores := []*Store{NewStore(d), NewStore(d)}
		if d.Postgres() {
			stores[1] = NewStore(opened(t, url))
		}
		limited(t, d, stores[0], "storage-gb", 1000)
		for n := range regions {
			k, env := kindOf(t, "workspace"), testEnv()
			env.Region = fmt.Sprintf("r%d", n)
			if _, _, err := stores[0].Put(t.Context(), k, at(k, "w1"), Input{}, nil, env); err != nil {
				t.Fatal(err)
			}
		}
		for most := int64(3); most <= 12; most += 3 { // connections are warm after the first
			limited(t, d, stores[0], "block-storage", most)
			var wg sync.WaitGroup
			var in, out atomic.Int64
			for n := range clients {
				wg.Go(func() {
					err := try(t.Context(), stores[n%2], fmt.Sprintf("r%d", n/2%regions), fmt.Sprintf("v%d-%d", most, n), 1)
					var e Exceeded
					switch {
					case err == nil:
						in.Add(1)
					case errors.As(err, &e) && e.Meter == "block-storage" && e.Used == most:
						out.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if in.Load() != 3 || out.Load() != clients-3 {
				t.Errorf("%d got in, %d did not; want 3 and %d", in.Load(), out.Load(), clients-3)
			}
			if q := quota(t, stores[0], "block-storage"); q.Used != most {
				t.Errorf("used %d of %d", q.Used, most)
			}
		}
	})
}

func TestQuotaCountsWhatThereIs(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		put(t, s, "workspace", "w1", `null`)
		limited(t, d, s, "storage-gb", 10)
		k := kindOf(t, "block-storage")
		for _, step := range []struct {
			what   string
			do     func() error
			used   int64 // before, if it is refused; else after
			refuse int64 // how many more were asked for; 0: it is admitted
		}{
			{"make 6", func() error { return try(t.Context(), s, "r1", "a", 6) }, 6, 0},
			{"make 5", func() error { return try(t.Context(), s, "r1", "b", 5) }, 6, 5},
			{"make 4", func() error { return try(t.Context(), s, "r1", "b", 4) }, 10, 0},
			{"grow by 1", func() error { return try(t.Context(), s, "r1", "b", 5) }, 10, 1},
			{"the same again", func() error { return try(t.Context(), s, "r1", "b", 4) }, 10, 0},
			{"lower to 3", func() error { limited(t, d, s, "storage-gb", 3); return nil }, 10, 0},
			{"the same again, over the limit", func() error { return try(t.Context(), s, "r1", "b", 4) }, 10, 0},
			{"delete 6", func() error { return s.Delete(t.Context(), k, at(k, "a"), nil, testEnv()) }, 10, 0},
			{"until it is gone", func() error {
				r := get(t, s, "block-storage", "a")
				_, err := s.Observe(t.Context(), "r1", []wire.Observation{{ID: r.ID, Generation: r.Generation, State: seca.Deleting, Presence: wire.Absent}})
				return err
			}, 4, 0},
			{"make 1, still over", func() error { return try(t.Context(), s, "r1", "c", 1) }, 4, 1},
			{"raise to 5", func() error { limited(t, d, s, "storage-gb", 5); return nil }, 4, 0},
			{"make 1", func() error { return try(t.Context(), s, "r1", "c", 1) }, 5, 0},
			{"no limit", func() error { return s.SetQuota(t.Context(), "t1", "storage-gb", nil) }, 5, 0},
			{"make 1,000", func() error { return try(t.Context(), s, "r1", "d", 1000) }, 1005, 0},
		} {
			q := quota(t, s, "storage-gb")
			err := step.do()
			switch {
			case step.refuse > 0:
				exceeded(t, err, Exceeded{"t1", "storage-gb", *q.Limit, step.used, step.refuse})
			case err != nil:
				t.Errorf("%s: %v", step.what, err)
			}
			if q = quota(t, s, "storage-gb"); q.Used != step.used {
				t.Errorf("%s: then %d are used, want %d", step.what, q.Used, step.used)
			}
		}
	})
}

// TestQuotaAddsUpMachines by what their skus have.
func TestQuotaAddsUpMachines(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		stack(t, s) // one machine of one vCPU and one GiB
		env := testEnv()
		env.Inventory.InstanceSKUs = append(env.Inventory.InstanceSKUs, driver.InstanceSKU{
			SKU: driver.SKU{Name: "big"}, VCPU: 8, RAMGiB: 64, GPU: &driver.GPU{Count: 2},
		})
		k := kindOf(t, "instance")
		big := func(name string) error {
			_, _, err := s.Put(t.Context(), k, at(k, name), Input{Spec: json.RawMessage(`{"skuRef":"skus/big","zone":"a","bootVolume":{"deviceRef":"block-storages/v1"}}`)}, nil, env)
			return err
		}
		limited(t, d, s, "gpu", 2)
		limited(t, d, s, "vcpu", 9)
		if err := big("b1"); err != nil {
			t.Fatal(err)
		}
		exceeded(t, big("b2"), Exceeded{"t1", "gpu", 2, 2, 2})
		limited(t, d, s, "gpu", 4)
		exceeded(t, big("b2"), Exceeded{"t1", "vcpu", 9, 9, 8})
		for meter, want := range map[string]int64{"instance": 2, "vcpu": 9, "ram-gib": 65, "gpu": 2, "block-storage": 1} {
			if q := quota(t, s, meter); q.Used != want {
				t.Errorf("%d of %s are used, want %d", q.Used, meter, want)
			}
		}
	})
}

func TestSetQuotaChecks(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		for _, c := range []struct {
			meter string
			most  int64
			kind  fault.Kind
		}{{"role", 1, fault.Missing}, {"vms", 1, fault.Missing}, {"vcpu", -1, fault.Invalid}, {"vcpu", MaxQuota + 1, fault.Invalid}} {
			if err := s.SetQuota(t.Context(), "t1", c.meter, &c.most); fault.KindOf(err) != c.kind {
				t.Errorf("%s=%d: %v", c.meter, c.most, err)
			}
		}
		if name, ok := MeterNamed("vms"); name != "instance" || !ok {
			t.Errorf("vms is %s", name)
		}
	})
}

// TestQuotaCostsNothingWithoutOne, and a statement with one.
func TestQuotaCostsNothingWithoutOne(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		put(t, s, "workspace", "w1", `null`)
		counted(t, d, 3, "without quotas", func() error { return try(t.Context(), s, "r1", "a", 1) })
		limited(t, d, s, "block-storage", 10)
		counted(t, d, 4, "with one", func() error { return try(t.Context(), s, "r1", "b", 1) })
		counted(t, d, 3, "without growth", func() error { return try(t.Context(), s, "r1", "b", 1) })
	})
}

func opened(t testing.TB, url string) *db.DB {
	t.Helper()
	d, err := db.Open(context.Background(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

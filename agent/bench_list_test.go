package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/wire"
)

// What one look at a platform with many machines may cost, of which none has
// changed, in garbage. It is kept by TestLookKeepsToItsBudget; in time that is
// less than 200 ms for 5,000 machines on one slow processor, which is less than
// one percent of it with a list every half minute.
const (
	manyMachines      = 5000
	bytesPerMachine   = 3000
	objectsPerMachine = 12
)

func BenchmarkListAndCompare(b *testing.B) {
	look := lookAtMany(b)
	b.ReportAllocs()
	for b.Loop() {
		look()
	}
	took := b.Elapsed() / time.Duration(b.N)
	b.ReportMetric(float64(took)/float64(200*time.Millisecond), "budgets")
}

// TestLookKeepsToItsBudget: an agent with 5,000 machines lists and compares
// them with 15 MB of garbage at most.
func TestLookKeepsToItsBudget(t *testing.T) {
	look := lookAtMany(t)
	var before, after runtime.MemStats
	const times = 3
	runtime.ReadMemStats(&before)
	for range times {
		look()
	}
	runtime.ReadMemStats(&after)
	const looks = times * manyMachines
	if n := (after.TotalAlloc - before.TotalAlloc) / looks; n > bytesPerMachine || n == 0 {
		t.Errorf("a look allocates %d bytes a machine, want at most %d", n, bytesPerMachine)
	}
	if n := (after.Mallocs - before.Mallocs) / looks; n > objectsPerMachine || n == 0 {
		t.Errorf("a look allocates %d objects a machine, want at most %d", n, objectsPerMachine)
	}
	t.Logf("%d bytes and %d objects a machine", (after.TotalAlloc-before.TotalAlloc)/looks, (after.Mallocs-before.Mallocs)/looks)
}

// lookAtMany returns what lists and compares a platform's machines once.
func lookAtMany(b testing.TB) func() {
	b.Helper()
	cloud, _ := fake.New(fake.Config{}).Open(b.Context(), owner, "", nil, nil)
	j, err := openJournal(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	a := newAgent(Config{Relist: time.Hour}, cloud, newOffice(), j, slog.New(slog.DiscardHandler))
	ctx, k := context.Background(), a.kinds["instance"]
	changes := wire.Changes{Revision: 1}
	for n := range manyMachines {
		volume, id := driver.Meta{ID: fmt.Sprint("v", n)}, fmt.Sprint("i", n)
		if _, err := cloud.Volumes.Ensure(ctx, driver.Volume{Meta: volume, SizeGB: 1}); err != nil {
			b.Fatal(err)
		}
		want := driver.Instance{Meta: driver.Meta{ID: id, URN: id}, SKU: "seca.d2xs", VCPU: 1, RAMGiB: 1, BootVolume: volume.ID}
		if _, err := cloud.Instances.Ensure(ctx, want); err != nil {
			b.Fatal(err)
		}
		changes.Resources = append(changes.Resources, wire.Resource{
			ID: id, Kind: "instance", URN: id, Generation: 1, Revision: 1, Spec: json.RawMessage(`{}`),
		})
	}
	a.take(changes)
	look := func() {
		began := time.Now()
		all, err := a.listAll(ctx, k)
		if err != nil || len(all) != manyMachines {
			b.Fatalf("%d listed: %v", len(all), err)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if err := a.doubt(k, all); err != nil {
			b.Fatal(err)
		}
		a.listed(k, all, began)
	}
	look()
	return look
}

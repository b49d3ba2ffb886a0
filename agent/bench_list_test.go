package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/wire"
)

// BenchmarkListAndCompare is one look at a platform with 5,000 machines of
// which none has changed. The budget is 200 ms and 15 MB of garbage on one slow
// processor: with a list every half minute that is less than one percent of it.
func BenchmarkListAndCompare(b *testing.B) {
	const machines = 5000
	cloud, _ := fake.New(fake.Config{}).Open(b.Context(), owner, "", nil, nil)
	j, err := openJournal(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	a := newAgent(Config{Relist: time.Hour}, cloud, newOffice(), j, slog.New(slog.DiscardHandler))
	ctx, k := context.Background(), a.kinds["instance"]
	changes := wire.Changes{Revision: 1}
	for n := range machines {
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
		if err != nil || len(all) != machines {
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
	b.ReportAllocs()
	for b.Loop() {
		look()
	}
	took := b.Elapsed() / time.Duration(b.N)
	b.ReportMetric(float64(took)/float64(200*time.Millisecond), "budgets")
}

package agent

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/seca"
)

// One resource from the exchange's wish to its observation: follow, intent on
// the disk, call, report.
func BenchmarkReconcile(b *testing.B) {
	s := newOffice()
	p := fake.New(fake.Config{})
	cloud, _ := p.Open(b.Context(), owner, "", nil, nil)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	log := slog.New(slog.DiscardHandler)
	go func() {
		ended <- serve(ctx, Config{Dir: b.TempDir(), Relist: time.Hour, DestroyPerMinute: 1e9}, cloud, s, log)
	}()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		s.put("block-storage", fmt.Sprint("v", i), seca.BlockStorageSpec{SizeGB: 1, SKURef: sku("seca.rd100")})
	}
	for i := range b.N {
		for s.get(fmt.Sprint("v", i)).State != seca.Active {
			time.Sleep(100 * time.Microsecond)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "resources/s")
	cancel()
	<-ended
}

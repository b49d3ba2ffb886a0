package agent

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kontor-cloud/kontor/wire"
)

// TestManyObservationsMakeFewRequests: an exchange has many agents, and each
// has much to say after a restart.
func TestManyObservationsMakeFewRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		r := newReporter(o, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go r.run(ctx) //nolint:errcheck // it has none
		for n := range 1000 {
			r.put(wire.Observation{ID: fmt.Sprint(n)})
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		o.mu.Lock()
		defer o.mu.Unlock()
		if most := batchesAtOnce + 10*batchesPerSecond; o.batches > most || o.batches < 10 {
			t.Errorf("1000 observations in 10 s made %d requests, want at most %d", o.batches, most)
		}
	})
}

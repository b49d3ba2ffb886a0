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

// TestRestartMakesFewRequests: an exchange has many agents, and each has much
// to say after a restart.
func TestRestartMakesFewRequests(t *testing.T) {
	if most, n := batchesAtOnce+10*batchesPerSecond, requests(t, 1000); n > most || n < 10 {
		t.Errorf("1000 observations in 10 s made %d requests, want at most %d", n, most)
	}
}

// TestNewsAreSentAtOnce: somebody waits for them.
func TestNewsAreSentAtOnce(t *testing.T) {
	if n := requests(t, 0); n != 1000 {
		t.Errorf("1000 observations, one after the other, made %d requests", n)
	}
}

// requests counts what 1,000 observations within 10 s make, after a restart
// with so many resources.
func requests(t *testing.T, resources int) (n int) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		r := newReporter(o, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r.restart(resources)
		go r.run(ctx) //nolint:errcheck // it has none
		for n := range 1000 {
			r.put(wire.Observation{ID: fmt.Sprint(n)})
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		o.mu.Lock()
		defer o.mu.Unlock()
		n = o.batches
	})
	return n
}

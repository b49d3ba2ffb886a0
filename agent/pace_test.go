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

// TestWhatIsNoNewsMakesFewRequests: an exchange has many agents, and each has
// much to say after a restart.
func TestWhatIsNoNewsMakesFewRequests(t *testing.T) {
	if most, n := 1+10*batchesPerSecond, requests(t, false); n > most || n < 10 {
		t.Errorf("1000 observations in 10 s made %d requests, want at most %d", n, most)
	}
}

// TestNewsAreSentAtOnce: somebody waits for them.
func TestNewsAreSentAtOnce(t *testing.T) {
	if n := requests(t, true); n != 1000 {
		t.Errorf("1000 observations, one after the other, made %d requests", n)
	}
}

// TestNewsTakeTheRestAlong: what has no turn yet goes with what needs none.
func TestNewsTakeTheRestAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := reporting(t)
		all := []string{"0", "1", "2", "news"}
		for _, id := range all {
			o.want(wire.Resource{ID: id})
		}
		for _, id := range all[:3] {
			r.put(wire.Observation{ID: id}, false)
			synctest.Wait()
		}
		if n := o.sent(); n != 1 {
			t.Errorf("three observations made %d requests before any time has passed, want one", n)
		}
		r.put(wire.Observation{ID: "news"}, true)
		synctest.Wait()
		for _, id := range all {
			if o.get(id).ID == "" {
				t.Errorf("%s was not sent with the news", id)
			}
		}
		time.Sleep(time.Second)
		if n := o.sent(); n != 2 {
			t.Errorf("%d requests, want two", n)
		}
	})
}

// requests counts what 1,000 observations within 10 s make.
func requests(t *testing.T, news bool) (n int) {
	synctest.Test(t, func(t *testing.T) {
		o, r := reporting(t)
		for n := range 1000 {
			r.put(wire.Observation{ID: fmt.Sprint(n)}, news)
			time.Sleep(10 * time.Millisecond)
		}
		n = o.sent()
	})
	return n
}

// reporting starts a reporter that ends with the test.
func reporting(t *testing.T) (*office, *reporter) {
	o := newOffice()
	r := newReporter(o, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go r.run(ctx) //nolint:errcheck // it has none
	return o, r
}

func (o *office) sent() int {
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.batches
}

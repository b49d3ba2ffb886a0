package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
)

// TestNobodyStarves has a thousand of one flow wait before one of another: it is among
// the first four to be served. What counts is the order, not the time.
func TestNobodyStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(2)
		var mu sync.Mutex
		var order []string
		var leaves []func()
		wait := func(flow string) {
			leave, err := q.enter(t.Context(), flow)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			order, leaves = append(order, flow), append(leaves, leave)
		}
		for range 1000 {
			go wait("busy")
		}
		synctest.Wait()
		if len(order) != 1 {
			t.Fatalf("one flow has %d of two seats, want one", len(order))
		}
		go wait("small")
		go wait("other")
		synctest.Wait()
		for i := range 1001 {
			leaves[i]()
			synctest.Wait()
		}
		if first := order[:4]; !slices.Contains(first, "small") || !slices.Contains(first, "other") {
			t.Errorf("the order begins with %v", first)
		}
		if leaves[1001](); len(order) != 1002 || q.free != 2 || q.waiting != 0 || len(q.turns)+len(q.lines)+len(q.seated) != 0 {
			t.Errorf("%d were served, and what is left is %+v", len(order), q)
		}
	})
}

// TestLinesAreBounded holds for a flow; who gives up leaves nothing behind.
func TestLinesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		leave, err := q.enter(t.Context(), "busy")
		check(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var refused atomic.Int32
		for range maxWaiting {
			go func() {
				if _, err := q.enter(ctx, "busy"); fault.KindOf(err) == fault.Exhausted && fault.After(err) > 0 {
					refused.Add(1)
				}
			}()
		}
		synctest.Wait()
		if _, err := q.enter(ctx, "busy"); fault.KindOf(err) != fault.Exhausted || ctx.Err() != nil {
			t.Errorf("one more than may wait: %v", err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := refused.Load(); n != maxWaiting || q.waiting != 0 || len(q.turns)+len(q.lines) != 0 {
			t.Errorf("%d gave up, and what is left is %+v", n, q)
		}
		leave()
		if leave, err = q.enter(t.Context(), "busy"); err == nil {
			leave()
		}
		check(t, err)
	})
}

// TestThousandClients sends them all at once, most of one tenant: nobody is refused, and another tenant is
// answered while most still wait.
func TestThousandClients(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), Strict)
	w.fill()
	w.queue = newQueue(1)
	hold, err := w.queue.enter(t.Context(), "somebody")
	check(t, err)
	path := region + "seca.workspace" + acme + "/workspaces"
	var wg sync.WaitGroup
	var answered atomic.Int32
	ask := func(as, path string, then func()) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.http.URL+path, nil)
		check(t, err)
		r.Header.Set("Authorization", "Bearer "+w.token[as])
		wg.Go(func() {
			rec := httptest.NewRecorder()
			w.Handler(Strict).ServeHTTP(rec, r)
			if rec.Code != http.StatusOK {
				t.Errorf("%s is answered %d %s", as, rec.Code, rec.Body)
			}
			then()
		})
	}
	until := func(n int) {
		for w.Waiting() != n {
			time.Sleep(time.Millisecond)
		}
	}
	for range 1000 {
		ask("acme-admin", path, func() { answered.Add(1) })
	}
	until(1000)
	left := -1
	ask("zeta-admin", strings.ReplaceAll(path, "acme", "zeta"), func() { left = w.Waiting() })
	until(1001)
	hold()
	wg.Wait()
	if left <= 0 || answered.Load() != 1000 {
		t.Errorf("when the other tenant was answered, %d were waiting; %d were answered in the end", left, answered.Load())
	}
}

package agent

import (
	"sync"
	"testing"
	"time"
)

// What is added while it is looked at is looked at again, once, by one worker at a
// time; and nobody works where there is no work.
func TestQueueHiresForWork(t *testing.T) {
	q := newQueue()
	q.add("early")
	var mu sync.Mutex
	looks, busy, most := map[string]int{}, map[string]bool{}, 0
	hold := make(chan struct{})
	q.serve(3, func(name string) {
		mu.Lock()
		if busy[name] {
			t.Errorf("%s is with two workers", name)
		}
		busy[name] = true
		most = max(most, len(busy))
		mu.Unlock()
		<-hold
		mu.Lock()
		defer mu.Unlock()
		delete(busy, name)
		looks[name]++
	})
	for range 5 {
		for _, name := range []string{"a", "b", "c", "d"} {
			q.add(name)
		}
	}
	q.after("late", time.Millisecond)
	close(hold)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		q.mu.Lock()
		idle := q.hired == 0 && len(q.items) == 0
		q.mu.Unlock()
		if idle {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the queue is never idle")
		}
	}
	for _, name := range []string{"early", "a", "b", "c", "d", "late"} {
		if n := looks[name]; n < 1 || n > 2 {
			t.Errorf("%s was looked at %d times", name, n)
		}
	}
	if most > 3 {
		t.Errorf("%d workers at once", most)
	}
	q.close()
	q.add("after the end")
	q.workers.Wait()
	if looks["after the end"] != 0 {
		t.Error("looked at after the end")
	}
}

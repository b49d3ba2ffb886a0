package drivertest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// keeper checks what a keeper promises whatever its kind.
func keeper[T any, P thing[T]](t *testing.T, p Platform, kind string, of func(*driver.Cloud) driver.Keeper[T], want func(*world) T) {
	t.Run(kind, func(t *testing.T) {
		for _, promise := range []struct {
			name string
			test func(*world, driver.Keeper[T])
		}{
			{"DeleteOfNothingIsFine", deleteNothing[T]},
			{"ListTellsWhatEnsureMade", func(w *world, k driver.Keeper[T]) { listTells[T, P](w, k, want(w)) }},
			{"EnsureTwiceMakesOne", func(w *world, k driver.Keeper[T]) { ensureTwice[T, P](w, k, want(w)) }},
			{"EnsureConcurrentlyMakesOne", func(w *world, k driver.Keeper[T]) { ensureConcurrently[T, P](w, k, want(w)) }},
			{"CreateThenCrashIsAdopted", func(w *world, k driver.Keeper[T]) { crash[T, P](w, of, want(w)) }},
			{"ReopenFindsIt", func(w *world, k driver.Keeper[T]) { reopen[T, P](w, of, want(w)) }},
			{"ListShowsOnlyOurs", func(w *world, k driver.Keeper[T]) { onlyOurs[T, P](w, of, want(w)) }},
			{"DeleteTwiceIsFine", func(w *world, k driver.Keeper[T]) { deleteTwice[T, P](w, k, want(w)) }},
			{"CancelStops", func(w *world, k driver.Keeper[T]) { cancelStops[T, P](w, k, want(w)) }},
		} {
			t.Run(promise.name, func(t *testing.T) {
				w := newWorld(t, p)
				promise.test(w, need(w, of))
			})
		}
	})
}

func deleteNothing[T any](w *world, k driver.Keeper[T]) {
	if err := k.Delete(w.Context(), meta().ID); err != nil {
		w.Errorf("Delete of what never was: %v", err)
	}
}

func listTells[T any, P thing[T]](w *world, k driver.Keeper[T], want T) {
	id := P(&want).Base().ID
	forget[T, P](w, k, id)
	settle[T, P](w, k, want)
	have := listed[T, P](w, k, id)
	m := P(&have).Base()
	if m.State != driver.Ready {
		w.Errorf("listed as %s (%s), want ready", m.State, m.Detail)
	}
	if m.Native == "" {
		w.Error("listed without the platform's own id")
	}
	if m.Attempt != P(&want).Base().Attempt {
		w.Errorf("listed with attempt %d, want %d", m.Attempt, P(&want).Base().Attempt)
	}
	if !P(&have).Satisfies(want) {
		w.Errorf("listed as\n%+v, which does not satisfy\n%+v", have, want)
	}
}

// listed waits until a list has the thing: lists may lag.
func listed[T any, P thing[T]](w *world, k driver.Keeper[T], id string) T {
	w.Helper()
	var have T
	w.await("List after Ensure", func() (ok bool, now string) {
		have, ok = find[T, P](w.Context(), w, k, id)
		return ok, "without " + id
	})
	return have
}

func ensureTwice[T any, P thing[T]](w *world, k driver.Keeper[T], want T) {
	id := P(&want).Base().ID
	forget[T, P](w, k, id)
	one := settle[T, P](w, k, want)
	two := settle[T, P](w, k, want)
	same[T, P](w, one, two)
	listed[T, P](w, k, id) // fails the test if the list has it twice
}

func same[T any, P thing[T]](w *world, one, two T) {
	w.Helper()
	if a, b := P(&one).Base().Native, P(&two).Base().Native; a != b {
		w.Errorf("there are two: %s and %s", a, b)
	}
}

func ensureConcurrently[T any, P thing[T]](w *world, k driver.Keeper[T], want T) {
	id := P(&want).Base().ID
	forget[T, P](w, k, id)
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			// Which of them succeed is not promised, only that one thing comes of it.
			_, err := k.Ensure(w.Context(), want)
			if err != nil && !passing(err) && !errors.Is(err, fault.Conflict) {
				w.Errorf("Ensure: %v", err)
			}
		})
	}
	calls.Wait()
	one := settle[T, P](w, k, want)
	two := listed[T, P](w, k, id)
	same[T, P](w, one, two)
}

// crash makes a thing over a connection that dies with the first call, and
// looks what a second one makes of it.
func crash[T any, P thing[T]](w *world, of func(*driver.Cloud) driver.Keeper[T], want T) {
	id := P(&want).Base().ID
	forget[T, P](w, of(w.cloud), id)
	ctx, die := context.WithCancel(w.Context())
	go func() {
		time.Sleep(time.Millisecond) // somewhere within the call, or after it
		die()
	}()
	one, err := of(w.p.Open(w.T)).Ensure(ctx, want)
	k := of(w.p.Open(w.T))
	two := settle[T, P](w, k, want)
	if err == nil {
		same[T, P](w, one, two)
	}
	three := listed[T, P](w, k, id)
	same[T, P](w, two, three)
}

func reopen[T any, P thing[T]](w *world, of func(*driver.Cloud) driver.Keeper[T], want T) {
	id := P(&want).Base().ID
	forget[T, P](w, of(w.cloud), id)
	one := settle[T, P](w, of(w.cloud), want)
	k := of(w.p.Open(w.T))
	two := listed[T, P](w, k, id)
	same[T, P](w, one, two)
	if !P(&two).Satisfies(want) {
		w.Errorf("found again as\n%+v, which does not satisfy\n%+v", two, want)
	}
}

func onlyOurs[T any, P thing[T]](w *world, of func(*driver.Cloud) driver.Keeper[T], want T) {
	if w.p.Foreign == nil {
		w.Skip("no other owner to be had")
	}
	id := P(&want).Base().ID
	forget[T, P](w, of(w.cloud), id)
	settle[T, P](w, of(w.cloud), want)
	foreign := of(w.p.Foreign(w.T))
	if _, there := find[T, P](w.Context(), w, foreign, id); there {
		w.Errorf("another owner sees %s", id)
	}
	if err := foreign.Delete(w.Context(), id); err != nil {
		w.Errorf("Delete of what is another owner's: %v, want what Delete of nothing says", err)
	}
	listed[T, P](w, of(w.cloud), id)
}

func deleteTwice[T any, P thing[T]](w *world, k driver.Keeper[T], want T) {
	id := P(&want).Base().ID
	forget[T, P](w, k, id)
	settle[T, P](w, k, want)
	remove[T, P](w.Context(), w, k, id)
	if err := k.Delete(w.Context(), id); err != nil {
		w.Errorf("second Delete: %v", err)
	}
}

// cancelStops checks that a call whose caller has left returns soon.
func cancelStops[T any, P thing[T]](w *world, k driver.Keeper[T], want T) {
	forget[T, P](w, k, P(&want).Base().ID)
	ctx, cancel := context.WithCancel(w.Context())
	cancel()
	start := time.Now()
	k.Ensure(ctx, want)               //nolint:errcheck // either answer is right
	k.Delete(ctx, P(&want).Base().ID) //nolint:errcheck // likewise
	listErr := error(nil)
	for _, err := range k.List(ctx) {
		listErr = err
	}
	if listErr == nil {
		w.Error("List under a cancelled context gave a list, which nobody knows to be whole")
	}
	if took := time.Since(start); took > 5*time.Second {
		w.Errorf("three cancelled calls took %v", took)
	}
}

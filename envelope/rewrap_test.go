package envelope

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
)

var quiet = slog.New(slog.DiscardHandler)

// Processes go on, each with a key file of its own, while the key is changed to and fro.
func TestRewrapWhileProcessesWork(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, here, there, next := t.Context(), newFile(t), newFile(t), newFile(t)
		first := box(t, d, here)
		no(t, next.Make(ctx))
		no(t, there.Make(ctx))
		own := id(t, there, 0)
		no(t, there.Add(ctx, here))
		no(t, there.Remove(ctx, own))
		second := box(t, d, there)
		for _, f := range []FileKeys{here, there} {
			no(t, f.Add(ctx, next))
		}
		keys := []string{id(t, here, 0), id(t, next, 0)}
		var all sync.WaitGroup
		stop := make(chan struct{})
		for w, b := range []*Box{first, second} {
			all.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					at := Column{"t", fmt.Sprintf("c%d-%d", w, i)}.Row("1") // a new data key each
					sealed, err := b.Seal(ctx, at, []byte("x"))
					if err != nil {
						t.Errorf("seal: %v", err)
						return
					}
					if plain, err := []*Box{second, first}[w].Open(ctx, at, sealed); err != nil || string(plain) != "x" {
						t.Errorf("open: %q, %v", plain, err)
						return
					}
				}
			})
		}
		for i := range attempts - 2 {
			to, from := keys[(i+1)%2], keys[i%2]
			if n, err := Rewrap(ctx, d, here, to); err != nil || n == 0 {
				t.Errorf("%d, %v", n, err)
			}
			if err := Unused(ctx, d, from); err != nil {
				t.Error(err)
			}
			if err := Unused(ctx, d, to); !errors.Is(err, fault.Conflict) {
				t.Error(err)
			}
		}
		close(stop)
		all.Wait()
	})
}

// A process whose key file was forgotten goes on with what it has, says what it
// lacks when it lacks it, and needs no restart once it has it.
func TestAKeyFileThatWasForgotten(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, here, there, next := t.Context(), newFile(t), newFile(t), newFile(t)
		box(t, d, here)
		text, err := os.ReadFile(string(here))
		no(t, err)
		no(t, next.Make(ctx))
		no(t, there.Make(ctx))
		no(t, os.WriteFile(string(there), text, 0o600))
		b := box(t, d, there)
		no(t, here.Add(ctx, next))
		_, err = Rewrap(ctx, d, here, id(t, next, 0))
		no(t, err)
		if _, err := b.Seal(ctx, signing.Row("1"), nil); err != nil {
			t.Errorf("what it knows: %v", err)
		}
		late := Column{"t", "late"}.Row("1")
		if _, err := b.Seal(ctx, late, nil); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), id(t, next, 0)) {
			t.Errorf("what is new: %v", err)
		}
		no(t, there.Add(ctx, next))
		if _, err := b.Seal(ctx, late, nil); err != nil {
			t.Errorf("once it has the key: %v", err)
		}
	})
}

// A change of keys has steps; dying after any of them leaves an exchange that
// starts, and a change that is finished by doing it again.
func TestAChangeOfKeysIsResumedFromAnyStep(t *testing.T) {
	steps := func(d *db.DB, keys, next FileKeys, old *string) []func(context.Context) error {
		return []func(context.Context) error{
			next.Make,
			func(ctx context.Context) error { return keys.Add(ctx, next) },
			func(ctx context.Context) error { _, err := Rewrap(ctx, d, keys, id(t, next, 0)); return err },
			func(ctx context.Context) error {
				if err := Unused(ctx, d, *old); err != nil {
					return err
				}
				if err := keys.Remove(ctx, *old); !errors.Is(err, fault.Missing) {
					return err
				}
				return nil
			},
		}
	}
	dbtest.EachURL(t, func(t *testing.T, url string) {
		d, err := db.Open(t.Context(), url, quiet)
		no(t, err)
		defer d.Close()
		keys, ctx := newFile(t), t.Context()
		at := signing.Row("1")
		sealed, err := box(t, d, keys).Seal(ctx, at, []byte("secret"))
		no(t, err)
		for died := range 5 {
			old, next := id(t, keys, 0), newFile(t)
			all := steps(d, keys, next, &old)
			for _, step := range append(all[:died:died], all...) {
				no(t, step(ctx))
				if plain, err := box(t, d, keys).Open(ctx, at, sealed); err != nil || string(plain) != "secret" {
					t.Fatalf("dead after step %d: %q, %v", died, plain, err)
				}
			}
			if have, err := keys.Keys(ctx); err != nil || len(have) != 1 || have[0].ID() != id(t, next, 0) {
				t.Errorf("dead after step %d: %v, %v", died, have, err)
			}
		}
	})
}

func TestKeyFiles(t *testing.T) {
	ctx, f := t.Context(), newFile(t)
	no(t, f.Make(ctx))
	first := id(t, f, 0)
	no(t, f.Make(ctx)) // does nothing
	if id(t, f, 0) != first {
		t.Error("a key file was replaced")
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o777} {
		no(t, os.Chmod(string(f), mode))
		if _, err := f.Keys(ctx); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "chmod 600 "+string(f)) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	no(t, os.Chmod(string(f), 0o400))
	if id(t, f, 0) != first {
		t.Error("read only is not enough")
	}
	secret := strings.Repeat("A", 44)
	for _, text := range []string{"", "# nothing\n\n", secret, KeyWord + " " + secret, "kontor-key-2 " + secret, KeyWord} {
		no(t, os.Chmod(string(f), 0o600))
		no(t, os.WriteFile(string(f), []byte(text), 0o600))
		if k, err := f.Keys(ctx); !errors.Is(err, fault.Invalid) || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v, %v", text, k, err)
		}
	}
	if err := f.Remove(ctx, first); !errors.Is(err, fault.Missing) {
		t.Errorf("remove what is not there: %v", err)
	}
}

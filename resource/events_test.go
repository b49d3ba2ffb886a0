package resource

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

// TestSinceSkipsNothing reads everything in steps that end within a revision.
func TestSinceSkipsNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		put(t, s, "workspace", "w1", `{}`)
		var batch []wire.Observation
		for i := range 5 {
			r := put(t, s, "block-storage", fmt.Sprintf("v%d", i), `{"sizeGB":1,"skuRef":{"resource":"skus/seca.rd100"}}`)
			batch = append(batch, wire.Observation{ID: r.ID, Generation: r.Generation, Presence: wire.Present, State: seca.Active})
		}
		read := func(since int64, limit int) (names []string, next int64) {
			t.Helper()
			for steps := 0; ; steps++ {
				all, after, more, err := s.Since(t.Context(), "r1", "t1", "", since, limit)
				if err != nil || steps > 20 {
					t.Fatal(steps, err)
				}
				for _, r := range all {
					names = append(names, r.URN.Name)
				}
				if since = after; !more {
					return names, since
				}
			}
		}
		_, before := read(0, 100)
		if _, err := s.Observe(t.Context(), "r1", batch[1:4]); err != nil { // one revision
			t.Fatal(err)
		}
		const want = "w1 v0 v4 v1 v2 v3"
		for limit := 1; limit <= 7; limit++ {
			names, next := read(0, limit)
			if got := strings.Join(names, " "); got != want {
				t.Errorf("%d at once: %s, want %s", limit, got, want)
			}
			if again, _ := read(next, limit); len(again) > 0 {
				t.Errorf("told again: %v", again)
			}
			if some, _ := read(before, limit); strings.Join(some, " ") != "v1 v2 v3" {
				t.Errorf("since %d: %v", before, some)
			}
		}
		if all, _, _, err := s.Since(t.Context(), "r1", "t2", "", 0, 100); err != nil || len(all) > 0 {
			t.Error("another tenant's: ", all, err)
		}
	})
}

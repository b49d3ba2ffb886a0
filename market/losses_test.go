package market

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/placement"
)

// TestLossesAreOnesOwn has decisions that exclude a provider for reasons, one that chooses him, and
// wants his figures to say nothing of anybody else.
func TestLossesAreOnesOwn(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "small", "FR", 2, "0.03")
		w.region(t, "large", "DE", 64, "0.04")
		small := machines(1)
		elsewhere := machines(1)
		elsewhere.Only = []string{"large"}
		for tenant, r := range map[string][]placement.Request{"acme": {machines(2), small}, "other": {machines(2), elsewhere}} {
			for _, r := range r {
				if _, err := w.Place(t.Context(), tenant, r); err != nil {
					t.Fatal(err)
				}
			}
		}
		got, err := w.Losses(t.Context(), "small")
		if err != nil {
			t.Fatal(err)
		}
		by := map[placement.Dimension]int{}
		for _, r := range got.Reasons {
			by[r.Dimension] = r.Decisions
		}
		if d := cmp.Diff(map[placement.Dimension]int{placement.Full: 2, placement.NotWanted: 1}, by); d != "" || got.Decisions != 4 || got.Chosen != 1 || got.Excluded != 3 || got.Since.IsZero() {
			t.Errorf("%+v %s", got, d)
		}
		b, _ := json.Marshal(got)
		for _, word := range []string{"large", "acme", "other", "main"} {
			if strings.Contains(string(b), word) {
				t.Errorf("it tells %q: %s", word, b)
			}
		}
		if none, err := w.Losses(t.Context(), "nobody"); err != nil || none.Chosen+none.Excluded+len(none.Reasons) != 0 {
			t.Errorf("somebody else has %+v, %v", none, err)
		}
	})
}

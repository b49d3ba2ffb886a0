package market

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
)

// replays makes random decisions on a market that changes under them, ends the process, and makes all
// of them again from what another one finds in the database, and every so many from an export.
func replays(t *testing.T, n, exports int) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		d := reopen(t, url)
		w := newWorld(t, d)
		r := rand.New(rand.NewPCG(1, uint64(n)))
		var names []string
		for i := range 12 {
			name := "r" + strconv.Itoa(i)
			w.region(t, name, pick(r, "FR", "DE", "US"), 8, price(r), randomClaims(r)...)
			names = append(names, name)
		}
		var ids []string
		for i := range n {
			if i%10 == 0 {
				w.stock1(t, pick(r, names...), r.IntN(12))
				w.sell(t, pick(r, names...), price(r), i+2)
			}
			for _, name := range names {
				w.Providers.Seen(name, time.Now())
			}
			made, err := w.Place(t.Context(), "acme", w.wish(r, names))
			if kind := fault.KindOf(err); err != nil && kind != fault.Exhausted && kind != fault.Unsupported {
				t.Fatal(err)
			}
			ids = append(ids, made.ID)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		later := open(t, reopen(t, url), &sellers{})
		placed := 0
		for i, id := range ids {
			again, err := later.Replay(t.Context(), "acme", id)
			if err != nil {
				t.Fatalf("decision %d: %v", i, err)
			}
			if again.Decision.Problem == nil {
				placed++
			}
			if i%exports != 0 {
				continue
			}
			var bundle bytes.Buffer
			if err := later.Export(t.Context(), "acme", id, &bundle); err != nil {
				t.Fatal(err)
			}
			if _, err := ReplayBundle(&bundle); err != nil {
				t.Fatalf("decision %d from its export: %v", i, err)
			}
		}
		if placed == 0 || placed == n {
			t.Errorf("%d of %d found a place: the wishes are no test", placed, n)
		}
	})
}

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

func price(r *rand.Rand) string { return fmt.Sprintf("0.0%d", 1+r.IntN(98)) }

func randomClaims(r *rand.Rand) []policy.Claim {
	levels := []policy.Level{policy.SelfDeclared, policy.Contract, policy.ThirdParty}
	level := func() policy.Level { return levels[r.IntN(len(levels))] }
	return []policy.Claim{
		claim("region.country", strconv.Quote(pick(r, "FR", "DE", "US")), level()),
		claim("region.pue", fmt.Sprintf("1.%d", r.IntN(9)), level()),
		claim("region.carbon_gco2e_kwh", strconv.Itoa(r.IntN(500)), level()),
	}
}

// wish is a request at random.
func (w *world) wish(r *rand.Rand, names []string) placement.Request {
	q := placement.Request{Weights: placement.Weights{Price: r.Int64N(5), Carbon: r.Int64N(5)}}
	for i := range 1 + r.IntN(3) {
		q.Groups = append(q.Groups, placement.Group{
			Name: "g" + strconv.Itoa(i), Copies: 1 + r.IntN(2),
			Needs: []offer.Need{{Kind: offer.Instance, SKU: "seca.s", Count: 1 + r.Int64N(2)}, {Kind: offer.Volume, SKU: "seca.disk", Count: 1, GiB: 1 + r.Int64N(40)}},
		})
	}
	rules := []string{`region.country in geo.eu`, `region.pue <= 1.4`, `region.country == "FR" || region.pue < 1.2`, `now < timestamp("2100-01-01T00:00:00Z")`}
	for i, rule := range rules {
		if r.IntN(3) == 0 {
			p := &policy.Policy{Name: "p" + strconv.Itoa(i), Version: 1, Rule: rule}
			if r.IntN(2) == 0 {
				p.Evidence = map[string]policy.Level{"region.*": policy.Contract}
			}
			q.Policies = append(q.Policies, placement.PolicyUse{Policy: p})
		}
	}
	if r.IntN(3) == 0 {
		q.MaxPrice = &money.Amount{Nano: r.Int64N(100_000_000), Currency: money.EUR}
	}
	if r.IntN(3) == 0 {
		q.Spread = []placement.Spread{{Over: pick(r, "owner", "country", "region"), Max: 1}}
	}
	if r.IntN(5) == 0 {
		q.Not = []string{pick(r, names...)}
	}
	return q
}

func TestDecisionsReplay(t *testing.T) { replays(t, 200, 20) }

func TestLabDecisionsReplay(t *testing.T) {
	if os.Getenv("KONTOR_LAB") == "" {
		t.Skip("KONTOR_LAB is not set")
	}
	replays(t, 10_000, 1)
}

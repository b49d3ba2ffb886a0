package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/provider"
)

// aGroup is a bill of materials that r1 sells.
const aGroup = `"groups":[{"name":"main","needs":[{"kind":"instance","sku":"seca.d2xs","count":1}]}]`

// oneSeller sells what r1 has.
type oneSeller struct{}

func (oneSeller) Changes(context.Context) (int64, error) { return 1, nil }

func (oneSeller) Sellers(context.Context) ([]market.Seller, error) {
	began := time.Now().Add(-time.Hour)
	sheet := &offer.Sheet{
		Provider: "rhone", Version: 1, Currency: money.EUR, ValidFrom: began, ValidUntil: began.AddDate(1, 0, 0),
		Regions: map[string]offer.Prices{"r1": {Instances: map[string]offer.Hourly{"seca.d2xs": {Hour: 40_000_000}}}},
	}
	return []market.Seller{{
		Name: "rhone", Owner: "rhone", Regions: map[string][]policy.Claim{"r1": nil}, Sheets: []offer.Published{{Sheet: sheet, At: began}},
	}}, nil
}

func openMarket(t testing.TB, d *db.DB, providers *provider.Store, sellers market.Sellers) *market.Store {
	t.Helper()
	data, err := policy.Builtin()
	check(t, err)
	m, err := market.Open(t.Context(), market.Config{
		DB: d, Box: envelopetest.Box(t, d), Providers: providers, Data: data, Sellers: sellers, Log: slog.New(slog.DiscardHandler),
	})
	check(t, err)
	return m
}

const bought = "/providers/kontor.exchange/v1/tenants/acme"

// TestWhatATenantBuysIsItsOwn has somebody of another tenant, and an operator, try everything.
func TestWhatATenantBuysIsItsOwn(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.Providers.Seen("r1", time.Now())
		var quote, order struct {
			Metadata struct{ Name string }
			Status   struct{ Decision string }
		}
		check(t, json.Unmarshal([]byte(w.ok("acme-admin", "POST", bought+"/quotes", `{"spec":{`+aGroup+`}}`)), &quote))
		check(t, json.Unmarshal([]byte(w.ok("acme-admin", "POST", bought+"/quotes/"+quote.Metadata.Name+"/order", "")), &order))
		w.ok("acme-admin", "PUT", bought+"/policies/mine", `{"spec":{"rule":"true"}}`)
		stolen := []string{
			"GET /quotes", "GET /quotes/" + quote.Metadata.Name, "POST /quotes/" + quote.Metadata.Name + "/order", "POST /quotes",
			"GET /orders", "GET /orders/" + order.Metadata.Name, "DELETE /orders/" + order.Metadata.Name, "GET /decisions/" + quote.Status.Decision, "GET /decisions/" + quote.Status.Decision + "/export",
			"GET /policies", "GET /policies/mine", "PUT /policies/mine", "DELETE /policies/mine",
		}
		for _, one := range stolen {
			method, path, _ := strings.Cut(one, " ")
			for _, thief := range []string{"zeta-admin", "op", ""} {
				if status, body := w.do(thief, method, bought+path, `{"spec":{"rule":"true",`+aGroup+`}}`); status != http.StatusForbidden && status != http.StatusUnauthorized {
					t.Errorf("%s of acme by %q: %d %s", one, thief, status, body)
				}
			}
			if method == "GET" && strings.Count(path, "/") > 1 { // by an id that was overheard
				if status, body := w.do("zeta-admin", method, strings.Replace(bought, "acme", "zeta", 1)+path, ""); status != http.StatusNotFound {
					t.Errorf("%s among those of zeta: %d %s", one, status, body)
				}
			}
		}
	})
}

func TestWishesArePointedAt(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for body, pointer := range map[string]string{
			`{"spec":{}}`: "/spec/groups",
			`{"spec":{"policies":["nine"],` + aGroup + `}}`:                              "/spec/policies/0",
			`{"spec":{"validFor":"25h",` + aGroup + `}}`:                                 "/spec/validFor",
			`{"spec":{"near":{"place":"nowhere"},` + aGroup + `}}`:                       "/spec/near/place",
			`{"spec":{"parameters":{"mine":{}},` + aGroup + `}}`:                         "/spec/parameters/mine",
			`{"spec":{"groups":[{"name":"a","needs":[{"kind":"instance","count":1}]}]}}`: "/spec/groups/0/needs/0/sku",
		} {
			status, answer := w.do("acme-admin", "POST", bought+"/quotes", body)
			if status != http.StatusUnprocessableEntity || !strings.Contains(answer, `"`+pointer+`"`) {
				t.Errorf("%s: %d %s, want 422 at %s", body, status, answer, pointer)
			}
		}
		status, answer := w.do("acme-admin", "PUT", bought+"/policies/mine", `{"spec":{"rule":"region.contry == \"FR\""}}`)
		if status != http.StatusUnprocessableEntity || !strings.Contains(answer, "rule:1:7") || !strings.Contains(answer, `"/spec/rule"`) {
			t.Errorf("a wrong rule: %d %s", status, answer)
		}
		status, answer = w.do("acme-admin", "POST", bought+"/quotes", `{"spec":{"only":["r7"],`+aGroup+`}}`)
		if status != http.StatusUnprocessableEntity || !strings.Contains(answer, "kontor why d-") {
			t.Errorf("no place: %d %s", status, answer)
		}
	})
}

// TestAnOrderWithoutDocumentsEndsAtOnce, and gives its room back.
func TestAnOrderWithoutDocumentsEndsAtOnce(t *testing.T) {
	eachTraded(t, func(t *testing.T, w *world) {
		_, o := w.buys(`"groups":[{"name":"main","needs":[{"kind":"instance","sku":"seca.ds","count":1}]}]`)
		held := func() int {
			n, err := db.One(t.Context(), w.Providers.DB, db.Scan[int], `SELECT COUNT(*) FROM reservation`)
			check(t, err)
			return n
		}
		if held() != 1 {
			t.Error("it holds no room")
		}
		if status, b := w.do("acme-admin", "DELETE", ordersPath+"/"+o.Metadata.Name, ""); status != http.StatusAccepted {
			t.Errorf("%d %s", status, b)
		}
		if got := w.order(o).Status.State; got != "ended" || held() != 0 {
			t.Errorf("it is %s and holds the room of %d", got, held())
		}
	})
}

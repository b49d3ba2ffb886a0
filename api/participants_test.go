package api

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/participant"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

const ownBase = "/providers/kontor.exchange/v1"

// A party is an organisation that wants to take part.
type party struct {
	w    *world
	name string
	key  ed25519.PrivateKey
}

// organisation is a party that has not applied yet. Its key is made of its name.
func (w *world) organisation(name string) party {
	return party{w, name, ed25519.NewKeyFromSeed([]byte(strings.Repeat(name, 32)[:32]))}
}

func (p party) path(rest string) string { return ownBase + "/participants/" + p.name + rest }

func body(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (p party) application() string {
	return body(participant.Apply(participant.Profile{
		Name: p.name, LegalName: p.name + " SAS", Country: "FR", Register: "EUID FRRCS." + p.name, Contact: participant.Contact{Email: "ops@" + p.name + ".example"},
	}, p.key, "http://exchange.test"))
}

// login gets the party a token, by signing a challenge.
func (p party) login() {
	p.w.t.Helper()
	c := decoded[challenge](p.w.t, p.w.ok("", "POST", p.path("/challenge"), ""))
	answer := body(keyLogin{Challenge: c.Challenge, Signature: participant.Answer(c.Challenge, p.key, "http://exchange.test")})
	p.w.token[p.name] = decoded[issuedToken](p.w.t, p.w.ok("", "POST", p.path("/login"), answer)).Token
}

// join has the party apply and be approved, and gives it a region with a size in it.
func (p party) join(region string) {
	p.w.t.Helper()
	p.w.ok("", "POST", ownBase+"/participants", p.application())
	p.w.ok("op", "POST", p.path("/approve"), "")
	p.login()
	p.w.ok(p.name, "PUT", ownBase+"/regions/"+region, `{"spec":{"country":"FR"}}`)
	_, err := p.w.Providers.SaveInventory(context.Background(), region, wire.Inventory{Driver: "fake", Kinds: []string{"instance"}, Inventory: driver.Inventory{
		Zones: []string{"a"}, InstanceSKUs: []driver.InstanceSKU{{SKU: driver.SKU{Name: "m1"}, VCPU: 1, RAMGiB: 1}},
	}})
	check(p.w.t, err)
}

// sheet is a price sheet of the party, signed.
func (p party) sheet(region string, version int, price int64, from time.Time) string {
	s := &offer.Sheet{
		Provider: p.name, Version: version, Currency: money.EUR, ValidFrom: from.UTC().Truncate(time.Second), ValidUntil: from.UTC().Truncate(time.Second).Add(1000 * time.Hour),
		Regions: map[string]offer.Prices{region: {Instances: map[string]offer.Hourly{"m1": {As: "seca.ds", Hour: money.Decimal(price)}}}},
	}
	s.Sign(p.key)
	return body(s)
}

// visitParticipants has each operation on participants succeed once.
func (w *world) visitParticipants() {
	w.t.Helper()
	p := w.organisation("rhone")
	p.join("fr-lyon-rhone")
	w.ok("", "POST", ownBase+"/participants", w.organisation("never").application())
	w.ok("op", "POST", w.organisation("never").path("/reject"), "")
	w.ok("zeta-admin", "GET", ownBase+"/participants", "")
	w.ok("zeta-admin", "GET", p.path(""), "")
	w.ok("rhone", "PUT", p.path("/claims"), `{"claims":[{"attribute":"provider.legal_country","value":"FR","level":"self-declared"}]}`)
	w.ok("op", "POST", p.path("/attestations"), `{"claims":[{"attribute":"provider.hq_country","value":"FR","level":"contract","issuer":"exchange","proof":"`+strings.Repeat("ab", 32)+`"}]}`)
	w.ok("op", "POST", p.path("/measurements"), measuring1("fr-lyon-rhone", report("fake", time.Now())))
	for _, x := range decoded[seca.List[seca.Document]](w.t, w.ok("rhone", "GET", p.path("/claims"), "")).Items {
		if x.Labels[own+"/source"] == string(participant.Self) {
			w.ok("rhone", "DELETE", p.path("/claims/"+x.Metadata.Name), "")
		}
	}
	second := ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", 32))).Public()
	k := decoded[participant.Key](w.t, w.ok("rhone", "POST", p.path("/keys"), body(map[string]any{"key": second})))
	w.ok("zeta-admin", "GET", p.path("/keys"), "")
	w.ok("rhone", "DELETE", p.path("/keys/"+k.ID), "")
	w.ok("op", "PUT", p.path("/members/zeta-admin"), "")
	w.ok("rhone", "GET", p.path("/members"), "")
	w.ok("rhone", "DELETE", p.path("/members/zeta-admin"), "")
	w.ok("rhone", "POST", p.path("/sheets"), p.sheet("fr-lyon-rhone", 1, 20_000_000, time.Now().Add(-time.Minute)))
	w.ok("zeta-admin", "GET", p.path("/sheets"), "")
	w.ok("zeta-admin", "GET", p.path("/sheets/1"), "")
	w.ok("rhone", "GET", p.path("/losses?since=2026-01-01T00:00:00Z"), "")
	w.ok("zeta-admin", "GET", ownBase+"/offers?sort=price", "")
	w.ok("op", "POST", p.path("/suspend"), "")
}

// TestAParticipantActsForItselfAlone has another one, a customer, an operator and a stranger try.
func TestAParticipantActsForItselfAlone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		rhone, elbe := w.organisation("rhone"), w.organisation("elbe")
		rhone.join("fr-lyon-rhone")
		elbe.join("de-hamburg-elbe")
		soon := time.Now().Add(time.Hour)
		w.ok("rhone", "POST", rhone.path("/sheets"), rhone.sheet("fr-lyon-rhone", 1, 20_000_000, soon))
		for _, who := range []string{"elbe", "zeta-admin", "op"} {
			if b := w.ok(who, "GET", rhone.path("/sheets"), ""); strings.Contains(b, "fr-lyon-rhone") {
				t.Errorf("%s sees a price before it is valid: %s", who, b)
			}
			if status, b := w.do(who, "GET", rhone.path("/sheets/1"), ""); status != http.StatusNotFound {
				t.Errorf("%s sees it by its number: %d %s", who, status, b)
			}
		}
		if b := w.ok("rhone", "GET", rhone.path("/sheets/1"), ""); !strings.Contains(b, "fr-lyon-rhone") {
			t.Errorf("its provider sees %s", b)
		}
		forged := elbe.sheet("fr-lyon-rhone", 2, 1, soon)
		for _, x := range []struct{ who, method, path, body string }{
			{"elbe", "POST", rhone.path("/sheets"), strings.Replace(rhone.sheet("fr-lyon-rhone", 2, 1, soon), `"version":2`, `"version":2`, 1)},
			{"elbe", "POST", elbe.path("/sheets"), forged}, // for another one's region
			{"elbe", "PUT", rhone.path("/claims"), `{"claims":[]}`},
			{"op", "PUT", rhone.path("/claims"), `{"claims":[]}`}, // an operator attests, and never speaks for others
			{"elbe", "POST", elbe.path("/attestations"), `{"claims":[]}`},
			{"elbe", "POST", elbe.path("/measurements"), measuring1("de-hamburg-elbe", report("fake", time.Now()))},
			{"elbe", "POST", rhone.path("/measurements"), measuring1("fr-lyon-rhone", report("fake", time.Now()))},
			{"zeta-admin", "POST", rhone.path("/measurements"), measuring1("fr-lyon-rhone", report("fake", time.Now()))},
			{"elbe", "POST", elbe.path("/approve"), ""},
			{"elbe", "GET", rhone.path("/members"), ""},
			{"elbe", "GET", rhone.path("/losses"), ""},
			{"rhone", "GET", rhone.path("/losses?since=yesterday"), ""},
			{"zeta-admin", "GET", rhone.path("/losses"), ""},
			{"elbe", "PUT", elbe.path("/members/zeta-admin"), ""},
			{"elbe", "POST", rhone.path("/keys"), `{"key":"AAAA"}`},
			{"elbe", "PUT", ownBase + "/regions/fr-lyon-rhone", `{"spec":{"country":"DE"}}`},
			{"elbe", "PUT", ownBase + "/regions/fr-paris-rhone", `{"spec":{"country":"FR"}}`},
			{"elbe", "PUT", ownBase + "/regions/de-berlin-elbe", `{"spec":{"country":"DE","provider":"rhone"}}`},
			{"zeta-admin", "PUT", ownBase + "/regions/fr-nice-rhone", `{"spec":{"country":"FR"}}`},
			{"zeta-admin", "POST", rhone.path("/sheets"), rhone.sheet("fr-lyon-rhone", 2, 1, soon)},
			{"", "GET", ownBase + "/participants", ""},
		} {
			if status, b := w.do(x.who, x.method, x.path, x.body); status < 400 || status >= 500 {
				t.Errorf("%s %s by %q: %d %s", x.method, x.path, x.who, status, b)
			}
		}
		// An operator who holds no key cannot publish, whatever he may do else.
		if status, b := w.do("op", "POST", rhone.path("/sheets"), strings.Replace(rhone.sheet("fr-lyon-rhone", 2, 20_000_000, soon), "0.02", "0.9", 1)); status < 400 || !strings.Contains(b, "sign") {
			t.Errorf("a sheet that was altered: %d %s", status, b)
		}
	})
}

// TestALoginByKeyWorksOnce also has the wrong key, the wrong name and the wrong exchange.
func TestALoginByKeyWorksOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p, thief := w.organisation("rhone"), w.organisation("elbe")
		w.ok("", "POST", ownBase+"/participants", p.application())
		ask := func(by party, exchange string) (int, string, string) {
			c := decoded[challenge](t, w.ok("", "POST", p.path("/challenge"), ""))
			answer := body(keyLogin{Challenge: c.Challenge, Signature: participant.Answer(c.Challenge, by.key, exchange)})
			status, b := w.do("", "POST", p.path("/login"), answer)
			return status, b, answer
		}
		if status, b, _ := ask(p, "http://exchange.test"); status != http.StatusForbidden || !strings.Contains(b, "waits") {
			t.Errorf("before it was approved: %d %s", status, b)
		}
		w.ok("op", "POST", p.path("/approve"), "")
		if status, b, _ := ask(thief, "http://exchange.test"); status != http.StatusUnauthorized {
			t.Errorf("by another key: %d %s", status, b)
		}
		if status, b, _ := ask(p, "http://elsewhere.test"); status != http.StatusUnauthorized {
			t.Errorf("signed for another exchange: %d %s", status, b)
		}
		status, b, answer := ask(p, "http://exchange.test")
		if status != http.StatusCreated {
			t.Fatalf("%d %s", status, b)
		}
		if status, b := w.do("", "POST", p.path("/login"), answer); status != http.StatusUnauthorized {
			t.Errorf("the same answer again: %d %s", status, b)
		}
		if status, b := w.do("", "POST", thief.path("/login"), answer); status != http.StatusUnauthorized {
			t.Errorf("for another name: %d %s", status, b)
		}
		if status, b := w.do("", "POST", p.path("/login"), `{"challenge":"eyJ","signature":"AA=="}`); status != http.StatusUnauthorized {
			t.Errorf("no challenge of ours: %d %s", status, b)
		}
	})
}

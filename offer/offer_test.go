package offer_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
)

const sheet = `provider: rhone
version: 3
currency: EUR
validFrom: 2026-11-01T00:00:00+01:00
validUntil: 2027-12-01T00:00:00Z
noticeDays: 30
terms: {url: https://rhone.example/terms/3, sha256: 0000000000000000000000000000000000000000000000000000000000000000}
regions:
  fr-lyon-rhone:
    instances:
      rhone.small: {as: seca.d2xs, hour: 0.0432, rounding: hour, minimum: 24h}
      rhone.large: {hour: 0.4}
    volumes:
      rhone.ssd: {as: seca.rd100, gibMonth: 0.08}
    publicIP: {hour: 0.004}
    egress: {gib: 0.01, freeGiB: 100}
`

func parsed(t testing.TB, text string) *offer.Sheet {
	t.Helper()
	s, err := offer.Parse("s.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMistakesInSheets(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"0.0432", "0.04.32", "s.yaml:11: regions.fr-lyon-rhone.instances.rhone.small.hour"},
		{"0.0432", "-1", "s.yaml:11: regions.fr-lyon-rhone.instances.rhone.small must have a price"},
		{"0.0432", "0.0000000001", "at most nine decimals"},
		{"gibMonth", "gibmonth", "s.yaml:14: regions.fr-lyon-rhone.volumes.rhone.ssd.gibmonth is no member of this; did you mean gibMonth?"},
		{"rounding: hour", "rounding: day", "neither second nor hour"},
		{"24h", "1.5s", "is no term"},
		{"EUR", "USD", "s.yaml:3: currency must be EUR"},
		{"version: 3", "version: 0", "s.yaml:2: version"},
		{"2027-12", "2025-12", "s.yaml:5: validUntil must be after"},
		{"noticeDays: 30", "noticeDays: 400", "s.yaml:6: "},
		{"https:", "http:", "s.yaml:7: terms.url"},
		{"{hour: 0.4}", "{as: seca.d2xs, hour: 0.4}", "s.yaml:11: regions.fr-lyon-rhone.instances.rhone.small.as must not be seca.d2xs: rhone.large is that, too"},
		{"rhone.large:", "seca.d2xs:", "s.yaml:11: regions.fr-lyon-rhone.instances.rhone.small.as must not be seca.d2xs: seca.d2xs is that, too"},
		{"fr-lyon-rhone", "FR Lyon", "must be named by"},
		{"freeGiB: 100", "freeGiB: -1", "freeGiB must be 0"},
	} {
		_, err := offer.Parse("s.yaml", []byte(strings.Replace(sheet, c.old, c.new, 1)))
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.new, err, c.want)
		}
	}
}

func TestSignatures(t *testing.T) {
	public, private, _ := ed25519.GenerateKey(nil)
	stranger, _, _ := ed25519.GenerateKey(nil)
	s := parsed(t, sheet)
	if err := s.Verify(public); !errors.Is(err, fault.Denied) {
		t.Errorf("unsigned: %v", err)
	}
	s.Sign(private)
	if err := s.Verify(stranger, public); err != nil {
		t.Error(err)
	}
	if err := s.Verify(stranger); !errors.Is(err, fault.Denied) {
		t.Errorf("another's key: %v", err)
	}
	b, err := json.Marshal(s) // over the API and back
	var again offer.Sheet
	if err != nil || json.Unmarshal(b, &again) != nil || again.Verify(public) != nil {
		t.Errorf("%s: %v", b, err)
	}
	again.Regions["fr-lyon-rhone"].Instances["rhone.small"] = offer.Hourly{As: "seca.d2xs", Hour: 43_200_001, Rounding: offer.ByHour, Minimum: offer.Term(24 * time.Hour)}
	if err := again.Verify(public); err == nil || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("a price was changed unseen: %v", err)
	}
	if a, b := parsed(t, sheet), parsed(t, strings.Replace(sheet, "2026-11-01T00:00:00+01:00", "2026-10-31T23:00:00Z", 1)); a.Digest() != b.Digest() {
		t.Error("the same moment has two spellings")
	}
}

func rate(t *testing.T, s *offer.Sheet, n offer.Need) offer.Rate {
	t.Helper()
	for _, r := range s.Rates("fr-lyon-rhone") {
		if r.Fulfils(n) {
			return r
		}
	}
	t.Fatalf("nothing fulfils %v", n)
	return offer.Rate{}
}

func TestCharge(t *testing.T) {
	s := parsed(t, sheet)
	for _, c := range []struct {
		need offer.Need
		d    time.Duration
		want string
	}{
		{offer.Need{Kind: offer.Instance, SKU: "seca.d2xs", Count: 2}, 730 * time.Hour, "63.072"},
		{offer.Need{Kind: offer.Instance, SKU: "rhone.small", Count: 1}, 30*time.Hour + 1, "1.3392"}, // 31 hours begun
		{offer.Need{Kind: offer.Instance, SKU: "rhone.small", Count: 1}, time.Second, "1.0368"},      // the minimum of a day
		{offer.Need{Kind: offer.Instance, SKU: "rhone.large", Count: 1}, time.Second, "0.000111111"},
		{offer.Need{Kind: offer.Volume, SKU: "seca.rd100", Count: 3, GiB: 100}, 730 * time.Hour, "24"},
		{offer.Need{Kind: offer.PublicIP, Count: 1}, 10 * time.Hour, "0.04"},
		{offer.Need{Kind: offer.Traffic, Count: 1, GiB: 150}, 730 * time.Hour, "0.5"},
		{offer.Need{Kind: offer.Traffic, Count: 1, GiB: 50}, 730 * time.Hour, "0"},
	} {
		want, err := money.Parse(c.want, money.EUR)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := rate(t, s, c.need).Charge(c.need, c.d); err != nil || got != want {
			t.Errorf("%v for %s is %s, %v; want %s", c.need, c.d, got, err, want)
		}
	}
	if got, err := rate(t, s, offer.Need{Kind: offer.Instance, SKU: "rhone.small"}).Hourly(offer.Need{Kind: offer.Instance, Count: 1}); err != nil || got.String() != "0.0432 EUR" {
		t.Errorf("an hour is %s, %v", got, err)
	}
}

// TestLongerNeverCostsLess holds whatever the rounding and the minimum are.
func TestLongerNeverCostsLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := offer.Rate{
			Kind:     rapid.SampledFrom([]offer.Kind{offer.Instance, offer.Volume, offer.PublicIP, offer.Traffic}).Draw(t, "kind"),
			Price:    money.Amount{Nano: rapid.Int64Range(0, 1e12).Draw(t, "price"), Currency: money.EUR},
			Rounding: rapid.SampledFrom([]offer.Rounding{offer.BySecond, offer.ByHour, ""}).Draw(t, "rounding"),
			Minimum:  offer.Term(rapid.Int64Range(0, 1e15).Draw(t, "minimum")),
		}
		n := offer.Need{Kind: r.Kind, Count: rapid.Int64Range(1, 10).Draw(t, "count"), GiB: rapid.Int64Range(0, 1000).Draw(t, "gib")}
		d := time.Duration(rapid.Int64Range(0, 1e16).Draw(t, "d"))
		a, err := r.Charge(n, d)
		if err != nil {
			t.Fatal(err)
		}
		b, err := r.Charge(n, d+time.Duration(rapid.Int64Range(0, 1e13).Draw(t, "more")))
		if err != nil || b.Nano < a.Nano || a.Nano < 0 {
			t.Fatalf("%s and %s, %v", a, b, err)
		}
	})
}

func TestPriceChangesWaitForTheNotice(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n) }
	version := func(v, notice, from int) *offer.Sheet {
		return &offer.Sheet{Version: v, NoticeDays: notice, ValidFrom: day(from), ValidUntil: day(from + 365)}
	}
	all := []offer.Published{{version(2, 10, 20), day(15)}, {version(1, 30, 0), day(0)}, {version(3, 10, 21), day(21)}}
	for _, c := range []struct{ version, at, want int }{
		{1, 0, 1}, {1, 44, 1}, {1, 45, 2}, {1, 50, 2}, {1, 51, 3}, // 15 + 30 and 21 + 30 days
		{2, 20, 2}, {2, 30, 2}, {2, 31, 3}, {3, 21, 3},
	} {
		got, err := offer.Binding(all, c.version, day(c.at))
		if err != nil || got.Version != c.want {
			t.Errorf("an order under %d pays on day %d by %v, %v; want %d", c.version, c.at, got, err, c.want)
		}
	}
	for at, want := range map[int]int{0: 1, 14: 1, 19: 1, 20: 2, 21: 3, 300: 3} {
		if got := offer.InForce(all, day(at)); got == nil || got.Version != want {
			t.Errorf("a new order on day %d is under %v, want %d", at, got, want)
		}
	}
	if offer.InForce(all, day(-1)) != nil || offer.InForce(all, day(900)) != nil {
		t.Error("a sheet is in force outside its validity")
	}
	if _, err := offer.Binding(all, 7, day(0)); !errors.Is(err, fault.Missing) {
		t.Errorf("version 7: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sheet)
	public, private, _ := ed25519.GenerateKey(nil)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := offer.Parse("s", []byte(text))
		if err != nil {
			return
		}
		s.Sign(private)
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := offer.Parse("again", b)
		if err != nil || again.Verify(public) != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%s: %v", b, err)
		}
	})
}

func BenchmarkCharge(b *testing.B) {
	r := offer.Rate{Kind: offer.Volume, Price: money.Amount{Nano: 80_000_000, Currency: money.EUR}}
	n := offer.Need{Kind: offer.Volume, Count: 3, GiB: 100}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Charge(n, 1234567*time.Second); err != nil {
			b.Fatal(err)
		}
	}
}

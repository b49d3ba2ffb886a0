package market

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/tenant"
	"github.com/kontor-cloud/kontor/wire"
)

var quiet = slog.New(slog.DiscardHandler)

// sellers is a list that tests change.
type sellers struct {
	mu  sync.Mutex
	n   int64
	all []Seller
}

func (s *sellers) Sellers(context.Context) ([]Seller, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Seller(nil), s.all...), nil
}

func (s *sellers) Changes(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n, nil
}

// set puts a seller in the place of the one with his name.
func (s *sellers) set(one Seller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	for i := range s.all {
		if s.all[i].Name == one.Name {
			s.all[i] = one
			return
		}
	}
	s.all = append(s.all, one)
}

// A world is an exchange with sellers.
type world struct {
	*Store
	sellers *sellers
}

// open opens a store on a database, as a process of an exchange does.
func open(t *testing.T, d *db.DB, from *sellers) *world {
	t.Helper()
	box := envelopetest.Box(t, d)
	providers, err := provider.Open(t.Context(), d, box)
	if err != nil {
		t.Fatal(err)
	}
	data, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Config{DB: d, Box: box, Providers: providers, Data: data, Sellers: from, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return &world{s, from}
}

// newWorld has the tenants acme and other.
func newWorld(t *testing.T, d *db.DB) *world {
	t.Helper()
	tenants, err := tenant.Open(t.Context(), d, envelopetest.Box(t, d), "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"acme", "other"} {
		if err := tenants.CreateTenant(t.Context(), tenant.Tenant{Name: name}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return open(t, d, &sellers{})
}

// region opens a region with so many vCPU left, of a seller of its name.
func (w *world) region(t *testing.T, name, country string, vcpu int, price string, claims ...policy.Claim) {
	t.Helper()
	if err := w.Providers.CreateRegion(t.Context(), provider.Region{Name: name, Country: country, Provider: name}); err != nil {
		t.Fatal(err)
	}
	w.stock1(t, name, vcpu)
	w.sell(t, name, price, 1, claims...)
}

// stock1 has the agent of a region tell what is left.
func (w *world) stock1(t *testing.T, name string, vcpu int) {
	t.Helper()
	told := wire.Inventory{Driver: "fake", Kinds: []string{"instance", "block-storage"}, Inventory: driver.Inventory{
		Zones: []string{"a", "b"}, Free: driver.Capacity{VCPU: new(vcpu), DiskGB: new(1000)},
		InstanceSKUs: []driver.InstanceSKU{{SKU: driver.SKU{Name: name + "-s"}, VCPU: 2, RAMGiB: 4}},
		StorageSKUs:  []driver.StorageSKU{{SKU: driver.SKU{Name: name + "-disk"}}},
	}}
	if _, err := w.Providers.SaveInventory(t.Context(), name, told); err != nil {
		t.Fatal(err)
	}
	w.Providers.Seen(name, time.Now())
}

// sell has a seller publish a sheet for the region of his name, valid at once.
func (w *world) sell(t *testing.T, name, price string, version int, claims ...policy.Claim) {
	t.Helper()
	var hour money.Decimal
	if err := hour.UnmarshalText([]byte(price)); err != nil {
		t.Fatal(err)
	}
	sheet := &offer.Sheet{
		Provider: name, Version: version, Currency: money.EUR, NoticeDays: 30,
		ValidFrom: time.Now().Add(-time.Hour).UTC(), ValidUntil: time.Now().Add(1000 * time.Hour).UTC(),
		Regions: map[string]offer.Prices{name: {
			Instances: map[string]offer.Hourly{name + "-s": {As: "seca.s", Hour: hour}},
			Volumes:   map[string]offer.Monthly{name + "-disk": {As: "seca.disk", GiBMonth: 100_000_000}},
		}},
	}
	sheet.Sign(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	one := Seller{Name: name, Owner: name + "-holding", Regions: map[string][]policy.Claim{name: claims}}
	for _, old := range w.sellers.all {
		if old.Name == name {
			one.Sheets = append(one.Sheets, old.Sheets...)
			if claims == nil {
				one.Regions = old.Regions
			}
		}
	}
	one.Sheets = append(one.Sheets, offer.Published{Sheet: sheet, At: time.Now().Add(-time.Hour)})
	w.sellers.set(one)
	w.shelf.spoil()
}

// claim says something of a region.
func claim(attribute, value string, level policy.Level) policy.Claim {
	return policy.Claim{Attribute: attribute, Value: json.RawMessage(value), Evidence: policy.Evidence{Level: level}}
}

// machines is a request for so many of the common small size in one region.
func machines(n int64) placement.Request {
	return placement.Request{Groups: []placement.Group{{Name: "main", Needs: []offer.Need{{Kind: offer.Instance, SKU: "seca.s", Count: n}}}}}
}

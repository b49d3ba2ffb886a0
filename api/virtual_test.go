package api

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

// sellers never change.
type sellers []market.Seller

func (s sellers) Sellers(context.Context) ([]market.Seller, error) { return s, nil }
func (s sellers) Changes(context.Context) (int64, error)           { return 1, nil }

// traded gives an exchange a market of three sellers: rhone is cheap and has what eu-resident
// asks for, elbe has it too and is dear, and plain has claimed nothing.
func traded(t *testing.T, w *world) {
	t.Helper()
	said := func(attribute, value string) policy.Claim {
		return policy.Claim{Attribute: attribute, Value: json.RawMessage(value), Evidence: policy.Evidence{Level: policy.Contract}}
	}
	var all sellers
	for _, one := range []struct {
		name, price, zone string
		kinds             []string
		features          []driver.Feature
		claims            []policy.Claim
	}{
		{"rhone", "0.02", "lyon-1", []string{"instance", "block-storage", "image"}, nil, []policy.Claim{
			said("region.country", `"FR"`), said("region.residency_guaranteed", "true"), said("region.backup_countries", `["FR"]`), said("service.subprocessors", "[]"),
		}},
		{"elbe", "0.04", "hamburg-1", []string{"instance", "block-storage", "image", "network", "subnet"}, []driver.Feature{driver.ImageFromVolume}, []policy.Claim{
			said("region.country", `"DE"`), said("region.residency_guaranteed", "true"), said("region.backup_countries", `["DE"]`), said("service.subprocessors", "[]"),
		}},
		{"plain", "0.01", "z", []string{"instance", "block-storage", "image", "network"}, nil, nil},
	} {
		check(t, w.Providers.CreateRegion(t.Context(), provider.Region{Name: one.name, Display: one.name + " SA", Country: "FR"}))
		_, err := w.Providers.SaveInventory(t.Context(), one.name, wire.Inventory{Driver: "fake", Kinds: one.kinds, Console: true, Inventory: driver.Inventory{
			Zones:        []string{one.zone},
			InstanceSKUs: []driver.InstanceSKU{{SKU: driver.SKU{Name: one.name + ".small"}, VCPU: 2, RAMGiB: 4}, {SKU: driver.SKU{Name: one.name + ".odd"}, VCPU: 3, RAMGiB: 4}},
			StorageSKUs:  []driver.StorageSKU{{SKU: driver.SKU{Name: one.name + ".disk"}, IOPS: 100, MinGB: 1, Type: "remote-durable"}},
			NetworkSKUs:  []driver.NetworkSKU{{SKU: driver.SKU{Name: one.name + ".net"}, Mbps: 1000}},
			Features:     one.features,
			Images:       []driver.OfferImage{{Name: "tiny", Arch: "amd64", Boot: "BIOS"}},
		}})
		check(t, err)
		w.Providers.Seen(one.name, time.Now())
		var hour money.Decimal
		check(t, hour.UnmarshalText([]byte(one.price)))
		sheet := &offer.Sheet{
			Provider: one.name, Version: 1, Currency: money.EUR, ValidFrom: time.Now().Add(-time.Hour).UTC(), ValidUntil: time.Now().Add(1000 * time.Hour).UTC(),
			Regions: map[string]offer.Prices{one.name: {
				Instances: map[string]offer.Hourly{one.name + ".small": {As: "seca.ds", Hour: hour}, one.name + ".odd": {Hour: hour}},
				Volumes:   map[string]offer.Monthly{one.name + ".disk": {As: "seca.rd100", GiBMonth: 100_000_000}},
				Networks:  map[string]offer.Hourly{one.name + ".net": {As: "seca.n1k"}},
			}},
		}
		sheet.Sign(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
		all = append(all, market.Seller{
			Name: one.name, Owner: one.name, Regions: map[string][]policy.Claim{one.name: one.claims},
			Sheets: []offer.Published{{Sheet: sheet, At: time.Now().Add(-time.Hour)}},
		})
	}
	w.Market = openMarket(t, w.Providers.DB, w.Providers, all)
}

func eachTraded(t *testing.T, test func(t *testing.T, w *world)) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d, Strict)
		traded(t, w)
		test(t, w)
	})
}

const (
	inEU   = "/regions/eu/providers/"
	euShop = inEU + "seca.workspace" + shop
)

// follows is what the agent of a region is to make.
func (w *world) follows(region string) (all []wire.Resource) {
	w.t.Helper()
	all, _, err := w.Resources.Follow(w.t.Context(), region, 0, 100)
	check(w.t, err)
	return all
}

func decoded[T any](t testing.TB, body string) (v T) {
	t.Helper()
	check(t, json.Unmarshal([]byte(body), &v))
	return v
}

// kontorOf reads the vendor member of a document.
func kontorOf(t *testing.T, body string) (k struct {
	Placement struct{ Region, Provider string }
	Decision  string
},
) {
	t.Helper()
	check(t, json.Unmarshal(decoded[seca.Document](t, body).Kontor, &k))
	return k
}

// TestAWorkspaceIsPlacedByPolicy has a machine made in the Union, at the cheapest place that may.
func TestAWorkspaceIsPlacedByPolicy(t *testing.T) {
	eachTraded(t, func(t *testing.T, w *world) {
		made := w.ok("acme-admin", "PUT", euShop, `{"spec":null}`)
		if k := kontorOf(t, made); k.Placement.Region != "rhone" || k.Placement.Provider != "rhone SA" || k.Decision == "" {
			t.Errorf("placed at %+v", k)
		}
		if m := decoded[seca.Document](t, made).Metadata; m.Region != "eu" || m.Ref != "seca.workspace/v1/tenants/acme/workspaces/shop" {
			t.Errorf("its names are %+v", m)
		}
		w.ok("acme-admin", "PUT", inEU+"seca.storage"+shop+"/block-storages/disk", aVolume)
		vm := inEU + "seca.compute" + shop + "/instances/vm"
		body := `{"spec":{"zone":"a","skuRef":{"resource":"skus/seca.ds"},"bootVolume":{"deviceRef":{"resource":"block-storages/disk"}}}}`
		shown := decoded[seca.Document](t, w.ok("acme-admin", "PUT", vm, body))
		if !strings.Contains(string(shown.Spec), `"zone":"a"`) || !strings.Contains(string(shown.Spec), "seca.ds") {
			t.Errorf("the author sees %s", shown.Spec)
		}
		wanted := w.follows("rhone")
		if len(wanted) != 2 || !strings.Contains(string(wanted[1].Spec), "lyon-1") || !strings.Contains(string(wanted[1].Spec), "skus/rhone.small") {
			t.Errorf("rhone is to make %+v", wanted)
		}
		for _, r := range []string{"elbe", "plain", "eu"} {
			if len(w.follows(r)) > 0 {
				t.Errorf("%s is to make something", r)
			}
		}
		// An update stays where it is; a region's own names mean nothing here.
		w.ok("acme-admin", "PUT", euShop, `{"labels":{"env":"prod"},"spec":null}`)
		if status, b := w.do("acme-admin", "PUT", vm, strings.Replace(body, "seca.ds", "rhone.small", 1)); status != http.StatusUnprocessableEntity {
			t.Errorf("a provider's own sku: %d %s", status, b)
		}
		if status, b := w.do("acme-admin", "PUT", inEU+"seca.compute"+shop+"/instances/other", strings.Replace(body, `"a"`, `"lyon-1"`, 1)); status != http.StatusUnprocessableEntity {
			t.Errorf("a region's own zone: %d %s", status, b)
		}
		// What the host lacks is refused with who has it.
		status, b := w.do("acme-admin", "PUT", inEU+"seca.network"+shop+"/networks/net", `{"spec":{"cidr":{"ipv4":"10.0.0.0/16"},"skuRef":{"resource":"skus/seca.n1k"}}}`)
		if status != http.StatusUnprocessableEntity || !strings.Contains(b, "region rhone") || !strings.Contains(b, "elbe") {
			t.Errorf("a network: %d %s", status, b)
		}
		for _, path := range []string{vm, inEU + "seca.storage" + shop + "/block-storages/disk", euShop} {
			if status, b := w.do("acme-admin", "DELETE", path, ""); status != http.StatusAccepted {
				t.Errorf("delete %s: %d %s", path, status, b)
			}
		}
	})
}

func TestWishesOfAWorkspace(t *testing.T) {
	eachTraded(t, func(t *testing.T, w *world) {
		put := func(name, extensions string) (int, string) {
			return w.do("acme-admin", "PUT", inEU+"seca.workspace"+acme+"/workspaces/"+name, `{"extensions":{`+extensions+`},"spec":null}`)
		}
		for _, x := range []struct{ extensions, says string }{
			{`"kontor.exchange/polcy":"c5"`, "kontor.exchange/policy"},
			{`"kontor.exchange/policy":"c6"`, "there is no policy"},
			{`"kontor.exchange/max-price":"cheap"`, "/extensions/kontor.exchange~1max-price"},
			{`"kontor.exchange/near":"Lyon"`, "/extensions/kontor.exchange~1near"},
			{`"kontor.exchange/prefer":"speed"`, "price, latency"},
			{`"kontor.exchange/needs":"a lot"`, "2x seca.ds"},
			{`"kontor.exchange/max-price":"0.001"`, "price"},
			{`"kontor.exchange/policy":"secnumcloud"`, "no region fits"},
			{`"kontor.exchange/needs":"1x seca.dl"`, "no region fits"},
		} {
			if status, b := put("no", x.extensions); status < 400 || status >= 500 || !strings.Contains(b, x.says) {
				t.Errorf("%s: %d %s", x.extensions, status, b)
			}
		}
		status, b := put("yes", `"kontor.exchange/max-price":"0.03","kontor.exchange/needs":"1x seca.ds","kontor.exchange/prefer":"price=2,carbon"`)
		if status != http.StatusCreated || kontorOf(t, b).Placement.Region != "rhone" {
			t.Errorf("%d %s", status, b)
		}
		if d := decoded[seca.Document](t, b); d.Extensions["kontor.exchange/max-price"] != "0.03" {
			t.Errorf("wishes are echoed as %v", d.Extensions)
		}
	})
}

// TestTheNameIsTakenAtItsPlace has the next best place taken.
func TestTheNameIsTakenAtItsPlace(t *testing.T) {
	eachTraded(t, func(t *testing.T, w *world) {
		w.ok("acme-admin", "PUT", "/regions/rhone/providers/seca.workspace"+shop, `{"spec":null}`)
		if k := kontorOf(t, w.ok("acme-admin", "PUT", euShop, `{"spec":null}`)); k.Placement.Region != "elbe" {
			t.Errorf("placed at %+v", k)
		}
		if k := kontorOf(t, w.ok("zeta-admin", "PUT", strings.Replace(euShop, "acme", "zeta", 1), `{"spec":null}`)); k.Placement.Region != "rhone" {
			t.Errorf("another tenant is placed at %+v", k)
		}
	})
}

func TestSavedPoliciesAreRegions(t *testing.T) {
	eachTraded(t, func(t *testing.T, w *world) {
		_, err := w.Market.SavePolicy(t.Context(), "acme", policy.Policy{Name: "german", Title: "In Germany", Rule: `region.country == "DE"`}, nil)
		check(t, err)
		names := func(as string) (all []string) {
			for _, d := range decoded[seca.List[seca.Document]](t, w.ok(as, "GET", "/providers/seca.region/v1/regions", "")).Items {
				all = append(all, d.Metadata.Name)
			}
			return all
		}
		if got := names("acme-admin"); !slices.Equal(got, []string{"r1", "rhone", "elbe", "plain", "eu", "german.acme"}) {
			t.Errorf("acme sees %v", got)
		}
		if got := names("zeta-admin"); slices.Contains(got, "german.acme") {
			t.Errorf("zeta sees %v", got)
		}
		one := w.ok("acme-admin", "GET", "/providers/seca.region/v1/regions/german.acme", "")
		if !strings.Contains(one, "/regions/german.acme/providers/seca.compute") {
			t.Error(one)
		}
		for _, path := range []string{"/providers/seca.region/v1/regions/german.acme", "/regions/german.acme/providers/seca.workspace/v1/tenants/zeta/workspaces", "/regions/german.acme/providers/seca.compute/v1/tenants/seca/skus"} {
			if status, b := w.do("zeta-admin", "GET", path, ""); status != http.StatusNotFound {
				t.Errorf("%s: %d %s", path, status, b)
			}
		}
		made := w.ok("acme-admin", "PUT", "/regions/german.acme/providers/seca.workspace"+shop, `{"spec":null}`)
		if k := kontorOf(t, made); k.Placement.Region != "elbe" {
			t.Errorf("placed at %+v", k)
		}
		if status, b := w.do("acme-admin", "PUT", "/regions/danish.acme/providers/seca.workspace"+shop, `{"spec":null}`); status != http.StatusNotFound {
			t.Errorf("a policy that is not there: %d %s", status, b)
		}
	})
}

func TestTheCatalogueOfAVirtualRegion(t *testing.T) {
	eachTraded(t, func(t *testing.T, w *world) {
		skus := decoded[seca.List[seca.Document]](t, w.ok("acme-admin", "GET", inEU+"seca.compute/v1/tenants/acme/skus", "")).Items
		if len(skus) != 1 || skus[0].Metadata.Name != "seca.ds" || skus[0].Metadata.Region != "eu" {
			t.Errorf("sizes: %+v", skus)
		}
		w.ok("acme-admin", "GET", inEU+"seca.storage/v1/tenants/acme/skus/seca.rd100", "")
		if status, _ := w.do("acme-admin", "GET", inEU+"seca.compute/v1/tenants/acme/skus/rhone.small", ""); status != http.StatusNotFound {
			t.Errorf("a provider's own size: %d", status)
		}
		w.ok("acme-admin", "GET", inEU+"seca.storage/v1/tenants/public/images/tiny", "")
		eu := decoded[seca.Document](t, w.ok("acme-admin", "GET", "/providers/seca.region/v1/regions/eu", ""))
		if spec := decoded[seca.RegionSpec](t, string(eu.Spec)); !slices.Equal(spec.AvailableZones, []string{"a"}) {
			t.Errorf("%+v", spec)
		}
		if status, b := w.do("op", "PUT", "/providers/kontor.exchange/v1/regions/eu", `{"spec":{"country":"BE"}}`); status != http.StatusConflict {
			t.Errorf("a region of its name: %d %s", status, b)
		}
	})
}

// TestAnImageIsWhereItsVolumeIs has one refused by a platform that makes none of volumes.
func TestAnImageIsWhereItsVolumeIs(t *testing.T) {
	eachTraded(t, func(t *testing.T, w *world) {
		w.ok("acme-admin", "PUT", euShop, `{"spec":null}`)
		w.ok("acme-admin", "PUT", inEU+"seca.storage"+shop+"/block-storages/disk", aVolume)
		img := inEU + "seca.storage" + acme + "/images/img"
		body := `{"spec":{"blockStorageRef":{"resource":"workspaces/shop/block-storages/disk"},"cpuArchitecture":"amd64"}}`
		if status, b := w.do("acme-admin", "PUT", img, body); status != http.StatusUnprocessableEntity || !strings.Contains(b, "rhone") {
			t.Errorf("the platform makes no images of volumes: %d %s", status, b)
		}
		if status, b := w.do("acme-admin", "PUT", img, strings.Replace(body, "shop", "nowhere", 1)); status != http.StatusUnprocessableEntity || !strings.Contains(b, "/spec/blockStorageRef") {
			t.Errorf("of a volume that is not there: %d %s", status, b)
		}
	})
}

// TestWhatItsAuthorLeavesOutIsVirtual has an image, which lies in no workspace, and a subnet without a
// zone, as Terraform writes them.
func TestWhatItsAuthorLeavesOutIsVirtual(t *testing.T) {
	eachTraded(t, func(t *testing.T, w *world) {
		w.ok("acme-admin", "PUT", "/regions/rhone/providers/seca.workspace"+shop, `{"spec":null}`) // so eu's lies at elbe
		w.ok("acme-admin", "PUT", euShop, `{"spec":null}`)
		w.ok("acme-admin", "PUT", inEU+"seca.storage"+shop+"/block-storages/base", aVolume)
		image := inEU + "seca.storage" + acme + "/images/golden"
		w.ok("acme-admin", "PUT", image, `{"spec":{"blockStorageRef":"seca.storage/v1/tenants/acme/workspaces/shop/block-storages/base","cpuArchitecture":"amd64"}}`)
		w.ok("acme-admin", "PUT", inEU+"seca.storage"+shop+"/block-storages/boot", `{"spec":{"sizeGB":10,"skuRef":"skus/seca.rd100","sourceImageRef":"images/golden"}}`)
		w.ok("acme-admin", "PUT", inEU+"seca.network"+shop+"/networks/net", `{"spec":{"cidr":{"ipv4":"10.0.0.0/16"},"skuRef":"skus/seca.n1k"}}`)
		subnet := inEU + "seca.network" + shop + "/networks/net/subnets/front"
		w.ok("acme-admin", "PUT", subnet, `{"spec":{"cidr":{"ipv4":"10.0.1.0/24"},"routeTableRef":{"resource":""}}}`)
		for _, path := range []string{image, subnet} {
			d := decoded[seca.Document](t, w.ok("acme-admin", "GET", path, ""))
			at := kontorOf(t, string(marshal(d))).Placement.Region
			d.Kontor = nil
			if text := string(marshal(d)); at != "elbe" || d.Metadata.Region != "eu" || strings.Contains(text, "elbe") || strings.Contains(text, "hamburg") {
				t.Errorf("%s lies in %q and says %s", path, at, text)
			}
		}
		var made []string
		for _, r := range w.follows("elbe") {
			made = append(made, r.Kind)
			if r.Kind == "subnet" && !strings.Contains(string(r.Spec), `"zone":"hamburg-1"`) {
				t.Errorf("elbe is to make %s", r.Spec)
			}
		}
		if want := []string{"block-storage", "image", "block-storage", "network", "subnet"}; !slices.Equal(made, want) {
			t.Errorf("elbe is to make %v, want %v", made, want)
		}
	})
}

package api

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/participant"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/seca"
)

// An offerSpec is one line of the catalogue: what can be bought now, where, and for how
// much.
type offerSpec struct {
	Provider   string         `json:"provider"`
	LegalName  string         `json:"legalName"`
	Region     string         `json:"region"`
	Country    string         `json:"country,omitempty"`
	Kind       offer.Kind     `json:"kind"`
	SKU        string         `json:"sku,omitempty"`
	As         string         `json:"as,omitempty"` // the common size that it fulfils
	VCPU       int            `json:"vCPU,omitempty"`
	RAM        int            `json:"ram,omitempty"` // GiB
	Price      money.Amount   `json:"price"`
	Unit       string         `json:"unit"`    // of the price: hour, GiB-month or GiB
	Monthly    money.Amount   `json:"monthly"` // for 730 hours, or the GiB
	Rounding   offer.Rounding `json:"rounding,omitempty"`
	Minimum    offer.Term     `json:"minimum,omitempty"`
	FreeGiB    int64          `json:"freeGiB,omitempty"`
	Sheet      int            `json:"sheet"` // version, at the provider's sheets
	ValidUntil time.Time      `json:"validUntil"`
	NoticeDays int            `json:"noticeDays"`
	Terms      *offer.Terms   `json:"terms,omitempty"`
}

type offerStatus struct {
	Liveness string `json:"liveness"` // of the region's agent
}

// A catalogue is all offers, as a caller narrows and orders them.
type catalogue struct {
	want     map[string]string // by parameter
	maxPrice money.Amount
	sort     string
}

// narrowing are the parameters that offers are narrowed by, in one word each.
var narrowing = []string{"provider", "region", "country", "kind", "sku"}

func readCatalogue(v url.Values) (q catalogue, err error) {
	q.want = map[string]string{}
	for _, name := range narrowing {
		if s := v.Get(name); s != "" {
			q.want[name] = s
		}
	}
	if s := v.Get("maxPrice"); s != "" {
		if q.maxPrice, err = money.Parse(s, money.EUR); err != nil {
			return q, fault.Parameter(err, "maxPrice")
		}
	}
	if q.sort = v.Get("sort"); q.sort != "" && q.sort != "price" && q.sort != "name" {
		return q, fault.Parameter(fault.Malformed.Errorf("sort must be price or name"), "sort")
	}
	return q, nil
}

func (q catalogue) matches(o offerSpec) bool {
	for name, want := range q.want {
		have := map[string][]string{"provider": {o.Provider}, "region": {o.Region}, "country": {o.Country}, "kind": {string(o.Kind)}, "sku": {o.SKU, o.As}}[name]
		if !slices.Contains(have, want) {
			return false
		}
	}
	return q.maxPrice == (money.Amount{}) || o.Price.Nano <= q.maxPrice.Nano
}

// order puts the cheapest first, of each kind: an hour and a GiB do not compare.
func (q catalogue) order(all []offerSpec) {
	slices.SortFunc(all, func(a, b offerSpec) int {
		byName := cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.SKU, b.SKU))
		if q.sort != "price" {
			return byName
		}
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Price.Nano, b.Price.Nano), byName)
	})
}

// listOffers is the catalogue.
func (c *call) listOffers() (reply, error) {
	q, err := readCatalogue(c.req.URL.Query())
	if err != nil {
		return reply{}, err
	}
	all, err := c.onSale(time.Now())
	if err != nil {
		return reply{}, err
	}
	all = slices.DeleteFunc(all, func(o offerSpec) bool { return !q.matches(o) })
	q.order(all)
	return ownList(c, "offers", all, c.offerDocument)
}

// onSale lists what can be bought at a moment: of approved participants, by the sheet that
// is in force, in regions that are still theirs.
func (c *call) onSale(now time.Time) ([]offerSpec, error) {
	parties, err := c.server.Participants.All(c.ctx)
	if err != nil {
		return nil, err
	}
	published, err := c.server.Offers.Published(c.ctx)
	if err != nil {
		return nil, err
	}
	var all []offerSpec
	for _, p := range parties {
		sheet := offer.InForce(published[p.Name], now)
		if p.State != participant.Approved || sheet == nil {
			continue
		}
		for name := range sheet.Regions {
			r, err := c.server.Providers.Find(c.ctx, name)
			if fault.KindOf(err) == fault.Missing || err == nil && r.Provider != p.Name {
				continue
			}
			if err != nil {
				return nil, err
			}
			lines, err := offersOf(p, sheet, r)
			if err != nil {
				return nil, err
			}
			all = append(all, lines...)
		}
	}
	return all, nil
}

func offersOf(p *participant.Participant, s *offer.Sheet, r *provider.Region) ([]offerSpec, error) {
	var all []offerSpec
	for _, rate := range s.Rates(r.Name) {
		o := offerSpec{
			Provider: p.Name, LegalName: p.LegalName, Region: r.Name, Country: r.Country,
			Kind: rate.Kind, SKU: rate.SKU, As: rate.As, Price: rate.Price, Unit: "hour", Monthly: rate.Price,
			Rounding: rate.Rounding, Minimum: rate.Minimum, FreeGiB: rate.FreeGiB,
			Sheet: s.Version, ValidUntil: s.ValidUntil, NoticeDays: s.NoticeDays, Terms: s.Terms,
		}
		switch rate.Kind {
		case offer.Volume:
			o.Unit = "GiB-month"
		case offer.Traffic:
			o.Unit = "GiB"
		default:
			var err error
			if o.Monthly, err = rate.Price.Times(hoursInMonth, 1); err != nil {
				return nil, err
			}
		}
		if rate.Kind == offer.Instance {
			o.VCPU, o.RAM = size(r, rate.SKU)
		}
		all = append(all, o)
	}
	return all, nil
}

const hoursInMonth = 730

// size is what the region says of a machine.
func size(r *provider.Region, sku string) (vcpu, ram int) {
	for _, s := range r.Inventory.InstanceSKUs {
		if s.Name == sku {
			return s.VCPU, s.RAMGiB
		}
	}
	return 0, 0
}

func (c *call) offerDocument(o offerSpec) (seca.Document, error) {
	name := strings.Join(slices.DeleteFunc([]string{o.Region, string(o.Kind), o.SKU}, func(s string) bool { return s == "" }), ".")
	d := ownDocument("offer", "offers", name, time.Time{}, o, offerStatus{c.liveness(o.Region).Liveness})
	d.Metadata.Region = o.Region
	d.Labels = map[string]string{own + "/provider": o.Provider, own + "/country": o.Country, own + "/kind": string(o.Kind)}
	if o.As != "" {
		d.Labels[own+"/as"] = o.As
	}
	return d, nil
}

package market

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/provider"
)

// A Seller is a participant who may sell, as the market sees him. It never changes.
type Seller struct {
	Name     string
	Owner    string                         // in the end
	Claims   []policy.Claim                 // in force or not, about himself
	Regions  map[string][]policy.Claim      // about regions of his
	Services map[string][]placement.Service // by region
	Sheets   []offer.Published
}

// Sellers tells who may sell.
type Sellers interface {
	// Sellers lists them, in any order.
	Sellers(context.Context) ([]Seller, error)
	// Changes is another number after every change of what Sellers gives.
	Changes(context.Context) (int64, error)
}

// maxAge is how old the market in memory may be before it is looked after.
const maxAge = time.Second

// A stock is the market at one moment. It never changes.
type stock struct {
	market  *placement.Market
	by      map[string]*item // by region
	changes int64
	sellers map[string]*Seller // by region

	published map[string][]offer.Published // sheets, by provider
}

// An item is a region that is for sale, and what that was made of.
type item struct {
	from      source
	candidate placement.Candidate
	left      bool // out, as its claims mean nothing
}

// A source is what an item is made of; while it is the same, so is the item.
type source struct {
	region   *provider.Region
	seller   *Seller
	sheet    *offer.Sheet
	liveness provider.State
	held     capacity
}

// Market gives all that is for sale, at most a second old.
func (s *Store) Market(ctx context.Context) (*placement.Market, error) {
	now, err := s.stock(ctx, time.Now().Add(-maxAge))
	if err != nil {
		return nil, err
	}
	return now.market, nil
}

// stock gives the market as it was read after a moment.
func (s *Store) stock(ctx context.Context, since time.Time) (*stock, error) {
	now, err := s.shelf.recall(since, func(last *stock) (*stock, error) { return s.look(ctx, last) })
	if err != nil {
		return nil, fmt.Errorf("look at the market: %w", err)
	}
	return now, nil
}

// look reads what has changed since the last look.
func (s *Store) look(ctx context.Context, old *stock) (*stock, error) {
	next, now := &stock{by: map[string]*item{}}, time.Now()
	if err := s.readSellers(ctx, old, next); err != nil {
		return nil, err
	}
	held, err := s.held(ctx, now)
	if err != nil {
		return nil, err
	}
	sheets := make(map[string]*offer.Sheet, len(next.sellers))
	for _, seller := range next.sellers {
		sheets[seller.Name] = offer.InForce(seller.Sheets, now)
	}
	var fresh []*item
	for _, r := range s.Providers.Snapshot().All() {
		seller := next.sellers[r.Name]
		if seller == nil || sheets[seller.Name] == nil {
			continue
		}
		if _, sells := sheets[seller.Name].Regions[r.Name]; !sells {
			continue
		}
		alive, _ := s.Providers.Liveness(r.Name)
		from := source{r, seller, sheets[seller.Name], alive, held[r.Name]}
		if was := old.item(r.Name); was != nil && was.from == from {
			next.by[r.Name] = was
			continue
		}
		one := &item{from: from, candidate: from.candidate()}
		next.by[r.Name] = one
		fresh = append(fresh, one)
	}
	return next, s.arrange(ctx, old, next, fresh)
}

func (s *stock) item(region string) *item {
	if s == nil {
		return nil
	}
	return s.by[region]
}

func (s *Store) readSellers(ctx context.Context, old, next *stock) error {
	n, err := s.Sellers.Changes(ctx) // before the rest: what comes between is read twice
	if err != nil {
		return err
	}
	if next.changes = n; old != nil && old.changes == n {
		next.sellers, next.published = old.sellers, old.published
		return nil
	}
	all, err := s.Sellers.Sellers(ctx)
	if err != nil {
		return err
	}
	next.sellers, next.published = make(map[string]*Seller, len(all)), make(map[string][]offer.Published, len(all))
	for i := range all {
		next.published[all[i].Name] = all[i].Sheets
		for region := range all[i].Regions {
			next.sellers[region] = &all[i]
		}
	}
	return nil
}

// arrange makes the market out of the last one.
func (s *Store) arrange(ctx context.Context, old, next *stock, fresh []*item) (err error) {
	if old != nil {
		next.market = old.market
	} else if next.market, err = placement.NewMarket(s.Data); err != nil {
		return err
	}
	var gone []string
	if old != nil {
		for name := range old.by {
			if next.by[name] == nil {
				gone = append(gone, name)
			}
		}
	}
	if len(gone) > 0 {
		next.market = next.market.Without(gone...)
	}
	all := make([]placement.Candidate, len(fresh))
	for i, one := range fresh {
		all[i] = one.candidate
	}
	m, err := next.market.With(all...)
	if err == nil {
		next.market = m
		return nil
	}
	for _, one := range fresh { // one that cannot be understood keeps no other from selling
		if m, err = next.market.With(one.candidate); err == nil {
			next.market = m
			continue
		}
		s.Log.ErrorContext(ctx, "region not for sale", "region", one.candidate.Region, "error", err)
		one.left = true
		next.market = next.market.Without(one.candidate.Region)
	}
	return nil
}

// without gives the stock with what was found to be taken of a region.
func (s *stock) without(t *taken) (*stock, error) {
	next := *s
	next.by = maps.Clone(s.by)
	from := s.by[t.region].from
	r := *from.region
	r.Inventory.Free = t.free
	from.region, from.held = &r, t.held
	next.by[t.region] = &item{from: from, candidate: from.candidate()}
	var err error
	next.market, err = s.market.With(next.by[t.region].candidate)
	return &next, err
}

// candidate puts together what is sold in a region.
func (f source) candidate() placement.Candidate {
	r := f.region
	c := placement.Candidate{Profile: placement.Profile{
		Region: r.Name, Provider: f.seller.Name, Owner: f.seller.Owner, Country: r.Country, At: site(r.Annotations),
		Claims:   slices.Concat(f.seller.Claims, f.seller.Regions[r.Name]),
		Services: f.seller.Services[r.Name],
		Sheet:    placement.SheetRef{Version: f.sheet.Version, Digest: f.sheet.Digest(), ValidFrom: f.sheet.ValidFrom, ValidUntil: f.sheet.ValidUntil},
		Offers:   offers(f.sheet, r),
	}}
	c.State = placement.State{Liveness: string(f.liveness), Zones: r.Inventory.Zones, Kinds: r.Kinds, Free: f.held.off(r.Inventory.Free)}
	for _, x := range r.Inventory.Features {
		c.State.Features = append(c.State.Features, string(x))
	}
	return c
}

// offers are the rates of a sheet for what the region really has.
func offers(sheet *offer.Sheet, r *provider.Region) []placement.Offer {
	type size struct{ vcpu, ram int64 }
	sizes := map[offer.Kind]map[string]size{offer.Instance: {}, offer.Volume: {}, offer.Network: {}}
	for _, x := range r.Inventory.InstanceSKUs {
		sizes[offer.Instance][x.Name] = size{int64(x.VCPU), int64(x.RAMGiB)}
	}
	for _, x := range r.Inventory.StorageSKUs {
		sizes[offer.Volume][x.Name] = size{}
	}
	for _, x := range r.Inventory.NetworkSKUs {
		sizes[offer.Network][x.Name] = size{}
	}
	var all []placement.Offer
	for _, rate := range sheet.Rates(r.Name) {
		of, ok := sizes[rate.Kind][rate.SKU]
		if ok || rate.SKU == "" {
			all = append(all, placement.Offer{Rate: rate, VCPU: of.vcpu, RAMGiB: of.ram})
		}
	}
	return all
}

// Coordinates is the annotation of a region that says where it stands: "45.7640,4.8357",
// degrees north and east. Without it no distance is known.
const Coordinates = "kontor.exchange/coordinates"

// site reads the annotation. One that means nothing counts as none.
func site(annotations map[string]string) *placement.Point {
	p, err := ParsePoint(annotations[Coordinates])
	if err != nil {
		return nil
	}
	return &p
}

// ParsePoint reads degrees north and east with a comma between, as in "45.7640,4.8357".
func ParsePoint(text string) (p placement.Point, err error) {
	north, east, _ := strings.Cut(text, ",")
	if p.Lat, err = microdegrees(north); err == nil {
		p.Lon, err = microdegrees(east)
	}
	if err == nil && (p.Lat < -90_000_000 || p.Lat > 90_000_000) {
		err = fmt.Errorf("%q is north of the pole or south of the other", text)
	}
	return p, err
}

func microdegrees(text string) (int64, error) {
	degrees, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || degrees < -180 || degrees > 180 {
		return 0, fmt.Errorf("%q is no angle in degrees", text)
	}
	return int64(math.Round(degrees * 1e6)), nil
}

// capacity is an amount of what a region has.
type capacity struct{ vcpu, ram, disk, ips int64 }

func (c capacity) plus(o capacity) capacity {
	return capacity{c.vcpu + o.vcpu, c.ram + o.ram, c.disk + o.disk, c.ips + o.ips}
}

// off gives what is free once c is taken off; nil stays nil.
func (c capacity) off(free driver.Capacity) placement.Capacity {
	less := func(free *int, by int64) *int64 {
		if free == nil {
			return nil
		}
		n := max(0, int64(*free)-by)
		return &n
	}
	return placement.Capacity{VCPU: less(free.VCPU, c.vcpu), RAMGiB: less(free.RAMGiB, c.ram), DiskGiB: less(free.DiskGB, c.disk), PublicIPs: less(free.PublicIPs, c.ips)}
}

// held sums up what is promised of each region.
func (s *Store) held(ctx context.Context, now time.Time) (map[string]capacity, error) {
	type row struct {
		region string
		capacity
	}
	rows, err := db.All(ctx, s.DB, func(scan func(...any) error) (r row, err error) {
		return r, scan(&r.region, &r.vcpu, &r.ram, &r.disk, &r.ips)
	}, `SELECT region, `+sums+` FROM reservation WHERE until = 0 OR until > $1 GROUP BY region`, db.Micros(now))
	held := make(map[string]capacity, len(rows))
	for _, r := range rows {
		held[r.region] = r.capacity
	}
	return held, err
}

const sums = `CAST(SUM(vcpu) AS BIGINT), CAST(SUM(ram) AS BIGINT), CAST(SUM(disk) AS BIGINT), CAST(SUM(ips) AS BIGINT)`

// Regions lists who sells where, by region; for people who look at the market.
func (s *Store) Regions(ctx context.Context) (map[string]string, error) {
	now, err := s.stock(ctx, time.Now().Add(-maxAge))
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(now.by)) {
		if one := now.by[name]; !one.left {
			all[name] = one.candidate.Provider
		}
	}
	return all, nil
}

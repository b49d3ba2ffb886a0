package market

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/provider"
)

// EU is the virtual region that is there from the beginning: whatever keeps data in the Union.
const (
	EU       = "eu"
	euPolicy = "eu-resident"
)

// euSince is when eu was made, as far as its metadata goes.
var euSince = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)

// A Virtual is a region without hardware: a workspace made in it is placed by its policy,
// and keeps its names wherever that is.
type Virtual struct {
	Name   string // eu, or POLICY.TENANT
	Tenant string // who may use it; "" is everybody
	Policy string // which is its tenant's, or ready-made
	Title  string
	Since  time.Time
}

// VirtualNamed tells which virtual region a name means. Whether its policy still exists is
// not looked up: what lies in it is reached all the same.
func VirtualNamed(name string) (Virtual, bool) {
	if name == EU {
		return Virtual{Name: EU, Policy: euPolicy, Since: euSince}, true
	}
	policy, tenant, ok := strings.Cut(name, ".")
	return Virtual{Name: name, Tenant: tenant, Policy: policy}, ok && policy != "" && tenant != ""
}

// Virtuals lists the virtual regions that members of some tenants may use, by name.
func (s *Store) Virtuals(ctx context.Context, tenants []string) ([]Virtual, error) {
	eu, _ := VirtualNamed(EU)
	if p, err := s.Data.Preset(eu.Policy); err == nil {
		eu.Title = p.Title
	}
	all := []Virtual{eu}
	for _, tenant := range tenants {
		saved, err := s.SavedPolicies(ctx, tenant)
		if err != nil {
			return nil, err
		}
		for _, p := range saved {
			all = append(all, Virtual{p.Name + "." + tenant, tenant, p.Name, p.Title, p.CreatedAt})
		}
	}
	slices.SortFunc(all, func(a, b Virtual) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// PlaceWorkspace decides where a workspace of a virtual region is to be: all that
// is made in it later goes there, too. not are regions where it cannot be.
func (s *Store) PlaceWorkspace(ctx context.Context, v Virtual, tenant string, w Wish, not []string) (*Decided, error) {
	now, err := s.stock(ctx, time.Now().Add(-maxAge))
	if err != nil {
		return nil, err
	}
	if _, err := s.Policy(ctx, tenant, v.Policy); err != nil {
		return nil, notFound(err, "region", v.Name)
	}
	w.Region, w.Not = v.Name, append(w.Not, not...)
	if len(w.Groups) == 0 {
		needs, err := now.smallest()
		if err != nil {
			return nil, err
		}
		w.Groups = []placement.Group{{Name: workspaceGroup, Needs: needs}}
	}
	r, err := s.Understand(ctx, tenant, w)
	if err != nil {
		return nil, fault.Moved(err, asExtension)
	}
	made, err := s.Place(ctx, tenant, r)
	return made, fault.Moved(err, asExtension)
}

// with adds the policy of the region to others.
func (v Virtual) with(policies []string) []string {
	if slices.ContainsFunc(policies, func(p string) bool { return p == v.Policy || strings.HasPrefix(p, v.Policy+"@") }) {
		return policies
	}
	return append(slices.Clip(policies), v.Policy)
}

// smallest is what a workspace is taken to be for as long as nobody says: the machine of the
// smallest common size that is for sale.
func (s *stock) smallest() ([]offer.Need, error) {
	var best *placement.Offer
	for _, region := range slices.Sorted(maps.Keys(s.by)) {
		for _, o := range s.by[region].candidate.Offers {
			if o.Kind != offer.Instance || common(o.Rate) == "" {
				continue
			}
			if best == nil || cmp.Or(cmp.Compare(o.VCPU, best.VCPU), cmp.Compare(o.RAMGiB, best.RAMGiB), strings.Compare(common(o.Rate), common(best.Rate))) < 0 {
				best = &o
			}
		}
	}
	if best == nil {
		return nil, fault.Exhausted.Errorf("no machine of a common size is for sale at this moment")
	}
	return []offer.Need{{Kind: offer.Instance, SKU: common(best.Rate), Count: 1}}, nil
}

// common is the common size that a rate is for, "" if it is none.
func common(r offer.Rate) string {
	if r.As != "" {
		return r.As
	}
	if strings.HasPrefix(r.SKU, "seca.") {
		return r.SKU
	}
	return ""
}

// A View is a region as a virtual one shows it: zones by letters, skus by common sizes.
type View struct {
	Inventory driver.Inventory
	Names     map[string]string // "zone/NAME" and "PROVIDER/SKU" there, to the names of the region itself
}

// apis are the providers of SECA that a kind of offer is a sku of.
var apis = map[offer.Kind]string{offer.Instance: "seca.compute", offer.Volume: "seca.storage", offer.Network: "seca.network"}

const maxZones = 26

// zoneNames are those that a virtual region has for so many zones.
func zoneNames(n int) []string {
	all := make([]string, min(n, maxZones))
	for i := range all {
		all[i] = string(rune('a' + i))
	}
	return all
}

// View shows a region as virtual ones do. What is not for sale by common sizes is left out; a region
// that sells no more keeps showing what it sold last, for those who have it.
func (s *Store) View(ctx context.Context, r *provider.Region) (*View, error) {
	now, err := s.stock(ctx, time.Now().Add(-maxAge))
	if err != nil {
		return nil, err
	}
	return viewOf(r, now.rates(r.Name)), nil
}

// rates are those in force in a region, or the last ones.
func (s *stock) rates(region string) []offer.Rate {
	if one := s.by[region]; one != nil {
		return one.from.sheet.Rates(region)
	}
	if last := s.lastSheet(region); last != nil {
		return last.Rates(region)
	}
	return nil
}

// lastSheet is the newest that sells in a region; nil if none ever did.
func (s *stock) lastSheet(region string) (last *offer.Sheet) {
	if seller := s.sellers[region]; seller != nil {
		for _, p := range seller.Sheets {
			if _, sold := p.Sheet.Regions[region]; sold && (last == nil || p.Sheet.Version > last.Version) {
				last = p.Sheet
			}
		}
	}
	return last
}

func viewOf(r *provider.Region, rates []offer.Rate) *View {
	v := &View{Inventory: r.Inventory, Names: map[string]string{}}
	v.Inventory.Zones = zoneNames(len(r.Inventory.Zones))
	for i, name := range v.Inventory.Zones {
		v.Names["zone/"+name] = r.Inventory.Zones[i]
	}
	sold := map[string]string{} // PROVIDER/NAME of the region to the common size
	for _, rate := range rates {
		if name := common(rate); name != "" && apis[rate.Kind] != "" {
			sold[apis[rate.Kind]+"/"+rate.SKU] = name
			v.Names[apis[rate.Kind]+"/"+name] = rate.SKU
		}
	}
	v.Inventory.InstanceSKUs = shown(sold, "seca.compute", r.Inventory.InstanceSKUs, func(s *driver.InstanceSKU) *driver.SKU { return &s.SKU })
	v.Inventory.StorageSKUs = shown(sold, "seca.storage", r.Inventory.StorageSKUs, func(s *driver.StorageSKU) *driver.SKU { return &s.SKU })
	v.Inventory.NetworkSKUs = shown(sold, "seca.network", r.Inventory.NetworkSKUs, func(s *driver.NetworkSKU) *driver.SKU { return &s.SKU })
	return v
}

// shown gives skus their common names, and leaves out those without.
func shown[T any](sold map[string]string, api string, skus []T, of func(*T) *driver.SKU) []T {
	var out []T
	for _, one := range skus {
		sku := of(&one)
		if name, ok := sold[api+"/"+sku.Name]; ok {
			sku.Name = name
			out = append(out, one)
		}
	}
	return out
}

// Catalogue is what all regions that sell have together, as virtual ones show it: each size
// and image once. kinds are of resources that some can keep.
func (s *Store) Catalogue(ctx context.Context) (all driver.Inventory, kinds []string, err error) {
	now, err := s.stock(ctx, time.Now().Add(-maxAge))
	if err != nil {
		return all, nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(now.by)) {
		r := now.by[name].from.region
		v := viewOf(r, now.rates(r.Name))
		if len(v.Inventory.Zones) > len(all.Zones) {
			all.Zones = v.Inventory.Zones
		}
		all.InstanceSKUs = union(all.InstanceSKUs, v.Inventory.InstanceSKUs, func(s driver.InstanceSKU) string { return s.Name })
		all.StorageSKUs = union(all.StorageSKUs, v.Inventory.StorageSKUs, func(s driver.StorageSKU) string { return s.Name })
		all.NetworkSKUs = union(all.NetworkSKUs, v.Inventory.NetworkSKUs, func(s driver.NetworkSKU) string { return s.Name })
		all.Images = union(all.Images, v.Inventory.Images, func(i driver.OfferImage) string { return i.Name })
		kinds = union(kinds, r.Kinds, func(k string) string { return k })
	}
	return all, kinds, nil
}

// union adds what is not there by name, in the order of the names.
func union[T any](all, more []T, name func(T) string) []T {
	for _, x := range more {
		at, there := slices.BinarySearchFunc(all, name(x), func(have T, n string) int { return strings.Compare(name(have), n) })
		if !there {
			all = slices.Insert(all, at, x)
		}
	}
	return all
}

// Could lists the regions that can keep a kind of resource, of those that sell, for one who asked where none is.
func (s *Store) Could(ctx context.Context, kind string) []string {
	now, err := s.stock(ctx, time.Now().Add(-maxAge))
	if err != nil {
		return nil
	}
	var could []string
	for name, one := range now.by {
		if slices.Contains(one.from.region.Kinds, kind) {
			could = append(could, name)
		}
	}
	slices.Sort(could)
	return could
}

package api

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

// The catalogue is what regions say of themselves: it is in memory, so that
// reading it costs no query.

type health struct {
	Status string `json:"status"`
}

func (c *call) healthy() (reply, error) {
	return reply{status: http.StatusOK, body: health{"ok"}}, nil
}

// ready tells a balancer whether to send work here. Why not is for the private listener.
func (c *call) ready() (reply, error) {
	if c.server.Ready != nil && !c.server.Ready() {
		return reply{status: http.StatusServiceUnavailable, body: health{"not ready"}}, nil
	}
	return reply{status: http.StatusOK, body: health{"ready"}}, nil
}

func (c *call) wellknown() (reply, error) {
	w := seca.Wellknown{Version: "v1"}
	for _, p := range []string{"seca.region", "seca.authorization", "kontor.exchange"} {
		w.Endpoints = append(w.Endpoints, seca.WellknownEndpoint{Provider: p + "/v1", URL: c.server.URL + providers + p})
	}
	return reply{status: http.StatusOK, body: w}, nil
}

func (c *call) listRegions() (reply, error) {
	q, err := c.query()
	if err != nil {
		return reply{}, err
	}
	c.at.Provider, c.at.Collection = "seca.region/v1", "regions"
	var docs []seca.Document
	for _, r := range c.server.Providers.Snapshot().All() {
		if len(r.Inventory.Zones) > 0 { // one that has never reported has nothing to offer yet
			docs = append(docs, c.regionDocument(r))
		}
	}
	virtual, err := c.virtualRegions()
	if err != nil {
		return reply{}, err
	}
	return paged(c, q, append(docs, virtual...))
}

func (c *call) oneRegion() (reply, error) {
	name := c.req.PathValue("name")
	r, err := c.server.Providers.Find(c.ctx, name)
	if _, virtual := market.VirtualNamed(name); virtual && errors.Is(err, fault.Missing) {
		rep, err := c.oneVirtual(name)
		return rep, fault.Parameter(err, "name")
	}
	if err == nil && len(r.Inventory.Zones) == 0 {
		err = fault.Missing.Errorf("region %s has not reported yet", r.Name)
	}
	if err != nil {
		return reply{}, fault.Parameter(err, "name")
	}
	return reply{status: http.StatusOK, body: c.regionDocument(r)}, nil
}

// regionView is the member "kontor" of a region.
type regionView struct {
	Agent    *liveness `json:"agent,omitempty"` // that keeps it; virtual ones have none
	Virtual  bool      `json:"virtual,omitempty"`
	Policy   string    `json:"policy,omitempty"` // by which a virtual one places
	Title    string    `json:"title,omitempty"`
	Platform string    `json:"platform,omitempty"`
	Driver   string    `json:"driver,omitempty"`
	Provider string    `json:"provider,omitempty"`
	Country  string    `json:"country,omitempty"`
	City     string    `json:"city,omitempty"`
}

func (c *call) regionDocument(r *provider.Region) seca.Document {
	spec, err := json.Marshal(seca.RegionSpec{AvailableZones: r.Inventory.Zones, Providers: c.regionProviders(r)})
	if err != nil {
		panic(err)
	}
	agent := c.liveness(r.Name)
	return seca.Document{
		Labels: regionLabels(r), Annotations: r.Annotations, Spec: spec, Kontor: marshal(regionView{
			Agent: &agent, Platform: r.Inventory.Platform, Driver: r.Driver, Provider: r.Display, Country: r.Country, City: r.City,
		}),
		Metadata: seca.Metadata{
			Name: r.Name, Provider: "seca.region/v1", Resource: "regions/" + r.Name, Ref: "seca.region/v1/regions/" + r.Name,
			Verb: http.MethodGet, APIVersion: "v1", Kind: "region", CreatedAt: when(r.CreatedAt), LastModifiedAt: when(r.InventoryAt), ResourceVersion: 1,
		},
	}
}

// regionLabels are the operator's, and what everybody wants to select by.
func regionLabels(r *provider.Region) map[string]string {
	labels := maps.Clone(r.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	for key, value := range map[string]string{"country": r.Country, "city": r.City, "driver": r.Driver, "provider": r.Display} {
		if value != "" {
			labels["kontor.exchange/"+key] = value
		}
	}
	return labels
}

// regionProviders lists the APIs that the region's platform can serve: a
// provider none of whose kinds it keeps is not listed.
func (c *call) regionProviders(r *provider.Region) []seca.RegionProvider {
	names := []string{"seca.workspace"}
	for _, k := range resource.Kinds() {
		if k.Kept && slices.Contains(r.Kinds, k.Name) && !slices.Contains(names, k.Provider) {
			names = append(names, k.Provider)
		}
	}
	slices.Sort(names)
	out := make([]seca.RegionProvider, 0, len(names)+1)
	for _, n := range append(names, "kontor.exchange") {
		out = append(out, seca.RegionProvider{Name: n, Version: "v1", URL: c.server.URL + "/regions/" + r.Name + providers + n})
	}
	return out
}

// paged cuts a page out of a list that is in memory and in a stable order.
func paged(c *call, q listQuery, docs []seca.Document) (reply, error) {
	out := []seca.Document{}
	skipping := q.after != ""
	for _, d := range docs {
		if skipping {
			skipping = d.Metadata.Name != q.after
			continue
		}
		if !q.selector.matches(d.Labels) {
			continue
		}
		if len(out) == q.limit {
			return reply{status: http.StatusOK, body: c.page(out, out[len(out)-1].Metadata.Name)}, nil
		}
		out = append(out, d)
	}
	return reply{status: http.StatusOK, body: c.page(out, "")}, nil
}

func listSKUs(p string) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		q, err := c.query()
		if err != nil {
			return reply{}, err
		}
		c.at.Provider, c.at.Collection = p+"/v1", "skus"
		docs, err := c.skus(p)
		if err != nil {
			return reply{}, err
		}
		return paged(c, q, docs)
	}
}

func oneSKU(p string) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		docs, err := c.skus(p)
		if err != nil {
			return reply{}, err
		}
		for _, d := range docs {
			if d.Metadata.Name == c.at.Name {
				return reply{status: http.StatusOK, body: d}, nil
			}
		}
		return reply{}, fault.Parameter(fault.Missing.Errorf("no sku %q in region %s", clip(c.at.Name, 128), c.region.Name), "name")
	}
}

// skus are rendered for whoever asks: every tenant sees those of the region.
func (c *call) skus(p string) ([]seca.Document, error) {
	r, err := c.catalogued()
	if err != nil {
		return nil, err
	}
	var docs []seca.Document
	add := func(s driver.SKU, spec any) {
		docs = append(docs, c.skuDocument(p, s, spec))
	}
	inv := &r.Inventory
	switch p {
	case "seca.compute":
		for _, s := range inv.InstanceSKUs {
			spec := seca.InstanceSKUSpec{VCPU: s.VCPU, RAM: s.RAMGiB}
			if g := s.GPU; g != nil {
				spec.GPU = &seca.GPU{Count: g.Count, Vendor: g.Vendor, Model: g.Model, RAM: g.RAMGiB}
			}
			add(s.SKU, spec)
		}
	case "seca.storage":
		for _, s := range inv.StorageSKUs {
			add(s.SKU, seca.StorageSKUSpec{IOPS: s.IOPS, MinVolumeSize: s.MinGB, Type: s.Type})
		}
	case "seca.network":
		for _, s := range inv.NetworkSKUs {
			add(s.SKU, seca.NetworkSKUSpec{Bandwidth: s.Mbps, Packets: s.Packets})
		}
	}
	return docs, nil
}

// catalogued is the region of the path with what it offers.
func (c *call) catalogued() (*provider.Region, error) {
	if c.virtual != nil {
		return c.stocked(c.region)
	}
	return c.region, nil
}

var skuKinds = map[string]string{"seca.compute": "instance-sku", "seca.storage": "storage-sku", "seca.network": "network-sku"}

func (c *call) skuDocument(p string, s driver.SKU, spec any) seca.Document {
	b, err := json.Marshal(spec)
	if err != nil {
		panic(err)
	}
	return seca.Document{
		Labels: s.Labels, Spec: b,
		Metadata: seca.Metadata{
			Name: s.Name, Provider: p + "/v1", Resource: "skus/" + s.Name, Ref: p + "/v1/tenants/" + c.at.Tenant + "/skus/" + s.Name,
			Verb: http.MethodGet, APIVersion: "v1", Kind: skuKinds[p], Tenant: c.at.Tenant, Region: c.region.Name,
		},
	}
}

// offeredImage finds an image that the region offers to every tenant.
func (c *call) offeredImage() (seca.Document, bool) {
	if c.kind.Name != "image" || c.at.Tenant != resource.PublicTenant {
		return seca.Document{}, false
	}
	docs, err := c.offeredImages()
	for _, d := range docs {
		if d.Metadata.Name == c.at.Name {
			return d, err == nil
		}
	}
	return seca.Document{}, false
}

// offeredImages are active since the region reported them, and have no volume.
func (c *call) offeredImages() ([]seca.Document, error) {
	from, err := c.catalogued()
	if err != nil {
		return nil, err
	}
	var docs []seca.Document
	for _, i := range from.Inventory.Images {
		r := &resource.Resource{
			Kind: c.kind, Region: c.region.Name, Host: c.region.Name, URN: c.kind.URN(resource.PublicTenant, "", "", i.Name), Version: 1,
			Labels: i.Labels, Annotations: i.Annotations, CreatedAt: c.region.CreatedAt, ModifiedAt: c.region.InventoryAt, State: seca.Active,
			Log: resource.LogOf(seca.Condition{State: seca.Active, LastTransitionAt: c.region.InventoryAt, Type: "Lifecycle", Reason: "Offered"}),
		}
		var err error
		r.Spec, err = json.Marshal(seca.ImageSpec{CPUArchitecture: i.Arch, Boot: strings.ToUpper(i.Boot), Initializer: i.Initializer})
		if err != nil {
			panic(err)
		}
		if r.Status, err = json.Marshal(seca.ImageStatus{SizeMB: i.SizeMB}); err != nil {
			panic(err)
		}
		docs = append(docs, c.document(r, http.MethodGet))
	}
	return docs, nil
}

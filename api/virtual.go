package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
)

// A virtual region has no agent: a workspace made in it is placed in a region
// that has (its host), and all that is made in the workspace goes there, too. Names,
// URLs and references stay those of the virtual region.

// findVirtual finds the virtual region of a name, for those who may use it.
func (c *call) findVirtual(name string) (*provider.Region, error) {
	v, ok := market.VirtualNamed(name)
	if !ok || c.server.Market == nil || v.Tenant != "" && !c.who.Member(v.Tenant) || v.Tenant != "" && c.kind != nil && c.at.Tenant != v.Tenant && c.at.Tenant != resource.PublicTenant {
		return nil, fault.Missing.Errorf("there is no region %s", name)
	}
	c.virtual = &v
	return &provider.Region{Name: v.Name, Display: v.Title, CreatedAt: v.Since}, nil
}

// stocked gives a virtual region what all that sell have together.
func (c *call) stocked(r *provider.Region) (*provider.Region, error) {
	inventory, kinds, err := c.server.Market.Catalogue(c.ctx)
	full := *r
	full.Inventory, full.Kinds = inventory, kinds
	return &full, err
}

// virtualRegions lists those that the caller may use, if something is sold at all.
func (c *call) virtualRegions() ([]seca.Document, error) {
	if c.server.Market == nil {
		return nil, nil
	}
	all, err := c.server.Market.Virtuals(c.ctx, c.who.Tenants)
	if err != nil {
		return nil, err
	}
	var docs []seca.Document
	for _, v := range all {
		r, err := c.stocked(&provider.Region{Name: v.Name, Display: v.Title, CreatedAt: v.Since})
		if err != nil {
			return nil, err
		}
		if len(r.Inventory.Zones) > 0 { // else nobody sells anything
			docs = append(docs, c.virtualDocument(r, v))
		}
	}
	return docs, nil
}

func (c *call) virtualDocument(r *provider.Region, v market.Virtual) seca.Document {
	d := c.regionDocument(r)
	d.Kontor = marshal(regionView{Virtual: true, Policy: v.Policy, Title: v.Title})
	d.Labels = map[string]string{"kontor.exchange/virtual": "true", "kontor.exchange/policy": v.Policy}
	d.Metadata.LastModifiedAt = d.Metadata.CreatedAt
	return d
}

// oneVirtual answers for a virtual region by name.
func (c *call) oneVirtual(name string) (reply, error) {
	docs, err := c.virtualRegions()
	if err != nil {
		return reply{}, err
	}
	for _, d := range docs {
		if d.Metadata.Name == name {
			return reply{status: http.StatusOK, body: d}, nil
		}
	}
	return reply{}, fault.Missing.Errorf("there is no region %s", name)
}

// hostOf finds the region that keeps, or is to keep, what the call is about in a virtual
// region. Missing: it is a workspace that has no place yet.
func (c *call) hostOf(spec json.RawMessage) (string, error) {
	workspaces, _ := resource.KindNamed("workspace")
	switch {
	case c.kind == workspaces:
		return c.server.Resources.HostOf(c.ctx, c.region.Name, c.at)
	case c.kind.Scope >= resource.Workspace:
		host, err := c.server.Resources.HostOf(c.ctx, c.region.Name, workspaces.URN(c.at.Tenant, "", "", c.at.Workspace))
		return host, fault.Parameter(err, "workspace")
	}
	host, err := c.server.Resources.HostOf(c.ctx, c.region.Name, c.at)
	if !errors.Is(err, fault.Missing) || len(spec) == 0 {
		return host, err
	}
	// An image is where the volume is of which it is made.
	var from seca.ImageSpec
	if json.Unmarshal(spec, &from) != nil {
		return "", err
	}
	u, err := urn.Parse(strings.TrimPrefix(from.BlockStorageRef.Resource, "/"))
	if err != nil {
		return "", fault.At(fault.Invalid.Errorf("must name a volume: %w", err), "/spec/blockStorageRef")
	}
	host, err = c.server.Resources.HostOf(c.ctx, c.region.Name, workspaces.URN(c.at.Tenant, "", "", cmp.Or(u.Workspace, from.BlockStorageRef.Workspace)))
	if err != nil {
		return "", fault.At(fault.Invalid.Errorf("%q does not exist", from.BlockStorageRef.Resource), "/spec/blockStorageRef")
	}
	return host, nil
}

// hosted completes the rules of a virtual region by what its host has.
func (c *call) hosted(e resource.Env, name string) (resource.Env, error) {
	host, err := c.server.Providers.Find(c.ctx, name)
	if err != nil {
		return e, err
	}
	view, err := c.server.Market.View(c.ctx, host)
	if err != nil {
		return e, err
	}
	e.Host, e.Kinds, e.Inventory, e.Names, e.Extension = name, host.Kinds, &view.Inventory, view.Names, market.CheckExtension
	return e, c.couldBe(host)
}

// couldBe refuses what the host cannot keep, and says who could.
func (c *call) couldBe(host *provider.Region) error {
	if c.kind == nil || !c.kind.Kept || slices.Contains(host.Kinds, c.kind.Name) {
		return nil
	}
	where := "no region that sells has them"
	if could := c.server.Market.Could(c.ctx, c.kind.Name); len(could) > 0 {
		where = "these have: " + strings.Join(could, ", ")
	}
	return fault.Unsupported.Errorf("workspace %s lies in region %s, which has no %s; %s", c.at.Workspace, host.Name, c.kind.Collection, where)
}

// maxPlacings bounds how often a workspace is placed anew because its name is taken at its place.
const maxPlacings = 4

// settle makes a workspace in a virtual region: it is placed, and written for its host.
func (c *call) settle(in input) (*resource.Resource, bool, error) {
	e := c.bareEnv()
	e.Extension = market.CheckExtension
	if err := resource.CheckExtensions(c.kind, in.Extensions, e); err != nil {
		return nil, false, err
	}
	wish, err := market.ParseExtensions(in.Extensions)
	if err != nil {
		return nil, false, err
	}
	var taken []string
	for {
		made, err := c.server.Market.PlaceWorkspace(c.ctx, *c.virtual, c.at.Tenant, wish, taken)
		if err != nil {
			return nil, false, err
		}
		host := made.Decision.Chosen[0].Region
		e, err := c.hosted(c.bareEnv(), host)
		if err != nil {
			return nil, false, err
		}
		e.Decision = made.ID
		r, created, err := c.server.Resources.Put(c.ctx, c.kind, c.at, in.input(), nil, e)
		if !errors.Is(err, fault.Conflict) || len(taken) == maxPlacings {
			return r, created, err
		}
		taken = append(taken, host)
	}
}

package client

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/url"
	"sort"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

// A Place says where a name is looked up. What the scope of a kind does not
// need may be empty.
type Place struct {
	Tenant    string
	Region    string
	Workspace string
	Network   string
}

// Regions yields the regions of the exchange.
func (c *Client) Regions(ctx context.Context) iter.Seq2[Item, error] {
	return c.List(ctx, c.Global("seca.region")+"/regions", Query{})
}

// Global gives the address of a provider of the whole exchange, with its version.
func (c *Client) Global(provider string) string { return c.URL() + "/providers/" + provider + "/v1" }

// Exchange gives an address at Kontor's own provider, out of the segments of
// its path.
func (c *Client) Exchange(segments ...string) string {
	return join(c.Global("kontor.exchange"), segments...)
}

// Regional gives the address of a provider of a region, with its version. A
// region whose platform lacks it is Unsupported.
func (c *Client) Regional(ctx context.Context, region, provider string) (string, error) {
	known, err := c.discover(ctx, region)
	if err != nil {
		return "", err
	}
	if at, ok := known[provider]; ok {
		return at + "/v1", nil
	}
	if provider == "kontor.exchange" {
		return join(c.URL(), "regions", region, "providers", provider, "v1"), nil
	}
	have := make([]string, 0, len(known))
	for name := range known {
		have = append(have, name)
	}
	sort.Strings(have)
	return "", fault.Unsupported.Errorf("region %s has no %s; it has %s", region, provider, strings.Join(have, ", "))
}

// discover reads, once, where the providers of a region answer.
func (c *Client) discover(ctx context.Context, region string) (map[string]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.regions[region]; ok {
		return known, nil
	}
	i, err := c.Get(ctx, join(c.Global("seca.region"), "regions", region))
	if errors.Is(err, fault.Missing) {
		return nil, fault.Missing.Errorf("there is no region %s: %w", region, err)
	}
	if err != nil {
		return nil, err
	}
	var spec seca.RegionSpec
	if err := json.Unmarshal(i.Spec, &spec); err != nil {
		return nil, fault.Malformed.Errorf("read region %s: %w", region, err)
	}
	known := map[string]string{}
	for _, p := range spec.Providers {
		if _, ok := known[p.Name]; !ok && p.Version == "v1" {
			known[p.Name] = strings.TrimRight(p.URL, "/")
		}
	}
	c.regions[region] = known
	return known, nil
}

// Collection gives the address of all resources of a kind at a place.
func (c *Client) Collection(ctx context.Context, k *resource.Kind, p Place) (string, error) {
	base := c.Global(k.Provider)
	if !k.Global {
		var err error
		if base, err = c.Regional(ctx, p.Region, k.Provider); err != nil {
			return "", err
		}
	}
	segments := []string{"tenants", p.Tenant}
	if k.Scope >= resource.Workspace {
		segments = append(segments, "workspaces", p.Workspace)
	}
	if k.Scope >= resource.Network {
		segments = append(segments, "networks", p.Network)
	}
	for n := 1; n < len(segments); n += 2 {
		if segments[n] == "" {
			return "", fault.Invalid.Errorf("%s need a %s", k.Collection, strings.TrimSuffix(segments[n-1], "s"))
		}
	}
	return join(base, append(segments, k.Collection)...), nil
}

// Resource gives the address of one resource.
func (c *Client) Resource(ctx context.Context, k *resource.Kind, p Place, name string) (string, error) {
	at, err := c.Collection(ctx, k, p)
	if err != nil {
		return "", err
	}
	if name == "" {
		return "", fault.Invalid.Errorf("a %s needs a name", k.Name)
	}
	return Under(at, name), nil
}

// Under gives the address of what stands below another.
func Under(at string, segments ...string) string { return join(at, segments...) }

func join(base string, segments ...string) string {
	var b strings.Builder
	b.WriteString(base)
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

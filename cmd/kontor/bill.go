package main

import (
	"encoding/json"
	"maps"
	"path"
	"slices"

	"github.com/kontor-cloud/kontor/document"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/resource"
)

// A purchase is what the files of a quote ask for: a wish, and the documents of what is to be made.
type purchase struct {
	market.Wish
	Documents []parcel `json:"documents,omitempty"`
	ValidFor  string   `json:"validFor,omitempty"`
}

// A parcel is a document as it is made once it is ordered. Its region comes from the decision.
type parcel struct {
	Kind     string         `json:"kind"`
	Metadata parcelMetadata `json:"metadata"`
	body
}

type parcelMetadata struct {
	Name      string `json:"name"`
	Workspace string `json:"workspace,omitempty"`
	Network   string `json:"network,omitempty"`
}

// groupMark is the annotation of a document that says to which group it belongs. Each group goes to one region.
const groupMark = "kontor.exchange/group"

const (
	wishKind  = "wish"
	mainGroup = "main"
)

// readPurchase reads files: documents as "kontor apply" takes them, and a wish.
func (a *app) readPurchase(files []string, workspace string) (*purchase, error) {
	p := &purchase{}
	wishes := 0
	for _, name := range files {
		ms, err := a.readManifests(name)
		if err != nil {
			return nil, err
		}
		for _, m := range ms {
			if m.Kind == wishKind {
				if wishes++; wishes > 1 {
					return nil, fault.Invalid.Errorf("%s: there is a wish already", m.origin)
				}
				_, err = document.Decode(m.origin, m.Spec, &p.Wish)
			} else {
				err = p.add(m, workspace)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return p, p.reckon()
}

// add takes a document in.
func (p *purchase) add(m manifest, workspace string) error {
	k, err := kindNamed(firstOf(m.Kind, m.Metadata.Kind))
	if err != nil {
		return err
	}
	if _, known := resource.KindNamed(k.name); !known || k.need < needRegion {
		return usagef("%s: a %s cannot be bought", m.origin, k.name)
	}
	if m.Metadata.Name == "" {
		return fault.Invalid.Errorf("%s has no metadata.name", m.origin)
	}
	one := parcel{k.name, parcelMetadata{Name: m.Metadata.Name, Network: m.Metadata.Network}, m.body()}
	if k.need >= needWorkspace {
		if one.Metadata.Workspace = firstOf(m.Metadata.Workspace, workspace); one.Metadata.Workspace == "" {
			return fault.Invalid.Errorf("%s: a %s needs metadata.workspace, or -w", m.origin, k.name)
		}
	}
	p.Documents = append(p.Documents, one)
	return nil
}

func firstOf(texts ...string) string {
	at := slices.IndexFunc(texts, func(s string) bool { return s != "" })
	if at < 0 {
		return ""
	}
	return texts[at]
}

// reckon makes a bill of materials of the documents, beside what the wish has said.
func (p *purchase) reckon() error {
	groups := map[string]*placement.Group{}
	for i := range p.Groups {
		groups[p.Groups[i].Name] = &p.Groups[i]
	}
	for _, d := range p.Documents {
		name := firstOf(d.Annotations[groupMark], mainGroup)
		if groups[name] == nil {
			groups[name] = &placement.Group{Name: name}
		}
		if err := d.charge(groups[name]); err != nil {
			return err
		}
	}
	all := make([]placement.Group, 0, len(groups))
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		g := groups[name]
		g.Needs = summed(g.Needs)
		all = append(all, *g)
	}
	p.Groups = all
	if len(all) == 0 {
		return usagef("there is nothing to buy: no document, and no groups in a wish")
	}
	return nil
}

// charge adds what a document takes to its group.
func (d parcel) charge(g *placement.Group) error {
	var spec struct {
		SKURef json.RawMessage `json:"skuRef"`
		SizeGB int64           `json:"sizeGB"`
		Zone   string          `json:"zone"`
	}
	if err := json.Unmarshal(d.Spec, &spec); err != nil {
		return fault.Invalid.Errorf("%s/%s: read spec: %w", d.Kind, d.Metadata.Name, err)
	}
	k, _ := resource.KindNamed(d.Kind)
	if k.Kept && !slices.Contains(g.Kinds, d.Kind) {
		g.Kinds = append(g.Kinds, d.Kind)
	}
	if spec.Zone != "" && !slices.Contains(g.In, spec.Zone) {
		g.In = append(g.In, spec.Zone)
	}
	kinds := map[string]offer.Kind{"instance": offer.Instance, "block-storage": offer.Volume, "network": offer.Network, "public-ip": offer.PublicIP}
	of, priced := kinds[d.Kind]
	if !priced {
		return nil
	}
	need := offer.Need{Kind: of, Count: 1}
	if of == offer.Volume {
		need.GiB = spec.SizeGB
	}
	if of != offer.PublicIP {
		need.SKU = skuNamed(spec.SKURef)
	}
	g.Needs = append(g.Needs, need)
	return nil
}

// skuNamed gives the name in a reference to a sku, in both of its forms.
func skuNamed(ref json.RawMessage) string {
	var long struct {
		Resource string `json:"resource"`
	}
	if json.Unmarshal(ref, &long) != nil {
		_ = json.Unmarshal(ref, &long.Resource)
	}
	if long.Resource == "" {
		return ""
	}
	return path.Base(long.Resource)
}

// summed counts equal lines together.
func summed(needs []offer.Need) []offer.Need {
	var all []offer.Need
	for _, n := range needs {
		at := slices.IndexFunc(all, func(o offer.Need) bool { return o.Kind == n.Kind && o.SKU == n.SKU && o.GiB == n.GiB })
		if at < 0 {
			all = append(all, n)
			continue
		}
		all[at].Count += n.Count
	}
	return all
}

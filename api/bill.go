package api

import (
	"cmp"
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strconv"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/resource"
)

// A parcel is a document of what is bought: it is made once it is ordered, in the region of the
// quote, where the decision says.
type parcel struct {
	Kind        string            `json:"kind"`
	Metadata    parcelMetadata    `json:"metadata"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Spec        json.RawMessage   `json:"spec,omitempty"`
}

type parcelMetadata struct {
	Name      string `json:"name"`
	Workspace string `json:"workspace,omitempty"`
	Network   string `json:"network,omitempty"`
}

// groupMark is the annotation of a document that says to which group it belongs. Each group goes to
// one region; what has none is together in mainGroup.
const (
	groupMark = "kontor.exchange/group"
	mainGroup = "main"
)

func (p parcel) group() string { return cmp.Or(p.Annotations[groupMark], mainGroup) }

// workspace is that in which the document lies, or which it is.
func (p parcel) workspace() string {
	if p.Kind == "workspace" {
		return p.Metadata.Name
	}
	return p.Metadata.Workspace
}

func (p parcel) kind() (*resource.Kind, error) {
	k, ok := resource.KindNamed(p.Kind)
	if !ok || k.Global || k.Scope < resource.Workspace && k.Name != "workspace" {
		return nil, fault.At(fault.Invalid.Errorf("a %s cannot be bought; there are workspaces and what is in them", clip(p.Kind, 64)), "/kind")
	}
	return k, nil
}

// reckon makes a bill of materials of documents, and adds it to what a wish has said.
func reckon(w *market.Wish, parcels []parcel) error {
	groups := map[string]*placement.Group{}
	for i := range w.Groups {
		groups[w.Groups[i].Name] = &w.Groups[i]
	}
	places := map[string]string{} // groups by workspace
	for i, p := range parcels {
		at, name := "/documents/"+strconv.Itoa(i), p.group()
		if groups[name] == nil {
			groups[name] = &placement.Group{Name: name}
		}
		if groups[name].Copies > 1 {
			return fault.At(fault.Invalid.Errorf("group %s has %d copies; what has documents is made once", name, groups[name].Copies), at)
		}
		if was := cmp.Or(places[p.workspace()], name); was != name {
			return fault.At(fault.Invalid.Errorf("workspace %s is in the groups %s and %s; it can be in one place only", p.workspace(), was, name), at)
		}
		places[p.workspace()] = name
		if err := p.charge(groups[name]); err != nil {
			return fault.Within(err, at)
		}
	}
	w.Groups = w.Groups[:0:0]
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		g := groups[name]
		g.Needs = summed(g.Needs)
		w.Groups = append(w.Groups, *g)
	}
	return nil
}

// priced are the kinds that take something that has a price.
var priced = map[string]offer.Kind{"instance": offer.Instance, "block-storage": offer.Volume, "network": offer.Network, "public-ip": offer.PublicIP}

// charge adds what a document takes to its group.
func (p parcel) charge(g *placement.Group) error {
	k, err := p.kind()
	if err != nil {
		return err
	}
	if k.Kept && !slices.Contains(g.Kinds, k.Name) {
		g.Kinds = append(g.Kinds, k.Name)
	}
	var spec struct {
		SKURef json.RawMessage `json:"skuRef"`
		SizeGB int64           `json:"sizeGB"`
		Zone   string          `json:"zone"`
	}
	if len(p.Spec) > 0 && json.Unmarshal(p.Spec, &spec) != nil {
		return fault.At(fault.Invalid.Errorf("the spec of a %s has other fields", k.Name), "/spec")
	}
	if len(spec.Zone) == 1 { // virtual regions call zones a, b, c
		g.Zones = max(g.Zones, int(spec.Zone[0]-'a')+1)
	}
	of, ok := priced[k.Name]
	if !ok {
		return nil
	}
	need := offer.Need{Kind: of, Count: 1}
	if of == offer.Volume {
		need.GiB = spec.SizeGB
	}
	if of != offer.PublicIP {
		need.SKU = skuNamed(spec.SKURef)
	}
	var l fault.List
	need.Check(&l, "/spec")
	g.Needs = append(g.Needs, need)
	return l.Err()
}

// skuNamed gives the name in a reference to a sku, in both of its forms.
func skuNamed(ref json.RawMessage) string {
	var long struct {
		Resource string `json:"resource"`
	}
	if json.Unmarshal(ref, &long) != nil {
		_ = json.Unmarshal(ref, &long.Resource) // what is neither names nothing
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

package main

import (
	"encoding/json"
	"slices"

	"github.com/kontor-cloud/kontor/document"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/resource"
)

// A purchase is what the files of a quote ask for: a wish, and the documents of what is to be made.
type purchase struct {
	market.Wish
	Blueprint *chosenBlueprint `json:"blueprint,omitempty"`
	Documents []parcel         `json:"documents,omitempty"`
	ValidFor  string           `json:"validFor,omitempty"`
}

// A chosenBlueprint is a blueprint with the choices of its buyer.
type chosenBlueprint struct {
	Name       string                     `json:"name"`
	Parameters map[string]json.RawMessage `json:"parameters,omitempty"`
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

const wishKind = "wish"

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
	return p, nil
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

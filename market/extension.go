package market

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
)

// extensions are those by which the author of a workspace in a virtual region asks for more than
// the region's policy, by key.
var extensions = map[string]func(*Wish, string) error{
	"kontor.exchange/policy": func(w *Wish, text string) error {
		for name := range strings.SplitSeq(text, ",") {
			w.Policies = append(w.Policies, strings.TrimSpace(name))
		}
		return nil
	},
	"kontor.exchange/max-price": func(w *Wish, text string) error {
		a, err := money.Parse(text, money.EUR)
		if err == nil && a.Nano < 0 {
			err = fault.Invalid.Errorf("must not be below 0, for an hour")
		}
		w.MaxPrice = &a
		return err
	},
	"kontor.exchange/near": func(w *Wish, text string) (err error) {
		at, within, _ := strings.Cut(strings.TrimSpace(text), " ")
		w.Near = NearTo(at, strings.TrimSpace(within))
		_, err = w.Near.limit()
		return err
	},
	"kontor.exchange/prefer": func(w *Wish, text string) (err error) {
		w.Weights, err = ParseWeights(text)
		return err
	},
	"kontor.exchange/needs": func(w *Wish, text string) error {
		needs, err := ParseNeeds(text)
		w.Groups = []placement.Group{{Name: workspaceGroup, Needs: needs}}
		return err
	},
}

// asExtension points at the extension by which a field of a wish was asked for.
func asExtension(pointer string) string {
	field, _, _ := strings.Cut(strings.TrimPrefix(pointer, "/"), "/")
	key, ok := map[string]string{"policies": "policy", "maxPrice": "max-price", "near": "near", "weights": "prefer", "groups": "needs"}[field]
	if !ok {
		return pointer
	}
	return "/extensions/kontor.exchange~1" + key
}

// workspaceGroup names the group of a workspace that is placed.
const workspaceGroup = "workspace"

// Extensions names those of workspaces in virtual regions.
func Extensions() []string { return slices.Sorted(maps.Keys(extensions)) }

// CheckExtension reports what is wrong with one extension of a workspace.
func CheckExtension(key, value string) error {
	read, known := extensions[key]
	if !known {
		return fault.Invalid.Errorf("is not an extension that this region knows%s", fault.DidYouMean(key, Extensions()))
	}
	return read(&Wish{}, value)
}

// ParseExtensions reads what the extensions of a workspace ask for.
func ParseExtensions(given map[string]string) (w Wish, err error) {
	for key, value := range given {
		if read := extensions[key]; read != nil {
			if err := read(&w, value); err != nil {
				return w, err
			}
		}
	}
	return w, nil
}

// ParseWeights reads what counts how much: "price=3,latency=1". A name alone counts once.
func ParseWeights(text string) (w placement.Weights, err error) {
	to := map[string]*int64{"price": &w.Price, "latency": &w.Latency, "carbon": &w.Carbon, "seal": &w.SEAL, "reliability": &w.Reliability}
	names := []string{"price", "latency", "carbon", "seal", "reliability"}
	for part := range strings.SplitSeq(text, ",") {
		name, number, weighed := strings.Cut(strings.TrimSpace(part), "=")
		if to[name] == nil {
			return w, fault.Invalid.Errorf("%q is none of %s%s", name, strings.Join(names, ", "), fault.DidYouMean(name, names))
		}
		*to[name] = 1
		if weighed {
			if *to[name], err = strconv.ParseInt(number, 10, 64); err != nil || *to[name] < 0 || *to[name] > 100 {
				return w, fault.Invalid.Errorf("the weight of %s must be 0 to 100, not %q", name, number)
			}
		}
	}
	return w, nil
}

// ParseNeeds reads a bill of materials: "2x seca.ds, 100GiB seca.rd100, 1x public-ip".
func ParseNeeds(text string) ([]offer.Need, error) {
	var all []offer.Need
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		n, err := parseNeed(part)
		if err != nil {
			return nil, fault.Invalid.Errorf("%q is no need; write them like 2x seca.ds, 100GiB seca.rd100, 1x public-ip", part)
		}
		var l fault.List
		n.Check(&l, "")
		if err := l.Err(); err != nil {
			return nil, fault.Invalid.Errorf("%q: %w", part, err)
		}
		all = append(all, n)
	}
	return all, nil
}

func parseNeed(text string) (n offer.Need, err error) {
	amount, of, _ := strings.Cut(text, " ")
	n = offer.Need{Kind: offer.Instance, SKU: strings.TrimSpace(of), Count: 1}
	if gib, ok := strings.CutSuffix(amount, "GiB"); ok {
		n.Kind = offer.Volume
		n.GiB, err = strconv.ParseInt(gib, 10, 64)
		return n, err
	}
	if n.SKU == string(offer.PublicIP) {
		n.Kind, n.SKU = offer.PublicIP, ""
	}
	n.Count, err = strconv.ParseInt(strings.TrimSuffix(amount, "x"), 10, 64)
	return n, err
}

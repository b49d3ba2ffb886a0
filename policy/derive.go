package policy

import (
	"slices"

	"cel.dev/cel-go/common/types"
)

// derive adds what follows from what is known. Nothing that a provider says of
// himself can hide it.
func (v *View) derive() {
	v.deriveSEAL()
	v.deriveLaws()
}

// derived is a fact that is as well known as the weakest of those it follows from.
func (v *View) derived(path string, value val, from []*fact) {
	f := &fact{of: paths[path], value: value, Evidence: from[0].Evidence}
	for _, one := range from[1:] {
		if one.Level.rank() < f.Level.rank() {
			f.Evidence = one.Evidence
		}
	}
	v.best[f.of.at] = f
}

// deriveSEAL gives the overall level, the lowest of the eight, and a score from the levels if
// nobody assessed one.
func (v *View) deriveSEAL() {
	var from []*fact
	lowest, score := int64(4), 0.0
	for i, weight := range v.facts.data.weights() {
		f := v.best[objectives[i].at]
		if f == nil {
			return
		}
		level := int64(f.value.(types.Int))
		lowest, score = min(lowest, level), score+float64(level*weight)/4
		from = append(from, f)
	}
	v.derived("seal.level", types.Int(lowest), from)
	if v.best[paths["seal.score"].at] == nil {
		v.derived("seal.score", types.Double(score), from)
	}
}

// deriveLaws adds the foreign laws that seat, owners, presence and sub-processors bring.
func (v *View) deriveLaws() {
	var from []*fact
	reached := map[string]bool{}
	reach := func(path string, countries func(val) []string) {
		f := v.best[paths[path].at]
		if f == nil {
			return
		}
		from = append(from, f)
		for _, c := range countries(f.value) {
			reached[c] = true
		}
	}
	one := func(x val) []string { return []string{string(x.(types.String))} }
	reach("provider.legal_country", one)
	reach("provider.hq_country", one)
	reach("provider.ultimate_owner_country", one)
	reach("provider.owner_chain", list)
	reach("region.admin_countries", list)
	reach("provider.us_nexus", func(x val) []string {
		if x.(types.String) == "none" {
			return nil
		}
		return []string{"US"}
	})
	reach("service.subprocessors", func(x val) (all []string) {
		for _, o := range x.Value().([]val) {
			if s := o.Value().(*Subprocessor); s.TouchesData || s.ControlsIAM {
				all = append(all, s.Country, s.ParentCountry)
			}
		}
		return all
	})
	said := v.best[paths["provider.foreign_laws"].at]
	var laws []string
	if said != nil {
		from, laws = []*fact{said}, list(said.value)
	} else if v.best[paths["provider.owner_chain"].at] == nil {
		return // who owns it is not known, so neither is what reaches it
	}
	for _, law := range v.facts.data.Laws {
		if reached[law.Country] && !slices.Contains(laws, law.ID) {
			laws = append(slices.Clone(laws), law.ID)
		}
	}
	v.derived("provider.foreign_laws", value(laws), from)
}

func list(v val) []string {
	s, _ := v.Value().([]string)
	return s
}

// objectives are SOV-1 to SOV-8.
var objectives = sealPaths()

func sealPaths() (all [8]*Attribute) {
	for i := range all {
		all[i] = paths["seal.sov"+string(rune('1'+i))]
	}
	return all
}

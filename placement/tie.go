package placement

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
)

// A Tie says how the places of groups must stand to each other. Copies of one
// group are not held against each other: that is what Spread is for.
type Tie struct {
	Groups    []string `json:"groups"`              // two at least
	Different []string `json:"different,omitempty"` // owner, provider, country or region: no two groups share it
	Same      []string `json:"same,omitempty"`      // likewise: all share it
	Within    int64    `json:"within,omitempty"`    // round trip between any two, in microseconds, by the distance
}

func (t Tie) normal() Tie {
	for _, names := range []*[]string{&t.Groups, &t.Different, &t.Same} {
		*names = slices.Compact(slices.Sorted(slices.Values(*names)))
	}
	return t
}

func (t Tie) text() []byte {
	b, _ := json.Marshal(t) // texts and numbers
	return b
}

// Check reports what is wrong with the tie, among these groups.
func (t Tie) Check(l *fault.List, at string, groups map[string]bool) {
	if len(t.normal().Groups) < 2 {
		l.Add(at+"/groups", "must name two groups at least")
	}
	for _, g := range t.Groups {
		if !groups[g] {
			l.Add(at+"/groups", "must be groups of this request%s", fault.DidYouMean(g, slices.Sorted(maps.Keys(groups))))
		}
	}
	for member, names := range map[string][]string{"/different": t.Different, "/same": t.Same} {
		for _, over := range names {
			if spreads[over] == nil {
				l.Add(at+member, "must be some of %s", strings.Join(slices.Sorted(maps.Keys(spreads)), ", "))
			}
		}
	}
	if t.Within < 0 {
		l.Add(at+"/within", "must not be below 0")
	}
	if len(t.Different) == 0 && len(t.Same) == 0 && t.Within == 0 {
		l.Add(at, "must say something: different, same or within")
	}
}

// allows reports whether two groups of the tie may be at these places.
func (t *Tie) allows(a, b *candidate) bool {
	for _, over := range t.Different {
		if spreads[over](a) == spreads[over](b) {
			return false
		}
	}
	for _, over := range t.Same {
		if spreads[over](a) != spreads[over](b) {
			return false
		}
	}
	return t.Within == 0 || a.Region == b.Region || a.At != nil && b.At != nil && estimate(metres(a.from, b.from)) <= t.Within
}

// tied reports whether unit i may be where it is beside those before it.
func (s *search) tied(i int) bool {
	for k := range s.r.order.Ties {
		t := &s.r.order.Ties[k]
		name := s.units[i].group.Name
		if !slices.Contains(t.Groups, name) {
			continue
		}
		for j := range i {
			if other := s.units[j].group.Name; other != name && slices.Contains(t.Groups, other) && !t.allows(s.at(j).c, s.at(i).c) {
				return false
			}
		}
	}
	return true
}

// untied says which two groups have no pair of places that a tie allows.
func (s *search) untied(t *Tie) (Miss, bool) {
	for i, a := range s.units {
		for _, b := range s.units[i+1:] {
			if a == b || !slices.Contains(t.Groups, a.group.Name) || !slices.Contains(t.Groups, b.group.Name) {
				continue
			}
			if !t.some(a.fits, b.fits) {
				return miss(NotTied, a.group.Name+" and "+b.group.Name, words(t.String()), words("no two regions that may"), 0), true
			}
		}
	}
	return Miss{}, false
}

func (t *Tie) some(a, b []fit) bool {
	for i := range a {
		for j := range b {
			if t.allows(a[i].c, b[j].c) {
				return true
			}
		}
	}
	return false
}

// String says it in words: "different owner, same country, within 20.0 ms".
func (t *Tie) String() string {
	var all []string
	for _, over := range t.Different {
		all = append(all, "different "+over)
	}
	for _, over := range t.Same {
		all = append(all, "same "+over)
	}
	if t.Within > 0 {
		all = append(all, "within "+amount(t.Within, microseconds).String())
	}
	return strings.Join(all, ", ")
}

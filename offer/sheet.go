// Package offer is what is on sale: the price sheets that providers sign, and
// what a bill of materials costs by them. Everything here is a pure function of sheets,
// orders and moments, so a price can be reckoned again years later, to the billionth.
package offer

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/document"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
)

// A Sheet is what a provider asks for what he sells, for a time. A new price is a
// new version: a sheet that was published never changes.
type Sheet struct {
	Provider   string            `json:"provider"`
	Version    int               `json:"version"` // 1, 2, 3 …
	Currency   money.Currency    `json:"currency"`
	ValidFrom  time.Time         `json:"validFrom"`
	ValidUntil time.Time         `json:"validUntil"` // no order is taken by it from then on
	NoticeDays int               `json:"noticeDays"` // how long before a newer version is paid by running orders
	Terms      *Terms            `json:"terms,omitempty"`
	Regions    map[string]Prices `json:"regions"`
	Signature  *Signature        `json:"signature,omitempty"`
}

// Terms are the contract that the prices are part of.
type Terms struct {
	URL    string `json:"url"`
	SHA256 string `json:"sha256"` // of the document, in hexadecimal
}

// Prices are those of one region.
type Prices struct {
	Instances map[string]Hourly  `json:"instances,omitempty"` // by the name of the sku in the region
	Volumes   map[string]Monthly `json:"volumes,omitempty"`
	Networks  map[string]Hourly  `json:"networks,omitempty"`
	PublicIP  *Hourly            `json:"publicIP,omitempty"`
	Egress    *Egress            `json:"egress,omitempty"`
}

// Hourly is the price of having something.
type Hourly struct {
	As       string        `json:"as,omitempty"` // the common size that it fulfils
	Hour     money.Decimal `json:"hour"`
	Rounding Rounding      `json:"rounding,omitempty"`
	Minimum  Term          `json:"minimum,omitempty"` // is paid at least
}

// Monthly is the price of a GiB for a month of 730 hours.
type Monthly struct {
	As       string        `json:"as,omitempty"`
	GiBMonth money.Decimal `json:"gibMonth"`
	Rounding Rounding      `json:"rounding,omitempty"`
	Minimum  Term          `json:"minimum,omitempty"`
}

// Egress is the price of a GiB that leaves the region, each month's first FreeGiB aside.
type Egress struct {
	GiB     money.Decimal `json:"gib"`
	FreeGiB int64         `json:"freeGiB,omitempty"`
}

// Rounding is the unit of time of which each begun one is paid.
type Rounding string

// The units. Second is meant where nothing is said.
const (
	BySecond Rounding = "second"
	ByHour   Rounding = "hour"
)

// UnmarshalText reads a unit.
func (r *Rounding) UnmarshalText(b []byte) error {
	if *r = Rounding(b); *r != BySecond && *r != ByHour {
		return fault.Invalid.Errorf("%q is neither second nor hour", b)
	}
	return nil
}

// A Term is a length of time, as in "1h" or "720h".
type Term time.Duration

// String gives it as it is written.
func (t Term) String() string { return time.Duration(t).String() }

// MarshalText writes what String gives.
func (t Term) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a whole number of seconds, minutes or hours.
func (t *Term) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil || d < 0 || d%time.Second != 0 || d > longest {
		return fault.Invalid.Errorf("%q is no term: write whole hours, minutes or seconds, like 720h, at most %s", b, longest)
	}
	*t = Term(d)
	return nil
}

const (
	month    = 730 * time.Hour
	longest  = 20 * 365 * 24 * time.Hour
	maxPrice = money.Decimal(1_000_000 * 1_000_000_000)
	maxName  = 64
	maxSheet = 1000 // regions in a sheet, and skus in a region
)

var (
	nameRule   = regexp.MustCompile(`^[a-z0-9]([-._a-z0-9]*[a-z0-9])?$`)
	digestRule = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Parse reads a sheet from YAML. Mistakes are pointed at by line.
func Parse(name string, b []byte) (*Sheet, error) {
	var s Sheet
	d, err := document.Decode(name, b, &s)
	if err != nil {
		return nil, err
	}
	var l fault.List
	s.check(&l)
	if err := d.Err(&l); err != nil {
		return nil, err
	}
	s.normalize()
	return &s, nil
}

// Validate reports what is wrong with a sheet that did not come through Parse.
func (s *Sheet) Validate() error {
	var l fault.List
	s.check(&l)
	return l.Err()
}

// normalize gives the sheet its only spelling.
func (s *Sheet) normalize() { s.ValidFrom, s.ValidUntil = s.ValidFrom.UTC(), s.ValidUntil.UTC() }

func (s *Sheet) check(l *fault.List) {
	checkName(l, "/provider", s.Provider)
	if s.Version < 1 {
		l.Add("/version", "must be 1 or more")
	}
	if s.Currency != money.EUR {
		l.Add("/currency", "must be EUR")
	}
	if !s.ValidFrom.Before(s.ValidUntil) {
		l.Add("/validUntil", "must be after validFrom")
	}
	if s.NoticeDays < 0 || s.NoticeDays > 366 {
		l.Add("/noticeDays", "must be 0 to 366")
	}
	if s.Terms != nil {
		if u, err := url.Parse(s.Terms.URL); err != nil || u.Scheme != "https" || u.Host == "" {
			l.Add("/terms/url", "must begin with https://")
		}
		if !digestRule.MatchString(s.Terms.SHA256) {
			l.Add("/terms/sha256", "must be 64 hexadecimal digits")
		}
	}
	if len(s.Regions) == 0 || len(s.Regions) > maxSheet {
		l.Add("/regions", "must be 1 to %d", maxSheet)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Regions)) {
		checkName(l, "/regions/"+name, name)
		s.Regions[name].check(l, "/regions/"+name)
	}
}

func checkName(l *fault.List, at, name string) {
	if len(name) > maxName || !nameRule.MatchString(name) {
		l.Add(at, "must be named by 1 to %d lower-case letters, digits, dots, hyphens and underscores", maxName)
	}
}

func (p Prices) check(l *fault.List, at string) {
	if n := len(p.Instances) + len(p.Volumes) + len(p.Networks); n > maxSheet {
		l.Add(at, "must not have more than %d skus", maxSheet)
	}
	checkRates(l, at+"/instances", p.Instances, func(h Hourly) (string, money.Decimal) { return h.As, h.Hour })
	checkRates(l, at+"/volumes", p.Volumes, func(m Monthly) (string, money.Decimal) { return m.As, m.GiBMonth })
	checkRates(l, at+"/networks", p.Networks, func(h Hourly) (string, money.Decimal) { return h.As, h.Hour })
	if p.PublicIP != nil {
		checkRate(l, at+"/publicIP", "ip", "", p.PublicIP.Hour)
	}
	if p.Egress != nil {
		checkRate(l, at+"/egress", "egress", "", p.Egress.GiB)
		if p.Egress.FreeGiB < 0 || p.Egress.FreeGiB > maxGiB {
			l.Add(at+"/egress/freeGiB", "must be 0 to %d", int64(maxGiB))
		}
	}
}

// checkRates checks all skus of a kind. A size, by whichever of its two names, is that of one alone.
func checkRates[T any](l *fault.List, at string, skus map[string]T, of func(T) (as string, price money.Decimal)) {
	sizes := map[string]string{}
	for _, sku := range slices.Sorted(maps.Keys(skus)) {
		as, price := of(skus[sku])
		checkRate(l, at+"/"+sku, sku, as, price)
		other, twice := sizes[as]
		if _, named := skus[as]; named && as != sku {
			other, twice = as, true
		}
		if twice && as != "" {
			l.Add(at+"/"+sku+"/as", "must not be %s: %s is that, too, and a buyer of the common size could not tell which he gets", as, other)
		}
		sizes[as] = sku
	}
}

func checkRate(l *fault.List, at, sku, as string, price money.Decimal) {
	checkName(l, at, sku)
	if as != "" {
		checkName(l, at+"/as", as)
	}
	if price < 0 || price > maxPrice {
		l.Add(at, "must have a price from 0 to %s", maxPrice)
	}
}

// InForce returns the newest sheet by which an order can be placed at a moment, or nil.
func InForce(published []Published, now time.Time) *Sheet {
	var best *Sheet
	for _, p := range published {
		s := p.Sheet
		if !now.Before(s.ValidFrom) && now.Before(s.ValidUntil) && !now.Before(p.At) && (best == nil || s.Version > best.Version) {
			best = s
		}
	}
	return best
}

// A Published sheet is one that customers could see since a moment.
type Published struct {
	Sheet *Sheet
	At    time.Time
}

// Binding returns the sheet by which an order is charged at a moment that was placed under a
// version: a newer one counts when it is in force and the longest notice of those
// before it has passed since it was published. So a chain of changes is no way around a notice.
func Binding(published []Published, version int, now time.Time) (*Sheet, error) {
	all := slices.Clone(published)
	slices.SortFunc(all, func(a, b Published) int { return a.Sheet.Version - b.Sheet.Version })
	var in *Sheet
	notice := 0
	for _, p := range all {
		if p.Sheet.Version == version || in != nil && !now.Before(later(p.Sheet.ValidFrom, p.At.AddDate(0, 0, notice))) {
			in = p.Sheet
		}
		if in != nil {
			notice = max(notice, p.Sheet.NoticeDays)
		}
	}
	if in == nil {
		return nil, fault.Missing.Errorf("there is no version %d of the price sheet", version)
	}
	return in, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// String names a sheet.
func (s *Sheet) String() string { return fmt.Sprintf("%s, version %d", s.Provider, s.Version) }

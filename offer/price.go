package offer

import (
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
)

// A Kind is what sort of thing is sold.
type Kind string

// The kinds.
const (
	Instance Kind = "instance"
	Volume   Kind = "volume"
	Network  Kind = "network"
	PublicIP Kind = "public-ip"
	Traffic  Kind = "egress"
)

// A Rate is the price of one sku in one region.
type Rate struct {
	Kind     Kind         `json:"kind"`
	SKU      string       `json:"sku,omitempty"` // "" for public addresses and egress
	As       string       `json:"as,omitempty"`
	Price    money.Amount `json:"price"` // for an hour, a GiB and month, or a GiB
	Rounding Rounding     `json:"rounding,omitempty"`
	Minimum  Term         `json:"minimum,omitempty"`
	FreeGiB  int64        `json:"freeGiB,omitempty"`
}

const (
	maxCount = 10_000
	maxGiB   = 1_000_000
)

// A Need is a line of a bill of materials.
type Need struct {
	Kind  Kind   `json:"kind"`
	SKU   string `json:"sku,omitempty"` // a common size or a sku of the provider; empty for public-ip and egress
	Count int64  `json:"count"`
	GiB   int64  `json:"gib,omitempty"` // of each volume; egress of each in a month
}

// Check reports what is wrong with the line.
func (n Need) Check(l *fault.List, at string) {
	switch n.Kind {
	case Instance, Volume, Network:
		checkName(l, at+"/sku", n.SKU)
	case PublicIP, Traffic:
		if n.SKU != "" {
			l.Add(at+"/sku", "must be empty: there is one price of a %s", n.Kind)
		}
	default:
		l.Add(at+"/kind", "must be instance, volume, network, public-ip or egress")
	}
	if n.Count < 1 || n.Count > maxCount {
		l.Add(at+"/count", "must be 1 to %d", maxCount)
	}
	if sized := n.Kind == Volume || n.Kind == Traffic; sized && (n.GiB < 1 || n.GiB > maxGiB) || !sized && n.GiB != 0 {
		l.Add(at+"/gib", "must be 1 to %d for volumes and egress, and absent for others", maxGiB)
	}
}

// Rates lists the prices of a region, in no order.
func (s *Sheet) Rates(region string) []Rate {
	p, c := s.Regions[region], s.Currency
	var all []Rate
	hourly := func(k Kind, sku string, h Hourly) {
		all = append(all, Rate{k, sku, h.As, h.Hour.In(c), h.Rounding, h.Minimum, 0})
	}
	for sku, h := range p.Instances {
		hourly(Instance, sku, h)
	}
	for sku, h := range p.Networks {
		hourly(Network, sku, h)
	}
	for sku, m := range p.Volumes {
		all = append(all, Rate{Volume, sku, m.As, m.GiBMonth.In(c), m.Rounding, m.Minimum, 0})
	}
	if p.PublicIP != nil {
		hourly(PublicIP, "", *p.PublicIP)
	}
	if p.Egress != nil {
		all = append(all, Rate{Kind: Traffic, Price: p.Egress.GiB.In(c), FreeGiB: p.Egress.FreeGiB})
	}
	return all
}

// Fulfils reports whether the rate is for what is needed.
func (r Rate) Fulfils(n Need) bool {
	return r.Kind == n.Kind && (r.SKU == n.SKU || r.As == n.SKU && r.As != "")
}

// Charge is what a need costs for a time, unrounded: time is rounded up to the
// unit of the rate, and no less than its minimum is paid. A rounding to cents is the invoice's.
func (r Rate) Charge(n Need, d time.Duration) (money.Amount, error) {
	if d < 0 || d > longest {
		return money.Amount{}, fault.Invalid.Errorf("%s is no time that can be charged", d)
	}
	seconds := r.billed(d)
	switch r.Kind {
	case Volume:
		sized, err := r.Price.Times(n.Count*n.GiB, 1)
		if err != nil {
			return money.Amount{}, err
		}
		return sized.Times(seconds, int64(month/time.Second))
	case Traffic:
		each, err := r.Price.Times(max(0, n.GiB-r.FreeGiB)*n.Count, 1)
		if err != nil {
			return money.Amount{}, err
		}
		return each.Times(seconds, int64(month/time.Second)) // n.GiB is of a month
	default:
		all, err := r.Price.Times(n.Count, 1)
		if err != nil {
			return money.Amount{}, err
		}
		return all.Times(seconds, 3600)
	}
}

// billed is the seconds that are paid for a time.
func (r Rate) billed(d time.Duration) int64 {
	unit := time.Second
	if r.Rounding == ByHour {
		unit = time.Hour
	}
	d = max(d, time.Duration(r.Minimum))
	return int64((d + unit - 1) / unit * (unit / time.Second))
}

// Hourly is what a need costs for an hour of a long time: what prices are compared by.
func (r Rate) Hourly(n Need) (money.Amount, error) {
	r.Minimum, r.Rounding = 0, BySecond
	return r.Charge(n, time.Hour)
}

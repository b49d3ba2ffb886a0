package market

import (
	"context"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
)

// A Price is what an order costs an hour at a moment, and by which sheets.
type Price struct {
	Hourly money.Amount   `json:"hourly"`
	Sheets map[string]int `json:"sheets"` // versions, by provider

	// Next is when it changes by sheets that are published already; zero if it does not.
	Next       time.Time     `json:"next,omitzero"`
	NextHourly *money.Amount `json:"nextHourly,omitempty"`
}

// OrderPrice is what an order costs at a moment: by the sheets of its quote, or by newer ones
// whose notice has passed then. What a newer sheet does not sell any more is charged as before.
func (s *Store) OrderPrice(ctx context.Context, o *Order, at time.Time) (*Price, error) {
	now, err := s.stock(ctx, time.Now().Add(-maxAge))
	if err != nil {
		return nil, err
	}
	return now.price(o.Quote.Chosen, at)
}

// price is what places cost at a moment, by the sheets by which they were chosen or newer ones that bind.
func (s *stock) price(chosen []placement.Placement, at time.Time) (*Price, error) {
	p, err := s.priceAt(chosen, at)
	if err != nil {
		return nil, err
	}
	next, moment, err := s.changed(chosen, at, func(next money.Amount) bool { return next != p.Hourly })
	if next != nil {
		p.Next, p.NextHourly = moment, &next.Hourly
	}
	return p, err
}

// changed finds when, after a moment, the price will be one that is looked for, by sheets that are published already; nil if never.
func (s *stock) changed(chosen []placement.Placement, at time.Time, wanted func(hourly money.Amount) bool) (*Price, time.Time, error) {
	for _, moment := range moments(s.published, chosen, at) {
		if p, err := s.priceAt(chosen, moment); err != nil || wanted(p.Hourly) {
			return p, moment, err
		}
	}
	return nil, time.Time{}, nil
}

func (s *stock) priceAt(chosen []placement.Placement, at time.Time) (*Price, error) {
	p := &Price{Hourly: money.Amount{Currency: money.EUR}, Sheets: map[string]int{}}
	for _, c := range chosen {
		version, rates := c.Sheet, []offer.Rate(nil)
		if sheet, err := offer.Binding(s.published[c.Provider], c.Sheet, at); err == nil { // else he sells no more
			version, rates = sheet.Version, sheet.Rates(c.Region)
		}
		p.Sheets[c.Provider] = max(p.Sheets[c.Provider], version)
		for _, l := range c.Lines {
			hourly, err := lineAt(rates, l)
			if err != nil {
				return nil, err
			}
			if p.Hourly, err = p.Hourly.Add(hourly); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// lineAt is what a line costs an hour by the rates of a sheet, or as it was agreed if they lack it.
func lineAt(rates []offer.Rate, l placement.Line) (money.Amount, error) {
	rate := offer.Rate{Kind: l.Need.Kind, SKU: l.SKU, Price: l.Price}
	for _, r := range rates {
		if r.Kind == l.Need.Kind && r.SKU == l.SKU {
			rate = r
		}
	}
	return rate.Hourly(l.Need)
}

// moments are those after at when another sheet may begin to bind: when it begins, or when one of the
// notices since its publication has passed.
func moments(published map[string][]offer.Published, chosen []placement.Placement, at time.Time) []time.Time {
	var all []time.Time
	for _, c := range chosen {
		sheets := published[c.Provider]
		for _, p := range sheets {
			all = append(all, p.Sheet.ValidFrom)
			for _, before := range sheets {
				all = append(all, p.At.AddDate(0, 0, before.Sheet.NoticeDays))
			}
		}
	}
	all = slices.DeleteFunc(all, func(t time.Time) bool { return !t.After(at) })
	slices.SortFunc(all, time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}

package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/participant"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/seca"
)

// Stock tells package offer what the regions of an exchange have.
func Stock(s *provider.Store) func(region string) (offer.Stock, error) {
	return func(name string) (offer.Stock, error) {
		r, err := s.Snapshot().Region(name)
		if err != nil {
			return offer.Stock{}, err
		}
		stock := offer.Stock{Provider: r.Provider}
		for _, k := range r.Inventory.InstanceSKUs {
			stock.Instances = append(stock.Instances, k.Name)
		}
		for _, k := range r.Inventory.StorageSKUs {
			stock.Volumes = append(stock.Volumes, k.Name)
		}
		for _, k := range r.Inventory.NetworkSKUs {
			stock.Networks = append(stock.Networks, k.Name)
		}
		return stock, nil
	}
}

type sheetStatus struct {
	Digest      string    `json:"digest"` // SHA-256 of what was signed
	Key         string    `json:"key"`    // that signed it
	PublishedAt time.Time `json:"publishedAt"`
	VisibleAt   time.Time `json:"visibleAt"`         // from when on customers see it, and its notice runs
	Altered     string    `json:"altered,omitempty"` // why it is not what its provider signed
}

func sheetDocument(r offer.Record) (seca.Document, error) {
	s := sheetStatus{Digest: r.Digest, Key: r.Key, PublishedAt: r.PublishedAt, VisibleAt: r.At}
	if r.Altered != nil {
		s.Altered = r.Altered.Error()
	}
	return ownDocument("price-sheet", "participants/"+r.Provider+"/sheets", strconv.Itoa(r.Version), r.PublishedAt, r.Sheet, s), nil
}

// sheets are those of the path's participant that the caller may see: until a sheet is valid,
// it is its provider's alone, and not even the operator's.
func (c *call) sheets(p *participant.Participant) ([]offer.Record, error) {
	all, err := c.server.Offers.Sheets(c.ctx, p.Name)
	if err != nil {
		return nil, err
	}
	own, err := c.actsFor(p.Name)
	if err != nil || own {
		return all, err
	}
	now, shown := time.Now(), all[:0]
	for _, r := range all {
		if !now.Before(r.At) {
			shown = append(shown, r)
		}
	}
	return shown, nil
}

func (c *call) listSheets() (reply, error) {
	p, err := c.party()
	if err != nil {
		return reply{}, err
	}
	all, err := c.sheets(p)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "participants/"+p.Name+"/sheets", all, sheetDocument)
}

func (c *call) oneSheet() (reply, error) {
	p, err := c.party()
	if err != nil {
		return reply{}, err
	}
	all, err := c.sheets(p)
	if err != nil {
		return reply{}, err
	}
	version := c.req.PathValue("version")
	for _, r := range all {
		if strconv.Itoa(r.Version) == version {
			return ok(sheetDocument(r))
		}
	}
	return reply{}, fault.Parameter(fault.Missing.Errorf("%s has no price sheet %s that is to be seen", p.Name, clip(version, 16)), "version")
}

// publish takes a sheet as its provider signed it.
func (c *call) publish() (reply, error) {
	p, err := c.party()
	if err != nil {
		return reply{}, err
	}
	var in offer.Sheet
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	if in.Provider != p.Name {
		return reply{}, fault.At(fault.Invalid.Errorf("provider must be %s, as in the path", p.Name), "/provider")
	}
	if err := c.server.Offers.Publish(c.ctx, &in); err != nil {
		return reply{}, err
	}
	all, err := c.server.Offers.Sheets(c.ctx, p.Name)
	if err != nil {
		return reply{}, err
	}
	for _, r := range all {
		if r.Version == in.Version {
			d, err := sheetDocument(r)
			return reply{status: http.StatusCreated, body: d}, err
		}
	}
	return reply{}, fault.Missing.Errorf("the sheet was published and is not there")
}

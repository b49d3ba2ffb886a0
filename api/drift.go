package api

import (
	"context"
	"errors"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/seca"
)

// driftStatus is what has come to differ from what was decided, and what would have to move.
type driftStatus struct {
	Summary string `json:"summary"`
	*market.Drift
}

func (c *call) driftDocument(d *market.Drift) (seca.Document, error) {
	return c.tenantDocumentOf("drift", "drift", d.Name, d.Since, struct{}{}, driftStatus{d.Summary(), d}), nil
}

func (c *call) listDrift() (reply, error) {
	all, err := c.server.Market.Drifts(c.ctx, c.at.Tenant)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "drift", all, c.driftDocument)
}

func (c *call) oneDrift() (reply, error) {
	d, err := c.server.Market.FindDrift(c.ctx, c.at.Tenant, c.at.Name)
	if err != nil {
		return reply{}, err
	}
	return ok(c.driftDocument(d))
}

// driftOf is what an order shows of its drift; nil if it has none.
func (c *call) driftOf(order string) (*driftStatus, error) {
	d, err := c.server.Market.FindDrift(c.ctx, c.at.Tenant, order)
	if errors.Is(err, fault.Missing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &driftStatus{d.Summary(), d}, nil
}

// Placed lists the workspaces that run somewhere by a decision.
func (x *Exchange) Placed(ctx context.Context) ([]market.Placed, error) {
	all, err := x.Resources.Placed(ctx)
	if err != nil {
		return nil, err
	}
	var placed []market.Placed
	for _, r := range all {
		if !r.Leaving() {
			placed = append(placed, market.Placed{Tenant: r.URN.Tenant, Region: r.Region, Workspace: r.URN.Name, Decision: r.Decision})
		}
	}
	return placed, nil
}

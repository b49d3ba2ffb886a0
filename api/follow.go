package api

import (
	"context"
	"fmt"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

const (
	// failing is how long something of a new order may be in error, before all of it is taken back.
	failing = 2 * time.Minute

	// unsaid is how long what an order takes is kept off what its platforms say is free, if
	// they say nothing new.
	unsaid = 5 * time.Minute
)

// FollowOrders looks what has become of orders: what stands is not reserved any more, what can nowhere
// be made as a whole is taken back as a whole, and what is gone has ended.
func (x *Exchange) FollowOrders(ctx context.Context, now time.Time) error {
	open, err := x.Market.OpenOrders(ctx)
	if err != nil || len(open) == 0 {
		return err
	}
	placed, err := x.Resources.Placed(ctx)
	if err != nil {
		return err
	}
	parts := map[string][]*resource.Resource{}
	for _, w := range placed {
		parts[w.Decision] = append(parts[w.Decision], w)
	}
	for _, o := range open {
		if err := x.followOrder(ctx, o, parts[o.Decision], now); err != nil {
			return fmt.Errorf("follow order %s: %w", o.ID, err)
		}
	}
	return nil
}

func (x *Exchange) followOrder(ctx context.Context, o market.OpenOrder, parts []*resource.Resource, now time.Time) error {
	if len(parts) == 0 {
		return x.Market.End(ctx, o.ID)
	}
	if o.Settled {
		return nil
	}
	stands, bad := true, (*resource.Resource)(nil)
	for _, w := range parts {
		within, err := x.Resources.Within(ctx, w)
		if err != nil {
			return err
		}
		for _, r := range within {
			stands = stands && r.State == seca.Active && x.counted(r, now)
			if r.State == seca.Error && now.Sub(newest(r).LastTransitionAt) > failing {
				bad = r
			}
		}
	}
	switch {
	case bad != nil && !parts[0].Leaving():
		return x.takeBack(ctx, o, parts, bad)
	case stands:
		return x.Market.Settle(ctx, o.ID)
	}
	return nil
}

// counted reports whether what r takes is in what its platform says is free.
func (x *Exchange) counted(r *resource.Resource, now time.Time) bool {
	host, err := x.Providers.Snapshot().Region(r.Host)
	return err == nil && host.InventoryAt.After(r.ModifiedAt) || now.Sub(r.ModifiedAt) > unsaid
}

// takeBack deletes all that an order has made, as one of them cannot be made.
func (x *Exchange) takeBack(ctx context.Context, o market.OpenOrder, parts []*resource.Resource, bad *resource.Resource) error {
	last := newest(bad)
	why := fmt.Sprintf("%s in region %s: %s: %s", bad.URN.Resource(), bad.Host, last.Reason, last.Message)
	names := make([]string, len(parts))
	for i, w := range parts {
		names[i] = w.URN.Name
	}
	var announce func()
	err := x.Providers.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if err := x.Market.Fail(ctx, tx, o, why); err != nil {
			return err
		}
		announce, err = x.Resources.Unmake(ctx, tx, parts[0].Region, o.Tenant, names)
		return err
	})
	if err == nil {
		announce()
		x.Log.WarnContext(ctx, "order taken back", "order", o.ID, "tenant", o.Tenant, "reason", why)
	}
	return err
}

// newest is the last transition of a resource.
func newest(r *resource.Resource) seca.Condition {
	all, err := r.Log.Entries()
	if err != nil || len(all) == 0 {
		return seca.Condition{LastTransitionAt: r.ModifiedAt}
	}
	return all[0]
}

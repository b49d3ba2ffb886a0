package api

import (
	"slices"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

// Operators limit what a tenant may have; its members see that, and what it has.

const quotas = "/tenants/{tenant}/quotas"

type quotaSpec struct {
	Limit *int64 `json:"limit,omitempty" schema:"min=0,max=1000000000000" doc:"The most that the tenant may have. Without it there is no limit."`
}

type quotaStatus struct {
	Used int64 `json:"used" doc:"What the tenant has, in all regions. It may be more than the limit, if that was lowered."`
}

func (c *call) quotaDocument(q resource.Quota) (seca.Document, error) {
	d := ownDocument("quota", "tenants/"+c.at.Tenant+"/quotas", q.Meter, q.ChangedAt, quotaSpec{q.Limit}, quotaStatus{q.Used})
	d.Metadata.Tenant = c.at.Tenant
	return d, nil
}

func (c *call) listQuotas() (reply, error) {
	all, err := c.quotas()
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "tenants/"+c.at.Tenant+"/quotas", all, c.quotaDocument)
}

// quotas are those of a tenant that exists. What was never limited is as old as the tenant.
func (c *call) quotas() ([]resource.Quota, error) {
	t, err := c.server.Tenants.Tenant(c.ctx, c.at.Tenant)
	if err != nil {
		return nil, err
	}
	all, err := c.server.Resources.Quotas(c.ctx, t.Name)
	for i := range all {
		if all[i].ChangedAt.IsZero() {
			all[i].ChangedAt = t.CreatedAt
		}
	}
	return all, err
}

func (c *call) oneQuota() (reply, error) {
	all, err := c.quotas()
	if err != nil {
		return reply{}, err
	}
	i := slices.IndexFunc(all, func(q resource.Quota) bool { return q.Meter == c.at.Name })
	if i < 0 {
		return reply{}, fault.Missing.Errorf("no quota named %q", clip(c.at.Name, 64))
	}
	return ok(c.quotaDocument(all[i]))
}

func (c *call) putQuota() (reply, error) {
	var in withSpec[quotaSpec]
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	if _, err := c.server.Tenants.Tenant(c.ctx, c.at.Tenant); err != nil {
		return reply{}, err
	}
	if err := c.server.Resources.SetQuota(c.ctx, c.at.Tenant, c.at.Name, in.Spec.Limit); err != nil {
		return reply{}, err
	}
	return c.oneQuota()
}

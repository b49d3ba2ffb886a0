package api

import (
	"net/http"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/tenant"
)

// Service accounts are a tenant's programs. Who manages them can act as them, so
// the right to is one of its own, that only seca.admin has of the system's roles.

const services = "/tenants/{tenant}/service-accounts"

func service(name, verb string) permission {
	return permission{provider: "kontor.identity", resource: "service-accounts" + name, verb: verb}
}

type serviceSpec struct {
	DisplayName string `json:"displayName,omitempty"`
	Disabled    bool   `json:"disabled,omitempty"`
}

type serviceStatus struct {
	Account string `json:"account"`
}

func serviceDocument(a tenant.Account) (seca.Document, error) {
	return ownDocument("service-account", "tenants/"+a.Owner+"/service-accounts", a.ServiceName(), a.CreatedAt,
		serviceSpec{a.Display, a.Disabled}, serviceStatus{a.ID}), nil
}

func (c *call) listServices() (reply, error) {
	all, err := c.server.Tenants.Services(c.ctx, c.at.Tenant)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "service-accounts", all, serviceDocument)
}

func (c *call) oneService() (reply, error) {
	a, err := c.server.Tenants.Account(c.ctx, tenant.ServiceID(c.at.Tenant, c.at.Name))
	if err == nil && a.Owner != c.at.Tenant {
		err = fault.Missing.Errorf("there is no service account %s", clip(c.at.Name, 64))
	}
	if err != nil {
		return reply{}, err
	}
	return ok(serviceDocument(a))
}

func (c *call) putService() (reply, error) {
	var in withSpec[serviceSpec]
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	_, missing := c.server.Tenants.Account(c.ctx, tenant.ServiceID(c.at.Tenant, c.at.Name))
	a, err := c.server.Tenants.PutService(c.ctx, c.at.Tenant, c.at.Name, in.Spec.DisplayName, in.Spec.Disabled)
	if err != nil {
		return reply{}, err
	}
	r, err := ok(serviceDocument(a))
	if missing != nil {
		r.status = http.StatusCreated
	}
	return r, err
}

// ownsService reports whether the account of the path is a service account of
// a tenant in which the caller may do verb to it.
func (c *call) ownsService(verb string) bool {
	a, err := c.server.Tenants.Account(c.ctx, c.at.Name)
	if err != nil || a.Owner == "" {
		return false
	}
	asked := *c
	asked.at.Tenant, asked.at.Name = a.Owner, a.ServiceName()
	return asked.authorize(service("/{name}", verb)) == nil
}

package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/tenant"
	"github.com/kontor-cloud/kontor/urn"
	"github.com/kontor-cloud/kontor/wire"
)

// Bootstrap makes a tenant, unless it is there, and gives the admins every
// right in it by an ordinary role assignment named "admins". It can be
// repeated after a crash.
func (x *Exchange) Bootstrap(ctx context.Context, t tenant.Tenant, admins []string) (created bool, err error) {
	for _, a := range admins {
		_, err := x.Tenants.Account(ctx, a)
		if fault.KindOf(err) == fault.Missing {
			err = fault.Invalid.Errorf("there is no account %s: make it first (kontor account create %[1]s)", a)
		}
		if err != nil {
			return false, fault.At(err, "/spec/admins")
		}
	}
	err = x.Tenants.CreateTenant(ctx, t, nil)
	created = err == nil
	if err != nil && fault.KindOf(err) != fault.Conflict {
		return false, err
	}
	failpoint.Here(failpoint.TenantMade)
	for _, a := range admins {
		if err := x.Tenants.AddMember(ctx, t.Name, a); err != nil {
			return created, fault.At(err, "/spec/admins")
		}
	}
	if len(admins) == 0 {
		return created, nil
	}
	failpoint.Here(failpoint.TenantJoined)
	k, at := adminsOf(t.Name)
	spec, err := json.Marshal(seca.RoleAssignmentSpec{Subs: admins, Roles: []string{"seca.admin"}, Scopes: []seca.Scope{{}}})
	if err != nil {
		return created, err
	}
	_, _, err = x.Resources.Put(ctx, k, at, resource.Input{Spec: spec}, nil, resource.Env{})
	return created, err
}

// adminsOf names the assignment that Bootstrap makes.
func adminsOf(tenant string) (*resource.Kind, urn.URN) {
	k, _ := resource.KindNamed("role-assignment")
	return k, k.URN(tenant, "", "", "admins")
}

// admins are the subjects of that assignment, as it is now.
func (x *Exchange) admins(ctx context.Context, tenant string) ([]string, error) {
	_, at := adminsOf(tenant)
	r, err := x.Resources.Get(ctx, "", at)
	if fault.KindOf(err) == fault.Missing {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var spec seca.RoleAssignmentSpec
	err = json.Unmarshal(r.Spec, &spec)
	return spec.Subs, err
}

// DeleteTenant removes a tenant that owns nothing any more but roles and
// assignments, which go with it.
func (x *Exchange) DeleteTenant(ctx context.Context, name string) error {
	return x.Tenants.DeleteTenant(ctx, name, func(ctx context.Context, tx *db.Tx) error {
		return x.Resources.Forget(ctx, tx, name)
	})
}

// JoinToken makes the text by which an agent joins as a region.
func (x *Exchange) JoinToken(ctx context.Context, region string, ttl time.Duration) (string, error) {
	secret, err := x.Providers.NewEnrolment(ctx, region, ttl)
	if err != nil {
		return "", err
	}
	return wire.JoinToken{URL: x.AgentURL, Token: secret, CASHA256: wire.Fingerprint(x.Providers.Authority.Certificate.Raw)}.Encode(), nil
}

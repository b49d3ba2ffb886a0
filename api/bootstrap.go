package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/tenant"
	"github.com/kontor-cloud/kontor/wire"
)

// Bootstrap makes a tenant, unless it is there, and gives the admins every
// right in it by an ordinary role assignment named "admins". It can be
// repeated after a crash.
func (x *Exchange) Bootstrap(ctx context.Context, t tenant.Tenant, admins []string) (created bool, err error) {
	err = x.Tenants.CreateTenant(ctx, t, nil)
	created = err == nil
	if err != nil && fault.KindOf(err) != fault.Conflict {
		return false, err
	}
	for _, a := range admins {
		if err := x.Tenants.AddMember(ctx, t.Name, a); err != nil {
			return created, fault.At(err, "/spec/admins")
		}
	}
	if len(admins) == 0 {
		return created, nil
	}
	k, _ := resource.KindNamed("role-assignment")
	spec, err := json.Marshal(seca.RoleAssignmentSpec{Subs: admins, Roles: []string{"seca.admin"}, Scopes: []seca.Scope{{}}})
	if err != nil {
		return created, err
	}
	_, _, err = x.Resources.Put(ctx, k, k.URN(t.Name, "", "", "admins"), resource.Input{Spec: spec}, nil, resource.Env{})
	return created, err
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
	sum := sha256.Sum256(x.Providers.Authority.Certificate.Raw)
	return wire.JoinToken{URL: x.AgentURL, Token: secret, CASHA256: hex.EncodeToString(sum[:])}.Encode(), nil
}

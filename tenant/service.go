package tenant

import (
	"context"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// ServicePrefix begins the ids of accounts that tenants own. No issuer of
// other tokens may be called so.
const ServicePrefix = "service"

// ParticipantPrefix begins the ids of accounts that act for participants, likewise.
const ParticipantPrefix = "participant"

// Reserved reports whether accounts whose ids begin with a word and a colon come about
// in another way than by an operator or a login.
func Reserved(prefix string) bool { return prefix == ServicePrefix || prefix == ParticipantPrefix }

const maxService = 32

// ServiceID is the account of a tenant's program.
func ServiceID(tenant, name string) string { return ServicePrefix + ":" + tenant + ":" + name }

// ServiceName is what the owner of an account calls it.
func (a Account) ServiceName() string {
	return strings.TrimPrefix(a.ID, ServiceID(a.Owner, ""))
}

// PutService adds an account that a tenant owns, as a member of it alone, or
// changes what is shown of it and whether it is disabled.
func (s *Store) PutService(ctx context.Context, tenant, name, display string, disabled bool) (Account, error) {
	a := Account{ID: ServiceID(tenant, name), Display: display, Disabled: disabled, Owner: tenant}
	if len(name) > maxService || !nameRule.MatchString(name) {
		return a, fault.Parameter(fault.Invalid.Errorf("must be 1 to %d lower-case letters, digits, dots and hyphens", maxService), "name")
	}
	if err := a.Validate(); err != nil {
		return a, err
	}
	defer s.verified.clear()
	err := s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `
			INSERT INTO account (id, display, operator, disabled, created_at, owner) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (id) DO UPDATE SET display = excluded.display, disabled = excluded.disabled WHERE account.owner = excluded.owner`,
			a.ID, a.Display, false, a.Disabled, db.Micros(time.Now()), tenant)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.Conflict.Errorf("the account %s is not one of tenant %s", a.ID, tenant)
		}
		_, err = db.Exec(ctx, tx, `INSERT INTO membership (tenant, account) VALUES ($1, $2) ON CONFLICT (tenant, account) DO NOTHING`, tenant, a.ID)
		return err
	})
	if err != nil {
		return a, err
	}
	return s.Account(ctx, a.ID)
}

// Services lists the accounts that a tenant owns, by id.
func (s *Store) Services(ctx context.Context, tenant string) ([]Account, error) {
	return db.All(ctx, s.DB, scanAccount, accountColumns+`WHERE owner = $1 ORDER BY id`, tenant)
}

package tenant

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/envelope"
	"github.com/kontor-cloud/kontor/fault"
)

// A Store keeps tenants, accounts and tokens. Its methods may be called from
// many goroutines.
type Store struct {
	DB     *db.DB
	Box    *envelope.Box // of the signing keys
	Issuer string        // of tokens
	Others Others        // whose tokens are taken, too; nil for nobody's

	keys     atomic.Pointer[keyring]
	verified cache
}

// Open returns the store of an exchange whose tokens are issued in the name of
// issuer. The first call ever makes the signing key.
func Open(ctx context.Context, d *db.DB, box *envelope.Box, issuer string) (*Store, error) {
	s := &Store{DB: d, Box: box, Issuer: issuer}
	if err := s.makeKey(ctx); err != nil {
		return nil, fmt.Errorf("make the signing key: %w", err)
	}
	return s, s.loadKeys(ctx)
}

// CreateTenant adds a tenant. What else belongs to its beginning is done by
// also, if not nil, in the same transaction. A name that is taken is a Conflict.
func (s *Store) CreateTenant(ctx context.Context, t Tenant, also func(context.Context, *db.Tx) error) error {
	if err := t.Validate(); err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `
			INSERT INTO tenant (name, display, created_at) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO NOTHING`, t.Name, t.Display, db.Micros(time.Now()))
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.Conflict.Errorf("there is a tenant %s already", t.Name)
		}
		for _, chain := range []string{"", t.Name} {
			audit.Note(ctx, audit.Change{Chain: chain, Resource: "kontor.exchange/v1/tenants/" + t.Name, Status: 201})
		}
		if also == nil {
			return nil
		}
		return also(ctx, tx)
	})
}

// DeleteTenant removes a tenant with its memberships. check, if not nil, runs
// first in the same transaction and may refuse.
func (s *Store) DeleteTenant(ctx context.Context, name string, check func(context.Context, *db.Tx) error) error {
	defer s.verified.clear()
	return s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if check != nil {
			if err := check(ctx, tx); err != nil {
				return err
			}
		}
		return must(ctx, tx, "tenant "+name, `DELETE FROM tenant WHERE name = $1`, name)
	})
}

// Tenants lists all tenants by name.
func (s *Store) Tenants(ctx context.Context) ([]Tenant, error) {
	return db.All(ctx, s.DB, scanTenant, `SELECT name, display, created_at FROM tenant ORDER BY name`)
}

// Tenant returns the tenant, or fault.Missing.
func (s *Store) Tenant(ctx context.Context, name string) (Tenant, error) {
	t, err := db.One(ctx, s.DB, scanTenant, `SELECT name, display, created_at FROM tenant WHERE name = $1`, name)
	if err != nil {
		return t, fmt.Errorf("tenant %s: %w", name, err)
	}
	return t, nil
}

func scanTenant(scan func(...any) error) (t Tenant, err error) {
	var created int64
	err = scan(&t.Name, &t.Display, &created)
	t.CreatedAt = db.Time(created)
	return t, err
}

// PutAccount adds an account or changes it. To disable one takes effect on its
// tokens at once here, and within Freshness in other processes.
func (s *Store) PutAccount(ctx context.Context, a Account) error {
	if err := a.Validate(); err != nil {
		return err
	}
	defer s.verified.clear()
	_, err := db.Exec(ctx, s.DB, `
		INSERT INTO account (id, display, operator, disabled, created_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET display = excluded.display, operator = excluded.operator, disabled = excluded.disabled`,
		a.ID, a.Display, a.Operator, a.Disabled, db.Micros(time.Now()))
	return err
}

const accountColumns = `SELECT id, display, operator, disabled, created_at, COALESCE(owner, '') FROM account `

// Accounts lists all accounts by id.
func (s *Store) Accounts(ctx context.Context) ([]Account, error) {
	return db.All(ctx, s.DB, scanAccount, accountColumns+`ORDER BY id`)
}

// Account returns the account, or fault.Missing.
func (s *Store) Account(ctx context.Context, id string) (Account, error) {
	a, err := db.One(ctx, s.DB, scanAccount, accountColumns+`WHERE id = $1`, id)
	if err != nil {
		return a, fmt.Errorf("account %s: %w", id, err)
	}
	return a, nil
}

func scanAccount(scan func(...any) error) (a Account, err error) {
	var created int64
	err = scan(&a.ID, &a.Display, &a.Operator, &a.Disabled, &created, &a.Owner)
	a.CreatedAt = db.Time(created)
	return a, err
}

// AddMember lets an account act in a tenant, as far as its roles go. Either
// being unknown is a Conflict; being a member already is fine.
func (s *Store) AddMember(ctx context.Context, tenant, account string) error {
	defer s.verified.clear()
	err := s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `
			INSERT INTO membership (tenant, account) VALUES ($1, $2) ON CONFLICT (tenant, account) DO NOTHING`, tenant, account)
		if n > 0 {
			noteMember(ctx, tenant, account, "member.add")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("add %s to tenant %s: %w", account, tenant, err)
	}
	return nil
}

// RemoveMember ends a membership, or returns fault.Missing.
func (s *Store) RemoveMember(ctx context.Context, tenant, account string) error {
	defer s.verified.clear()
	return s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		noteMember(ctx, tenant, account, "member.remove")
		return must(ctx, tx, "member "+account+" of tenant "+tenant,
			`DELETE FROM membership WHERE tenant = $1 AND account = $2`, tenant, account)
	})
}

func noteMember(ctx context.Context, tenant, account, action string) {
	audit.Note(ctx, audit.Change{Chain: tenant, Action: action, Resource: "kontor.exchange/v1/tenants/" + tenant + "/members/" + account})
}

// Members lists the ids of a tenant's accounts.
func (s *Store) Members(ctx context.Context, tenant string) ([]string, error) {
	return db.All(ctx, s.DB, db.Scan[string], `SELECT account FROM membership WHERE tenant = $1 ORDER BY account`, tenant)
}

// Memberships lists the names of an account's tenants.
func (s *Store) Memberships(ctx context.Context, account string) ([]string, error) {
	return db.All(ctx, s.DB, db.Scan[string], `SELECT tenant FROM membership WHERE account = $1 ORDER BY tenant`, account)
}

// must runs a statement that has to touch something, which is called what.
func must(ctx context.Context, q db.Querier, what, query string, args ...any) error {
	n, err := db.Exec(ctx, q, query, args...)
	if err != nil {
		return err
	}
	if n == 0 {
		return fault.Missing.Errorf("there is no %s", what)
	}
	return nil
}

// AddAccount adds an account in a transaction. One that is there already is a Conflict:
// somebody else may have made it.
func AddAccount(ctx context.Context, tx *db.Tx, a Account) error {
	if err := a.Validate(); err != nil {
		return err
	}
	n, err := db.Exec(ctx, tx, `
		INSERT INTO account (id, display, operator, disabled, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING`,
		a.ID, a.Display, a.Operator, a.Disabled, db.Micros(time.Now()))
	if err == nil && n == 0 {
		err = fault.Conflict.Errorf("there is an account %s already", a.ID)
	}
	return err
}

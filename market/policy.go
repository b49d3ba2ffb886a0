package market

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/policy"
)

// A Saved policy is a version of one that a tenant has defined.
type Saved struct {
	*policy.Policy
	CreatedAt time.Time
	DeletedAt time.Time // zero if it is in use
}

// SavePolicy keeps a policy as the next version of its name; what is as the newest
// version is not kept again. If is the version that the caller has seen, nil if it does not
// matter. A rule that means nothing is Invalid, with line and column.
func (s *Store) SavePolicy(ctx context.Context, tenant string, p policy.Policy, seen *int64) (*Saved, error) {
	if _, err := s.Data.Preset(p.Name); err == nil {
		return nil, fault.At(fault.Conflict.Errorf("%s is a ready-made policy; choose another name", p.Name), "/name")
	}
	p.Version = 1
	if _, err := s.Data.Compile(&p); err != nil {
		return nil, err
	}
	err := s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		old, err := newest(ctx, tx, tenant, p.Name)
		if err != nil {
			return err
		}
		if p.Version, err = next(old, p, seen); err != nil || old != nil && p.Version == old.Version {
			return err
		}
		body, err := json.Marshal(p)
		if err != nil {
			return err
		}
		now := time.Now()
		if _, err := db.Exec(ctx, tx, `
			INSERT INTO policy (tenant, name, version, body, created_at, deleted_at) VALUES ($1, $2, $3, $4, $5, 0)`,
			tenant, p.Name, p.Version, body, db.Micros(now)); err != nil {
			return err
		}
		audit.Note(ctx, audit.Change{Chain: tenant, Resource: resourceName(tenant, "policies", p.Name), Before: old.text(), After: body})
		return nil
	})
	if errors.Is(err, fault.Conflict) && len(fault.SourcesOf(err)) == 0 {
		return nil, fault.Stale.Errorf("somebody else saved policy %s at this moment; look at his", p.Name)
	}
	if err != nil {
		return nil, err
	}
	return s.SavedPolicy(ctx, tenant, p.Name, int64(p.Version))
}

// next is the version that a policy gets: the old one's if nothing is new.
func next(old *Saved, p policy.Policy, seen *int64) (int, error) {
	version := int64(0)
	if old != nil && old.DeletedAt.IsZero() {
		version = int64(old.Version)
	}
	if seen != nil && *seen != version {
		return 0, fault.Stale.Errorf("policy %s is version %d by now, not %d", p.Name, version, *seen)
	}
	if old == nil {
		return 1, nil
	}
	p.Version = old.Version
	if old.DeletedAt.IsZero() && p.Digest() == old.Digest() {
		return old.Version, nil
	}
	return old.Version + 1, nil
}

func (s *Saved) text() []byte {
	if s == nil || !s.DeletedAt.IsZero() {
		return nil
	}
	b, _ := json.Marshal(s.Policy) // it was read from such
	return b
}

const policyColumns = `SELECT body, created_at, deleted_at FROM policy `

func scanPolicy(scan func(...any) error) (*Saved, error) {
	var body []byte
	var created, deleted int64
	if err := scan(&body, &created, &deleted); err != nil {
		return nil, err
	}
	p := &Saved{Policy: &policy.Policy{}, CreatedAt: db.Time(created), DeletedAt: db.Time(deleted)}
	if err := json.Unmarshal(body, p.Policy); err != nil {
		return nil, fmt.Errorf("read a policy: %w", err)
	}
	return p, nil
}

// newest is the newest version, deleted or not; nil if there was never one.
func newest(ctx context.Context, q db.Querier, tenant, name string) (*Saved, error) {
	p, err := db.One(ctx, q, scanPolicy, policyColumns+`WHERE tenant = $1 AND name = $2 ORDER BY version DESC LIMIT 1`, tenant, name)
	if errors.Is(err, fault.Missing) {
		return nil, nil
	}
	return p, err
}

// SavedPolicy returns a version of a tenant's policy, 0 for the newest; a given one also when
// the policy was deleted since.
func (s *Store) SavedPolicy(ctx context.Context, tenant, name string, version int64) (*Saved, error) {
	if version > 0 {
		p, err := db.One(ctx, s.DB, scanPolicy, policyColumns+`WHERE tenant = $1 AND name = $2 AND version = $3`, tenant, name, version)
		return p, notFound(err, "policy", fmt.Sprintf("%s@%d", name, version))
	}
	p, err := newest(ctx, s.DB, tenant, name)
	if err == nil && (p == nil || !p.DeletedAt.IsZero()) {
		err = s.noPolicy(ctx, tenant, name)
	}
	return p, err
}

// noPolicy says what was probably meant.
func (s *Store) noPolicy(ctx context.Context, tenant, name string) error {
	all, err := s.SavedPolicies(ctx, tenant)
	if err != nil {
		return err
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	for _, p := range s.Data.Presets {
		names = append(names, p.Name)
	}
	return fault.Missing.Errorf("there is no policy %q%s", name, fault.DidYouMean(name, names))
}

// SavedPolicies lists the newest version of each policy of a tenant, by name.
func (s *Store) SavedPolicies(ctx context.Context, tenant string) ([]*Saved, error) {
	return db.All(ctx, s.DB, scanPolicy, policyColumns+`
		WHERE tenant = $1 AND deleted_at = 0
		AND version = (SELECT MAX(version) FROM policy AS other WHERE other.tenant = policy.tenant AND other.name = policy.name)
		ORDER BY name`, tenant)
}

// DeletePolicy takes a policy out of use. Its versions stay readable, since decisions name them.
func (s *Store) DeletePolicy(ctx context.Context, tenant, name string) error {
	return s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		old, err := newest(ctx, tx, tenant, name)
		if err != nil {
			return err
		}
		n, err := db.Exec(ctx, tx, `UPDATE policy SET deleted_at = $3 WHERE tenant = $1 AND name = $2 AND deleted_at = 0`,
			tenant, name, db.Micros(time.Now()))
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.Missing.Errorf("there is no policy %s", name)
		}
		audit.Note(ctx, audit.Change{Chain: tenant, Resource: resourceName(tenant, "policies", name), Before: old.text()})
		return nil
	})
}

// Policy finds what an order means by NAME or NAME@VERSION: a policy of the tenant's, or a ready-made one.
func (s *Store) Policy(ctx context.Context, tenant, name string) (*policy.Policy, error) {
	name, number, _ := strings.Cut(name, "@")
	version, err := strconv.ParseInt(cmp.Or(number, "0"), 10, 64)
	if err != nil || number != "" && version < 1 {
		return nil, fault.Invalid.Errorf("%q is no version of a policy; write %s or %s@2", number, name, name)
	}
	if p, err := s.Data.Preset(name); err == nil && (version == 0 || version == int64(p.Version)) {
		return p, nil
	}
	saved, err := s.SavedPolicy(ctx, tenant, name, version)
	if err != nil {
		return nil, err
	}
	return saved.Policy, nil
}

package resource

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/urn"
)

// A meter is what a quota bounds: how many things of a kind a tenant has, or what
// they add up to. A thing counts until its agent has seen that it is gone.
type meter struct {
	name   string
	kind   string
	column string // that is added up; "" if each counts one
	in     string // the document in which the number stands, spec or sku
	at     []string
}

var sums = []meter{
	{"vcpu", "instance", "vcpu", "sku", []string{"vcpu"}},
	{"ram-gib", "instance", "ram_gib", "sku", []string{"ramGiB"}},
	{"gpu", "instance", "gpu", "sku", []string{"gpu", "count"}},
	{"storage-gb", "block-storage", "storage_gb", "spec", []string{"sizeGB"}},
}

var meters = append(counts(), sums...)

// counts has a meter for each kind that a region keeps or contains.
func counts() (all []meter) {
	for _, k := range kinds {
		if !k.Global {
			all = append(all, meter{name: k.Name, kind: k.Name})
		}
	}
	return all
}

// Meters names what a quota can bound: kinds, vcpu, ram-gib, gpu, storage-gb.
func Meters() []string {
	names := make([]string, len(meters))
	for i, m := range meters {
		names[i] = m.name
	}
	return names
}

// MeterNamed finds a meter by its name, or by any name of a kind.
func MeterNamed(name string) (string, bool) {
	if k, ok := KindNamed(name); ok && !k.Global {
		return k.Name, true
	}
	return name, slices.Contains(Meters(), name)
}

// sql counts what tenant $1 has of m.
func (m meter) sql() string {
	what := "count(*)"
	if m.column != "" {
		what = "CAST(COALESCE(sum(" + m.column + "), 0) AS BIGINT)"
	}
	return "(SELECT " + what + " FROM resource WHERE tenant = $1 AND kind = '" + m.kind + "' AND gone_at IS NULL)"
}

// summed are the columns of what r has that adds up; nothing is NULL.
func (r *Resource) summed() []any {
	all := make([]any, len(sums))
	for i, m := range sums {
		if n := m.of(r); n != 0 {
			all[i] = n
		}
	}
	return all
}

// of is what r has of m.
func (m meter) of(r *Resource) int64 {
	switch {
	case r == nil || r.Kind.Name != m.kind:
		return 0
	case m.column == "":
		return 1
	}
	raw := map[string]json.RawMessage{"spec": r.Spec, "sku": r.sku}[m.in]
	for _, name := range m.at {
		var in map[string]json.RawMessage
		if json.Unmarshal(raw, &in) != nil {
			return 0
		}
		raw = in[name]
	}
	var n int64
	_ = json.Unmarshal(raw, &n) // without the member it has none
	return n
}

// Exceeded is why something is not admitted.
type Exceeded struct {
	Tenant, Meter     string
	Limit, Used, More int64
}

// Error says what is used up, and what helps.
func (e Exceeded) Error() string {
	return fmt.Sprintf("tenant %s may have %s of at most %d, and has %d: %d more are not admitted; delete some, wait until they are gone, or ask an operator of the exchange",
		e.Tenant, e.Meter, e.Limit, e.Used, e.More)
}

// Meta is for programs.
func (e Exceeded) Meta() map[string]any {
	return map[string]any{"reason": "quota", "tenant": e.Tenant, "quota": e.Meter, "limit": e.Limit, "used": e.Used, "requested": e.More}
}

// admit refuses what would take a tenant beyond a quota, when r is made or takes
// the place of was. Under the lock that at was taken with, nobody else makes something of the tenant's.
func admit(ctx context.Context, tx *db.Tx, at revision, r, was *Resource) error {
	more := map[string]int64{}
	var grow []meter
	for _, m := range meters {
		if n := m.of(r) - m.of(was); n > 0 {
			more[m.name] = n
			grow = append(grow, m)
		}
	}
	if !at.bounded || len(grow) == 0 {
		return nil
	}
	limits, err := db.All(ctx, tx, scanQuota, quotasOf(grow)+` WHERE q.most IS NOT NULL ORDER BY m.meter`, r.URN.Tenant)
	for _, q := range limits {
		if q.Used+more[q.Meter] > *q.Limit {
			return fault.Denied.Errorf("%w", Exceeded{Tenant: r.URN.Tenant, Meter: q.Meter, Limit: *q.Limit, Used: q.Used, More: more[q.Meter]})
		}
	}
	return err
}

// A Quota is what a tenant may have of a meter, and what it has.
type Quota struct {
	Meter     string
	Limit     *int64 // nil: as much as regions have
	Used      int64
	ChangedAt time.Time // zero if it was never limited
}

// quotasOf reads the quotas of tenant $1 for some meters. What is used is counted
// for those rows alone that come out of it.
func quotasOf(some []meter) string {
	names, counts := make([]string, len(some)), make([]string, len(some))
	for i, m := range some {
		names[i] = "SELECT '" + m.name + "' AS meter"
		counts[i] = " WHEN '" + m.name + "' THEN " + m.sql()
	}
	return "SELECT m.meter, q.most, q.changed_at, CASE m.meter" + strings.Join(counts, "") + " END FROM (" +
		strings.Join(names, " UNION ALL ") + ") m LEFT JOIN quota q ON q.tenant = $1 AND q.meter = m.meter"
}

func scanQuota(scan func(...any) error) (q Quota, err error) {
	var changed sql.NullInt64
	err = scan(&q.Meter, &q.Limit, &changed, &q.Used)
	q.ChangedAt = db.Time(changed.Int64)
	return q, err
}

// Quotas returns all meters of a tenant, in the order of their names.
func (s *Store) Quotas(ctx context.Context, tenant string) ([]Quota, error) {
	return db.All(ctx, s.db, scanQuota, quotasOf(meters)+` ORDER BY m.meter`, tenant)
}

// MaxQuota is the greatest limit.
const MaxQuota = 1_000_000_000_000

// SetQuota limits what a tenant may have of a meter from now on; nil is no limit. It may be
// less than what the tenant has: nothing is taken away, and nothing more is admitted.
func (s *Store) SetQuota(ctx context.Context, tenant, meter string, limit *int64) error {
	if name, ok := MeterNamed(meter); !ok || name != meter {
		return fault.Missing.Errorf("no quota named %q; there are %s", meter, strings.Join(Meters(), ", "))
	}
	if limit != nil && (*limit < 0 || *limit > MaxQuota) {
		return fault.At(fault.Invalid.Errorf("limit must be between 0 and %d", int64(MaxQuota)), "/spec/limit")
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := next(ctx, tx, ownerFeed(tenant)); err != nil {
			return err
		}
		was, err := db.All(ctx, tx, db.Scan[int64], `SELECT most FROM quota WHERE tenant = $1 AND meter = $2`, tenant, meter)
		if err != nil {
			return err
		}
		change := audit.Change{Resource: quotaURN(tenant, meter), After: quotaDocument(limit)}
		if len(was) > 0 {
			change.Before = quotaDocument(&was[0])
		}
		for _, change.Chain = range []string{tenant, ""} { // what an operator does to a tenant is told at both
			audit.Note(ctx, change)
		}
		if limit == nil {
			_, err = db.Exec(ctx, tx, `DELETE FROM quota WHERE tenant = $1 AND meter = $2`, tenant, meter)
			return err
		}
		_, err = db.Exec(ctx, tx, `INSERT INTO quota (tenant, meter, most, changed_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (tenant, meter) DO UPDATE SET most = excluded.most, changed_at = excluded.changed_at`,
			tenant, meter, *limit, db.Micros(time.Now()))
		return err
	})
}

func quotaURN(tenant, meter string) string {
	return urn.URN{Provider: "kontor.exchange/v1", Tenant: tenant, Collection: "quotas", Name: meter}.String()
}

// quotaDocument is what the audit log has a digest of.
func quotaDocument(limit *int64) []byte {
	if limit == nil {
		return nil
	}
	return fmt.Appendf(nil, `{"limit":%d}`, *limit)
}

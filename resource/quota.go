package resource

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
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
	column string   // of JSON: spec or sku; "" if each counts one
	member []string // where in it the number stands
}

var sums = []meter{
	{"vcpu", "instance", "sku", []string{"vcpu"}},
	{"ram-gib", "instance", "sku", []string{"ramGiB"}},
	{"gpu", "instance", "sku", []string{"gpu", "count"}},
	{"storage-gb", "block-storage", "spec", []string{"sizeGB"}},
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

// sql is what one row has of m, in words that both databases know: json makes
// JSON of text.
func (m meter) sql() string {
	if m.column == "" {
		return "1"
	}
	last := len(m.member) - 1
	path := "json(" + m.column + ")"
	for _, name := range m.member[:last] {
		path += "->'" + name + "'"
	}
	return "CASE WHEN kind = '" + m.kind + "' THEN CAST(" + path + "->>'" + m.member[last] + "' AS BIGINT) END"
}

// of is what r has of m.
func (m meter) of(r *Resource) int64 {
	switch {
	case r == nil || r.Kind.Name != m.kind:
		return 0
	case m.column == "":
		return 1
	}
	raw := map[string]json.RawMessage{"spec": r.Spec, "sku": r.sku}[m.column]
	for _, name := range m.member {
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

// used counts what a tenant has of each meter of a kind; of all if kind is "".
func used(ctx context.Context, q db.Querier, tenant, kind string) (map[string]int64, error) {
	columns, args, where := make([]string, len(sums)), []any{tenant}, ""
	for i, m := range sums {
		columns[i] = "CAST(COALESCE(sum(" + m.sql() + "), 0) AS BIGINT)"
	}
	if kind != "" {
		args, where = append(args, kind), " AND kind = $2"
	}
	all := map[string]int64{}
	_, err := db.All(ctx, q, func(scan func(...any) error) (struct{}, error) {
		var of string
		n := make([]int64, 1+len(sums))
		to := []any{&of}
		for i := range n {
			to = append(to, &n[i])
		}
		if err := scan(to...); err != nil {
			return struct{}{}, err
		}
		all[of] = n[0]
		for i, m := range sums {
			if m.kind == of {
				all[m.name] = n[i+1]
			}
		}
		return struct{}{}, nil
	}, `SELECT kind, count(*), `+strings.Join(columns, ", ")+` FROM resource
		WHERE tenant = $1`+where+` AND gone_at IS NULL GROUP BY kind`, args...)
	return all, err
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
// the place of was. Nobody can make something of the tenant's meanwhile: its quotas
// are locked, and what is used is counted after that.
func admit(ctx context.Context, tx *db.Tx, r, was *Resource) error {
	more := map[string]int64{}
	for _, m := range meters {
		if n := m.of(r) - m.of(was); n > 0 {
			more[m.name] = n
		}
	}
	if len(more) == 0 {
		return nil
	}
	limits, err := db.All(ctx, tx, scanLimit, `SELECT meter, most, changed_at FROM quota WHERE tenant = $1 ORDER BY meter`+tx.ForUpdate(), r.URN.Tenant)
	limits = slices.DeleteFunc(limits, func(q Quota) bool { return more[q.Meter] == 0 })
	if err != nil || len(limits) == 0 {
		return err
	}
	has, err := used(ctx, tx, r.URN.Tenant, r.Kind.Name)
	if err != nil {
		return err
	}
	for _, q := range limits {
		if n := has[q.Meter]; n+more[q.Meter] > *q.Limit {
			return fault.Denied.Errorf("%w", Exceeded{Tenant: r.URN.Tenant, Meter: q.Meter, Limit: *q.Limit, Used: n, More: more[q.Meter]})
		}
	}
	return nil
}

// A Quota is what a tenant may have of a meter, and what it has.
type Quota struct {
	Meter     string
	Limit     *int64 // nil: as much as regions have
	Used      int64
	ChangedAt time.Time // zero if it was never limited
}

func scanLimit(scan func(...any) error) (q Quota, err error) {
	var most, changed int64
	err = scan(&q.Meter, &most, &changed)
	q.Limit, q.ChangedAt = &most, db.Time(changed)
	return q, err
}

// Quotas returns all meters of a tenant, in the order of their names.
func (s *Store) Quotas(ctx context.Context, tenant string) ([]Quota, error) {
	limits, err := db.All(ctx, s.db, scanLimit, `SELECT meter, most, changed_at FROM quota WHERE tenant = $1`, tenant)
	if err != nil {
		return nil, err
	}
	has, err := used(ctx, s.db, tenant, "")
	if err != nil {
		return nil, err
	}
	by := map[string]Quota{}
	for _, name := range Meters() {
		by[name] = Quota{Meter: name, Used: has[name]}
	}
	for _, q := range limits {
		q.Used = has[q.Meter]
		by[q.Meter] = q
	}
	all := make([]Quota, 0, len(by))
	for _, name := range slices.Sorted(maps.Keys(by)) {
		all = append(all, by[name])
	}
	return all, nil
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
		was, err := db.All(ctx, tx, db.Scan[int64], `SELECT most FROM quota WHERE tenant = $1 AND meter = $2`+tx.ForUpdate(), tenant, meter)
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

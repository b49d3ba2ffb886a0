package resource

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/urn"
)

// A Store keeps resources. All its queries name a region and, through the URN
// or as a column, a tenant: what a caller may see is decided before.
type Store struct {
	db     *db.DB
	watch  *watch
	events *watch // by region and tenant, for people
	tally  tally

	// Trace, if not nil, names the trace in which a request is made, for
	// the agents that carry it out.
	Trace func(context.Context) string
}

// NewStore keeps resources in d.
func NewStore(d *db.DB) *Store {
	s := &Store{db: d, watch: newWatch(), events: newWatch()}
	d.Bus().Listen(topicEvents, db.Listener{Hear: s.hearEvents})
	d.Bus().Listen(topicFeed, db.Listener{Hear: s.hear, CatchUp: s.catchUp})
	return s
}

// Tables names the tables that hold resources: what a backup of an exchange's
// keys leaves out.
func Tables() []string { return []string{"resource", "label", "feed"} }

// stored in the order of values; columns in that of scan.
const (
	stored = `id, region, urn, kind, labels, annotations, extensions, spec, wanted, sku,
	power, restarts, status, state, conditions, observed, version, generation, revision,
	wanted_revision, created_at, modified_at, deleted_at, gone_at, decision`
	columns = stored + `, ` + kept
	kept    = `COALESCE(host, region)` // whose agent keeps it; spelled as in the index
)

// scan reads a row. What it needs meanwhile is one piece of memory, as lists have many rows.
func scan(scan func(...any) error) (*Resource, error) {
	var v struct {
		Resource
		name, kind                                string
		labels, annotations, extensions, observed []byte
		decision                                  sql.NullString
		created, modified                         int64
		deleted, gone                             sql.NullInt64
	}
	r := &v.Resource
	err := scan(&r.ID, &r.Region, &v.name, &v.kind, &v.labels, &v.annotations, &v.extensions, (*[]byte)(&r.Spec), (*[]byte)(&r.wanted), (*[]byte)(&r.sku),
		&r.Power, &r.Restarts, (*[]byte)(&r.Status), &r.State, (*[]byte)(&r.Log.text), &v.observed, &r.Version, &r.Generation, &r.Revision,
		&r.wantedRevision, &v.created, &v.modified, &v.deleted, &v.gone, &v.decision, &r.Host)
	if err != nil {
		return nil, err
	}
	var ok bool
	if r.Kind, ok = KindNamed(v.kind); !ok {
		return nil, fmt.Errorf("resource %s has the unknown kind %q", r.ID, v.kind)
	}
	if r.URN, err = urn.Parse(v.name); err != nil {
		return nil, fmt.Errorf("resource %s: %w", r.ID, err)
	}
	r.Decision = v.decision.String
	r.CreatedAt, r.ModifiedAt = db.Time(v.created), db.Time(v.modified)
	r.DeletedAt, r.GoneAt = db.Time(v.deleted.Int64), db.Time(v.gone.Int64)
	for _, f := range [...]struct {
		text []byte
		to   any
	}{{v.labels, &r.Labels}, {v.annotations, &r.Annotations}, {v.extensions, &r.Extensions}, {v.observed, &r.Observed}} {
		if len(f.text) == 0 || string(f.text) == "{}" {
			continue
		}
		if err := json.Unmarshal(f.text, f.to); err != nil {
			return nil, fmt.Errorf("read resource %s: %w", r.ID, err)
		}
	}
	r.remember()
	return r, nil
}

// text makes a value for a JSON column; nothing is NULL.
func text(v any) any {
	switch v := v.(type) {
	case json.RawMessage:
		if len(v) == 0 {
			return nil
		}
		return string(v)
	case map[string]string:
		if v == nil {
			return nil
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only our own types come here
	}
	return string(b)
}

func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return db.Micros(t)
}

// values are the columns that may change.
func (r *Resource) values() []any {
	return []any{
		text(r.Labels), text(r.Annotations), text(r.Extensions), text(r.Spec), text(r.wanted), text(r.sku),
		string(r.Power), r.Restarts, text(r.Status), string(r.State), text(r.Log.JSON()), text(r.Observed),
		r.Version, r.Generation, r.Revision, r.wantedRevision, db.Micros(r.CreatedAt), db.Micros(r.ModifiedAt),
		moment(r.DeletedAt), moment(r.GoneAt),
	}
}

// sound refuses to write a resource whose log could not be read.
func (r *Resource) sound() error {
	if r.Log.broken != nil {
		return fmt.Errorf("resource %s: %w", r.ID, r.Log.broken)
	}
	return nil
}

func insert(ctx context.Context, tx *db.Tx, r *Resource) error {
	args := append([]any{r.ID, r.Region, r.URN.String(), r.Kind.Name}, r.values()...)
	var host, decision any
	if r.Host != r.Region {
		host = r.Host
	}
	if r.Decision != "" {
		decision = r.Decision
	}
	args = append(append(args, decision, r.URN.Tenant, r.URN.Workspace, host), r.summed()...)
	if _, err := db.Exec(ctx, tx, `INSERT INTO resource (`+stored+`, tenant, workspace, host, vcpu, ram_gib, gpu, storage_gb)
		VALUES (`+db.In(1, len(args))+`)`, args...); err != nil {
		return r.taken(err)
	}
	return relabel(ctx, tx, r, nil)
}

// taken says whose name it is that a host has already.
func (r *Resource) taken(err error) error {
	if !errors.Is(err, fault.Conflict) || r.Host == r.Region {
		return err
	}
	return fault.Conflict.Errorf("%s lies in region %s, where tenant %s has another one of that name; choose another name", r.URN.Resource(), r.Host, r.URN.Tenant)
}

// update writes r back if nobody else has since it was read. Columns in indexes are named only if
// they changed: SQLite writes each index anew in which a column is that an UPDATE names.
func update(ctx context.Context, tx *db.Tx, r *Resource, version int64) error {
	if err := r.sound(); err != nil {
		return err
	}
	args := []any{
		r.ID, version, text(r.Labels), text(r.Annotations), text(r.Extensions), string(r.Power), r.Restarts, text(r.Status), string(r.State),
		text(r.Log.JSON()), text(r.Observed), r.Version, r.Generation, r.Revision, db.Micros(r.ModifiedAt), moment(r.DeletedAt),
	}
	set := 0
	if !bytes.Equal(r.Spec, r.read.spec) || !bytes.Equal(r.wanted, r.read.wanted) || !bytes.Equal(r.sku, r.read.sku) {
		set |= setSpec
		args = append(append(args, text(r.Spec), text(r.wanted), text(r.sku)), r.summed()...)
	}
	if r.wantedRevision != r.read.revision {
		set |= setWanted
		args = append(args, r.wantedRevision)
	}
	if r.GoneAt.IsZero() == r.read.gone {
		set |= setGone
		args = append(args, moment(r.GoneAt))
	}
	n, err := db.Exec(ctx, tx, updates[set], args...)
	if err == nil && n == 0 {
		return stale(r)
	}
	r.remember()
	return err
}

// What an update names beside what it always does.
const (
	setSpec = 1 << iota
	setWanted
	setGone
)

// updates are the statements, by what they name.
var updates = func() (all [8]string) {
	for set := range all {
		text, n := `UPDATE resource SET labels = $3, annotations = $4, extensions = $5, power = $6, restarts = $7, status = $8, state = $9,
			conditions = $10, observed = $11, version = $12, generation = $13, revision = $14, modified_at = $15, deleted_at = $16`, 16
		for _, of := range []struct {
			set     int
			columns []string
		}{{setSpec, []string{"spec", "wanted", "sku", "vcpu", "ram_gib", "gpu", "storage_gb"}}, {setWanted, []string{"wanted_revision"}}, {setGone, []string{"gone_at"}}} {
			for _, column := range of.columns {
				if set&of.set != 0 {
					n++
					text += fmt.Sprintf(", %s = $%d", column, n)
				}
			}
		}
		all[set] = text + ` WHERE id = $1 AND version = $2`
	}
	return all
}()

// asRead are those of a row's columns that stand in indexes, or that such are reckoned from.
type asRead struct {
	spec, wanted, sku json.RawMessage
	revision          int64
	gone              bool
}

func (r *Resource) remember() {
	r.read = asRead{r.Spec, r.wanted, r.sku, r.wantedRevision, !r.GoneAt.IsZero()}
}

// touch gives r its next version. At most one change per millisecond and
// resource is promised by SECA.
func (r *Resource) touch(at revision, now time.Time) {
	if next := r.ModifiedAt.Add(time.Millisecond); now.Before(next) {
		now = next
	}
	r.Version++
	r.Revision = at.shown
	r.ModifiedAt = now
}

// want marks a change that the agent must hear of.
func (r *Resource) want(ctx context.Context, at revision) {
	r.Generation++
	r.Observed.Trace, _ = ctx.Value(traceKey{}).(string)
	if r.Kind.Kept {
		r.wantedRevision = at.wanted
	}
}

type traceKey struct{}

// Get returns the live resource with this name.
func (s *Store) Get(ctx context.Context, region string, u urn.URN) (*Resource, error) {
	r, err := db.One(ctx, s.db, scan, `SELECT `+columns+` FROM resource
		WHERE region = $1 AND urn = $2 AND gone_at IS NULL`, region, u.String())
	if fault.KindOf(err) == fault.Missing {
		return nil, missing(u)
	}
	return r, err
}

func missing(u urn.URN) error {
	return fault.Missing.Errorf("no %s named %q", u.Collection, u.Name)
}

// Named returns the live resources among these URNs of a region.
func (s *Store) Named(ctx context.Context, region string, names []string) (map[string]*Resource, error) {
	all := map[string]*Resource{}
	for chunk := range slices.Chunk(names, 1000) {
		some, err := load(ctx, s.db, region, chunk)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, some)
	}
	return all, nil
}

// load reads live resources by name, in one query.
func load(ctx context.Context, q db.Querier, region string, names []string) (map[string]*Resource, error) {
	all, err := db.All(ctx, q, scan, `SELECT `+columns+` FROM resource
		WHERE region = $1 AND urn IN (`+db.In(2, padded(len(names)))+`) AND gone_at IS NULL`, padding(region, names)...)
	by := make(map[string]*Resource, len(all))
	for _, r := range all {
		by[r.URN.String()] = r
	}
	return by, err
}

// padded rounds up, so that few statements serve all lengths.
func padded(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

// padding gives the region and the padded values as arguments.
func padding(region string, values []string) []any {
	args := make([]any, 1, padded(len(values))+1)
	args[0] = region
	for i := range padded(len(values)) {
		args = append(args, values[min(i, len(values)-1)])
	}
	return args
}

// Count returns how many live resources a workspace holds.
func (s *Store) Count(ctx context.Context, region, tenant, workspace string) (int, error) {
	return db.One(ctx, s.db, db.Scan[int], `SELECT count(*) FROM resource
		WHERE region = $1 AND tenant = $2 AND workspace = $3 AND gone_at IS NULL`, region, tenant, workspace)
}

func stale(r *Resource) error { return fault.Stale.Errorf("%s has changed meanwhile", r.URN) }

// Empty is a Conflict while a region holds anything, or what it holds is named elsewhere.
func (s *Store) Empty(ctx context.Context, q db.Querier, region string) error {
	n, err := db.One(ctx, q, db.Scan[int], `SELECT count(*) FROM resource WHERE (region = $1 OR `+kept+` = $1) AND gone_at IS NULL`, region)
	if err == nil && n > 0 {
		err = fault.Conflict.Errorf("region %s still holds %d resources; delete or move them first", region, n)
	}
	return err
}

// Forget removes the roles and assignments of a tenant that owns nothing else.
// While it does, it is a Conflict.
func (s *Store) Forget(ctx context.Context, tx *db.Tx, tenant string) error {
	n, err := db.One(ctx, tx, db.Scan[int], `SELECT count(*) FROM resource WHERE tenant = $1 AND region <> '' AND gone_at IS NULL`, tenant)
	if err != nil {
		return err
	}
	if n > 0 {
		return fault.Conflict.Errorf("tenant %s still owns %d resources; delete them first", tenant, n)
	}
	_, err = db.Exec(ctx, tx, `DELETE FROM resource WHERE tenant = $1 AND region = ''`, tenant)
	return err
}

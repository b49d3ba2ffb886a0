package resource

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/wire"
)

// A watch wakes those who wait for a region's next revision. It is a hint:
// what counts is in the database.
type watch struct {
	mu     sync.Mutex
	region map[string]*pulse
}

type pulse struct {
	revision int64
	changed  chan struct{} // closed at the next change
	followed int64         // from where its agent asked last, here
	polled   time.Time     // when that was
	behind   time.Time     // when the first revision was announced that it has not fetched; zero without one
}

func newWatch() *watch { return &watch{region: map[string]*pulse{}} }

func (w *watch) of(region string) *pulse {
	p := w.region[region]
	if p == nil {
		p = &pulse{changed: make(chan struct{})}
		w.region[region] = p
	}
	return p
}

func (w *watch) wake(region string, revision int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.of(region)
	if revision > p.revision {
		p.revision = revision
		p.lags(time.Now())
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// learn notes a revision that was read from the database.
func (w *watch) learn(region string, revision int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.of(region); revision > p.revision {
		p.revision = revision
	}
}

func (w *watch) after(region string) (int64, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.of(region)
	return p.revision, p.changed
}

// topicFeed has hints of the form "revision region".
const topicFeed = "feed"

// wake announces a revision here and to other processes.
func (s *Store) wake(region string, revision int64) {
	s.watch.wake(region, revision)
	s.db.Bus().Tell(topicFeed, strconv.FormatInt(revision, 10)+" "+region)
}

func (s *Store) hear(_ context.Context, hint string) {
	revision, region, _ := strings.Cut(hint, " ")
	if n, err := strconv.ParseInt(revision, 10, 64); err == nil {
		s.watch.wake(region, n)
	}
}

// catchUp wakes the followers of each region of which another process has
// written more than was heard of here.
func (s *Store) catchUp(ctx context.Context) error {
	type head struct {
		region   string
		revision int64
	}
	heads, err := db.All(ctx, s.db, func(scan func(...any) error) (h head, err error) {
		return h, scan(&h.region, &h.revision)
	}, `SELECT region, revision FROM feed WHERE region NOT LIKE '% %'`) // those that agents follow
	for _, h := range heads {
		if known, _ := s.watch.after(h.region); h.revision > known {
			s.watch.wake(h.region, h.revision)
		}
	}
	return err
}

// Changed returns the newest revision of a region that this process knows of,
// and a channel that closes at the next.
func (s *Store) Changed(region string) (int64, <-chan struct{}) { return s.watch.after(region) }

// Follow returns what is wanted in a region and has changed after a revision,
// in the order of the revisions, and whether there is more. After 0 it gives
// everything that may exist; later also what is gone.
//
// It never skips: a revision is taken under the lock of the region's feed row,
// which is held until commit, so one that is visible has none before it that
// is not.
func (s *Store) Follow(ctx context.Context, region string, since int64, limit int) ([]wire.Resource, bool, error) {
	live := ""
	if since == 0 {
		live = "AND gone_at IS NULL"
	}
	all, err := db.All(ctx, s.db, scan, `SELECT `+columns+` FROM resource
		WHERE `+kept+` = $1 AND wanted_revision > $2 `+live+` ORDER BY wanted_revision, id LIMIT $3`, region, since, limit+1)
	if err != nil {
		return nil, false, err
	}
	out := make([]wire.Resource, 0, min(len(all), limit))
	for _, r := range all {
		out = append(out, r.Wanted())
	}
	if len(out) > 0 {
		failpoint.Here(failpoint.FollowRead)
	}
	return trim(out, limit)
}

// trim cuts to a limit, but never between things of one revision: the reader
// goes on after it.
func trim(out []wire.Resource, limit int) ([]wire.Resource, bool, error) {
	if len(out) <= limit {
		return out, false, nil
	}
	cut := limit
	for cut > 0 && out[cut-1].Revision == out[cut].Revision {
		cut--
	}
	if cut == 0 {
		return out[:limit], true, nil
	}
	return out[:cut], true, nil
}

// Observe applies what an agent says about resources of its region, in one
// transaction. It returns the ids that are not live resources there.
func (s *Store) Observe(ctx context.Context, region string, batch []wire.Observation) (strangers []string, err error) {
	if len(batch) == 0 {
		return nil, nil
	}
	var woken int64
	var changed []*Resource
	err = s.db.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		strangers, changed, woken = nil, nil, 0
		wanted, err := next(ctx, tx, region)
		if err != nil {
			return err
		}
		now := time.Now().UTC().Truncate(time.Microsecond)
		by, err := observed(ctx, tx, region, batch)
		if err != nil {
			return err
		}
		for _, o := range batch {
			r := by[o.ID]
			if r == nil {
				strangers = append(strangers, o.ID)
				continue
			}
			if was := r.State; r.observe(o, now) {
				changed = append(changed, r)
				r.noteSeen(ctx, was)
			}
		}
		failpoint.Here(failpoint.ObserveRead)
		woken, err = settleAll(ctx, tx, region, dedupe(changed), wanted, now)
		failpoint.Here(failpoint.ObserveWritten)
		return err
	})
	failpoint.Here(failpoint.ObserveDone)
	if err == nil {
		s.tally.observed(len(batch), len(changed), len(strangers))
		s.touchedBy(changed)
	}
	if err == nil && woken > 0 {
		s.wake(region, woken)
	}
	return strangers, err
}

// touchedBy wakes those who follow what has changed.
func (s *Store) touchedBy(changed []*Resource) {
	told := map[[2]string]bool{}
	for _, r := range changed {
		if at := [2]string{r.Region, r.URN.Tenant}; !told[at] {
			told[at] = true
			s.touched(r.Region, r.URN.Tenant)
		}
	}
}

func observed(ctx context.Context, tx *db.Tx, region string, batch []wire.Observation) (map[string]*Resource, error) {
	ids := make([]string, len(batch))
	for i, o := range batch {
		ids[i] = o.ID
	}
	all, err := db.All(ctx, tx, scan, `SELECT `+columns+` FROM resource
		WHERE `+kept+` = $1 AND id IN (`+db.In(2, padded(len(ids)))+`) AND gone_at IS NULL`, padding(region, ids)...)
	by := make(map[string]*Resource, len(all))
	for _, r := range all {
		by[r.ID] = r
	}
	return by, err
}

// settleAll writes what observations changed. A workspace that waits for the
// last of its things to go, goes with it.
func settleAll(ctx context.Context, tx *db.Tx, host string, changed []*Resource, wanted int64, now time.Time) (woken int64, err error) {
	shown, err := shownIn(ctx, tx, host, changed, wanted)
	if err != nil {
		return 0, err
	}
	var gone []string
	rows := make([]observedRow, len(changed))
	for i, r := range changed {
		was := r.Version
		r.touch(revision{wanted: wanted, shown: shown[r.shownFeed()]}, now)
		if !r.GoneAt.IsZero() {
			gone = append(gone, r.ID)
			r.wantedRevision, woken = wanted, wanted
		}
		if rows[i], err = r.observedRow(was); err != nil {
			return 0, err
		}
	}
	if err := updateObserved(ctx, tx, rows); err != nil || len(gone) == 0 {
		return woken, err
	}
	left, err := leave(ctx, tx, host, shown, now)
	if err != nil {
		return 0, err
	}
	return woken, unlabel(ctx, tx, append(gone, left...))
}

// shownFeed names the feed by which r's region shows what happened to it.
func (r *Resource) shownFeed() string { return r.site().feed() }

func (r *Resource) site() site { return site{region: r.Region, host: r.Host, tenant: r.URN.Tenant} }

// shownIn gives the next revision of each feed in which changes show. That of the host
// is taken already; the locks of the others are taken in one order.
func shownIn(ctx context.Context, tx *db.Tx, host string, changed []*Resource, wanted int64) (map[string]int64, error) {
	shown := map[string]int64{host: wanted}
	for _, r := range changed {
		shown[r.shownFeed()] = wanted
	}
	for _, feed := range slices.Sorted(maps.Keys(shown)) {
		if feed == host {
			continue
		}
		var err error
		if shown[feed], err = next(ctx, tx, feed); err != nil {
			return nil, err
		}
	}
	return shown, nil
}

// leave lets go of the workspaces at a host that are to be deleted and are empty now.
func leave(ctx context.Context, tx *db.Tx, host string, shown map[string]int64, now time.Time) ([]string, error) {
	empty, err := db.All(ctx, tx, scan, `SELECT `+columns+` FROM resource
		WHERE `+kept+` = $1 AND gone_at IS NULL AND length(workspace) = 0 AND kind = 'workspace' AND deleted_at IS NOT NULL AND NOT EXISTS (
			SELECT 1 FROM resource c WHERE c.region = resource.region AND c.tenant = resource.tenant
			AND resource.urn = 'seca.workspace/v1/tenants/' || c.tenant || '/workspaces/' || c.workspace AND c.gone_at IS NULL)`, host)
	ids := make([]string, len(empty))
	for i, r := range empty {
		at := shown[r.shownFeed()]
		if at == 0 {
			if at, err = next(ctx, tx, r.shownFeed()); err != nil {
				return nil, err
			}
		}
		was := r.Version
		r.GoneAt, ids[i] = now, r.ID
		r.touch(revision{shown: at}, now)
		if err := update(ctx, tx, r, was); err != nil {
			return nil, err
		}
	}
	return ids, err
}

func dedupe(rs []*Resource) []*Resource {
	seen := make(map[string]bool, len(rs))
	out := rs[:0]
	for _, r := range rs {
		if !seen[r.ID] {
			seen[r.ID] = true
			out = append(out, r)
		}
	}
	return out
}

// An observedRow is the columns that an observation can change.
type observedRow struct {
	ID         string  `json:"id"`
	Was        int64   `json:"was"` // the version that was read
	Status     *string `json:"status"`
	State      string  `json:"state"`
	Conditions string  `json:"conditions"`
	Observed   string  `json:"observed"`
	Version    int64   `json:"version"`
	Revision   int64   `json:"revision"`
	Wanted     int64   `json:"wanted"`
	Modified   int64   `json:"modified"`
	Gone       *int64  `json:"gone"`
	moves      bool    // in indexes, as update says
}

func (r *Resource) observedRow(was int64) (observedRow, error) {
	if err := r.sound(); err != nil {
		return observedRow{}, err
	}
	row := observedRow{
		ID: r.ID, Was: was, State: string(r.State), Conditions: string(r.Log.JSON()), Observed: text(r.Observed).(string),
		Version: r.Version, Revision: r.Revision, Wanted: r.wantedRevision, Modified: db.Micros(r.ModifiedAt),
	}
	row.moves = r.wantedRevision != r.read.revision || r.GoneAt.IsZero() == r.read.gone
	if len(r.Status) > 0 {
		row.Status = new(string(r.Status))
	}
	if !r.GoneAt.IsZero() {
		row.Gone = new(db.Micros(r.GoneAt))
	}
	return row, nil
}

// updateObserved writes rows in at most two statements, however many they are: those that move in
// indexes apart, for the reason that update has. Each must still have the version that was read.
func updateObserved(ctx context.Context, tx *db.Tx, rows []observedRow) error {
	var moved, rest []observedRow
	for _, row := range rows {
		if row.moves {
			moved = append(moved, row)
		} else {
			rest = append(rest, row)
		}
	}
	if err := setObserved(ctx, tx, rest, ""); err != nil {
		return err
	}
	return setObserved(ctx, tx, moved, ", wanted_revision = o.wanted, gone_at = o.gone")
}

func setObserved(ctx context.Context, tx *db.Tx, rows []observedRow, more string) error {
	if len(rows) == 0 {
		return nil
	}
	n, err := db.Exec(ctx, tx, `UPDATE resource SET status = o.status, state = o.state, conditions = o.conditions, observed = o.observed,
		version = o.version, revision = o.revision, modified_at = o.modified`+more+`
		FROM (SELECT e.value->>'id' AS id, CAST(e.value->>'was' AS BIGINT) AS was,
			e.value->>'status' AS status, e.value->>'state' AS state, e.value->>'conditions' AS conditions, e.value->>'observed' AS observed,
			CAST(e.value->>'version' AS BIGINT) AS version, CAST(e.value->>'revision' AS BIGINT) AS revision, CAST(e.value->>'wanted' AS BIGINT) AS wanted,
			CAST(e.value->>'modified' AS BIGINT) AS modified, CAST(e.value->>'gone' AS BIGINT) AS gone
			FROM `+tx.Elements("$1")+` e) o
		WHERE resource.id = o.id AND resource.version = o.was`, db.JSON(rows))
	if err == nil && n != int64(len(rows)) {
		err = fault.Stale.Errorf("%d of %d resources have changed while they were observed", len(rows)-int(n), len(rows))
	}
	return err
}

// Head returns the newest revision of a region. A region in which nothing was
// ever written gets its first.
func (s *Store) Head(ctx context.Context, region string) (int64, error) {
	head, err := db.One(ctx, s.db, db.Scan[int64], `SELECT revision FROM feed WHERE region = $1`, region)
	if fault.KindOf(err) == fault.Missing {
		err = s.db.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
			head, err = next(ctx, tx, region)
			return err
		})
	}
	if err == nil {
		s.watch.learn(region, head)
	}
	return head, err
}

// Tombstones returns those of the ids that are known to be gone from a region.
func (s *Store) Tombstones(ctx context.Context, region string, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return db.All(ctx, s.db, db.Scan[string], `SELECT id FROM resource
		WHERE `+kept+` = $1 AND id IN (`+db.In(2, padded(len(ids)))+`) AND gone_at IS NOT NULL`, padding(region, ids)...)
}

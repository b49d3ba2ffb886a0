package market

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
)

// Decided is a decision that is kept. Its record is Decision.Append(nil).
type Decided struct {
	ID       string
	Decision *placement.Decision
	Signature
}

// Place decides where something is to run, on the market as it is, and keeps the
// decision. If there is no place, it is returned all the same, with an error that
// says why not: Exhausted if capacity is all that is lacking somewhere, else Unsupported.
//
// A request that says no moment is decided now.
func (s *Store) Place(ctx context.Context, tenant string, r placement.Request) (*Decided, error) {
	now, err := s.stock(ctx, time.Now().Add(-maxAge))
	if err != nil {
		return nil, err
	}
	made, err := s.decide(ctx, now, tenant, &r)
	if err != nil {
		return nil, err
	}
	if err := s.DB.InTx(ctx, made.keep); err != nil {
		return nil, err
	}
	return &made.Decided, refusal(&made.Decided)
}

// decide decides, and keeps what it depended on but the request, in a transaction of its own: many
// decisions share that, and without one it does no harm.
func (s *Store) decide(ctx context.Context, now *stock, tenant string, r *placement.Request) (*making, error) {
	if r.Now.IsZero() {
		r.Now = placement.Tick(time.Now())
	}
	d, err := s.engine.Decide(now.market, *r)
	if err != nil {
		return nil, err
	}
	inputs, err := s.engine.Inputs(now.market, *r)
	if err != nil {
		return nil, err
	}
	own := slices.IndexFunc(inputs, func(in placement.Input) bool { return in.Kind == "request" })
	request := inputs[own]
	shared := slices.Delete(inputs, own, own+1)
	if err := s.keepShared(ctx, shared); err != nil {
		return nil, fmt.Errorf("keep what a decision depends on: %w", err)
	}
	id, at, record := newID(decisionMark), time.Now().UTC().Truncate(time.Microsecond), d.Append(nil)
	return &making{Decided{id, d, s.signer.sign(id, tenant, at, record)}, record, request, now.stands(d)}, nil
}

// A making is a decision that is not kept yet.
type making struct {
	Decided
	record  []byte
	request placement.Input
	stands  []stand
}

// keepShared keeps inputs that others have, too. Of many who have the same, one writes.
func (s *Store) keepShared(ctx context.Context, inputs []placement.Input) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	if time.Since(s.storedSince) > storedFor {
		clear(s.stored)
		s.storedSince = time.Now()
	}
	fresh := slices.DeleteFunc(slices.Clone(inputs), func(in placement.Input) bool { return s.stored[in.Digest] })
	if len(fresh) == 0 {
		return nil
	}
	err := s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		for _, in := range fresh {
			if err := keepInput(ctx, tx, in); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(s.stored)+len(fresh) > maxStored {
		clear(s.stored)
	}
	for _, in := range fresh {
		s.stored[in.Digest] = true
	}
	return nil
}

func keepInput(ctx context.Context, tx *db.Tx, in placement.Input) error {
	_, err := db.Exec(ctx, tx, `
		INSERT INTO decision_input (kind, digest, body) VALUES ($1, $2, $3)
		ON CONFLICT (kind, digest) DO UPDATE SET unused_at = NULL WHERE decision_input.unused_at IS NOT NULL`,
		in.Kind, in.Digest.String(), pack(in.Body))
	return err
}

// keep writes the decision down.
func (m *making) keep(ctx context.Context, tx *db.Tx) error {
	if err := keepInput(ctx, tx, m.request); err != nil {
		return err
	}
	_, err := db.Exec(ctx, tx, `
		INSERT INTO decision (id, tenant, record, key, signature, created_at, request, market, stands) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		m.ID, m.Tenant, pack(m.record), m.Key, m.Value, db.Micros(m.At), m.request.Digest.String(), m.Decision.Market.String(), db.JSON(m.stands))
	return err
}

// Decision returns one that is kept, or fault.Missing, also if it is another tenant's.
func (s *Store) Decision(ctx context.Context, tenant, id string) (*Decided, error) {
	d, _, err := s.decision(ctx, tenant, id)
	return d, err
}

// decision returns the decision and its record.
func (s *Store) decision(ctx context.Context, tenant, id string) (*Decided, []byte, error) {
	d := &Decided{ID: id, Signature: Signature{Decision: id, Tenant: tenant}}
	var packed []byte
	var at int64
	_, err := db.One(ctx, s.DB, func(scan func(...any) error) (struct{}, error) {
		return struct{}{}, scan(&packed, &d.Key, &d.Value, &at)
	}, `SELECT record, key, signature, created_at FROM decision WHERE tenant = $1 AND id = $2`, tenant, id)
	if err != nil {
		return nil, nil, notFound(err, "decision", id)
	}
	record, err := unpack(packed)
	if err != nil {
		return nil, nil, fmt.Errorf("decision %s: %w", id, err)
	}
	d.At = db.Time(at)
	if d.Decision, err = placement.Parse(record); err != nil {
		return nil, nil, fmt.Errorf("decision %s: %w", id, err)
	}
	keys, err := s.Keys(ctx)
	if err != nil {
		return nil, nil, err
	}
	if at := slices.IndexFunc(keys, func(k Key) bool { return k.ID == d.Key }); at >= 0 {
		d.Public = keys[at].Public
	}
	return d, record, nil
}

func notFound(err error, kind, id string) error {
	if errors.Is(err, fault.Missing) {
		return fault.Missing.Errorf("there is no %s %s", kind, id)
	}
	return err
}

// Input makes the database a placement.Archive.
func (s *Store) Input(kind string, digest policy.Digest) ([]byte, error) {
	return archive{context.Background(), s.DB}.Input(kind, digest)
}

// An archive reads inputs from the database for as long as a context lives.
type archive struct {
	ctx context.Context //nolint:containedctx // an Archive is asked without one
	db  *db.DB
}

// Input gives the bytes of a piece, or fault.Missing.
func (a archive) Input(kind string, digest policy.Digest) ([]byte, error) {
	packed, err := db.One(a.ctx, a.db, db.Scan[[]byte], `SELECT body FROM decision_input WHERE kind = $1 AND digest = $2`, kind, digest.String())
	if err != nil {
		return nil, notFound(err, kind, digest.String())
	}
	return unpack(packed)
}

// Replay makes a decision again from what is kept and reports whether it is the same to
// the byte and signed by the exchange.
func (s *Store) Replay(ctx context.Context, tenant, id string) (*Decided, error) {
	d, record, err := s.decision(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	if err := d.Verify(record); err != nil {
		return d, err
	}
	_, err = placement.NewReplayer(archive{ctx, s.DB}).Replay(record)
	return d, err
}

// signatureKind is that of a signature among the inputs in a bundle; its digest is that of the record.
const signatureKind = "signature"

// refusal is why there is no place, in a few words; nil if there is one.
func refusal(d *Decided) error {
	if d.Decision.Problem == nil {
		return nil
	}
	kind := fault.Unsupported
	if onlyFull(d.Decision) {
		kind = fault.Exhausted
	}
	return kind.Errorf("no region fits: %s; kontor why %s tells all", Summary(d.Decision), d.ID)
}

// onlyFull reports whether somewhere there is nothing amiss but what may be free again.
func onlyFull(d *placement.Decision) bool {
	return slices.ContainsFunc(d.Excluded, func(x placement.Exclusion) bool {
		return !slices.ContainsFunc(x.Misses, func(m placement.Miss) bool { return m.Dimension != placement.Full })
	})
}

// maxSummary is how many dimensions are worth naming in a line.
const maxSummary = 4

// Summary says in a line why a decision found no place: the problem, and on what
// most regions failed.
func Summary(d *placement.Decision) string {
	if len(d.Excluded) == 0 && len(d.Allowed) == 0 {
		return "nothing is for sale"
	}
	counts := map[placement.Dimension]int{}
	var order []placement.Dimension
	for _, x := range d.Excluded {
		said := map[placement.Dimension]bool{}
		for _, m := range x.Misses {
			if said[m.Dimension] {
				continue
			}
			said[m.Dimension] = true
			if counts[m.Dimension]++; counts[m.Dimension] == 1 {
				order = append(order, m.Dimension)
			}
		}
	}
	slices.SortStableFunc(order, func(a, b placement.Dimension) int { return counts[b] - counts[a] })
	var words []string
	if d.Problem != nil && d.Problem.Dimension != placement.NoCandidate {
		words = append(words, d.Problem.String())
	}
	for _, dim := range order[:min(len(order), maxSummary)] {
		words = append(words, fmt.Sprintf("%d by %s", counts[dim], dim))
	}
	if miss, ok := Nearest(d); ok {
		words = append(words, fmt.Sprintf("the nearest miss is %s: %s", miss.Region, miss.Misses[0]))
	}
	return strings.Join(words, ", ")
}

// An Explanation is a decision with what people ask first.
type Explanation struct {
	Record    *placement.Decision  `json:"record"`
	Summary   string               `json:"summary"`
	Nearest   *placement.Exclusion `json:"nearest,omitempty"` // the region that lacks least
	Signature Signature            `json:"signature"`
}

// Explain says what a decision is about.
func Explain(d *Decided) Explanation {
	e := Explanation{Record: d.Decision, Summary: Summary(d.Decision), Signature: d.Signature}
	if near, found := Nearest(d.Decision); found {
		e.Nearest = &near
	}
	return e
}

// Nearest is the region that lacks least: one thing alone, and of those the one that is
// missed by the smallest share.
func Nearest(d *placement.Decision) (placement.Exclusion, bool) {
	var best *placement.Exclusion
	for i := range d.Excluded {
		x := &d.Excluded[i]
		switch {
		case best == nil, len(x.Misses) < len(best.Misses):
			best = x
		case len(x.Misses) == len(best.Misses) && distance(x) < distance(best):
			best = x
		}
	}
	if best == nil {
		return placement.Exclusion{}, false
	}
	return *best, true
}

// distance sums up by how much an exclusion was missed; what has no measure is far.
func distance(x *placement.Exclusion) (sum int64) {
	const far = 1_000_000
	for _, m := range x.Misses {
		if m.Over > 0 {
			sum += min(m.Over, far)
		} else {
			sum += far
		}
	}
	return sum
}

func digestOf(b []byte) policy.Digest { return sha256.Sum256(b) }

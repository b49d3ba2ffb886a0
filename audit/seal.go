package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// The pace of the sealer.
const (
	gather  = 250 * time.Millisecond // what comes together is sealed together
	atOnce  = 500                    // entries in one transaction
	patient = time.Second            // before another attempt after a failure
)

// Keep seals what comes until ctx ends. One process does it, the leader; two at
// once do no harm, as only one of them can move an entry or a chain's end.
func (l *Log) Keep(ctx context.Context) error {
	for l.wake(); ; {
		select {
		case <-l.poked:
		case <-ctx.Done():
			return nil
		}
		if !pause(ctx, gather) {
			return nil
		}
		if err := l.Seal(ctx); err != nil && ctx.Err() == nil {
			l.log.WarnContext(ctx, "audit log not sealed", "error", err)
			pause(ctx, patient)
			l.wake()
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// Seal gives all entries of the inbox their places.
func (l *Log) Seal(ctx context.Context) error {
	for {
		n := 0
		err := l.DB.InTx(Unwatched(ctx), func(ctx context.Context, tx *db.Tx) (err error) {
			n, err = seal(ctx, tx)
			return err
		})
		switch {
		case errors.Is(err, fault.Stale) || errors.Is(err, fault.Conflict): // another sealer was faster
			l.log.DebugContext(ctx, "another process seals", "error", err)
			return nil
		case err != nil || n < atOnce:
			return err
		}
	}
}

type waiting struct{ id, chain, body string }

// seal moves a batch from the inbox to the log, in the order of their times. What
// commits later than others comes later in its chain, whatever its time.
func seal(ctx context.Context, tx *db.Tx) (int, error) {
	batch, err := db.All(ctx, tx, func(scan func(...any) error) (w waiting, err error) {
		return w, scan(&w.id, &w.chain, &w.body)
	}, `DELETE FROM audit_inbox WHERE id IN (SELECT id FROM audit_inbox ORDER BY id LIMIT $1) RETURNING id, chain, body`, atOnce)
	if err != nil || len(batch) == 0 {
		return 0, err
	}
	slices.SortFunc(batch, func(a, b waiting) int { return strings.Compare(a.id, b.id) })
	heads, err := headsOf(ctx, tx, batch)
	if err != nil {
		return 0, err
	}
	ends := map[string]Mark{}
	rows := tx.Load(logTable)
	for _, w := range batch {
		end, known := ends[w.chain]
		if !known {
			end = heads[w.chain].Head
		}
		end = end.Next([]byte(w.body))
		ends[w.chain] = end
		row, err := rowOf(w, end)
		if err != nil {
			return 0, err
		}
		if err := rows.Add(ctx, row); err != nil {
			return 0, err
		}
	}
	if err := rows.Flush(ctx); err != nil {
		return 0, err
	}
	return len(batch), moveHeads(ctx, tx, heads, ends)
}

// logTable has the columns of rowOf.
var logTable = db.Table{Name: "audit_log", Columns: []db.Column{
	{Name: "chain"}, {Name: "seq"}, {Name: "hash"}, {Name: "body"}, {Name: "at"}, {Name: "region"}, {Name: "workspace"}, {Name: "actor"}, {Name: "resource"},
}}

// rowOf is a row of the log: an entry, its place, and copies of what it is found by.
func rowOf(w waiting, m Mark) ([]any, error) {
	var e Entry
	if err := json.Unmarshal([]byte(w.body), &e); err != nil {
		return nil, fmt.Errorf("read audit entry %s of %s: %w", w.id, Named(w.chain), err)
	}
	return []any{w.chain, m.Seq, m.Hash, w.body, db.Micros(e.At), e.Region, e.Workspace, e.Actor.Subject, e.Resource}, nil
}

func headsOf(ctx context.Context, tx *db.Tx, batch []waiting) (map[string]Chain, error) {
	heads := map[string]Chain{}
	var names []any
	for _, w := range batch {
		if _, known := heads[w.chain]; !known {
			heads[w.chain] = Chain{w.chain, Genesis(w.chain), Genesis(w.chain)}
			names = append(names, w.chain)
		}
	}
	for some := range slices.Chunk(names, 50) {
		for len(some) < 4 { // few texts for few chains
			some = append(slices.Clone(some), some[0])
		}
		all, err := db.All(ctx, tx, scanChain, chainColumns+`WHERE chain IN (`+db.In(1, len(some))+`)`, some...)
		if err != nil {
			return nil, err
		}
		for _, c := range all {
			heads[c.Name] = c
		}
	}
	return heads, nil
}

// moveHeads ends chains elsewhere, unless somebody else has done so meanwhile.
func moveHeads(ctx context.Context, tx *db.Tx, heads map[string]Chain, ends map[string]Mark) error {
	for chain, end := range ends {
		was := heads[chain]
		n, err := db.Exec(ctx, tx, `
			INSERT INTO audit_chain (chain, seq, hash, base_seq, base_hash) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, hash = excluded.hash WHERE audit_chain.seq = $6 AND audit_chain.hash = $7`,
			chain, end.Seq, end.Hash, was.Base.Seq, was.Base.Hash, was.Head.Seq, was.Head.Hash)
		if err == nil && n == 0 {
			err = fault.Stale.Errorf("the chain of %s has another end meanwhile", Named(chain))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

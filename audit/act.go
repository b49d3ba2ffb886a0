package audit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/db"
)

// An Act is what somebody is doing: one request, say. It tells what all entries
// about it have in common, and belongs to one goroutine.
type Act struct {
	Entry           // all but At; Before, After and State come from changes
	Chains []string // where it is told if it notes no change; nil: then it is not told

	notes []note // of the transaction under way
	told  bool   // an entry of it is durable
	log   *Log
}

// A Change is something that an act did to one thing.
type Change struct {
	Chain     string
	Resource  string
	Region    string
	Workspace string
	Status    int    // 0: the act's
	Action    string // "": the act's
	Before    []byte // the document; nil if there was none
	After     []byte
	State     string
	Detail    string
	By        *Actor // if it came out only now who acts
}

type note struct {
	chain string
	entry Entry
}

// With has all that is written with the context told of in the log.
func (l *Log) With(ctx context.Context, a *Act) context.Context {
	a.log = l
	return db.WithWitness(ctx, a)
}

// Unwatched has what is written with the context not told of: it is no change
// that anybody made, but how the exchange works.
func Unwatched(ctx context.Context) context.Context { return db.WithWitness(ctx, nil) }

// Watched reports whether changes are told of; documents are not worth making else.
func Watched(ctx context.Context) bool {
	_, ok := db.WitnessOf(ctx).(*Act)
	return ok
}

// Note tells of a change, in the transaction of the context.
func Note(ctx context.Context, c Change) {
	if a, ok := db.WitnessOf(ctx).(*Act); ok {
		a.notes = append(a.notes, note{c.Chain, a.of(c)})
	}
}

func (a *Act) of(c Change) Entry {
	e := a.Entry
	e.Resource, e.Region, e.Workspace, e.State = c.Resource, c.Region, c.Workspace, c.State
	e.Before, e.After = digest(c.Before), digest(c.After)
	if c.By != nil {
		e.Actor = *c.By
	}
	if c.Status != 0 {
		e.Status = c.Status
	}
	if c.Action != "" {
		e.Action = c.Action
	}
	if c.Detail != "" {
		e.Detail = c.Detail
	}
	return e
}

// Begin forgets what an attempt noted that was rolled back.
func (a *Act) Begin() { a.notes = a.notes[:0] }

// Commit writes the entries, in one statement.
func (a *Act) Commit(ctx context.Context, tx *db.Tx) error {
	if len(a.notes) == 0 && !a.told {
		for _, chain := range a.Chains {
			a.notes = append(a.notes, note{chain, a.Entry})
		}
	}
	return a.log.write(ctx, tx, a.notes)
}

// Committed wakes the sealer.
func (a *Act) Committed() {
	if len(a.notes) > 0 {
		a.told = true
		a.log.poke()
	}
}

// Tell makes sure that the act is told of, also if it wrote nothing.
func (a *Act) Tell(ctx context.Context) error {
	if a.told || len(a.Chains) == 0 {
		return nil
	}
	return a.log.DB.InTx(db.WithWitness(ctx, a), func(context.Context, *db.Tx) error { return nil })
}

// write puts entries into the inbox.
func (l *Log) write(ctx context.Context, tx *db.Tx, notes []note) error {
	if len(notes) == 0 {
		return nil
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	ids := newIDs(now, len(notes))
	args := make([]any, 0, 3*padded(len(notes)))
	for i, n := range notes {
		n.entry.At = now
		body, err := json.Marshal(n.entry.bounded())
		if err != nil {
			return fmt.Errorf("encode an audit entry: %w", err)
		}
		args = append(args, ids[i], n.chain, string(body))
	}
	_, err := db.Exec(ctx, tx, insertion(len(notes)), fill(args, padded(len(notes)))...)
	return err
}

// insertion is one statement for n rows. Few texts serve all n: what is left
// over is NULL and skipped.
func insertion(n int) string {
	if n == 1 {
		return `INSERT INTO audit_inbox (id, chain, body) VALUES ($1, $2, $3)`
	}
	var b strings.Builder
	b.WriteString(`WITH news (id, chain, body) AS (VALUES `)
	for i := range padded(n) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "($%d,$%d,$%d)", 3*i+1, 3*i+2, 3*i+3)
	}
	b.WriteString(`) INSERT INTO audit_inbox (id, chain, body) SELECT id, chain, body FROM news WHERE id IS NOT NULL`)
	return b.String()
}

func padded(n int) int {
	p := 1
	for p < n {
		p *= 4
	}
	return p
}

func fill(args []any, rows int) []any {
	for len(args) < 3*rows {
		args = append(args, nil)
	}
	return args
}

// newIDs are unique and sort by time, then as they were noted.
func newIDs(now time.Time, n int) []string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	mark := hex.EncodeToString(b[:])
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%014x%04x%s", now.UnixMicro(), i, mark)
	}
	return ids
}

package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// A Log is all chains of an exchange. Its methods may be called from many goroutines.
type Log struct {
	DB  *db.DB
	log *slog.Logger

	poked    chan struct{}
	refusals refusals
}

// topicInbox has empty hints: there is something to seal.
const topicInbox = "audit"

// Open returns the log that is kept in d.
func Open(d *db.DB, log *slog.Logger) *Log {
	l := &Log{DB: d, log: log, poked: make(chan struct{}, 1)}
	d.Bus().Listen(topicInbox, db.Listener{
		Hear:    func(context.Context, string) { l.wake() },
		CatchUp: func(context.Context) error { l.wake(); return nil },
	})
	return l
}

// Tables names the tables of the log.
func Tables() []string { return []string{"audit_inbox", "audit_log", "audit_chain"} }

func (l *Log) wake() {
	select {
	case l.poked <- struct{}{}:
	default:
	}
}

// poke wakes the sealer, wherever it works.
func (l *Log) poke() {
	l.wake()
	l.DB.Bus().Mention(topicInbox, "")
}

// Entries of one tenant are never in the chain of another: every query names one.

// A Query chooses entries of one chain.
type Query struct {
	Chain     string
	Region    string // with Workspace
	Workspace string
	Actor     string // a subject
	Resource  string // or a part of its name, from the beginning
	Since     int64  // microseconds since 1970
	After     int64  // the number of the last entry seen
	Limit     int
}

// List returns entries in their order. More may follow if there are Limit.
func (l *Log) List(ctx context.Context, q Query) ([]Sealed, error) {
	if q.Since > 0 { // one look at the index; then by numbers alone
		first, err := first(ctx, l.DB, q.Chain, q.Since)
		if err != nil || first == 0 {
			return nil, err
		}
		q.After = max(q.After, first-1)
	}
	where, args := `chain = $1 AND seq > $2`, []any{q.Chain, q.After, q.Limit}
	and := func(column, operator, value string) {
		if value != "" {
			args = append(args, value)
			where += ` AND ` + column + operator + db.In(len(args), 1)
		}
	}
	and("workspace", " = ", q.Workspace)
	and("region", " = ", q.Region)
	and("actor", " = ", q.Actor)
	if q.Resource != "" { // a range by bytes, as text sorts
		and("resource", " >= ", q.Resource)
		and("resource", " < ", q.Resource+"\U0010FFFF")
	}
	return db.All(ctx, l.DB, scanSealed, `SELECT seq, hash, body FROM audit_log WHERE `+where+` ORDER BY seq LIMIT $3`, args...)
}

func scanSealed(scan func(...any) error) (s Sealed, err error) {
	var body string
	err = scan(&s.Seq, &s.Hash, &body)
	s.Body = []byte(body)
	return s, err
}

// A Chain is where the entries of one tenant, or of the exchange, begin and end.
type Chain struct {
	Name string `json:"chain"`
	Base Mark   `json:"base"` // before the first entry that is kept
	Head Mark   `json:"head"` // of the last
}

const chainColumns = `SELECT chain, seq, hash, base_seq, base_hash FROM audit_chain `

func scanChain(scan func(...any) error) (c Chain, err error) {
	return c, scan(&c.Name, &c.Head.Seq, &c.Head.Hash, &c.Base.Seq, &c.Base.Hash)
}

// Chain returns where a chain begins and ends. One in which nothing was ever
// written ends where it begins.
func (l *Log) Chain(ctx context.Context, name string) (Chain, error) { return chainOf(ctx, l.DB, name) }

// At returns the mark of an entry, or fault.Missing.
func (l *Log) At(ctx context.Context, chain string, seq int64) (Mark, error) {
	return db.One(ctx, l.DB, func(scan func(...any) error) (m Mark, err error) {
		return m, scan(&m.Seq, &m.Hash)
	}, `SELECT seq, hash FROM audit_log WHERE chain = $1 AND seq = $2`, chain, seq)
}

// first is the number of the first entry since a time, or 0.
func first(ctx context.Context, q db.Querier, chain string, since int64) (int64, error) {
	seq, err := db.One(ctx, q, db.Scan[int64], `SELECT seq FROM audit_log WHERE chain = $1 AND at >= $2 ORDER BY at, seq LIMIT 1`, chain, since)
	if fault.KindOf(err) == fault.Missing {
		return 0, nil
	}
	return seq, err
}

// Before is the mark before the first entry of a chain since a time.
func (l *Log) Before(ctx context.Context, c Chain, since time.Time) (Mark, error) {
	first, err := first(ctx, l.DB, c.Name, db.Micros(since))
	switch {
	case err != nil:
		return Mark{}, err
	case first == 0:
		return c.Head, nil
	case first-1 <= c.Base.Seq:
		return c.Base, nil
	}
	return l.At(ctx, c.Name, first-1)
}

// Entry reads what was sealed.
func (s Sealed) Entry() (e Entry, err error) {
	if err = json.Unmarshal(s.Body, &e); err != nil {
		err = fmt.Errorf("read audit entry %d: %w", s.Seq, err)
	}
	return e, err
}

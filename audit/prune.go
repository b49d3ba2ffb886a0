package audit

import (
	"context"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// MinRetention is the shortest time for which entries can be kept: NIS2 and DORA
// want them for long enough to look into what is found late.
const MinRetention = 365 * 24 * time.Hour

// pruneAtOnce is how many entries one transaction removes.
const pruneAtOnce = 20_000

const removedUpTo = "entries up to "

// removes reports whether e tells that what was up to m was removed.
func (e Entry) removes(m Mark) bool {
	return e.Action == "prune" && e.Actor.Kind == System && e.Detail == removedUpTo+m.String()
}

// Prune removes entries from before a time. What is left begins with the mark of
// the last one removed, and an entry of its own tells that, so it can still be verified.
func (l *Log) Prune(ctx context.Context, before time.Time) error {
	names, err := Names(ctx, l.DB)
	if err != nil {
		return err
	}
	for _, name := range names {
		for more := true; more; {
			if more, err = l.pruneSome(ctx, name, before); err != nil {
				return err
			}
		}
	}
	return nil
}

// pruneSome first tells, durably and in the chain, what it is about to remove: a
// crash leaves an entry about what is still there.
func (l *Log) pruneSome(ctx context.Context, name string, before time.Time) (more bool, err error) {
	upTo, err := l.old(ctx, name, before)
	if err != nil || upTo.Seq == 0 {
		return false, err
	}
	act := &Act{Chains: []string{name}, Entry: Entry{
		Actor: Actor{Kind: System, Subject: "retention"}, Action: "prune", Resource: "audit", Detail: removedUpTo + upTo.String(),
	}}
	if err := act.tellBy(ctx, l); err != nil {
		return false, err
	}
	if err := l.Seal(ctx); err != nil {
		return false, err
	}
	err = l.DB.InTx(Unwatched(ctx), func(ctx context.Context, tx *db.Tx) error {
		told, err := db.One(ctx, tx, db.Scan[int], `SELECT count(*) FROM audit_log WHERE chain = $1 AND seq > $2 AND body LIKE $3`,
			name, upTo.Seq, "%"+removedUpTo+upTo.String()+"%")
		if err != nil || told == 0 { // another process seals it: the next run removes
			more = false
			return err
		}
		if _, err := db.Exec(ctx, tx, `UPDATE audit_chain SET base_seq = $2, base_hash = $3 WHERE chain = $1 AND base_seq < $2`, name, upTo.Seq, upTo.Hash); err != nil {
			return err
		}
		n, err := db.Exec(ctx, tx, `DELETE FROM audit_log WHERE chain = $1 AND seq <= $2`, name, upTo.Seq)
		more = n == pruneAtOnce
		return err
	})
	return more, err
}

// old is the last of the first entries that are from before a time.
func (l *Log) old(ctx context.Context, name string, before time.Time) (Mark, error) {
	c, err := l.Chain(ctx, name)
	if err != nil {
		return Mark{}, err
	}
	keep, err := first(ctx, l.DB, name, db.Micros(before))
	if err != nil {
		return Mark{}, err
	}
	if keep == 0 {
		keep = c.Head.Seq + 1
	}
	last := min(keep-1, c.Base.Seq+pruneAtOnce)
	if last <= c.Base.Seq {
		return Mark{}, nil
	}
	m, err := l.At(ctx, name, last)
	if fault.KindOf(err) == fault.Missing {
		err = fault.Invalid.Errorf("entry %d of %s is missing; see kontor audit verify", last, Named(name))
	}
	return m, err
}

func (a *Act) tellBy(ctx context.Context, l *Log) error {
	a.log = l
	return a.Tell(ctx)
}

// Removed is the mark up to which an entry says that entries were removed.
func (e Entry) Removed() (Mark, bool) {
	text, ok := strings.CutPrefix(e.Detail, removedUpTo)
	if !ok || e.Action != "prune" {
		return Mark{}, false
	}
	m, err := ParseMark(text)
	return m, err == nil
}

package audit

import (
	"context"
	"encoding/json"
	"math"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// verifyAtOnce is how many entries are read in one query.
const verifyAtOnce = 1000

// Names lists all chains that the database has anything of.
func Names(ctx context.Context, q db.Querier) ([]string, error) {
	return db.All(ctx, q, db.Scan[string], `SELECT chain FROM audit_log UNION SELECT chain FROM audit_chain ORDER BY 1`)
}

// Verify checks a chain in the database, which should be a snapshot, and returns
// its end. The error names the first entry that is not as it was written.
func Verify(ctx context.Context, q db.Querier, name string, remembered Mark) (Mark, error) {
	chain, err := chainOf(ctx, q, name)
	if err != nil {
		return Mark{}, err
	}
	check, err := NewCheck(name, chain.Base, remembered)
	if err != nil {
		return Mark{}, err
	}
	told := chain.Base.Seq == 0
	for after := int64(math.MinInt64); ; {
		rows, err := db.All(ctx, q, scanRow, `SELECT seq, hash, body, at, region, workspace, actor, resource FROM audit_log
			WHERE chain = $1 AND seq > $2 ORDER BY seq LIMIT $3`, name, after, verifyAtOnce)
		if err != nil {
			return Mark{}, err
		}
		for _, r := range rows {
			if err := check.Next(r.Sealed); err != nil {
				return Mark{}, err
			}
			told = told || r.entry.removes(chain.Base)
			if err := r.agrees(name); err != nil {
				return Mark{}, err
			}
			after = r.Seq
		}
		if len(rows) < verifyAtOnce {
			break
		}
	}
	if !told {
		return Mark{}, fault.Invalid.Errorf("entries up to %d are missing, and no entry tells that they were removed as too old", chain.Base.Seq)
	}
	return check.Done(chain.Head)
}

func chainOf(ctx context.Context, q db.Querier, name string) (Chain, error) {
	c, err := db.One(ctx, q, scanChain, chainColumns+`WHERE chain = $1`, name)
	if fault.KindOf(err) == fault.Missing {
		return Chain{name, Genesis(name), Genesis(name)}, nil
	}
	return c, err
}

type logRow struct {
	Sealed
	entry                               Entry
	at                                  int64
	region, workspace, actor, reference string
}

func scanRow(scan func(...any) error) (r logRow, err error) {
	var body string
	err = scan(&r.Seq, &r.Hash, &body, &r.at, &r.region, &r.workspace, &r.actor, &r.reference)
	r.Body = []byte(body)
	_ = json.Unmarshal(r.Body, &r.entry) // what is no entry has another hash
	return r, err
}

// agrees checks the copies by which entries are found: who changes them hides an entry.
func (r logRow) agrees(chain string) error {
	e := r.entry
	if r.at != db.Micros(e.At) || r.region != e.Region || r.workspace != e.Workspace || r.actor != e.Actor.Subject || r.reference != e.Resource {
		return fault.Invalid.Errorf("entry %d of %s was changed: it is not filed under what it says", r.Seq, Named(chain))
	}
	return nil
}

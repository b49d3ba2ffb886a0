package envelope

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// Rewrap wraps all data keys by the Key of that id, which is used from now on, and
// returns how many were wrapped by another. Its source has both. It is one
// transaction, so that there is no state between; what is sealed stays as it is,
// and processes that run notice nothing.
func Rewrap(ctx context.Context, d *db.DB, from Source, to string) (n int, err error) {
	by, err := keyOf(ctx, from, to)
	if err != nil {
		return 0, err
	}
	err = d.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		// The row is the lock under which nobody makes a data key.
		if _, err := db.Exec(ctx, tx, `UPDATE envelope SET wrapper = $1, changed_at = $2 WHERE wrapper <> $1`, to, db.Micros(time.Now())); err != nil {
			return err
		}
		all, err := db.All(ctx, tx, scanDataKey, dataKeyColumns+`WHERE wrapper <> $1 ORDER BY id`, to)
		if err != nil {
			return err
		}
		n = len(all)
		for _, k := range all {
			if err := k.rewrap(ctx, tx, from, by); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func (k DataKey) rewrap(ctx context.Context, tx *db.Tx, from Source, by Key) error {
	old, err := keyOf(ctx, from, k.Wrapper)
	if err != nil {
		return err
	}
	secret, err := k.unwrap(ctx, old)
	if err != nil {
		return err
	}
	k.Wrapper = by.ID()
	if k.wrapped, err = by.Wrap(ctx, secret, k.about()); err != nil {
		return fmt.Errorf("wrap the data key of %s by key %s: %w", k.Purpose, by.ID(), err)
	}
	if again, err := k.unwrap(ctx, by); err != nil || !bytes.Equal(again, secret) {
		return fmt.Errorf("key %s does not unwrap what it has wrapped: %w", by.ID(), err)
	}
	_, err = db.Exec(ctx, tx, `UPDATE data_key SET wrapper = $2, wrapped = $3 WHERE id = $1`, k.ID, k.Wrapper, k.wrapped)
	return err
}

// Unused reports whether nothing in the database needs the Key of that id; else a
// Conflict says what does.
func Unused(ctx context.Context, q db.Querier, id string) error {
	n, err := db.One(ctx, q, db.Scan[int], `
		SELECT (SELECT count(*) FROM data_key WHERE wrapper = $1) + (SELECT count(*) FROM envelope WHERE wrapper = $1)`, id)
	if err == nil && n > 0 {
		err = fault.Conflict.Errorf("the secrets of this exchange are sealed by key %s", id)
	}
	return err
}

// Abandon gives up what is sealed in columns, when its Key is lost for good: it
// deletes the rows and all data keys, so that the next Open begins anew. It is a
// Conflict if the Key is there.
func Abandon(ctx context.Context, d *db.DB, from Source, columns ...Column) error {
	id, err := Wrapper(ctx, d)
	if err != nil {
		return err
	}
	if Has(ctx, from, id) == nil {
		return fault.Conflict.Errorf("nothing is lost: key %s, by which the secrets are sealed, is in %s", id, from)
	}
	return d.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		for _, table := range append(tablesOf(columns), "data_key", "envelope") {
			if _, err := db.Exec(ctx, tx, `DELETE FROM `+table); err != nil {
				return err
			}
		}
		return nil
	})
}

func tablesOf(columns []Column) []string {
	var all []string
	for _, c := range columns {
		all = append(all, c.Table)
	}
	return all
}

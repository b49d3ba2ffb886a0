package participant

import (
	"context"
	"errors"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// Topic is on which processes tell each other that the market has changed.
const Topic = "market"

// Changed notes, in the transaction of a change, that what can be bought is not as it was.
// It comes last, as the lock of its row is everybody's.
func Changed(ctx context.Context, tx *db.Tx) error {
	_, err := db.Exec(ctx, tx, `
		INSERT INTO participant_change (one, changes) VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET changes = participant_change.changes + 1`)
	return err
}

// Write runs fn in a transaction that changes what can be bought, and tells other processes.
func Write(ctx context.Context, d *db.DB, fn func(context.Context, *db.Tx) error) error {
	err := d.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := fn(ctx, tx); err != nil {
			return err
		}
		return Changed(ctx, tx)
	})
	if err == nil {
		d.Bus().Tell(Topic, "")
	}
	return err
}

// Write is Write on the store's database.
func (s *Store) Write(ctx context.Context, fn func(context.Context, *db.Tx) error) error {
	err := Write(ctx, s.DB, fn)
	if err == nil && s.Changed != nil {
		s.Changed()
	}
	return err
}

// Changes counts the changes that there have been. Who keeps the market in memory reads it
// again when this has grown.
func (s *Store) Changes(ctx context.Context) (int64, error) {
	n, err := db.One(ctx, s.DB, db.Scan[int64], `SELECT changes FROM participant_change`)
	if errors.Is(err, fault.Missing) {
		return 0, nil
	}
	return n, err
}

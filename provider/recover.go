package provider

import (
	"context"
	"crypto/rand"
	"errors"
	"regexp"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// Identity reads the id of the exchange whose database q is.
func Identity(ctx context.Context, q db.Querier) (string, error) {
	id, err := db.One(ctx, q, db.Scan[string], `SELECT id FROM exchange`)
	if errors.Is(err, fault.Missing) {
		err = fault.Missing.Errorf("no exchange has ever run on this database")
	}
	return id, err
}

var exchangeRule = regexp.MustCompile(`^[a-z0-9]{16}$`)

// Recover makes the exchange in an empty database, with the id that it had
// before it lost another. It is a Conflict if the database has one with another id.
func Recover(ctx context.Context, d *db.DB, id string) error {
	if !exchangeRule.MatchString(id) {
		return fault.Invalid.Errorf("%q is no id of an exchange, which has 16 letters and digits", id)
	}
	if err := makeExchange(ctx, d, id); err != nil {
		return err
	}
	if is, err := Identity(ctx, d); err != nil || is != id {
		return errors.Join(err, fault.Conflict.Errorf("the database is of exchange %s, not of %s", is, id))
	}
	return nil
}

// Restored begins a new epoch in a database that was filled from a backup:
// agents may have seen later revisions than it has, and must not take its next
// ones for those.
func Restored(ctx context.Context, tx *db.Tx) error {
	_, err := db.Exec(ctx, tx, `UPDATE exchange SET epoch = $1`, rand.Text())
	return err
}

// ToldAgain names the tables of what agents will report again by themselves.
func ToldAgain() []string { return []string{"orphan"} }

package envelope

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
)

// A Box seals secrets and opens them. Its methods may be called from many
// goroutines.
type Box struct {
	db   *db.DB
	from Source

	mu   sync.Mutex
	keys []opened
}

// Open returns the box of an exchange; columns are those in which older versions
// kept secrets in the open. The first call ever has the Key made, and seals what
// is in them, all in one transaction; from then on nothing is taken for a secret
// that is not sealed. An error is Denied if the Key is not to be had.
func Open(ctx context.Context, d *db.DB, from Source, columns ...Column) (*Box, error) {
	b := &Box{db: d, from: from}
	_, err := Wrapper(ctx, d)
	if errors.Is(err, fault.Missing) {
		err = b.begin(ctx, columns)
	}
	if err != nil {
		return nil, err
	}
	all, err := b.DataKeys(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range all {
		if _, err := b.use(ctx, k); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Wrapper is the id of the Key by which what is wrapped now is wrapped, or Missing
// if nothing was ever sealed.
func Wrapper(ctx context.Context, q db.Querier) (string, error) {
	return db.One(ctx, q, db.Scan[string], `SELECT wrapper FROM envelope`)
}

// DataKeys lists what the database has, by purpose.
func (b *Box) DataKeys(ctx context.Context) ([]DataKey, error) {
	return db.All(ctx, b.db, scanDataKey, dataKeyColumns+`ORDER BY purpose`)
}

// begin makes the first Key and seals what lies in the open. Of several processes
// one does.
func (b *Box) begin(ctx context.Context, columns []Column) error {
	if err := b.from.Make(ctx); err != nil {
		return err
	}
	all, err := b.from.Keys(ctx)
	if err != nil {
		return err
	}
	failpoint.Here(failpoint.KeyFileMade)
	err = b.db.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `
			INSERT INTO envelope (one, wrapper, changed_at, wiped_at) VALUES (1, $1, $2, 0) ON CONFLICT (one) DO NOTHING`,
			all[0].ID(), db.Micros(time.Now()))
		if err != nil || n == 0 {
			return err
		}
		return sealAll(ctx, tx, all[0], columns)
	})
	if err != nil {
		return fmt.Errorf("seal what older versions kept in the open: %w", err)
	}
	failpoint.Here(failpoint.SecretsSealed)
	return nil
}

// sealAll seals what is in columns. If there is nothing, no trace is to be wiped.
func sealAll(ctx context.Context, tx *db.Tx, by Key, columns []Column) error {
	found := 0
	for _, c := range columns {
		k, err := newDataKey(ctx, by, c.String())
		if err != nil {
			return err
		}
		if err := k.insert(ctx, tx); err != nil {
			return err
		}
		n, err := k.sealColumn(ctx, tx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		found += n
	}
	if found > 0 {
		return nil
	}
	_, err := db.Exec(ctx, tx, `UPDATE envelope SET wiped_at = changed_at`)
	return err
}

func (k opened) sealColumn(ctx context.Context, tx *db.Tx, c Column) (int, error) {
	type row struct {
		id    string
		plain []byte
	}
	rows, err := db.All(ctx, tx, func(scan func(...any) error) (r row, err error) {
		return r, scan(&r.id, &r.plain)
	}, `SELECT id, `+c.Name+` FROM `+c.Table)
	for _, r := range rows {
		if err == nil {
			_, err = db.Exec(ctx, tx, `UPDATE `+c.Table+` SET `+c.Name+` = $2 WHERE id = $1`, r.id, k.seal(c.Row(r.id), r.plain))
		}
	}
	return len(rows), err
}

// Wipe removes the traces that secrets have left in the files of the database
// before they were sealed: on SQLite by writing the whole file anew, once in its
// life. Until it succeeds, each call tries again.
func (b *Box) Wipe(ctx context.Context) error {
	n, err := db.One(ctx, b.db, db.Scan[int64], `SELECT wiped_at FROM envelope`)
	if err != nil || n != 0 {
		return err
	}
	tables, err := db.All(ctx, b.db, db.Scan[string], `SELECT purpose FROM data_key ORDER BY purpose`)
	if err != nil {
		return err
	}
	for i, purpose := range tables {
		tables[i] = columnOf(purpose).Table
	}
	if err := b.db.Wipe(ctx, tables...); err != nil {
		return fmt.Errorf("wipe the traces of secrets: %w", err)
	}
	_, err = db.Exec(ctx, b.db, `UPDATE envelope SET wiped_at = $1`, db.Micros(time.Now()))
	return err
}

// Seal seals a secret for a place in the database.
func (b *Box) Seal(ctx context.Context, at Place, plain []byte) ([]byte, error) {
	k, err := b.keyFor(ctx, at.Column.String())
	if err != nil {
		return nil, fmt.Errorf("seal for %s: %w", at.Column, err)
	}
	return k.seal(at, plain), nil
}

// Open gives back what was sealed for a place. What was sealed for another one, or
// was changed, is Invalid.
func (b *Box) Open(ctx context.Context, at Place, sealed []byte) ([]byte, error) {
	id, body, err := parse(sealed)
	if err != nil {
		return nil, fmt.Errorf("%s of row %s: %w", at.Column, at.ID, err)
	}
	k, err := b.key(ctx, func(k opened) bool { return k.ID == id }, `WHERE id = $1`, id)
	if errors.Is(err, fault.Missing) {
		return nil, fault.Invalid.Errorf("%s of row %s was sealed by a data key that is not there", at.Column, at.ID)
	}
	if err != nil {
		return nil, err
	}
	return k.open(at, body)
}

// attempts bounds how often the Key may be changed while a data key is made.
const attempts = 10

// keyFor is the data key for a purpose, which it makes if need be.
func (b *Box) keyFor(ctx context.Context, purpose string) (opened, error) {
	for range attempts {
		k, err := b.key(ctx, func(k opened) bool { return k.Purpose == purpose }, `WHERE purpose = $1`, purpose)
		if !errors.Is(err, fault.Missing) {
			return k, err
		}
		if err := b.make(ctx, purpose); err != nil {
			return opened{}, err
		}
	}
	return opened{}, fault.Unavailable.Errorf("the key is being changed")
}

// make adds a data key for a purpose, unless the Key is changed meanwhile: then
// it does nothing.
func (b *Box) make(ctx context.Context, purpose string) error {
	id, err := Wrapper(ctx, b.db)
	if err != nil {
		return err
	}
	by, err := keyOf(ctx, b.from, id)
	if err != nil {
		return err
	}
	k, err := newDataKey(ctx, by, purpose)
	if err != nil {
		return err
	}
	return b.db.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		// The row is the lock that Rewrap takes, too.
		n, err := db.Exec(ctx, tx, `UPDATE envelope SET wrapper = wrapper WHERE wrapper = $1`, id)
		if err != nil || n == 0 {
			return err
		}
		return k.insert(ctx, tx)
	})
}

// key finds a data key in memory, or else, by where, in the database.
func (b *Box) key(ctx context.Context, is func(opened) bool, where, arg string) (opened, error) {
	b.mu.Lock()
	for _, k := range b.keys {
		if is(k) {
			b.mu.Unlock()
			return k, nil
		}
	}
	b.mu.Unlock()
	k, err := db.One(ctx, b.db, scanDataKey, dataKeyColumns+where, arg)
	if err != nil {
		return opened{}, err
	}
	return b.use(ctx, k)
}

// use unwraps a data key and keeps it in memory.
func (b *Box) use(ctx context.Context, k DataKey) (opened, error) {
	by, err := keyOf(ctx, b.from, k.Wrapper)
	if err != nil {
		return opened{}, err
	}
	secret, err := k.unwrap(ctx, by)
	if err != nil {
		return opened{}, err
	}
	aead, err := gcm(secret)
	if err != nil {
		return opened{}, err
	}
	usable := opened{k, aead}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keys = append(b.keys, usable) // twice does no harm
	return usable, nil
}

package db

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/failpoint"
)

//go:embed migrations/*.sql
var files embed.FS

func migrations() fs.FS {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the path is a constant
	}
	return sub
}

// A migration is one step of the schema. Its file is NNNN_name.sql, or a pair
// NNNN_name.sqlite.sql and NNNN_name.postgres.sql. Once released it never
// changes: the database remembers the digest of its text.
type migration struct {
	number int
	name   string
	text   string
	digest string
}

// lockKey is the advisory lock that migrating processes take on PostgreSQL.
const lockKey = 0x6b6f6e746f72 // "kontor"

// migrate applies what is missing, all in one transaction, while no other
// process does.
func migrate(ctx context.Context, d *DB, from fs.FS) error {
	known, err := readMigrations(from, d.postgres)
	if err != nil {
		return err
	}
	return d.InTx(ctx, func(ctx context.Context, tx *Tx) error {
		if d.postgres {
			if _, err := Exec(ctx, tx, `SELECT pg_advisory_xact_lock($1)`, int64(lockKey)); err != nil {
				return err
			}
		}
		done, err := applied(ctx, tx)
		if err != nil {
			return err
		}
		if err := agree(known, done); err != nil {
			return err
		}
		for _, m := range known[len(done):] {
			if err := m.apply(ctx, tx); err != nil {
				return fmt.Errorf("migration %04d_%s: %w", m.number, m.name, err)
			}
			d.log.InfoContext(ctx, "migration applied", "number", m.number, "name", m.name)
		}
		return nil
	})
}

// applied makes the table if need be and returns what is in it, in order.
func applied(ctx context.Context, tx *Tx) ([]migration, error) {
	_, err := Exec(ctx, tx, `CREATE TABLE IF NOT EXISTS migration (
		number BIGINT NOT NULL PRIMARY KEY,
		name TEXT NOT NULL,
		applied_at BIGINT NOT NULL,
		digest TEXT NOT NULL)`)
	if err != nil {
		return nil, err
	}
	return All(ctx, tx, func(scan func(...any) error) (m migration, err error) {
		return m, scan(&m.number, &m.name, &m.digest)
	}, `SELECT number, name, digest FROM migration ORDER BY number`)
}

func (m migration) apply(ctx context.Context, tx *Tx) error {
	// Not through the prepared statements: a file has many.
	failpoint.Here(failpoint.MigrationBegun)
	if err := tx.script(ctx, m.text); err != nil {
		return err
	}
	failpoint.Here(failpoint.MigrationRun)
	_, err := Exec(ctx, tx, `INSERT INTO migration (number, name, applied_at, digest) VALUES ($1, $2, $3, $4)`,
		m.number, m.name, Micros(time.Now()), m.digest)
	failpoint.Here(failpoint.MigrationDone)
	return err
}

// agree checks that what was applied is a beginning of what is known.
func agree(known, done []migration) error {
	for i, m := range done {
		if i >= len(known) {
			return fmt.Errorf("the database has migration %04d_%s, which is newer than this program; install the version that wrote it, or a later one", m.number, m.name)
		}
		if k := known[i]; k.number != m.number || k.digest != m.digest {
			return fmt.Errorf("migration %04d_%s is not what was applied to the database as %04d_%s: it was changed afterwards", k.number, k.name, m.number, m.name)
		}
	}
	return nil
}

// readMigrations returns the migrations for one of the databases, in order.
func readMigrations(from fs.FS, postgres bool) ([]migration, error) {
	mine, other := ".sqlite", ".postgres"
	if postgres {
		mine, other = other, mine
	}
	names, err := fs.Glob(from, "*.sql")
	if err != nil {
		return nil, err
	}
	var all []migration
	for _, file := range names { // sorted by Glob
		stem := strings.TrimSuffix(file, ".sql")
		if strings.HasSuffix(stem, other) {
			continue
		}
		m, err := readMigration(from, file, strings.TrimSuffix(stem, mine))
		if err != nil {
			return nil, err
		}
		if postgres && !strings.HasSuffix(stem, mine) {
			m.text = bytewise(m.text)
		}
		if n := len(all); n > 0 && all[n-1].number >= m.number {
			return nil, fmt.Errorf("two migrations have the number %d", m.number)
		}
		all = append(all, m)
	}
	return all, nil
}

func readMigration(from fs.FS, file, stem string) (migration, error) {
	number, name, ok := strings.Cut(stem, "_")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || len(number) != 4 {
		return migration{}, errors.New(file + " is not named NNNN_name.sql")
	}
	text, err := fs.ReadFile(from, file)
	if err != nil {
		return migration{}, err
	}
	sum := sha256.Sum256(text)
	return migration{number: n, name: name, text: string(text), digest: hex.EncodeToString(sum[:])}, nil
}

var textType = regexp.MustCompile(`\bTEXT\b`)

// bytewise makes text on PostgreSQL sort by its bytes, as it does on SQLite.
// The locale of a server must not decide what a range of names is.
func bytewise(text string) string { return textType.ReplaceAllString(text, `TEXT COLLATE "C"`) }

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/backup"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/provider"
)

// A restoring is one run of "kontor restore".
type restoring struct {
	place  databasePlace
	seal   backup.Seal
	verify bool
}

func restoreCommand(a *app) *cobra.Command {
	var r restoring
	c := &cobra.Command{
		Use:   "restore FILE|-",
		Short: "Fill a new database from a backup, or verify one",
		Long: `Fill a new, empty database from a backup: SQLite or PostgreSQL, whichever the backup is of. Everything is
compared with the digests in the backup before anything counts; on any error nothing is left. A backup by an
older Kontor is brought up to date.

Agents notice that their exchange is another than before, and hear everything anew. What customers made after
the backup stays on the platforms and is shown as orphans ("kontor region orphans"): it is never removed unasked.
The secrets in it are sealed by a key that is not in it: the restored exchange needs the key file of the old one.
Tokens and certificates that were revoked after the backup are good again; revoke them once more.`,
		Example: `  kontor restore kontor.backup --data /var/lib/kontor
  kontor restore kontor.backup --db postgres://… --identity key.txt
  kontor restore kontor.backup --verify`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.restore(c.Context(), r, args[0]) },
	}
	f := c.Flags()
	r.place.add(a, f)
	f.StringVar(&r.seal.Identity, "identity", "", "file with the secret key of age that opens the backup")
	f.StringVar(&r.seal.Passphrase, "passphrase-file", "", "file with the passphrase in its first line")
	f.BoolVar(&r.verify, "verify", false, "only read the backup and compare all digests")
	a.outputFlag(f, "json")
	return c
}

func (a *app) restore(ctx context.Context, r restoring, file string) error {
	from := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fault.Invalid.Errorf("%w", err)
		}
		defer f.Close()
		from = f
	}
	p := a.progress()
	m, err := r.read(ctx, from, p.rows("restoring"))
	p.clear()
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := a.restored(m, r.verify); err != nil {
		return err
	}
	if r.verify && !r.place.named() {
		return nil
	}
	return a.missesKey(ctx, r.place, m)
}

func (r restoring) read(ctx context.Context, from io.Reader, progress backup.Progress) (m backup.Manifest, err error) {
	plain, err := r.seal.Reader(from)
	if errors.Is(err, fault.Denied) {
		return m, hinted{err, "--identity FILE with the secret key, or --passphrase-file FILE"}
	}
	if err != nil {
		return m, err
	}
	b, err := backup.NewReader(plain, progress)
	if err != nil {
		return m, err
	}
	if r.verify {
		if m, err = b.Verify(); err == nil {
			_, err = b.Due()
		}
		return m, err
	}
	url, err := r.place.url()
	if err != nil {
		return m, err
	}
	err = db.Restore(ctx, url, slog.New(slog.DiscardHandler), b.Source, func(ctx context.Context, tx *db.Tx) error {
		m, err = b.Load(ctx, tx)
		return err
	}, provider.Restored)
	return m, err
}

// restored says what was read.
func (a *app) restored(m backup.Manifest, verified bool) error {
	if a.structured() {
		return a.write(m)
	}
	t := a.table("TABLE", "ROWS", "CONTENT")
	for _, c := range m.Tables {
		t.row(c.Table, fmt.Sprint(c.Rows), c.Content[:16])
	}
	if err := t.flush(); err != nil {
		return err
	}
	what := "restored"
	if verified {
		what = "whole and unchanged"
	}
	fmt.Fprintf(a.stderr, "exchange %s as of %s, by Kontor %s: %s\n", clean(m.Exchange), m.At.Format(time.RFC3339), clean(m.Version), what)
	return nil
}

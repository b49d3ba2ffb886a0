package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/backup"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
)

// A databasePlace says where an exchange keeps its state.
type databasePlace struct{ config, data, db, envDB, keyFile string }

func (p *databasePlace) add(a *app, f *pflag.FlagSet) {
	p.envDB = a.env[dbVariable]
	f.StringVar(&p.config, "config", "", "configuration file of the exchange")
	f.StringVar(&p.data, "data", "", "data directory of the exchange (default "+defaultExchange().Data+")")
	f.StringVar(&p.db, "db", "", "postgres://… if the exchange does not use a SQLite file there (or "+dbVariable+")")
	f.StringVar(&p.keyFile, "key-file", "", keyFileHelp)
}

// exchange is the configuration of the exchange, as far as that is known here.
func (p *databasePlace) exchange() (exchangeConfig, error) {
	c := defaultExchange()
	if p.config != "" {
		if err := readConfig(p.config, &c); err != nil {
			return c, err
		}
	}
	return (&exchangeFlags{data: p.data, db: p.db, envDB: p.envDB, keyFile: p.keyFile, profile: string(c.Listen[0].Profile)}).over(c), nil
}

// named reports whether somebody has said which exchange it is about.
func (p *databasePlace) named() bool { return p.config+p.data+p.db+p.envDB+p.keyFile != "" }

func (p *databasePlace) url() (string, error) {
	c, err := p.exchange()
	return c.database(), err
}

// A backing is one run of "kontor backup".
type backing struct {
	place databasePlace
	seal  backup.Seal
	keys  bool
}

func backupCommand(a *app) *cobra.Command {
	var b backing
	c := &cobra.Command{
		Use:   "backup FILE|-",
		Short: "Write the state of an exchange to a file, while it runs",
		Long: `Write the state of an exchange to a file, or to standard output. The exchange may run meanwhile: the
backup shows one moment, with everything that was acknowledged before it. It can be restored into SQLite and
PostgreSQL, whichever it is of.

Its secrets are sealed by the key in the exchange's key file, which is not in it: keep a copy of that file, at another
place, as without it a restored exchange has to give out all tokens anew. The backup is readable by you alone;
encrypt all of it for an age key (--recipient, of which only the secret half can open it) or by a passphrase. --keys leaves out what agents can
tell again (see "kontor serve --recover"), which makes a small file.`,
		Example: `  kontor backup /srv/backup/kontor.backup --data /var/lib/kontor --recipient age1…
  kontor backup - --db postgres://… | ssh elsewhere 'cat > kontor.backup'`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.backup(c.Context(), b, args[0]) },
	}
	f := c.Flags()
	b.place.add(a, f)
	f.StringArrayVar(&b.seal.Recipients, "recipient", nil, "encrypt for this public key of age (repeatable)")
	f.StringVar(&b.seal.Passphrase, "passphrase-file", "", "encrypt by the passphrase in the first line of this file")
	f.BoolVar(&b.keys, "keys", false, "leave out resources: keys, regions, tenants, accounts and tokens alone")
	a.outputFlag(f, "json")
	return c
}

func (a *app) backup(ctx context.Context, b backing, file string) error {
	x, err := b.place.exchange()
	if err != nil {
		return err
	}
	if file == "-" && isTerminal(a.stdout) {
		return usagef("a backup is not for a terminal; name a file")
	}
	d, err := db.OpenToRead(ctx, x.database(), slog.New(slog.DiscardHandler))
	if err != nil {
		return hinted{err, "--data DIR or --db URL, as the exchange has it"}
	}
	defer d.Close()
	head := backup.Head{Version: version(), At: time.Now().UTC().Truncate(time.Millisecond)}
	if b.keys {
		head.Without = slices.Concat(resource.Tables(), provider.ToldAgain(), audit.Tables())
	}
	var m backup.Manifest
	p := a.progress()
	err = a.writeWhole(file, func(w io.Writer) error {
		return d.Snapshot(ctx, func(s *db.Snapshot) (err error) {
			if head.Exchange, err = provider.Identity(ctx, s); err != nil {
				return err
			}
			if head.Key, err = sealedBy(ctx, s); err != nil {
				return err
			}
			sealed, err := b.seal.Writer(w)
			if err != nil {
				return err
			}
			if m, err = backup.Write(ctx, sealed, s, head, p.rows("backing up")); err != nil {
				return err
			}
			return sealed.Close()
		})
	})
	p.clear()
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if a.structured() && file != "-" {
		return a.write(m)
	}
	fmt.Fprintf(a.stderr, "exchange %s: %d rows of %d tables are in %s\n", m.Exchange, m.Rows, len(m.Tables), file)
	if m.Key != "" {
		fmt.Fprintf(a.stderr, "its secrets open only with key %s, which is not in it: keep a copy of %s at another place\n", m.Key, x.keys())
	}
	return nil
}

// rows shows how far a long copy is.
func (p *progress) rows(what string) backup.Progress {
	return func(table string, rows int64) {
		if p.tty {
			p.say(what+" ", fmt.Sprintf("%s, %d rows", table, rows))
		}
	}
}

// writeWhole puts a file in place when all of it is on the disk, readable by
// its owner alone. "-" is standard output.
func (a *app) writeWhole(name string, fill func(io.Writer) error) (err error) {
	if name == "-" {
		w := bufio.NewWriterSize(a.stdout, 64<<10)
		return errors.Join(fill(w), w.Flush())
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".kontor-*") // mode 0600
	if err != nil {
		return fault.Invalid.Errorf("%w", err)
	}
	defer os.Remove(f.Name()) // fails when all went well
	w := bufio.NewWriterSize(f, 64<<10)
	if err = fill(w); err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// syncDir makes a rename in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

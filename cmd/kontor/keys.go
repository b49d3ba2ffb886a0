package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/backup"
	"github.com/kontor-cloud/kontor/certificate"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/envelope"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/tenant"
)

const (
	keyFileHelp = "file with the key that opens the secrets in the database; the first start makes it (default kontor.key in the data directory)"
	lostKeyHelp = "put the key file of this exchange there, or name it by --key-file; if it is lost for good: kontor keys abandon --help"
)

// secretColumns are those that hold secrets.
var secretColumns = []envelope.Column{tenant.Secret, provider.Secret, market.Secret, certificate.Secret}

// keys are those that open the secrets in the database.
func (c exchangeConfig) keys() envelope.FileKeys {
	return envelope.FileKeys(cmp.Or(c.KeyFile, filepath.Join(c.Data, "kontor.key")))
}

// openBox makes the secrets of the database usable. That traces of those of an
// older version cannot be wiped now is no reason not to start.
func (c exchangeConfig) openBox(ctx context.Context, d *db.DB, log *slog.Logger) (*envelope.Box, error) {
	box, err := envelope.Open(ctx, d, c.keys(), secretColumns...)
	if errors.Is(err, fault.Denied) {
		return nil, hinted{err, lostKeyHelp}
	}
	if err != nil {
		return nil, fmt.Errorf("open the secrets in the database: %w", err)
	}
	if err := box.Wipe(ctx); err != nil {
		log.WarnContext(ctx, "traces of secrets from before they were sealed stay; the next start tries again", "error", err)
	}
	return box, nil
}

// sealedBy is the id of the key that a snapshot's secrets are sealed by; "" if
// they are of an older version, and in the open.
func sealedBy(ctx context.Context, s *db.Snapshot) (string, error) {
	if !slices.ContainsFunc(s.Tables, func(t db.Table) bool { return t.Name == "envelope" }) {
		return "", nil
	}
	id, err := envelope.Wrapper(ctx, s)
	if errors.Is(err, fault.Missing) {
		return "", nil
	}
	return id, err
}

// missesKey says so if the key for a backup is not here.
func (a *app) missesKey(ctx context.Context, place databasePlace, m backup.Manifest) error {
	x, err := place.exchange()
	if err != nil || m.Key == "" {
		return err
	}
	if err := envelope.Has(ctx, x.keys(), m.Key); err != nil {
		fmt.Fprintf(a.stderr, "kontor: %s\n  try: before the exchange starts, %s\n", clean(err.Error()), lostKeyHelp)
	}
	return nil
}

func keysCommand(a *app) *cobra.Command {
	return family("keys", "Manage the keys of the exchange (operators)",
		a.listCommand(mustKind("key")), a.keysRotate(), a.keysNew(), a.keysRewrap(), a.keysForget(), a.keysAbandon())
}

func (a *app) keysRotate() *cobra.Command {
	return &cobra.Command{
		Use: "rotate", Short: "Sign tokens with a new key from now on; tokens signed before stay good", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			x, err := a.connect()
			if err != nil {
				return err
			}
			var made struct {
				ID string `json:"id"`
			}
			if err := x.Post(c.Context(), x.Exchange("keys", "rotate"), nil, &made); err != nil {
				return err
			}
			if a.structured() {
				return a.write(made)
			}
			_, err = fmt.Fprintf(a.stdout, "key/%s signs from now on\n", clean(made.ID))
			return err
		},
	}
}

func (a *app) keysNew() *cobra.Command {
	return &cobra.Command{
		Use: "new FILE", Short: "Make a key file, for an exchange that has none yet or for rewrap", Args: cobra.ExactArgs(1),
		Example: "  kontor keys new kontor.key && kubectl create secret generic kontor-keys --from-file=kontor.key",
		RunE: func(c *cobra.Command, args []string) error {
			file := envelope.FileKeys(args[0])
			if _, err := os.Lstat(args[0]); err == nil {
				return fault.Conflict.Errorf("there is a file %s already", file)
			}
			if err := file.Make(c.Context()); err != nil {
				return err
			}
			all, err := file.Keys(c.Context())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "key %s is in %s; keep a copy of the file\n", all[0].ID(), file)
			return err
		},
	}
}

func (a *app) keysRewrap() *cobra.Command {
	var place databasePlace
	var file string
	c := &cobra.Command{
		Use:   "rewrap --new-key-file FILE",
		Short: "Seal the secrets in the database by another key, while the exchange runs",
		Long: `Seal the secrets in the database by the key in another file, which is made if it is not there. The exchange may
run meanwhile, in any number of processes. The key is added to the key file first, so that a start at any moment finds
what it needs; do the same in the key files on other machines before ("cat FILE >> KEYFILE"). Broken off, it is
done by doing it again.

The old key stays in the key file, as backups from before need it: "kontor keys forget" takes it out.`,
		Example: "  kontor keys rewrap --data /var/lib/kontor --new-key-file new.key",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.rewrap(c.Context(), place, file) },
	}
	place.add(a, c.Flags())
	c.Flags().StringVar(&file, "new-key-file", "", "file with the key that is to be used")
	return c
}

func (a *app) rewrap(ctx context.Context, place databasePlace, file string) error {
	x, err := place.exchange()
	if err != nil {
		return err
	}
	keys, next := x.keys(), envelope.FileKeys(file)
	if file == "" || keys == next {
		return usagef("name another file than the present %s by --new-key-file", keys)
	}
	d, err := openCurrent(ctx, x.database())
	if err != nil {
		return err
	}
	defer d.Close()
	old, err := envelope.Wrapper(ctx, d)
	if err != nil {
		return hinted{err, "start the exchange once: then its secrets are sealed"}
	}
	if err := next.Make(ctx); err != nil {
		return err
	}
	if err := keys.Add(ctx, next); err != nil {
		return hinted{err, "--key-file FILE, as the exchange has it"}
	}
	to, err := next.Keys(ctx)
	if err != nil {
		return err
	}
	n, err := envelope.Rewrap(ctx, d, keys, to[0].ID())
	if err != nil {
		return fmt.Errorf("rewrap: %w", err)
	}
	fmt.Fprintf(a.stdout, "secrets are sealed by key %s (%d rewrapped), which is in %s; %s is a copy\n", to[0].ID(), n, keys, next)
	if old != to[0].ID() {
		fmt.Fprintf(a.stdout, "backups from before need key %s; when none is left: kontor keys forget %s\n", old, old)
	}
	return nil
}

// openCurrent opens the database of an exchange to write, unless its schema is of
// an older version: processes of that may run.
func openCurrent(ctx context.Context, url string) (*db.DB, error) {
	quiet := slog.New(slog.DiscardHandler)
	d, err := db.OpenToRead(ctx, url, quiet)
	if err != nil {
		return nil, hinted{err, "--data DIR or --db URL, as the exchange has it"}
	}
	err = d.Snapshot(ctx, func(s *db.Snapshot) error {
		due, err := db.Source{Postgres: s.Postgres, Migrations: s.Migrations}.Due()
		if err == nil && len(due) > 0 {
			err = hinted{fault.Unsupported.Errorf("the database is of an older version of Kontor"), "start this version of the exchange first"}
		}
		return err
	})
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	return db.Open(ctx, url, quiet)
}

func (a *app) keysForget() *cobra.Command {
	var place databasePlace
	c := &cobra.Command{
		Use:   "forget KEY",
		Short: "Take a key that nothing is sealed by any more out of the key file, for good",
		Long: `Take a key out of the key file, for good, if no secret in the database is sealed by it. Backups from when it was
in use cannot be opened without it. On several machines, do it on each.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			x, err := place.exchange()
			if err != nil {
				return err
			}
			d, err := openCurrent(c.Context(), x.database())
			if err != nil {
				return err
			}
			defer d.Close()
			if err := envelope.Unused(c.Context(), d, args[0]); err != nil {
				return hinted{err, "kontor keys rewrap, before"}
			}
			if err := x.keys().Remove(c.Context(), args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "key %s is forgotten\n", clean(args[0]))
			return err
		},
	}
	place.add(a, c.Flags())
	return c
}

func (a *app) keysAbandon() *cobra.Command {
	var place databasePlace
	var yes bool
	c := &cobra.Command{
		Use:   "abandon --yes",
		Short: "Give up the secrets in the database, when the key file is lost for good",
		Long: `Give up the secrets in the database, when no copy of the key file is left. Stop the exchange before. Its next
start makes new ones, by which

  all tokens are worthless: "kontor token rescue" makes one for the first operator, and people and programs need
  new ones (logins at other issuers are as before);
  all agents must join again: remove identity.json from the directory of each, and "kontor region join".

Resources, tenants, accounts and roles stay, and what runs at providers keeps running.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !yes {
				return usagef("this ends all tokens and all certificates of agents; say --yes")
			}
			return a.abandon(c.Context(), place)
		},
	}
	place.add(a, c.Flags())
	c.Flags().BoolVar(&yes, "yes", false, "yes, the key is lost")
	return c
}

func (a *app) abandon(ctx context.Context, place databasePlace) error {
	x, err := place.exchange()
	if err != nil {
		return err
	}
	d, err := openCurrent(ctx, x.database())
	if err != nil {
		return err
	}
	defer d.Close()
	if err := envelope.Abandon(ctx, d, x.keys(), secretColumns...); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, "abandoned; the next start of the exchange makes new secrets")
	return err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/backup"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/doctor"
	"github.com/kontor-cloud/kontor/provider"
)

// An upgrading is one run of "kontor upgrade".
type upgrading struct {
	place        databasePlace
	check, quick bool
}

func upgradeCommand(a *app) *cobra.Command {
	var u upgrading
	c := &cobra.Command{
		Use:   "upgrade --check",
		Short: "Tell what this version would do to an exchange of an older one",
		Long: `Tell what this version would do to an exchange of an older one, which may run meanwhile: which migrations of
the schema it would take, whether they work on what is in the database, and how long that takes (on a copy in a
temporary directory, which is removed; TMPDIR says where, and it needs room for all that is in the database), and which
agents are older. Nothing is changed. The exit code is 1 if an upgrade would fail.

The upgrade itself is: put the new program in place and start "kontor serve" anew, one process after the other.`,
		Example: "  kontor upgrade --check --config /etc/kontor/exchange.yaml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !u.check {
				return usagef("the upgrade is to start this version in place of the older one; what that would do tells --check")
			}
			return a.checkUpgrade(c.Context(), u)
		},
	}
	f := c.Flags()
	u.place.add(a, f)
	f.BoolVar(&u.check, "check", false, "only look, which is all that this command can do")
	f.BoolVar(&u.quick, "quick", false, "do not try the migrations on a copy")
	a.outputFlag(f, "json")
	return c
}

func (a *app) checkUpgrade(ctx context.Context, u upgrading) error {
	url, err := u.place.url()
	if err != nil {
		return err
	}
	d, err := db.OpenToRead(ctx, url, slog.New(slog.DiscardHandler))
	if err != nil {
		return hinted{err, "--data DIR, --db URL or --config FILE, as the exchange has it"}
	}
	defer d.Close()
	r := &doctor.Report{Began: time.Now()}
	if err := d.Snapshot(ctx, func(s *db.Snapshot) error { return a.rehearse(ctx, r, s, u.quick) }); err != nil {
		return fmt.Errorf("look at the database: %w", err)
	}
	r.Ended = time.Now()
	if a.structured() {
		err = a.write(map[string]any{"version": version(), "checks": r.Checks})
	} else {
		err = a.showReport(r)
	}
	if err == nil && r.Failed() {
		err = exitError(1)
	}
	return err
}

// rehearse takes the steps of an upgrade on a snapshot, as far as they go.
func (a *app) rehearse(ctx context.Context, r *doctor.Report, s *db.Snapshot, quick bool) error {
	exchange, err := provider.Identity(ctx, s)
	if err != nil {
		return err
	}
	kind := map[bool]string{true: "PostgreSQL", false: "SQLite"}[s.Postgres]
	r.Checks = append(r.Checks, doctor.Check{Name: "database", Status: doctor.OK, Detail: fmt.Sprintf("exchange %s on %s, %d migrations taken", exchange, kind, len(s.Migrations))})
	due, err := db.Source{Postgres: s.Postgres, Migrations: s.Migrations}.Due()
	schema := doctor.Check{Name: "schema", Status: doctor.OK, Detail: "as this version has it; nothing to do"}
	if err != nil {
		schema.Status, schema.Detail, schema.Try = doctor.Fail, err.Error(), "this version cannot serve it: take the version that wrote it, or a later one"
	} else if len(due) > 0 {
		schema.Detail = fmt.Sprintf("%d migrations to take: %s", len(due), names(due))
	}
	r.Checks = append(r.Checks, schema)
	if err == nil && len(due) > 0 {
		r.Checks = append(r.Checks, a.tryMigrations(ctx, s, exchange, quick))
	}
	agents, err := checkAgents(ctx, s)
	r.Checks = append(r.Checks, agents)
	return err
}

func names(all []db.Migration) string {
	words := make([]string, len(all))
	for i, m := range all {
		words[i] = fmt.Sprintf("%04d_%s", m.Number, m.Name)
	}
	return strings.Join(words, ", ")
}

// tryMigrations copies everything into a temporary database and takes the
// migrations there.
func (a *app) tryMigrations(ctx context.Context, s *db.Snapshot, exchange string, quick bool) doctor.Check {
	c := doctor.Check{Name: "migrations", Status: doctor.Skip, Detail: "not tried on a copy (--quick)"}
	if quick {
		return c
	}
	began := time.Now()
	m, err := a.copyAndMigrate(ctx, s, exchange)
	c.Seconds = time.Since(began).Seconds()
	if err != nil {
		c.Status, c.Detail, c.Try = doctor.Fail, err.Error(), "keep the version that runs, and report this"
		return c
	}
	c.Status, c.Detail = doctor.OK, fmt.Sprintf("work on a copy of %d rows; copying and migrating took %.1f s", m.Rows, c.Seconds)
	c.Try = "before the upgrade: kontor backup"
	return c
}

func (a *app) copyAndMigrate(ctx context.Context, s *db.Snapshot, exchange string) (m backup.Manifest, err error) {
	dir, err := os.MkdirTemp("", "kontor-upgrade-") // 0700: keys are in it
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(dir)
	p := a.progress()
	defer p.clear()
	from, to := io.Pipe()
	go func() {
		_, err := backup.Write(ctx, to, s, backup.Head{Exchange: exchange, Version: version(), At: time.Now()}, p.rows("copying"))
		to.CloseWithError(err)
	}()
	defer from.CloseWithError(errors.New("the copy has ended"))
	b, err := backup.NewReader(from, func(string, int64) {})
	if err != nil {
		return m, err
	}
	nothing := func(context.Context, *db.Tx) error { return nil }
	err = db.Restore(ctx, filepath.Join(dir, "copy.db"), slog.New(slog.DiscardHandler), b.Source, func(ctx context.Context, tx *db.Tx) error {
		m, err = b.Load(ctx, tx)
		return err
	}, nothing)
	return m, err
}

// checkAgents names the regions whose agents have another version. That is no
// hindrance: both sides speak what the older one knows.
func checkAgents(ctx context.Context, s *db.Snapshot) (doctor.Check, error) {
	c := doctor.Check{Name: "agents", Status: doctor.OK, Detail: "all have this version"}
	all, err := provider.AgentVersions(ctx, s)
	var others []string
	for region, v := range all {
		if v != version() {
			others = append(others, region+" "+v)
		}
	}
	if slices.Sort(others); len(others) > 0 {
		c.Detail = fmt.Sprintf("%d of %d have another version and go on: %s", len(others), len(all), strings.Join(others[:min(10, len(others))], ", "))
		c.Try = "after the upgrade of the exchange: upgrade them, in any order"
	}
	return c, err
}

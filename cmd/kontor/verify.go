package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/db"
)

// A verifying is one run of "kontor audit verify".
type verifying struct {
	place      databasePlace
	head       string
	remembered audit.Mark
}

// A verdict is one chain that was found whole.
type verdict struct {
	Chain string     `json:"chain"` // a tenant, or "" for the exchange
	Head  audit.Mark `json:"head"`
}

func (a *app) auditVerify(exchange *bool) *cobra.Command {
	var v verifying
	c := &cobra.Command{
		Use: "verify [FILE]", Short: "Check that nothing in the log was changed, removed, added or moved",
		Long: `Check the log as the exchange serves it; or an export of it (FILE); or all logs in the database itself, if
--data or --db names it. It prints SEQ:HASH of the last entry. Write that down elsewhere: with --head SEQ:HASH a
later run also finds an end that was cut off, and a log that was written anew.`,
		Example: "  kontor audit verify -t acme\n  kontor audit verify acme-2026.jsonl --head 4711:9f86d081…\n  kontor audit verify --data /var/lib/kontor",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if v.head != "" {
				if v.remembered, err = audit.ParseMark(v.head); err != nil {
					return usagef("--head: %v", err)
				}
			}
			all, err := a.verify(c.Context(), v, *exchange, args)
			for _, one := range all {
				if !a.structured() {
					fmt.Fprintf(a.stdout, "%s: whole, the last entry is %s\n", audit.Named(clean(one.Chain)), one.Head)
				}
			}
			if err == nil && a.structured() {
				err = a.write(all)
			}
			return err
		},
	}
	v.place.add(a, c.Flags())
	c.Flags().StringVar(&v.head, "head", "", "SEQ:HASH of an entry, as printed before")
	return c
}

func (a *app) verify(ctx context.Context, v verifying, exchange bool, files []string) ([]verdict, error) {
	switch {
	case len(files) == 1:
		return verifyFile(files[0], v.remembered)
	case v.place != databasePlace{}:
		return a.verifyDatabase(ctx, v, exchange)
	}
	l, err := a.auditLog(ctx, exchange)
	if err != nil {
		return nil, err
	}
	chain, err := l.chain(ctx)
	if err != nil {
		return nil, err
	}
	check, err := audit.NewCheck(l.name, chain.Base, v.remembered)
	if err != nil {
		return nil, err
	}
	for s, err := range l.until(ctx, chain) {
		if err == nil {
			err = check.Next(s)
		}
		if err != nil {
			return nil, err
		}
	}
	end, err := check.Done(chain.Head)
	return whole(l.name, end, err)
}

func whole(chain string, end audit.Mark, err error) ([]verdict, error) {
	if err != nil {
		return nil, fmt.Errorf("the log of %s is not whole: %w", audit.Named(clean(chain)), err)
	}
	return []verdict{{chain, end}}, nil
}

func verifyFile(name string, remembered audit.Mark) ([]verdict, error) {
	f, err := openExport(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head, end, err := audit.VerifyExport(f, remembered)
	return whole(head.Chain, end, err)
}

// verifyDatabase checks one chain, or all, at one moment.
func (a *app) verifyDatabase(ctx context.Context, v verifying, exchange bool) (all []verdict, err error) {
	url, err := v.place.url()
	if err != nil {
		return nil, err
	}
	d, err := db.OpenToRead(ctx, url, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, hinted{err, "--data DIR or --db URL, as the exchange has it"}
	}
	defer d.Close()
	err = d.Snapshot(ctx, func(s *db.Snapshot) error {
		names := []string{a.flags.Tenant}
		if a.flags.Tenant == "" && !exchange && v.head == "" {
			if names, err = audit.Names(ctx, s); err != nil {
				return err
			}
		}
		for _, name := range names {
			end, err := audit.Verify(ctx, s, name, v.remembered)
			one, err := whole(name, end, err)
			if err != nil {
				return err
			}
			all = append(all, one...)
		}
		return nil
	})
	return all, err
}

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/tenant"
)

// tokenRescue is for operators who have lost all their tokens: who can write
// the database owns the exchange anyway.
func (a *app) tokenRescue() *cobra.Command {
	var place databasePlace
	var out string
	c := &cobra.Command{
		Use:   "rescue",
		Short: "Make a token for the first operator in the database itself, when all tokens are lost",
		Long: `Make a token for the operator "admin", and the account if it is not there or not an operator any more, in the
database itself, so as its owner. The exchange may run meanwhile. With another version than the exchange's own, this
would bring the database up to date, as starting that version does.`,
		Example: "  kontor token rescue --config /etc/kontor/exchange.yaml --out admin.token",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			url, err := place.url()
			if err != nil {
				return err
			}
			t, err := a.rescue(c.Context(), url)
			if err != nil {
				return err
			}
			return a.hand(t, out)
		},
	}
	place.add(a, c.Flags())
	c.Flags().StringVar(&out, "out", "", "file for the token, made readable by you alone")
	return c
}

func (a *app) rescue(ctx context.Context, url string) (t issued, err error) {
	probe, err := db.OpenToRead(ctx, url, a.logger()) // makes none
	if err != nil {
		return t, hinted{err, "--data DIR, --db URL or --config FILE, as the exchange has it"}
	}
	if err := probe.Close(); err != nil {
		return t, err
	}
	d, err := db.Open(ctx, url, a.logger())
	if err != nil {
		return t, fmt.Errorf("open the database: %w", err)
	}
	defer d.Close()
	providers, err := provider.Open(ctx, d)
	if err != nil {
		return t, fmt.Errorf("open the providers: %w", err)
	}
	tenants, err := tenant.Open(ctx, d, "kontor:"+providers.Exchange)
	if err != nil {
		return t, fmt.Errorf("open the tenants: %w", err)
	}
	return operatorToken(ctx, tenants, "rescue")
}

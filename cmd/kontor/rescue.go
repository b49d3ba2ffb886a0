package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

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
database itself, so as its owner. The exchange may run meanwhile. Take the version
that the exchange has.`,
		Example: "  kontor token rescue --config /etc/kontor/exchange.yaml --out admin.token",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			x, err := place.exchange()
			if err != nil {
				return err
			}
			t, err := a.rescue(c.Context(), x)
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

func (a *app) rescue(ctx context.Context, x exchangeConfig) (t issued, err error) {
	d, err := openCurrent(ctx, x.database())
	if err != nil {
		return t, err
	}
	defer d.Close()
	box, err := x.openBox(ctx, d, a.logger())
	if err != nil {
		return t, err
	}
	providers, err := provider.Open(ctx, d, box)
	if err != nil {
		return t, fmt.Errorf("open the providers: %w", err)
	}
	tenants, err := tenant.Open(ctx, d, box, "kontor:"+providers.Exchange)
	if err != nil {
		return t, fmt.Errorf("open the tenants: %w", err)
	}
	return operatorToken(ctx, tenants, "rescue")
}

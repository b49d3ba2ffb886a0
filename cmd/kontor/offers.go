package main

import (
	"context"
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
)

// An offerLine is what people want to see of an offer.
type offerLine struct {
	Provider, Region, Country, SKU, As, Unit string
	Kind                                     offer.Kind
	VCPU, RAM                                int
	Price, Monthly                           money.Amount
	NoticeDays                               int
}

func offersCommand(a *app) *cobra.Command {
	narrow := map[string]*string{} // by parameter
	c := &cobra.Command{
		Use: "offers", Short: "List what can be bought, where, and for what price",
		Example: "  kontor offers --country FR --kind instance --sort price\n  kontor offers publish sheet.yaml --key rhone.key",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{}
			for name, value := range narrow {
				if *value != "" {
					q.Set(name, *value)
				}
			}
			if a.flags.Region != "" { // not that of the context: what is on sale elsewhere is the question
				q.Set("region", a.flags.Region)
			}
			return a.listOffers(c.Context(), q)
		},
	}
	for _, f := range []struct{ flag, parameter, help string }{
		{"provider", "provider", "of this participant"},
		{"country", "country", "in this country (ISO 3166)"},
		{"kind", "kind", "instance, volume, network, public-ip or egress"},
		{"sku", "sku", "of this size: the common one or the provider's"},
		{"max-price", "maxPrice", "most that an hour, a GiB and month, or a GiB may cost, in euro"},
		{"sort", "sort", "name, or price: the cheapest of each kind first"},
	} {
		narrow[f.parameter] = c.Flags().String(f.flag, "", f.help)
	}
	c.AddCommand(a.offersPublish(), a.offersSheets())
	return c
}

func (a *app) listOffers(ctx context.Context, q url.Values) error {
	x, err := a.connect()
	if err != nil {
		return err
	}
	items, err := client.All(x.List(ctx, x.Exchange("offers"), client.Query{More: q}))
	if err != nil {
		return err
	}
	if a.structured() {
		return a.writeItems(items, false)
	}
	if len(items) == 0 {
		fmt.Fprintln(a.stderr, "No offers found.")
		return nil
	}
	t := a.table("REGION", "COUNTRY", "PROVIDER", "KIND", "SKU", "AS", "SIZE", "PRICE", "FOR", "A MONTH", "NOTICE")
	for _, i := range items {
		o, err := specOf[offerLine](i)
		if err != nil {
			return err
		}
		size := ""
		if o.VCPU > 0 {
			size = fmt.Sprintf("%d vCPU, %d GiB", o.VCPU, o.RAM)
		}
		t.row(o.Region, o.Country, o.Provider, string(o.Kind), o.SKU, o.As, size, o.Price.String(), o.Unit, euros(o.Monthly, 2)+" EUR", fmt.Sprintf("%d days", o.NoticeDays))
	}
	return t.flush()
}

func (a *app) offersPublish() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "publish SHEET.yaml --key FILE", Short: "Sign a price sheet here, and put it on sale",
		Long: `Sign a price sheet here with the participant's key, and put it on sale. A sheet that was
published never changes: another price is the next version. Running orders pay it when the
notice of the sheets before it has passed. The format is in docs/providers.md.

A sheet that carries a signature already is sent as it is, so it can be signed where the key is
(--sign-only) and published where the exchange can be reached.`,
		Example: `  kontor offers publish sheet.yaml --key rhone.key
  kontor offers publish sheet.yaml --key rhone.key --sign-only > signed.yaml && kontor offers publish signed.yaml`,
		Args: cobra.ExactArgs(1),
	}
	only := c.Flags().Bool("sign-only", false, "write the signed sheet to standard output, and publish nothing")
	c.Flags().StringVar(&key, "key", "", "file with the participant's private key")
	c.RunE = func(c *cobra.Command, args []string) error {
		s, err := readSheet(args[0], key)
		if err != nil {
			return err
		}
		if *only {
			if !a.structured() {
				a.output = "yaml"
			}
			return a.write(s)
		}
		return a.publish(c.Context(), s)
	}
	return c
}

// readSheet reads a sheet that is signed, or that the key in a file is to sign.
func readSheet(file, key string) (*offer.Sheet, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Invalid.Errorf("read price sheet: %w", err)
	}
	s, err := offer.Parse(file, text)
	switch {
	case err != nil:
		return nil, err
	case s.Signature == nil && key == "":
		return nil, usagef("%s is not signed: give --key FILE", file)
	case s.Signature != nil && key != "":
		return nil, usagef("%s is signed already: leave --key out, or the signature", file)
	case key == "":
		return s, nil
	}
	private, err := readKey(key)
	if err == nil {
		s.Sign(private)
	}
	return s, err
}

func (a *app) publish(ctx context.Context, s *offer.Sheet) error {
	x, err := a.connect()
	if err != nil {
		return err
	}
	var i client.Item
	if err := x.Post(ctx, party(x, s.Provider, "sheets"), s, &i); err != nil {
		return err
	}
	if a.structured() {
		return a.write(i)
	}
	fmt.Fprintf(a.stdout, "price sheet of %s published, signed by %s\n", s, s.Signature.Key)
	a.next("from %s on: kontor offers --provider %s", day(s.ValidFrom), s.Provider)
	return nil
}

func (a *app) offersSheets() *cobra.Command {
	return &cobra.Command{
		Use: "sheets PROVIDER", Short: "List the price sheets of a participant; those to come, too, to itself", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completes(a.namesOf("participant")),
		RunE: func(c *cobra.Command, args []string) error {
			items, err := a.collect(c.Context(), ofParticipant("price-sheet", "sheets", args[0]), listing{})
			if err != nil {
				return err
			}
			if a.structured() {
				return a.writeItems(items, false)
			}
			return a.showSheets(items)
		},
	}
}

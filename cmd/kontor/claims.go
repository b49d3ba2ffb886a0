package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/document"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/participant"
)

// ofParticipant is a collection of the participant that is named.
func ofParticipant(name, collection, of string) kind {
	return kind{name: name, collection: collection, provider: "kontor.exchange", at: func(_ context.Context, c *client.Client, _ client.Place) (string, error) {
		return party(c, of, collection), nil
	}}
}

// specOf reads what a document says.
func specOf[T any](i client.Item) (spec T, err error) {
	if err := json.Unmarshal(i.Spec, &spec); err != nil {
		return spec, fault.Malformed.Errorf("read %s: %w", i.Metadata.Name, err)
	}
	return spec, nil
}

// A claimFile is what is said of a participant.
type claimFile struct {
	Claims []participant.Claim `json:"claims"`
}

func readClaims(file string) (f claimFile, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return f, fault.Invalid.Errorf("read claims: %w", err)
	}
	_, err = document.Decode(file, text, &f)
	return f, err
}

func (a *app) providerClaim() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "claim NAME -f FILE", Short: "Say what your organisation, its regions and services are like",
		Long: `Say what your organisation, its regions and services are like. The file holds all that
you say: what it does not say any more is withdrawn. Claims of your own are self-declared
or by contract; an operator attests what others vouch for.

  claims:
    - {attribute: provider.legal_country, value: FR, level: self-declared}
    - {attribute: region.pue, value: 1.2, level: contract, region: fr-lyon-rhone, until: 2030-01-01T00:00:00Z}

"kontor policy vocabulary" lists what can be claimed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.putClaims(c.Context(), "PUT", args[0], "claims", file); err != nil {
				return err
			}
			a.next("kontor region create COUNTRY-CITY-%s --country COUNTRY, or if it runs: kontor offers publish SHEET.yaml --key FILE", args[0])
			return nil
		},
	}
	claimsFlag(c, &file)
	return c
}

func (a *app) providerAttest() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "attest NAME -f FILE", Short: "Vouch for claims whose proofs you have seen (operators)",
		Long: `Vouch for claims whose proofs you have seen, beside those that stand. Each names its issuer and
the SHA-256 of the document that proves it; levels are contract, third-party and regulator.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completes(a.namesOf("participant")),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.putClaims(c.Context(), "POST", args[0], "attestations", file); err != nil {
				return err
			}
			a.next("kontor provider show %s", args[0])
			return nil
		},
	}
	claimsFlag(c, &file)
	return c
}

func claimsFlag(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "filename", "f", "", "file with the claims")
	_ = c.MarkFlagRequired("filename") // the flag is there
}

func (a *app) putClaims(ctx context.Context, method, name, collection, file string) error {
	in, err := readClaims(file)
	if err != nil {
		return err
	}
	x, err := a.connect()
	if err != nil {
		return err
	}
	var d participant.Difference
	if _, err := x.Do(ctx, client.Call{Method: method, URL: party(x, name, collection), In: in, Out: &d}); err != nil {
		return err
	}
	if a.structured() {
		return a.write(d)
	}
	fmt.Fprintf(a.stdout, "claims of %s: %d added, %d as before, %d withdrawn\n", name, d.Added, d.Kept, d.Withdrawn)
	return nil
}

func (a *app) providerShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a participant: profile, state, claims with their evidence, price sheets", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completes(a.namesOf("participant")),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.read(c.Context(), target{kind: participantKind, name: args[0]})
			if err != nil {
				return err
			}
			claims, err := a.collect(c.Context(), ofParticipant("claim", "claims", args[0]), listing{})
			if err != nil {
				return err
			}
			sheets, err := a.collect(c.Context(), ofParticipant("price-sheet", "sheets", args[0]), listing{})
			if err != nil {
				return err
			}
			if a.structured() {
				return a.write(map[string]any{"participant": p, "claims": claims, "sheets": sheets})
			}
			return a.showProvider(p, claims, sheets)
		},
	}
}

func (a *app) showProvider(i client.Item, claims, sheets []client.Item) error {
	p, err := specOf[participant.Profile](i)
	if err != nil {
		return err
	}
	doc := decoded(i)
	lines := a.table("Name:", p.Name)
	for _, l := range []struct{ title, text string }{
		{"Legal name:", p.LegalName},
		{"Country:", p.Country},
		{"Register:", p.Register},
		{"VAT:", p.VAT},
		{"State:", plain(find(doc, "status.state"))},
		{"Account:", plain(find(doc, "status.account"))},
		{"Contact:", strings.TrimSpace(p.Contact.Name + " " + p.Contact.Email + " " + p.Contact.Phone)},
	} {
		if l.text != "" {
			lines.row(l.title, l.text)
		}
	}
	if err := lines.flush(); err != nil {
		return err
	}
	if len(claims) > 0 {
		fmt.Fprintln(a.stdout)
		if err := a.showClaims(claims, time.Now()); err != nil {
			return err
		}
	}
	if len(sheets) == 0 {
		return nil
	}
	fmt.Fprintln(a.stdout)
	return a.showSheets(sheets)
}

func (a *app) showClaims(items []client.Item, now time.Time) error {
	t := a.table("ABOUT", "ATTRIBUTE", "VALUE", "EVIDENCE", "ISSUER", "SAID BY", "UNTIL")
	for _, i := range items {
		c, err := specOf[participant.Claim](i)
		if err != nil {
			return err
		}
		until := day(c.Until)
		if !c.Until.IsZero() && !now.Before(c.Until) {
			until += " (expired)"
		}
		about := cmp.Or(strings.Trim(c.Region+" "+c.Service, " "), "provider")
		t.row(about, c.Attribute, string(c.Value), string(c.Level), c.Issuer, string(c.Source), until)
	}
	return t.flush()
}

func (a *app) showSheets(items []client.Item) error {
	t := a.table("SHEET", "VALID FROM", "VALID UNTIL", "NOTICE", "REGIONS", "KEY", "ALTERED")
	for _, i := range items {
		s, err := specOf[offer.Sheet](i)
		if err != nil {
			return err
		}
		regions := make([]string, 0, len(s.Regions))
		for name := range s.Regions {
			regions = append(regions, name)
		}
		slices.Sort(regions)
		doc := decoded(i)
		t.row(i.Metadata.Name, day(s.ValidFrom), day(s.ValidUntil), fmt.Sprintf("%d days", s.NoticeDays), strings.Join(regions, ","),
			plain(find(doc, "status.key")), plain(find(doc, "status.altered")))
	}
	return t.flush()
}

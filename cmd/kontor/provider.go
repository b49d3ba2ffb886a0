package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/document"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/participant"
)

// participantKind is the organisations that take part. Who sells is called a provider.
var participantKind = func() kind {
	k := own("participant", "participants")
	k.short = []string{"provider"}
	return k
}()

func providerCommand(a *app) *cobra.Command {
	return family("provider", "Take part as an organisation that sells (docs/providers.md)",
		a.providerApply(), a.providerLogin(),
		a.providerDecide("approve", "Let an applicant take part, or one that was suspended again (operators)", "approved"),
		a.providerDecide("suspend", "Take what a participant sells off the market; what runs there goes on (operators)", "suspended"),
		a.providerDecide("reject", "Drop an application (operators)", "rejected"),
		a.listCommand(participantKind), a.providerShow(), a.providerClaim(), a.providerAttest(), a.providerMeasure(), a.providerKeys(), a.providerLosses())
}

// next says which command comes next, to people.
func (a *app) next(format string, args ...any) {
	if !a.structured() {
		fmt.Fprintf(a.stderr, "next: %s\n", clean(fmt.Sprintf(format, args...)))
	}
}

// party is where a participant is at the exchange.
func party(c *client.Client, name string, rest ...string) string {
	return c.Exchange(append([]string{"participants", name}, rest...)...)
}

// stranger is the client of who has no token yet.
func (a *app) stranger() (*client.Client, error) {
	s, err := a.resolve()
	if err != nil {
		return nil, err
	}
	if s.URL == "" {
		return nil, usagef("no exchange is named: give --url")
	}
	t, err := transport(s.CA)
	if err != nil {
		return nil, err
	}
	a.client, err = client.New(s.URL, "", client.Options{Transport: t, Agent: "kontor/" + version()})
	return a.client, err
}

func (a *app) providerApply() *cobra.Command {
	var p participant.Profile
	var file, key string
	c := &cobra.Command{
		Use: "apply NAME --key FILE", Short: "Apply to take part, by a key that is made if there is none",
		Long: `Apply to take part in an exchange. The application is signed by the key in --key, which
is made if the file is not there. Keep it: with it you log in and sign price sheets,
and the exchange has only its public half. Who applies again with the same key
changes his application.

What registers say goes into flags, or into a file (-f) with name, legalName, country,
register, vat and contact. Contacts are shown to operators alone.`,
		Example: `  kontor provider apply rhone --legal-name "Rhône Cloud SAS" --country FR --register "SIREN 552100554" --email ops@rhone.example --key rhone.key
  kontor provider apply rhone -f profile.yaml --key rhone.key`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in, err := readProfile(file, args[0], p)
			if err != nil {
				return err
			}
			return a.providerApplies(c.Context(), in, key)
		},
	}
	f := c.Flags()
	f.StringVarP(&file, "filename", "f", "", "file with the profile")
	f.StringVar(&p.LegalName, "legal-name", "", "name as in the register")
	f.StringVar(&p.Country, "country", "", "country of the register (ISO 3166)")
	f.StringVar(&p.Register, "register", "", `number, with the name of the register: "SIREN 552100554"`)
	f.StringVar(&p.VAT, "vat", "", "VAT number, with its prefix")
	f.StringVar(&p.Contact.Email, "email", "", "where the operator reaches you")
	keyFlag(c, &key)
	return c
}

func keyFlag(c *cobra.Command, key *string) {
	c.Flags().StringVar(key, "key", "", "file with the participant's private key (Ed25519, PKCS #8 in PEM)")
	_ = c.MarkFlagRequired("key") // the flag is there
}

// readProfile puts what flags say over what a file says.
func readProfile(file, name string, flags participant.Profile) (participant.Profile, error) {
	var p participant.Profile
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return p, fault.Invalid.Errorf("read profile: %w", err)
		}
		if _, err := document.Decode(file, text, &p); err != nil {
			return p, err
		}
		if p.Name != "" && p.Name != name {
			return p, usagef("%s is the profile of %s, not of %s", file, p.Name, name)
		}
	}
	p.Name = name
	for _, x := range []struct {
		to   *string
		from string
	}{
		{&p.LegalName, flags.LegalName},
		{&p.Country, flags.Country},
		{&p.Register, flags.Register},
		{&p.VAT, flags.VAT},
		{&p.Contact.Email, flags.Contact.Email},
	} {
		if x.from != "" {
			*x.to = x.from
		}
	}
	return p, p.Validate() // before a key is made
}

func (a *app) providerApplies(ctx context.Context, p participant.Profile, file string) error {
	x, err := a.stranger()
	if err != nil {
		return err
	}
	key, made, err := openKey(file)
	if err != nil {
		return err
	}
	if made {
		fmt.Fprintf(a.stderr, "made the key %s: keep it, and a copy of it in a safe place\n", file)
	}
	var i client.Item
	if err := x.Post(ctx, x.Exchange("participants"), participant.Apply(p, key, x.URL()), &i); err != nil {
		return err
	}
	if a.structured() {
		return a.write(i)
	}
	a.tell(target{kind: participantKind, name: p.Name}, "applied")
	a.next("when an operator has approved: kontor provider login %s --key %s", p.Name, file)
	return nil
}

func (a *app) providerLogin() *cobra.Command {
	var key, out string
	var ttl time.Duration
	c := &cobra.Command{
		Use: "login NAME --key FILE", Short: "Get a token, by signing with the participant's key",
		Long: `Get a token for the account that acts for a participant, by signing what the exchange
asks. Nothing secret is sent. The token is kept in a context with the name of the
participant (or that of --context), or goes to the file of --out.`,
		Example: "  kontor provider login rhone --key rhone.key\n  kontor provider login rhone --key rhone.key --out rhone.token --ttl 1h",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			t, err := a.loginByKey(c.Context(), args[0], key, ttl)
			switch {
			case err != nil:
				return err
			case out != "" || a.structured():
				return a.hand(t, out)
			}
			return a.keepBare(c.Context(), args[0], t)
		},
	}
	keyFlag(c, &key)
	c.Flags().StringVar(&out, "out", "", "file for the token, made readable by you alone")
	c.Flags().DurationVar(&ttl, "ttl", 12*time.Hour, "how long it is good, at most 720h")
	return c
}

func (a *app) loginByKey(ctx context.Context, name, file string, ttl time.Duration) (t issued, err error) {
	key, err := readKey(file)
	if err != nil {
		return t, err
	}
	x, err := a.stranger()
	if err != nil {
		return t, err
	}
	var asked struct {
		Challenge string `json:"challenge"`
	}
	if err := x.Post(ctx, party(x, name, "challenge"), struct{}{}, &asked); err != nil {
		return t, err
	}
	err = x.Post(ctx, party(x, name, "login"), map[string]any{
		"challenge": asked.Challenge, "signature": participant.Answer(asked.Challenge, key, x.URL()), "ttl": ttl.String(),
	}, &t)
	switch {
	case errors.Is(err, fault.Unauthenticated):
		return t, hinted{err, "the key that " + name + " applied with, and the --url by which the exchange calls itself"}
	case errors.Is(err, fault.Denied):
		return t, hinted{err, "again when an operator has run: kontor provider approve " + name}
	}
	return t, err
}

// keepBare puts a token that cannot be renewed into a context.
func (a *app) keepBare(ctx context.Context, name string, t issued) error {
	s, err := a.resolve()
	if err != nil {
		return err
	}
	to := settings{Name: name, URL: s.URL, CA: s.CA}
	if a.context != "" {
		to.Name = a.context
	}
	place := a.contextsFile()
	if place == "" {
		return usagef("no place for the token: give --out FILE")
	}
	to.TokenFile = filepath.Join(filepath.Dir(place), "sessions", url.PathEscape(to.Name)+".token")
	if err := os.MkdirAll(filepath.Dir(to.TokenFile), 0o700); err != nil {
		return fault.Invalid.Errorf("keep the token: %w", err)
	}
	if err := writePrivate(to.TokenFile, []byte(t.Token+"\n")); err != nil {
		return fault.Invalid.Errorf("keep the token: %w", err)
	}
	if err := a.setContext(to); err != nil {
		return err
	}
	a.overridden()
	if err := a.greet(ctx, to, t.Token); err != nil {
		return err
	}
	a.next("kontor provider claim %s -f claims.yaml --context %s", name, to.Name)
	return nil
}

// providerDecide is what an operator says of a participant.
func (a *app) providerDecide(verb, short, done string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: a.completes(a.namesOf("participant")),
		RunE: func(c *cobra.Command, args []string) error {
			x, err := a.connect()
			if err != nil {
				return err
			}
			var i client.Item
			status, err := x.Do(c.Context(), client.Call{Method: http.MethodPost, URL: party(x, args[0], verb), Out: &i})
			if err != nil {
				return err
			}
			if a.structured() && status != http.StatusNoContent {
				return a.write(i)
			}
			a.tell(target{kind: participantKind, name: args[0]}, done)
			if verb == "approve" {
				a.next("kontor provider attest %s -f claims.yaml, once you have seen the proofs", args[0])
			}
			return nil
		},
	}
}

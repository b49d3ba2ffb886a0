package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/issuer"
	"github.com/kontor-cloud/kontor/tenant"
)

func loginCommand(a *app) *cobra.Command {
	var at string
	c := &cobra.Command{
		Use: "login", Short: "Log in at an issuer that the exchange trusts, in a browser anywhere", Args: cobra.NoArgs,
		Long: `Log in at an issuer that the exchange trusts. You open a page, in a browser on any
machine, and enter a code. What comes of it is kept beside the contexts, readable
by you alone, in a context that is made if there is none, and is renewed by itself
while the issuer allows it.`,
		Example: "  kontor login --url https://exchange.example.eu\n  kontor whoami",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.login(c.Context(), at)
		},
	}
	c.Flags().StringVar(&at, "issuer", "", "URL or name of the issuer, if the exchange trusts several")
	return c
}

func (a *app) login(ctx context.Context, at string) error {
	s, err := a.resolve()
	if err != nil {
		return err
	}
	if s.URL == "" {
		return usagef("no exchange is named: give --url")
	}
	t, err := transport(s.CA)
	if err != nil {
		return err
	}
	l, err := a.chooseLogin(ctx, s.URL, at, t)
	if err != nil {
		return err
	}
	made, err := a.approve(ctx, l, issuer.Over(t))
	if err != nil {
		return err
	}
	return a.keep(ctx, *s, made)
}

// chooseLogin asks the exchange where people log in.
func (a *app) chooseLogin(ctx context.Context, exchange, at string, t http.RoundTripper) (tenant.Login, error) {
	x, err := client.New(exchange, "", client.Options{Transport: t, Agent: "kontor/" + version()})
	if err != nil {
		return tenant.Login{}, err
	}
	var all struct {
		Items []tenant.Login `json:"items"`
	}
	if _, err := x.Do(ctx, client.Call{Method: http.MethodGet, URL: x.Exchange("logins"), Out: &all}); err != nil {
		return tenant.Login{}, err
	}
	var names []string
	for _, l := range all.Items {
		if at == l.Issuer || at == l.Name || at == "" && len(all.Items) == 1 {
			return l, nil
		}
		names = append(names, clean(l.Name))
	}
	switch {
	case len(names) == 0:
		return tenant.Login{}, hinted{fault.Missing.Errorf("nobody logs in at this exchange by an issuer"), "a token of an operator: `kontor context set NAME --token-file FILE`"}
	case at == "":
		return tenant.Login{}, usagef("the exchange trusts several issuers; say --issuer, one of %v", names)
	}
	return tenant.Login{}, usagef("the exchange does not trust the issuer %q; it trusts %v", at, names)
}

// approve runs the device authorization grant (RFC 8628).
func (a *app) approve(ctx context.Context, l tenant.Login, asks issuer.Client) (session, error) {
	m, err := issuer.Discover(ctx, asks, l.Issuer)
	if err != nil {
		return session{}, hinted{err, "whether " + clean(l.Issuer) + " can be reached from here"}
	}
	if m.Device == "" {
		return session{}, fault.Unsupported.Errorf("%s has no login for devices (RFC 8628)", clean(l.Issuer))
	}
	config := oauth2.Config{ClientID: l.ClientID, Scopes: l.Scopes, Endpoint: oauth2.Endpoint{
		DeviceAuthURL: m.Device, TokenURL: m.Token, AuthStyle: oauth2.AuthStyleInParams,
	}}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, asks.Client)
	d, err := config.DeviceAuth(ctx)
	if err != nil {
		return session{}, fault.Unavailable.Errorf("begin a login at %s: %s", clean(l.Issuer), reason(err))
	}
	if err := issuer.CheckEndpoint(d.VerificationURI); err != nil {
		return session{}, fault.Unavailable.Errorf("%s names a page that %w", clean(l.Issuer), err)
	}
	fmt.Fprintf(a.stderr, "open   %s\nenter  %s\n", clean(d.VerificationURI), clean(d.UserCode))
	if issuer.CheckEndpoint(d.VerificationURIComplete) == nil {
		fmt.Fprintf(a.stderr, "or open %s\n", clean(d.VerificationURIComplete))
	}
	t, err := config.DeviceAccessToken(ctx, d)
	if err != nil {
		return session{}, hinted{fault.Unauthenticated.Errorf("the login at %s came to nothing: %s", clean(l.Issuer), reason(err)), "again: " + loginAgain}
	}
	made := session{Issuer: l.Issuer, ClientID: l.ClientID, Tokens: l.Tokens, Endpoint: m.Token, Revocation: m.Revocation}
	return made, made.take(t)
}

// reason words why an issuer refuses, without what else its answer holds.
func reason(err error) string {
	var refused *oauth2.RetrieveError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "the code has expired"
	case errors.As(err, &refused):
		return clean(cmp.Or(refused.ErrorCode, refused.Response.Status))
	}
	return "no answer that makes sense"
}

// keep puts a session into the context of the exchange and shows who it is.
func (a *app) keep(ctx context.Context, s settings, made session) error {
	f, err := a.readContexts()
	if err != nil {
		return err
	}
	s.Name = cmp.Or(a.context, a.env["KONTOR_CONTEXT"], f.Current)
	if c := f.find(s.Name); c == nil || c.URL != s.URL {
		u, err := url.Parse(s.URL)
		if err != nil {
			return err
		}
		s.Name = u.Host
	}
	place := a.contextsFile()
	if place == "" {
		return usagef("no place for the login: neither KONTOR_CONFIG nor HOME is set")
	}
	s.TokenFile = filepath.Join(filepath.Dir(place), "sessions", url.PathEscape(s.Name)+".json")
	if err := os.MkdirAll(filepath.Dir(s.TokenFile), 0o700); err != nil {
		return fault.Invalid.Errorf("keep the login: %w", err)
	}
	if err := made.write(s.TokenFile); err != nil {
		return fault.Invalid.Errorf("keep the login: %w", err)
	}
	if err := a.setContext(s); err != nil {
		return err
	}
	a.overridden()
	return a.greet(ctx, s, made.Token)
}

// overridden warns who logs in of a token that goes before the login.
func (a *app) overridden() {
	if a.env["KONTOR_TOKEN"] != "" || a.env["KONTOR_TOKEN_FILE"] != "" || a.flags.TokenFile != "" {
		fmt.Fprintln(a.stderr, "kontor: warning: a token in the environment or by flag goes before this login")
	}
}

// greet shows who the exchange takes a token for.
func (a *app) greet(ctx context.Context, s settings, token string) error {
	t, err := transport(s.CA)
	if err != nil {
		return err
	}
	a.settings = &s
	if a.client, err = client.New(s.URL, token, client.Options{Transport: t, Agent: "kontor/" + version()}); err != nil {
		return err
	}
	who, err := a.whoami(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "logged in as %s, context %s\n", clean(who.Subject), s.Name)
	return err
}

func logoutCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "End a login, here and at its issuer", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.resolve()
			if err != nil {
				return err
			}
			b, err := os.ReadFile(s.TokenFile)
			if err != nil || !isSession(b) {
				return usagef("there is no login to end; a token is ended by `kontor token revoke`")
			}
			have, err := readSession(s.TokenFile)
			if err != nil {
				return err
			}
			t, err := transport(s.CA)
			if err != nil {
				return err
			}
			ended := have.revoke(c.Context(), issuer.Over(t))
			if err := os.Remove(s.TokenFile); err != nil {
				return fault.Invalid.Errorf("remove the login: %w", err)
			}
			_ = os.Remove(s.TokenFile + ".lock") // there after a refresh alone
			if ended != nil {
				return fmt.Errorf("logged out here, but its issuer may take the login for alive: %w", ended)
			}
			_, err = fmt.Fprintln(a.stdout, "logged out")
			return err
		},
	}
}

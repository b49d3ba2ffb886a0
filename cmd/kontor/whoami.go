package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
)

// identity is what the exchange knows of the caller.
type identity struct {
	Subject   string   `json:"subject"`
	Operator  bool     `json:"operator"`
	Tenants   []string `json:"tenants"`
	ExpiresAt string   `json:"expiresAt,omitempty"`
	Issuer    string   `json:"issuer,omitempty"`
	TokenID   string   `json:"tokenID,omitempty"`
}

func (a *app) whoami(ctx context.Context) (identity, error) {
	var who identity
	c, err := a.connect()
	if err != nil {
		return who, err
	}
	_, err = c.Do(ctx, client.Call{Method: http.MethodGet, URL: c.Exchange("whoami"), Out: &who})
	return who, err
}

// account gives the account that a command is about: the named one, or the caller's.
func (a *app) account(ctx context.Context, named string) (string, error) {
	if named != "" {
		return named, nil
	}
	who, err := a.whoami(ctx)
	return who.Subject, err
}

func whoamiCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Show who the exchange takes you for", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if a.structured() {
				return a.raw(c.Context(), "whoami")
			}
			who, err := a.whoami(c.Context())
			if err != nil {
				return err
			}
			t := a.table("SUBJECT", "OPERATOR", "TENANTS", "TOKEN EXPIRES", "ISSUER", "EXCHANGE")
			t.row(who.Subject, fmt.Sprint(who.Operator), strings.Join(who.Tenants, ","), who.ExpiresAt, who.Issuer, a.settings.URL)
			return t.flush()
		},
	}
}

// raw shows a document of the exchange's own as it comes.
func (a *app) raw(ctx context.Context, segments ...string) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	var v any
	if _, err := c.Do(ctx, client.Call{Method: http.MethodGet, URL: c.Exchange(segments...), Out: &v}); err != nil {
		return err
	}
	return a.write(v)
}

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
)

func tokenCommand(a *app) *cobra.Command {
	var account string
	c := family("token", "Manage the tokens of an account", a.tokenCreate(&account), a.tokenList(&account), a.tokenRotate(&account), a.tokenRevoke(&account), a.tokenRescue())
	c.PersistentFlags().StringVar(&account, "account", "", "account (by default your own)")
	_ = c.RegisterFlagCompletionFunc("account", a.completes(a.namesOf("account"))) // the flag is there
	return c
}

// An issued token is shown once; the exchange keeps only its hash.
type issued struct {
	ID        string    `json:"id"`
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expiresAt"`
}

func (a *app) tokenCreate(account *string) *cobra.Command {
	var name, out string
	var ttl time.Duration
	var tenants []string
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a token",
		Long: `Make a token. It is a secret and shown once: it goes to a file (--out), or alone
to standard output; all else is said on standard error.`,
		Example: "  kontor token create --name ci --ttl 720h --tenants acme --out ci.token",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			x, subject, err := a.tokensOf(c.Context(), *account)
			if err != nil {
				return err
			}
			in := map[string]any{"name": name, "ttl": ttl.String()}
			if len(tenants) > 0 {
				in["tenants"] = tenants
			}
			var t issued
			if err := x.Post(c.Context(), subject, in, &t); err != nil {
				return err
			}
			return a.hand(t, out)
		},
	}
	c.Flags().StringVar(&name, "name", "cli", "what it is for")
	c.Flags().StringVar(&out, "out", "", "file for the token, made readable by you alone")
	c.Flags().DurationVar(&ttl, "ttl", 30*24*time.Hour, "how long it is good")
	c.Flags().StringSliceVar(&tenants, "tenants", nil, "narrow it to these tenants")
	return c
}

// hand gives a new token to who asked for it.
func (a *app) hand(t issued, out string) error {
	if a.structured() {
		return a.write(t)
	}
	fmt.Fprintf(a.stderr, "token %s, good until %s\n", clean(t.ID), t.ExpiresAt.Format(time.RFC3339))
	return a.secret(t.Token, out)
}

func (a *app) tokenRotate(account *string) *cobra.Command {
	var out string
	var ttl, overlap time.Duration
	c := &cobra.Command{
		Use:   "rotate [ID]",
		Short: "Make a token in place of another, which is good for a while longer",
		Long: `Make a token in place of another one, by default of the one that this command
itself uses. The new one has the same name and the same limits. The old one is good
until --overlap has passed, so that what uses it has the time to change.`,
		Example:           "  kontor token rotate --overlap 24h --out ci.token",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completes(a.namesOf("token")),
		RunE: func(c *cobra.Command, args []string) error {
			x, at, err := a.tokensOf(c.Context(), *account)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				who, err := a.whoami(c.Context())
				if err != nil {
					return err
				}
				args = []string{who.TokenID}
			}
			var t issued
			in := map[string]any{"ttl": ttl.String(), "overlap": overlap.String()}
			if err := x.Post(c.Context(), client.Under(at, args[0], "rotate"), in, &t); err != nil {
				return err
			}
			return a.hand(t, out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "file for the token, made readable by you alone")
	c.Flags().DurationVar(&ttl, "ttl", 30*24*time.Hour, "how long the new one is good")
	c.Flags().DurationVar(&overlap, "overlap", time.Hour, "how long the old one is still good")
	return c
}

// tokensOf gives the address of an account's tokens.
func (a *app) tokensOf(ctx context.Context, account string) (*client.Client, string, error) {
	c, err := a.connect()
	if err != nil {
		return nil, "", err
	}
	subject, err := a.account(ctx, account)
	return c, c.Exchange("accounts", subject, "tokens"), err
}

func (a *app) tokenList(account *string) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List tokens", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, at, err := a.tokensOf(c.Context(), *account)
			if err != nil {
				return err
			}
			k := mustKind("token")
			k.at = func(context.Context, *client.Client, client.Place) (string, error) { return at, nil }
			return a.getLists(c.Context(), []kind{k}, listing{})
		},
	}
}

func (a *app) tokenRevoke(account *string) *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID…", Aliases: []string{"delete", "rm"}, Short: "Make tokens worthless, now and for ever", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completes(a.namesOf("token")),
		RunE: func(c *cobra.Command, args []string) error {
			x, at, err := a.tokensOf(c.Context(), *account)
			if err != nil {
				return err
			}
			for _, id := range args {
				if err := x.Delete(c.Context(), client.Under(at, id), 0); err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "token/%s revoked\n", id)
			}
			return nil
		},
	}
}

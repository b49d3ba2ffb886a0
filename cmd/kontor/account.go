package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/fault"
)

// An accountSpec is an account as operators write it. Absent tenants are left
// as they are.
type accountSpec struct {
	DisplayName string   `json:"displayName,omitempty"`
	Operator    bool     `json:"operator,omitempty"`
	Disabled    bool     `json:"disabled,omitempty"`
	Tenants     []string `json:"tenants,omitempty"`
}

func accountCommand(a *app) *cobra.Command {
	k := mustKind("account")
	at := func(_ context.Context, id string) (target, error) { return target{kind: k, name: id}, nil }
	return family("account", "Manage accounts (operators)",
		a.listCommand(k), a.accountCreate(k), a.accountLink(), a.accountSwitch(k.name, "disable", true, at), a.accountSwitch(k.name, "enable", false, at))
}

func (a *app) accountCreate(k kind) *cobra.Command {
	var spec accountSpec
	c := &cobra.Command{
		Use: "create ID", Short: "Make an account; a token for it comes from `kontor token create`", Args: cobra.ExactArgs(1),
		Example: "  kontor account create alice@example.eu --tenants acme\n  kontor token create --account alice@example.eu --out alice.token",
		RunE: func(c *cobra.Command, args []string) error {
			return a.putOwn(c.Context(), target{kind: k, name: args[0]}, spec)
		},
	}
	c.Flags().StringVar(&spec.DisplayName, "display-name", "", "name for people")
	c.Flags().BoolVar(&spec.Operator, "operator", false, "may run the exchange")
	c.Flags().StringSliceVar(&spec.Tenants, "tenants", nil, "tenants that it is a member of")
	return c
}

func (a *app) accountLink() *cobra.Command {
	var in struct {
		Issuer  string `json:"issuer"`
		Subject string `json:"subject"`
	}
	c := &cobra.Command{
		Use: "link ID", Short: "Let somebody whom another issuer knows act as an account", Args: cobra.ExactArgs(1),
		Example:           "  kontor account link alice@example.eu --issuer https://login.example.eu --subject 5a9f…",
		ValidArgsFunction: a.completes(a.namesOf("account")),
		RunE: func(c *cobra.Command, args []string) error {
			x, err := a.connect()
			if err != nil {
				return err
			}
			if err := x.Post(c.Context(), x.Exchange("accounts", args[0], "link"), in, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "account/%s linked\n", args[0])
			return err
		},
	}
	c.Flags().StringVar(&in.Issuer, "issuer", "", "URL of the issuer, as in its tokens")
	c.Flags().StringVar(&in.Subject, "subject", "", "what the issuer calls him (sub)")
	return c
}

// accountSwitch makes all tokens of an account, or of a service account, worthless,
// or good again. What both have in common is written alike.
func (a *app) accountSwitch(kind, verb string, disabled bool, at func(ctx context.Context, name string) (target, error)) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: "Make its tokens " + map[bool]string{true: "worthless", false: "good again"}[disabled],
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completes(a.namesOf(kind)),
		RunE: func(c *cobra.Command, args []string) error {
			t, err := at(c.Context(), args[0])
			if err != nil {
				return err
			}
			i, err := a.read(c.Context(), t)
			if err != nil {
				return err
			}
			var spec accountSpec
			if err := json.Unmarshal(i.Spec, &spec); err != nil {
				return fault.Malformed.Errorf("read %s %s: %w", kind, t.name, err)
			}
			spec.Disabled = disabled
			return a.putOwn(c.Context(), t, spec)
		},
	}
}

func tenantCommand(a *app) *cobra.Command {
	k := mustKind("tenant")
	return family("tenant", "Manage tenants (operators)", a.listCommand(k), a.tenantCreate(k), a.tenantQuota(), a.tenantExport(), a.tenantImport(), a.removeCommand(k))
}

func (a *app) tenantCreate(k kind) *cobra.Command {
	var spec struct {
		DisplayName string   `json:"displayName,omitempty"`
		Admins      []string `json:"admins,omitempty"`
	}
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a tenant and its first administrators", Args: cobra.ExactArgs(1),
		Example: "  kontor tenant create acme --admin alice@example.eu",
		RunE: func(c *cobra.Command, args []string) error {
			return a.putOwn(c.Context(), target{kind: k, name: args[0]}, spec)
		},
	}
	c.Flags().StringVar(&spec.DisplayName, "display-name", "", "name for people")
	c.Flags().StringArrayVar(&spec.Admins, "admin", nil, "account that administers it (may be given several times)")
	return c
}

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
)

// serviceKind is the programs of a tenant.
var serviceKind = kind{
	name: "service-account", collection: "service-accounts", provider: "kontor.exchange", need: needTenant, verbs: []string{"apply"},
	at: func(_ context.Context, c *client.Client, p client.Place) (string, error) {
		return c.Exchange("tenants", p.Tenant, "service-accounts"), nil
	},
}

type serviceSpec struct {
	DisplayName string `json:"displayName,omitempty"`
	Disabled    bool   `json:"disabled,omitempty"`
}

func serviceCommand(a *app) *cobra.Command {
	return family("service-account", "Manage the programs of a tenant (its administrators)",
		a.listCommand(serviceKind), a.serviceCreate(), a.accountSwitch("service-account", "disable", true, a.service), a.accountSwitch("service-account", "enable", false, a.service))
}

func (a *app) serviceCreate() *cobra.Command {
	var spec serviceSpec
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a program an account of its own, which may nothing before a role-assignment names it", Args: cobra.ExactArgs(1),
		Example: "  kontor service-account create ci -t acme\n  kontor token create --account service:acme:ci --out ci.token",
		RunE: func(c *cobra.Command, args []string) error {
			t, err := a.service(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.putOwn(c.Context(), t, spec)
		},
	}
	c.Flags().StringVar(&spec.DisplayName, "display-name", "", "name for people")
	return c
}

func (a *app) service(ctx context.Context, name string) (target, error) {
	p, err := a.complete(ctx, needTenant, client.Place{})
	return target{kind: serviceKind, place: p, name: name}, err
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/policy"
)

// savedPolicy is the policies that a tenant has defined.
var savedPolicy = ofTenant("policy", "policies", "delete")

func (a *app) policySave(data func() (*policy.Data, error)) *cobra.Command {
	return &cobra.Command{
		Use: "save FILE…", Short: "Keep policies at the exchange, for orders to name", Args: cobra.MinimumNArgs(1),
		Long: `Keep policies at the exchange, for orders to name. What has changed becomes the next
version of its name; older ones stay, as decisions name them.`,
		RunE: func(c *cobra.Command, args []string) error {
			d, err := data()
			if err != nil {
				return err
			}
			for _, name := range args {
				text, err := os.ReadFile(name)
				if err != nil {
					return fault.Invalid.Errorf("read policy: %w", err)
				}
				p, err := d.Parse(name, text) // here mistakes can be pointed at in the file
				if err != nil {
					return hinted{err, "kontor policy vocabulary"}
				}
				if err := a.savePolicy(c.Context(), p.Policy); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (a *app) savePolicy(ctx context.Context, p *policy.Policy) error {
	place, err := a.complete(ctx, needTenant, client.Place{})
	if err != nil {
		return err
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	i, _, err := c.Put(ctx, c.Exchange("tenants", place.Tenant, "policies", p.Name), map[string]any{"spec": p}, 0)
	if err != nil {
		return err
	}
	if a.structured() {
		return a.write(i)
	}
	fmt.Fprintf(a.stdout, "policy/%s saved, version %d\n", i.Metadata.Name, i.Metadata.ResourceVersion)
	return nil
}

// findPolicy reads a policy of the tenant's: NAME or NAME@VERSION.
func (a *app) findPolicy(ctx context.Context, name string) (*policy.Policy, error) {
	name, version, _ := strings.Cut(name, "@")
	place, err := a.complete(ctx, needTenant, client.Place{})
	if err != nil {
		return nil, err
	}
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	var i client.Item
	_, err = c.Do(ctx, client.Call{
		Method: "GET", URL: c.Exchange("tenants", place.Tenant, "policies", name), Query: url.Values{"version": {cmp.Or(version, "0")}}, Out: &i,
	})
	if err != nil {
		return nil, err
	}
	var p policy.Policy
	if err := json.Unmarshal(i.Spec, &p); err != nil {
		return nil, fault.Malformed.Errorf("read policy %s: %w", name, err)
	}
	return &p, nil
}

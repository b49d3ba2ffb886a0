package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/wire"
)

// profileKind is a region as its operator sees it.
var profileKind = own("region", "regions", "apply", "delete")

func regionCommand(a *app) *cobra.Command {
	return family("region", "Manage the regions of the exchange (operators; participants theirs)",
		a.listCommand(profileKind), a.regionCreate(), a.regionJoin(), a.regionAgents(), a.regionRevoke(), a.regionResync(), a.regionOrphans(), a.regionStrays(), a.regionImport(), a.removeCommand(profileKind))
}

// listCommand lists a kind of the exchange's own.
func (a *app) listCommand(k kind) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List " + k.collection, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			return a.getLists(c.Context(), []kind{k}, listing{})
		},
	}
}

// removeCommand deletes things of the exchange's own, and asks before.
func (a *app) removeCommand(k kind) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "delete NAME…", Aliases: []string{"rm"}, Short: "Delete " + k.collection, Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completes(a.namesOf(k.name)),
		RunE: func(c *cobra.Command, args []string) error {
			ts := make([]target, len(args))
			for i, name := range args {
				ts[i] = target{kind: k, name: name}
			}
			if err := a.confirm(c.Context(), yes, ts); err != nil {
				return err
			}
			return a.deleteAll(c.Context(), ts, false, waiter{timeout: defaultTimeout})
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func (a *app) regionCreate() *cobra.Command {
	var spec struct {
		DisplayName string            `json:"displayName,omitempty"`
		Country     string            `json:"country,omitempty"`
		City        string            `json:"city,omitempty"`
		Driver      string            `json:"driver,omitempty"`
		Labels      map[string]string `json:"labels,omitempty"`
		Coordinates string            `json:"coordinates,omitempty"`
	}
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a region, which an agent can then join", Args: cobra.ExactArgs(1),
		Example: "  kontor region create fr-lyon-acme --country FR --city Lyon --driver qemu",
		RunE: func(c *cobra.Command, args []string) error {
			return a.putOwn(c.Context(), target{kind: profileKind, name: args[0]}, spec)
		},
	}
	f := c.Flags()
	f.StringVar(&spec.DisplayName, "display-name", "", "name for people")
	f.StringVar(&spec.Country, "country", "", "two-letter code (ISO 3166)")
	f.StringVar(&spec.City, "city", "", "city")
	f.StringVar(&spec.Driver, "driver", "", "kind of platform: qemu, openstack, fake")
	f.StringVar(&spec.Coordinates, "coordinates", "", "degrees north and east, as in 45.7640,4.8357")
	f.StringToStringVar(&spec.Labels, "label", nil, "key=value (may be given several times)")
	return c
}

// putOwn writes something of the exchange's own and says whether it is new.
func (a *app) putOwn(ctx context.Context, t target, spec any) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	at, err := t.url(ctx, c)
	if err != nil {
		return err
	}
	i, isNew, err := c.Put(ctx, at, map[string]any{"metadata": bodyMetadata{t.name}, "spec": spec}, 0)
	switch {
	case err != nil:
		return err
	case a.structured():
		return a.write(i)
	case isNew:
		a.tell(t, "created")
	default:
		a.tell(t, "set")
	}
	return nil
}

func (a *app) regionResync() *cobra.Command {
	var apply bool
	c := &cobra.Command{
		Use:               "resync NAME",
		Short:             "Compare what is wanted with what the platform has; --apply acts on it",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completes(a.regionNames),
		RunE: func(c *cobra.Command, args []string) error {
			x, err := a.connect()
			if err != nil {
				return err
			}
			var answer struct {
				Differences []wire.Difference `json:"differences"`
			}
			if err := x.Post(c.Context(), x.Exchange("regions", args[0], "resync"), map[string]bool{"apply": apply}, &answer); err != nil {
				return err
			}
			if a.structured() {
				return a.write(answer)
			}
			return a.differences(answer.Differences, apply)
		},
	}
	c.Flags().BoolVar(&apply, "apply", false, "act on the differences, not only show them")
	return c
}

func (a *app) differences(all []wire.Difference, applied bool) error {
	if len(all) == 0 {
		fmt.Fprintln(a.stdout, "no difference")
		return nil
	}
	t := a.table("KIND", "RESOURCE", "HAVE", "WANT", "ACTION", "DETAIL")
	for _, d := range all {
		what := d.URN
		if what == "" {
			what = d.ID
		}
		t.row(d.Kind, what, d.Have, d.Want, d.Action, d.Detail)
	}
	if !applied {
		fmt.Fprintln(a.stderr, "nothing done yet; --apply does it")
	}
	return t.flush()
}

func (a *app) regionAgents() *cobra.Command {
	return &cobra.Command{
		Use: "agents NAME", Short: "List the certificates of a region's agent, the newest first",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completes(a.regionNames),
		RunE: func(c *cobra.Command, args []string) error {
			x, err := a.connect()
			if err != nil {
				return err
			}
			items, err := client.All(x.List(c.Context(), x.Exchange("regions", args[0], "agents"), client.Query{}))
			if err != nil {
				return err
			}
			if a.structured() {
				return a.writeItems(items, false)
			}
			t := a.table("SERIAL", "ISSUED", "EXPIRES", "REVOKED")
			for _, i := range items {
				var s struct{ IssuedAt, NotAfter, RevokedAt string }
				if err := json.Unmarshal(i.Status, &s); err != nil {
					return err
				}
				t.row(i.Metadata.Name, s.IssuedAt, s.NotAfter, s.RevokedAt)
			}
			return t.flush()
		},
	}
}

func (a *app) regionRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Shut out a region's agent, until one joins again",
		Long: `Shut out a region's agent: its certificates are worthless at once in the process that is asked, within five
seconds in all others, and so are join tokens that were not used. What runs at the provider goes on. Another agent, or the
same one after it was cleaned, joins with a new token ("kontor region join").`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completes(a.regionNames),
		RunE: func(c *cobra.Command, args []string) error {
			x, err := a.connect()
			if err != nil {
				return err
			}
			if err := x.Post(c.Context(), x.Exchange("regions", args[0], "revoke"), nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "the agent of region %s is shut out; for another: kontor region join %s\n", clean(args[0]), clean(args[0]))
			return nil
		},
	}
}

func (a *app) regionOrphans() *cobra.Command {
	var approve []string
	c := &cobra.Command{
		Use:   "orphans NAME",
		Short: "List what the platform has of ours and the exchange does not know; --approve removes it",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: a.completes(a.regionNames),
		RunE: func(c *cobra.Command, args []string) error {
			x, err := a.connect()
			if err != nil {
				return err
			}
			at := x.Exchange("regions", args[0], "orphans")
			for _, id := range approve {
				if err := x.Post(c.Context(), client.Under(at, id, "approve"), nil, nil); err != nil {
					return err
				}
				fmt.Fprintf(a.stderr, "orphan %s will be removed\n", clean(id))
			}
			orphans := kind{name: "orphan", collection: "orphans", at: func(context.Context, *client.Client, client.Place) (string, error) { return at, nil }}
			return a.getLists(c.Context(), []kind{orphans}, listing{})
		},
	}
	c.Flags().StringArrayVar(&approve, "approve", nil, "id of an orphan to remove (may be given several times)")
	return c
}

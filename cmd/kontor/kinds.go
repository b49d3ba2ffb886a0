package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
)

// A kind is what a command can be about: a row of package resource's table, or
// one of the few collections that the exchange has beside them.
type kind struct {
	name, collection string
	short            []string
	provider         string
	need             need
	verbs            []string // beside get
	actions          []string

	at      func(context.Context, *client.Client, client.Place) (string, error) // the collection
	writeAt func(*client.Client) string                                         // where it is written elsewhere
}

// kinds lists all of them, containers before what they contain.
func kinds() []kind {
	all := []kind{
		regionKind,
		own("tenant", "tenants", "apply", "delete"),
		own("account", "accounts", "apply", "delete"),
		participantKind,
		serviceKind,
		quotaKind, quoteKind, orderKind, driftKind, savedPolicy, blueprintKind,
		own("job", "jobs"),
		own("key", "keys"),
		{name: "token", collection: "tokens", provider: "kontor.exchange", verbs: []string{"delete"}, at: ownTokens},
		sku("instance-sku", "seca.compute", "compute-sku"),
		sku("storage-sku", "seca.storage"),
		sku("network-sku", "seca.network"),
	}
	for _, k := range resource.Kinds() {
		all = append(all, secaKind(k))
	}
	return all
}

var regionKind = kind{
	name: "region", collection: "regions", provider: "seca.region", verbs: []string{"apply", "delete"},
	at: func(_ context.Context, c *client.Client, _ client.Place) (string, error) {
		return client.Under(c.Global("seca.region"), "regions"), nil
	},
	writeAt: func(c *client.Client) string { return c.Exchange("regions") },
}

// secaKind is a row of the table.
func secaKind(k *resource.Kind) kind {
	return kind{
		name: k.Name, collection: k.Collection, short: k.Short, provider: k.Provider, need: needOf(k),
		verbs: []string{"apply", "delete"}, actions: k.Actions,
		at: func(ctx context.Context, c *client.Client, p client.Place) (string, error) {
			return c.Collection(ctx, k, p)
		},
	}
}

// own is a collection of Kontor's own provider.
func own(name, collection string, verbs ...string) kind {
	return kind{
		name: name, collection: collection, provider: "kontor.exchange", verbs: verbs,
		at: func(_ context.Context, c *client.Client, _ client.Place) (string, error) {
			return c.Exchange(collection), nil
		},
	}
}

// sku is a catalogue, which has no row in the table as nobody writes it.
func sku(name, provider string, short ...string) kind {
	return kind{
		name: name, collection: name + "s", short: short, provider: provider, need: needRegion,
		at: func(ctx context.Context, c *client.Client, p client.Place) (string, error) {
			base, err := c.Regional(ctx, p.Region, provider)
			return client.Under(base, "tenants", p.Tenant, "skus"), err
		},
	}
}

// ownTokens is where the caller's own tokens are.
func ownTokens(ctx context.Context, c *client.Client, _ client.Place) (string, error) {
	var who identity
	_, err := c.Do(ctx, client.Call{Method: "GET", URL: c.Exchange("whoami"), Out: &who})
	return c.Exchange("accounts", who.Subject, "tokens"), err
}

// kindNamed finds one kind by any of its names.
func kindNamed(word string) (kind, error) {
	row, known := resource.KindNamed(word)
	var names []string
	for _, k := range kinds() {
		if known && k.name == row.Name || k.is(word) {
			return k, nil
		}
		names = append(append(names, k.name, k.collection), k.short...)
	}
	return kind{}, usagef("there is no kind %q%s (`kontor kinds` lists them)", word, fault.DidYouMean(word, names))
}

func (k kind) is(word string) bool {
	return slices.Contains(k.spellings(), strings.ToLower(word))
}

func (k kind) spellings() []string {
	all := []string{k.name, k.collection, k.name + "s"}
	for _, s := range k.short {
		all = append(all, s, s+"s")
	}
	return all
}

// kindsNamed reads what get takes: a kind, "skus", "all", or a list with commas.
func kindsNamed(word string) ([]kind, error) {
	var found []kind
	for w := range strings.SplitSeq(word, ",") {
		several := severalNamed(w)
		if several == nil {
			k, err := kindNamed(w)
			if err != nil {
				return nil, err
			}
			several = []kind{k}
		}
		found = append(found, several...)
	}
	return found, nil
}

func severalNamed(word string) []kind {
	var want func(kind) bool
	switch strings.ToLower(word) {
	case "sku", "skus":
		want = func(k kind) bool { return strings.HasSuffix(k.name, "-sku") }
	case "all":
		want = func(k kind) bool { return k.need >= needWorkspace }
	default:
		return nil
	}
	var found []kind
	for _, k := range kinds() {
		if want(k) {
			found = append(found, k)
		}
	}
	return found
}

// mustKind is for names that stand in this program.
func mustKind(name string) kind {
	k, err := kindNamed(name)
	if err != nil {
		panic(err)
	}
	return k
}

func (k kind) can(verb string) bool { return slices.Contains(k.verbs, verb) }

// refuse says that verb makes no sense for k.
func (k kind) refuse(verb string) error {
	return fault.Unsupported.Errorf("%s are read-only: %s is not for them", k.collection, verb)
}

// A target is one thing of a kind, at a place.
type target struct {
	kind  kind
	place client.Place
	name  string
}

func (t target) String() string { return t.kind.name + "/" + t.name }

// url is where the thing is read.
func (t target) url(ctx context.Context, c *client.Client) (string, error) {
	at, err := t.kind.at(ctx, c, t.place)
	if err != nil {
		return "", err
	}
	return client.Under(at, t.name), nil
}

// writeURL is where the thing is put and deleted.
func (t target) writeURL(ctx context.Context, c *client.Client) (string, error) {
	if t.kind.writeAt == nil {
		return t.url(ctx, c)
	}
	return client.Under(t.kind.writeAt(c), t.name), nil
}

// targets reads "KIND NAME…" and "KIND/NAME…" into things with complete places.
func (a *app) targets(ctx context.Context, args []string, network string) ([]target, error) {
	var found []target
	var k kind
	var err error
	for i, arg := range args {
		word, name, slashed := strings.Cut(arg, "/")
		switch {
		case slashed:
			if k, err = kindNamed(word); err != nil {
				return nil, err
			}
		case i == 0:
			if k, err = kindNamed(arg); err != nil {
				return nil, err
			}
			continue
		default:
			name = arg
		}
		t := target{kind: k, name: name}
		if t.place, err = a.complete(ctx, k.need, client.Place{Network: network}); err != nil {
			return nil, err
		}
		found = append(found, t)
	}
	if len(found) == 0 {
		return nil, usagef("which? Give KIND NAME, such as `instance web`")
	}
	return found, nil
}

// read gets one thing, and names its neighbours if it is not there.
func (a *app) read(ctx context.Context, t target) (client.Item, error) {
	c, err := a.connect()
	if err != nil {
		return client.Item{}, err
	}
	at, err := t.url(ctx, c)
	if err != nil {
		return client.Item{}, err
	}
	i, err := c.Get(ctx, at)
	if errors.Is(err, fault.Missing) {
		names, _ := a.listed(ctx, t.kind, t.place) // only to help
		return i, missing(t, err, names)
	}
	return i, err
}

func missing(t target, err error, names []string) error {
	if near := fault.DidYouMean(t.name, names); near != "" {
		return hinted{err, strings.TrimPrefix(near, "; ")}
	}
	return hinted{err, "`kontor get " + t.kind.collection + "` lists what is there"}
}

func kindsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "kinds", Short: "List the kinds of things, and their short names", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			t := a.table("NAME", "COLLECTION", "SHORT", "PROVIDER", "VERBS")
			for _, k := range kinds() {
				verbs := append(append([]string{"get"}, k.verbs...), k.actions...)
				t.row(k.name, k.collection, strings.Join(k.short, ","), k.provider, strings.Join(verbs, ","))
			}
			return t.flush()
		},
	}
}

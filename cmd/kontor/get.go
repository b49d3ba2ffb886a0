package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
)

// A listing is what get was asked for.
type listing struct {
	selector   string
	network    string
	everywhere bool // in all workspaces
	watch      bool
	page       int // items in one answer
}

func getCommand(a *app) *cobra.Command {
	var l listing
	c := &cobra.Command{
		Use:     "get KIND [NAME…]",
		Aliases: []string{"list", "ls"},
		Short:   "List things, or show some of them",
		Long: `List the things of a kind, or show some of them.

KIND is a name of ` + "`kontor kinds`" + `, several with commas between them, "skus"
(also "skus compute", storage, network), or "all" for what a workspace holds.
Subnets and routing tables are listed of all networks unless --network names one.`,
		Example: `  kontor get instances
  kontor get vm web -o yaml
  kontor get instances,volumes -A -l 'env=prod,tier!=test'
  kontor get instances --watch`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			return a.get(c.Context(), args, l)
		},
	}
	f := c.Flags()
	f.StringVarP(&l.selector, "selector", "l", "", "labels to match: env=prod,size>3,tier!=web,name=*db*")
	f.StringVar(&l.network, "network", "", "network, for subnets and routing tables")
	f.BoolVarP(&l.everywhere, "all-workspaces", "A", false, "in all workspaces, and in all regions unless one is set")
	f.IntVar(&l.page, "page-size", 0, "how many to ask for at a time; all are shown in any case")
	f.BoolVar(&l.watch, "watch", false, "go on showing what changes")
	return c
}

func (a *app) get(ctx context.Context, args []string, l listing) error {
	if len(args) == 2 && severalNamed(args[0]) != nil && !strings.Contains(args[0], "/") {
		args = []string{args[1] + "-sku"} // skus compute
	}
	if len(args) > 1 || strings.Contains(args[0], "/") {
		return a.getNamed(ctx, args, l)
	}
	ks, err := kindsNamed(args[0])
	if err != nil {
		return err
	}
	if l.watch {
		return a.watch(ctx, ks, l)
	}
	return a.getLists(ctx, ks, l)
}

// getNamed shows single things.
func (a *app) getNamed(ctx context.Context, args []string, l listing) error {
	if l.watch {
		return usagef("--watch shows collections; `kontor wait` waits for one thing")
	}
	ts, err := a.targets(ctx, args, l.network)
	if err != nil {
		return err
	}
	items := make([]client.Item, len(ts))
	for n, t := range ts {
		if items[n], err = a.read(ctx, t); err != nil {
			return err
		}
	}
	if a.structured() {
		return a.writeItems(items, len(ts) == 1)
	}
	s := a.sheet(ts[0].kind, l)
	for n, t := range ts {
		if t.kind.name != s.kind.name {
			if err := s.flush(); err != nil {
				return err
			}
			s = a.sheet(t.kind, l)
		}
		s.add(items[n])
	}
	return s.flush()
}

// getLists shows whole collections, with a line between several kinds.
func (a *app) getLists(ctx context.Context, ks []kind, l listing) error {
	all := []client.Item{}
	shown := 0
	for _, k := range ks {
		items, err := a.collect(ctx, k, l)
		if err != nil {
			return err
		}
		all = append(all, items...)
		if a.structured() || len(items) == 0 {
			continue
		}
		if shown++; shown > 1 {
			fmt.Fprintln(a.stdout)
		}
		s := a.sheet(k, l)
		s.prefixed = len(ks) > 1
		for _, i := range items {
			s.add(i)
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
	if a.structured() {
		return a.writeItems(all, false)
	}
	if shown == 0 {
		fmt.Fprintf(a.stderr, "No %s found.\n", collections(ks))
	}
	return nil
}

func collections(ks []kind) string {
	names := make([]string, len(ks))
	for i, k := range ks {
		names[i] = k.collection
	}
	return strings.Join(names, ", ")
}

// collect reads a kind's collections at all the places that are asked for.
func (a *app) collect(ctx context.Context, k kind, l listing) ([]client.Item, error) {
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	places, err := a.places(ctx, k, l)
	if err != nil {
		return nil, err
	}
	all := []client.Item{}
	for _, p := range places {
		at, err := k.at(ctx, c, p)
		if errors.Is(err, fault.Unsupported) && len(places) > 1 {
			continue // a region without such things
		}
		if err != nil {
			return nil, err
		}
		items, err := client.All(c.List(ctx, at, client.Query{Labels: l.selector, Page: l.page}))
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
	}
	return all, nil
}

// places are where a kind is listed: every network of a workspace unless one
// is named, and every workspace and region if asked.
func (a *app) places(ctx context.Context, k kind, l listing) ([]client.Place, error) {
	everywhere := l.everywhere && k.need >= needRegion
	upTo := min(k.need, needWorkspace)
	if everywhere {
		upTo = needTenant
	}
	p, err := a.complete(ctx, upTo, client.Place{Network: l.network})
	if err != nil {
		return nil, err
	}
	p.Region = cmp.Or(p.Region, a.settings.Region)
	places := []client.Place{p}
	if everywhere && p.Region == "" {
		if places, err = spread(ctx, places, a.regions, func(p *client.Place, n string) { p.Region = n }); err != nil {
			return nil, err
		}
	}
	if everywhere && k.need >= needWorkspace {
		if places, err = spread(ctx, places, a.workspaces, func(p *client.Place, n string) { p.Workspace = n }); err != nil {
			return nil, err
		}
	}
	if k.need >= needNetwork && l.network == "" {
		return spread(ctx, places, a.networks, func(p *client.Place, n string) { p.Network = n })
	}
	return places, nil
}

// spread replaces each place by those that are below it.
func spread(ctx context.Context, places []client.Place, names func(context.Context, client.Place) ([]string, error), set func(*client.Place, string)) ([]client.Place, error) {
	var all []client.Place
	for _, p := range places {
		below, err := names(ctx, p)
		if errors.Is(err, fault.Unsupported) && len(places) > 1 {
			continue // a region without such things
		}
		if err != nil {
			return nil, err
		}
		for _, n := range below {
			set(&p, n)
			all = append(all, p)
		}
	}
	return all, nil
}

// A sheet is a table of one kind.
type sheet struct {
	*table
	kind     kind
	columns  []column
	onlyName bool
	prefixed bool     // names as kind/name
	where    []column // with these before the name
	aging    bool     // catalogues have no dates
	now      time.Time
	a        *app
}

func (a *app) sheet(k kind, l listing) *sheet {
	s := &sheet{kind: k, onlyName: a.output == "name", where: a.whereColumns(k, l), now: time.Now(), a: a}
	var titles []string
	for _, c := range s.where {
		titles = append(titles, c.title)
	}
	titles = append(titles, "NAME")
	if k.need == needNetwork {
		titles = append(titles, "NETWORK")
	}
	if s.stateful() {
		titles = append(titles, "STATE")
	}
	for _, c := range columnsOf[k.name] {
		if !c.wide || a.output == "wide" {
			s.columns = append(s.columns, c)
			titles = append(titles, c.title)
		}
	}
	if s.aging = !strings.HasSuffix(k.name, "-sku"); s.aging {
		titles = append(titles, "AGE")
	}
	s.table = a.table(titles...)
	return s
}

// whereColumns say of which place a thing is, where several are listed.
func (a *app) whereColumns(k kind, l listing) []column {
	var where []column
	if l.everywhere && k.need >= needRegion && a.settings.Region == "" {
		where = append(where, column{title: "REGION", cell: text("metadata.region")})
	}
	if l.everywhere && k.need >= needWorkspace {
		where = append(where, column{title: "WORKSPACE", cell: text("metadata.workspace")})
	}
	return where
}

// stateful reports whether things of the kind have a state.
func (s *sheet) stateful() bool {
	return s.kind.need > nothing && strings.HasPrefix(s.kind.provider, "seca.") && !strings.HasSuffix(s.kind.name, "-sku")
}

func (s *sheet) add(i client.Item) {
	name := i.Metadata.Name
	if s.prefixed {
		name = s.kind.name + "/" + name
	}
	if s.onlyName {
		fmt.Fprintln(s.a.stdout, s.kind.name+"/"+i.Metadata.Name)
		return
	}
	doc := decoded(i)
	var cells []string
	for _, c := range s.where {
		cells = append(cells, c.cell(doc))
	}
	cells = append(cells, name)
	if s.kind.need == needNetwork {
		cells = append(cells, i.Metadata.Network)
	}
	if s.stateful() {
		cells = append(cells, state(doc))
	}
	for _, c := range s.columns {
		cells = append(cells, c.cell(doc))
	}
	if s.aging {
		cells = append(cells, created(i, s.now))
	}
	s.row(cells...)
}

func pairs(m map[string]any) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+plain(m[k]))
	}
	return strings.Join(parts, ",")
}

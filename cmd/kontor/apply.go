package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
)

func applyCommand(a *app) *cobra.Command {
	var files []string
	var dryRun string
	var w waiter
	c := &cobra.Command{
		Use:   "apply -f FILE…",
		Short: "Make things so as files say",
		Long: `Make things so as files say: create what is missing, change what differs, leave the rest.

A file holds documents in YAML or JSON, each with kind, metadata.name and spec,
and, where the settings do not say it, metadata.tenant, region, workspace and
network. References may be short (block-storages/web). Containers come first,
whatever the order in the files.`,
		Example: `  kontor apply -f shop.yaml --wait
  kontor get volume web -o yaml | sed s/10/20/ | kontor apply -f -
  kontor apply -f stack/ --dry-run=client`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if len(files) == 0 {
				return usagef("apply needs -f FILE, a directory, or - for standard input")
			}
			if dryRun != "" && dryRun != "none" && dryRun != "client" {
				return usagef("--dry-run is client or none, not %q", dryRun)
			}
			orders, err := a.readOrders(c.Context(), files)
			if err != nil {
				return err
			}
			how := replace
			if dryRun == "client" {
				how = dry
			}
			return a.apply(c.Context(), orders, how, w)
		},
	}
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, "file, directory or - (may be given several times)")
	c.Flags().StringVar(&dryRun, "dry-run", "none", "client: only say what would change")
	c.Flags().Lookup("dry-run").NoOptDefVal = "client"
	w.flags(c)
	return c
}

// A mode is what applying does to what is there already.
type mode int

const (
	replace mode = iota
	keepExisting
	dry // write nothing at all
)

// apply makes the orders so, in their order, and stops at the first that fails.
func (a *app) apply(ctx context.Context, orders []order, how mode, w waiter) error {
	p := a.progress()
	items := []client.Item{}
	for n, o := range orders {
		i, err := a.applyOne(ctx, o, how, p)
		if err != nil {
			return partly(o, len(orders)-n-1, err)
		}
		items = append(items, i)
	}
	if w.wait && how != dry {
		if err := a.settled(ctx, orders, items, w.timeout); err != nil {
			return err
		}
	}
	if a.structured() {
		return a.writeItems(items, len(orders) == 1)
	}
	return nil
}

// partly tells which order failed, and how many were not tried.
func partly(o order, left int, err error) error {
	if left > 0 {
		return fmt.Errorf("%s: %w (%d more not applied)", o.target, err, left)
	}
	return fmt.Errorf("%s: %w", o.target, err)
}

func (a *app) applyOne(ctx context.Context, o order, how mode, p *progress) (client.Item, error) {
	c, err := a.connect()
	if err != nil {
		return client.Item{}, err
	}
	at, err := o.writeURL(ctx, c)
	if err != nil {
		return client.Item{}, err
	}
	have, err := c.Get(ctx, at)
	isNew := errors.Is(err, fault.Missing)
	if err != nil && !isNew {
		return client.Item{}, err
	}
	verb, needless := judge(o.manifest, have, isNew, how)
	if needless || how == dry {
		a.applied(p, o, verb, how)
		return have, nil
	}
	i, _, err := c.Put(ctx, at, o.body(), 0)
	if err == nil {
		a.applied(p, o, verb, how)
	}
	return i, err
}

// judge says what applying does to one thing, and whether that is nothing.
func judge(m manifest, have client.Item, isNew bool, how mode) (verb string, needless bool) {
	if isNew {
		return "created", false
	}
	differing := changes(m, have)
	switch {
	case how == keepExisting:
		return "is there", true
	case len(differing) == 0:
		return "unchanged", true
	}
	return "changed (" + strings.Join(differing, ", ") + ")", false
}

func (a *app) applied(p *progress, o order, verb string, how mode) {
	if a.structured() {
		return
	}
	p.clear()
	if how == dry {
		verb += " (dry run)"
	}
	fmt.Fprintf(a.stdout, "%s %s\n", o.target, verb)
}

// settled waits until all orders are active, and puts their last documents in
// items. What has no state is so at once.
func (a *app) settled(ctx context.Context, orders []order, items []client.Item, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p := a.progress()
	for n, o := range orders {
		if o.kind.need == nothing {
			continue
		}
		i, err := a.await(ctx, o.target, toBeActive, p)
		if err != nil {
			return err
		}
		items[n] = i
	}
	return nil
}

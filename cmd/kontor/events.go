package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
)

func eventsCommand(a *app) *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:   "events",
		Short: "Show what happens to resources",
		Long: `Show how the resources of a tenant, or of one workspace, are, by their last change;
with --follow, go on with each change, until you end it. Without a region it is about
all of them. With --json every line is one event.

What changes twice within moments is told once, as it is then.`,
		Example: "  kontor events --follow -t acme -w shop",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			if a.output != "" && a.output != "json" && a.output != "wide" {
				return usagef("events come as a table or, with --json, a line each")
			}
			return a.events(cmd.Context(), follow)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on, and tell what happens")
	return c
}

// A happening is an event as the exchange tells it.
type happening struct {
	Region, Kind, Name, State, Reason, Message, Resource string
	At                                                   time.Time
	raw                                                  json.RawMessage
}

func (a *app) events(ctx context.Context, follow bool) error {
	streams, err := a.eventStreams(ctx)
	if err != nil {
		return err
	}
	o := &happenings{app: a}
	g, ctx := errgroup.WithContext(ctx)
	for _, at := range streams {
		g.Go(func() error {
			if follow {
				return a.followEvents(ctx, at, o.show)
			}
			return a.presentEvents(ctx, at, o.keep)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	slices.SortFunc(o.kept, func(x, y happening) int { return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.Resource, y.Resource)) })
	for _, h := range o.kept {
		if err := o.show(h); err != nil {
			return err
		}
	}
	return nil
}

// eventStreams gives the addresses: one for each region.
func (a *app) eventStreams(ctx context.Context) ([]string, error) {
	x, err := a.connect()
	if err != nil {
		return nil, err
	}
	s, err := a.resolve()
	if err != nil {
		return nil, err
	}
	if s.Tenant == "" {
		return nil, usagef("say which tenant: --tenant NAME")
	}
	below := []string{"tenants", s.Tenant}
	if s.Workspace != "" {
		below = append(below, "workspaces", s.Workspace)
	}
	regions := []string{s.Region}
	if s.Region == "" {
		regions = a.regionNames(ctx)
	}
	var all []string
	for _, r := range regions {
		base, err := x.Regional(ctx, r, "kontor.exchange")
		if err != nil {
			return nil, err
		}
		all = append(all, client.Under(base, append(below, "events")...))
	}
	if len(all) == 0 {
		return nil, fault.Missing.Errorf("the exchange has no regions")
	}
	return all, nil
}

// followEvents shows how everything is, and then what happens.
func (a *app) followEvents(ctx context.Context, at string, show func(happening) error) error {
	x, err := a.connect()
	if err != nil {
		return err
	}
	for e, err := range x.Events(ctx, at, "0") {
		if err == nil && e.Name == "reset" {
			a.complain("the exchange was restored from a backup; it tells everything anew", nil, "")
		}
		if err == nil {
			err = heard(e, show)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// presentEvents shows how everything is now.
func (a *app) presentEvents(ctx context.Context, at string, show func(happening) error) error {
	x, err := a.connect()
	if err != nil {
		return err
	}
	for e, err := range x.Events(ctx, at, "0") {
		if err == nil && e.Name == "current" {
			return nil
		}
		if err == nil {
			err = heard(e, show)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

func heard(e client.Event, show func(happening) error) error {
	if e.Name != "state" {
		return nil
	}
	h := happening{raw: e.Data}
	if err := json.Unmarshal(e.Data, &h); err != nil {
		return fault.Malformed.Errorf("read an event: %w", err)
	}
	return show(h)
}

// happenings are shown in the order in which they come, of all regions.
type happenings struct {
	app   *app
	mu    sync.Mutex
	kept  []happening
	begun bool
}

func (o *happenings) keep(h happening) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept = append(o.kept, h)
	return nil
}

const eventLine = "%-20s  %-16s  %-36s  %-9s  %s\n"

func (o *happenings) show(h happening) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.app.output == "json" {
		_, err := fmt.Fprintf(o.app.stdout, "%s\n", h.raw)
		return err
	}
	var err error
	if !o.begun {
		o.begun = true
		_, err = fmt.Fprintf(o.app.stdout, eventLine, "TIME", "REGION", "RESOURCE", "STATE", "WHY")
	}
	why := strings.TrimSpace(h.Reason + " " + h.Message)
	line := fmt.Sprintf(eventLine, h.At.UTC().Format(time.RFC3339), clean(h.Region), clean(h.Kind+"/"+h.Name), clean(h.State), clean(why))
	_, err2 := fmt.Fprintln(o.app.stdout, strings.TrimRight(line, " \n"))
	return errors.Join(err, err2)
}

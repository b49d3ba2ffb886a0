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
	"github.com/kontor-cloud/kontor/seca"
)

const defaultTimeout = 10 * time.Minute

// A goal is what a thing is waited for to be.
type goal struct {
	state seca.State // "" does not care
	power string
	gone  bool
}

var (
	toBeActive = goal{state: seca.Active}
	toBeGone   = goal{gone: true}
)

func (g goal) String() string {
	switch {
	case g.gone:
		return "deleted"
	case g.power != "":
		return "powered " + g.power
	}
	return string(g.state)
}

// parseGoal reads state=active, power=on or deleted.
func parseGoal(text string) (goal, error) {
	key, value, _ := strings.Cut(text, "=")
	switch {
	case text == "deleted" || text == "delete":
		return toBeGone, nil
	case key == "power" && (value == "on" || value == "off"):
		return goal{state: seca.Active, power: value}, nil
	case key == "state" && value != "":
		return goal{state: seca.State(value)}, nil
	}
	return goal{}, usagef("--for %q: say state=active (or another state), power=on, power=off or deleted", text)
}

// reached judges one look at the thing. An error ends the waiting.
func (g goal) reached(i client.Item, err error) (bool, error) {
	switch {
	case errors.Is(err, fault.Missing) && g.gone:
		return true, nil
	case err != nil:
		return false, err
	case g.gone:
		return plain(find(decoded(i), "status.endedAt")) != "", nil // orders stay to be looked up
	}
	status := i.Common()
	if status.State == seca.Error && g.state != seca.Error {
		return false, fault.Conflict.Errorf("%s/%s is in state error: %s", i.Metadata.Kind, i.Metadata.Name, lastWord(status))
	}
	power := g.power == "" || plain(find(decoded(i), "status.powerState")) == g.power
	return power && (g.state == "" || status.State == g.state), nil
}

// lastWord is what the newest transition says of itself.
func lastWord(s seca.Status) string {
	if len(s.Conditions) == 0 {
		return "the exchange does not say why"
	}
	c := s.Conditions[0]
	return strings.TrimSuffix(strings.TrimSpace(c.Reason+": "+c.Message), ":")
}

const (
	firstLook   = 50 * time.Millisecond
	longestLook = 2 * time.Second
)

// await looks at t until it is as wanted, and returns its last document. An
// exchange that stops answering meanwhile is waited for, too.
func (a *app) await(ctx context.Context, t target, g goal, p *progress) (client.Item, error) {
	c, err := a.connect()
	if err != nil {
		return client.Item{}, err
	}
	at, err := t.url(ctx, c)
	if err != nil {
		return client.Item{}, err
	}
	defer p.clear()
	began, look, seen := time.Now(), firstLook, false
	for {
		i, err := c.Get(ctx, at)
		done, err := g.reached(i, err)
		silent := seen && errors.Is(err, fault.Unavailable) && ctx.Err() == nil
		if done || err != nil && !silent {
			return i, late(ctx, t, g, err)
		}
		seen = true
		p.say(t.String()+" "+waiting(i, silent), fmt.Sprintf(", %s until %s", age(began, time.Now()), g))
		select {
		case <-ctx.Done():
			return i, late(ctx, t, g, ctx.Err())
		case <-time.After(look):
		}
		look = min(look*3/2, longestLook)
	}
}

// waiting words where a thing is on its way.
func waiting(i client.Item, silent bool) string {
	if silent {
		return "is not known: the exchange does not answer"
	}
	doc := decoded(i)
	s := state(doc)
	if power := plain(find(doc, "status.powerState")); power != "" {
		s += ", power " + power
	}
	if why := plain(find(doc, "kontor.message")); why != "" {
		s += " (" + why + ")"
	}
	return s
}

// late tells a timeout from the caller's own end.
func late(ctx context.Context, t target, g goal, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return hinted{fault.Unavailable.Errorf("%s is not %s in time", t, g), "a longer --timeout, or `kontor describe " + t.kind.name + " " + t.name + "`; it goes on by itself"}
	}
	return err
}

// awaitAll waits for several things, one after the other: they come along together.
func (a *app) awaitAll(ctx context.Context, ts []target, g goal, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p := a.progress()
	for _, t := range ts {
		if _, err := a.await(ctx, t, g, p); err != nil {
			return err
		}
	}
	return nil
}

// A waiter is the flags of commands that can wait for their effect.
type waiter struct {
	wait    bool
	timeout time.Duration
}

func (w *waiter) flags(c *cobra.Command) {
	c.Flags().BoolVar(&w.wait, "wait", false, "wait until it has happened")
	c.Flags().DurationVar(&w.timeout, "timeout", defaultTimeout, "how long to wait")
}

func waitCommand(a *app) *cobra.Command {
	var until, network string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "wait KIND NAME…",
		Short: "Wait until things are as wanted",
		Example: `  kontor wait instance web
  kontor wait instance web --for power=on
  kontor wait volume old --for deleted --timeout 1m`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(c *cobra.Command, args []string) error {
			g, err := parseGoal(until)
			if err != nil {
				return err
			}
			ts, err := a.targets(c.Context(), args, network)
			if err != nil {
				return err
			}
			if err := a.awaitAll(c.Context(), ts, g, timeout); err != nil {
				return err
			}
			return a.report(c.Context(), ts, g)
		},
	}
	c.Flags().StringVar(&until, "for", "state=active", "state=STATE, power=on, power=off or deleted")
	_ = c.RegisterFlagCompletionFunc("for", a.completes(func(context.Context) []string { // the flag is there
		return []string{"state=active", "state=error", "power=on", "power=off", "deleted"}
	}))
	c.Flags().StringVar(&network, "network", "", "network, for subnets and routing tables")
	c.Flags().DurationVar(&timeout, "timeout", defaultTimeout, "how long to wait")
	return c
}

// report says what has been reached, or shows the documents to a program.
func (a *app) report(ctx context.Context, ts []target, g goal) error {
	if !a.structured() {
		for _, t := range ts {
			fmt.Fprintf(a.stdout, "%s is %s\n", t, g)
		}
		return nil
	}
	items := []client.Item{}
	for _, t := range ts {
		if g.gone {
			continue
		}
		i, err := a.read(ctx, t)
		if err != nil {
			return err
		}
		items = append(items, i)
	}
	return a.writeItems(items, len(ts) == 1)
}

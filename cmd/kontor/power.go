package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

func startCommand(a *app) *cobra.Command   { return a.powerCommand("start", "Start", "on") }
func stopCommand(a *app) *cobra.Command    { return a.powerCommand("stop", "Stop", "off") }
func restartCommand(a *app) *cobra.Command { return a.powerCommand("restart", "Restart", "on") }

func (a *app) powerCommand(verb, title, power string) *cobra.Command {
	var w waiter
	c := &cobra.Command{
		Use:               verb + " INSTANCE…",
		Short:             title + " instances",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completes(a.namesOf("instance")),
		RunE: func(c *cobra.Command, args []string) error {
			ts, err := a.targets(c.Context(), append([]string{"instance"}, args...), "")
			if err != nil {
				return err
			}
			for _, t := range ts {
				said, err := a.act(c.Context(), t, verb, power)
				if err != nil {
					return fmt.Errorf("%s: %w", t, err)
				}
				a.tell(t, said)
			}
			g := goal{state: seca.Active, power: power}
			if !w.wait {
				return nil
			}
			if err := a.awaitAll(c.Context(), ts, g, w.timeout); err != nil {
				return err
			}
			return a.report(c.Context(), ts, g)
		},
	}
	w.flags(c)
	return c
}

// act asks for a power action and says what came of it. One that has been
// asked for before, with the same end, is no failure.
func (a *app) act(ctx context.Context, t target, verb, power string) (said string, err error) {
	c, err := a.connect()
	if err != nil {
		return "", err
	}
	at, err := t.url(ctx, c)
	if err != nil {
		return "", err
	}
	err = c.Post(ctx, client.Under(at, verb), nil, nil)
	if errors.Is(err, fault.Conflict) && verb != "restart" {
		i, look := c.Get(ctx, at)
		if look == nil && plain(find(decoded(i), "status.powerState")) == power {
			return "is " + power, nil
		}
	}
	return verb + " asked for", err
}

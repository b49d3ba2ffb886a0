package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/fault"
)

func deleteCommand(a *app) *cobra.Command {
	var files []string
	var network string
	var yes bool
	var w waiter
	c := &cobra.Command{
		Use:     "delete (KIND NAME… | -f FILE…)",
		Aliases: []string{"rm"},
		Short:   "Delete things",
		Long: `Delete things: those named, or those that files describe, in the reverse of
the order in which apply makes them. On a terminal it asks before. Deletion goes on at the
exchange until the platform no longer lists the thing; --wait waits for that.`,
		Example: `  kontor delete instance web --wait
  kontor delete -f shop.yaml --yes --wait`,
		ValidArgsFunction: a.completeTargets,
		RunE: func(c *cobra.Command, args []string) error {
			ts, err := a.doomed(c.Context(), args, files, network)
			if err != nil {
				return err
			}
			if err := a.confirm(c.Context(), yes, ts); err != nil {
				return err
			}
			return a.deleteAll(c.Context(), ts, len(files) > 0, w)
		},
	}
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, "file, directory or - (may be given several times)")
	c.Flags().StringVar(&network, "network", "", "network, for subnets and routing tables")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	w.flags(c)
	return c
}

// doomed reads what is to be deleted, what is contained first.
func (a *app) doomed(ctx context.Context, args, files []string, network string) ([]target, error) {
	if (len(args) == 0) == (len(files) == 0) {
		return nil, usagef("delete needs either KIND NAME or -f FILE")
	}
	var ts []target
	if len(files) > 0 {
		orders, err := a.readOrders(ctx, files)
		if err != nil {
			return nil, err
		}
		for _, o := range slices.Backward(orders) {
			ts = append(ts, o.target)
		}
		return ts, nil
	}
	ts, err := a.targets(ctx, args, network)
	for _, t := range ts {
		if !t.kind.can("delete") {
			return nil, t.kind.refuse("delete")
		}
	}
	return ts, err
}

// confirm asks a person. A script is not asked.
func (a *app) confirm(ctx context.Context, yes bool, ts []target) error {
	if yes || !isTerminal(a.stdin) {
		return nil
	}
	names := make([]string, len(ts))
	for i, t := range ts {
		names[i] = t.String()
	}
	fmt.Fprintf(a.stderr, "Delete %s? [y/N] ", strings.Join(names, ", "))
	if answer := a.readLine(ctx); answer != "y" && answer != "yes" {
		return fault.Conflict.Errorf("not confirmed, nothing deleted")
	}
	return nil
}

// readLine reads an answer in small letters. A read cannot be ended: after
// Ctrl-C it is left behind, as the process ends too.
func (a *app) readLine(ctx context.Context) string {
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(a.stdin).ReadString('\n') // nothing read is an empty answer
		line <- strings.ToLower(strings.TrimSpace(text))
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
		return ""
	case text := <-line:
		return text
	}
}

// deleteAll deletes in the given order. Lenient takes for well what is not there.
func (a *app) deleteAll(ctx context.Context, ts []target, lenient bool, w waiter) error {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	p := a.progress()
	for _, t := range ts {
		err := a.deleteOne(ctx, t, w.wait, p)
		if errors.Is(err, fault.Missing) && lenient {
			err = nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	if !w.wait {
		return nil
	}
	for _, t := range ts {
		if _, err := a.await(ctx, t, toBeGone, p); err != nil {
			return err
		}
		a.tell(t, "deleted")
	}
	return nil
}

// tell says to a person what has happened to a thing.
func (a *app) tell(t target, verb string) {
	if !a.structured() {
		fmt.Fprintf(a.stdout, "%s %s\n", t, verb)
	}
}

const conflictPause = 500 * time.Millisecond

// deleteOne asks for the end of one thing. What holds it back may be about to
// go too, so with patience it asks again.
func (a *app) deleteOne(ctx context.Context, t target, patient bool, p *progress) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	at, err := t.writeURL(ctx, c)
	if err != nil {
		return err
	}
	for {
		err := c.Delete(ctx, at, 0)
		switch {
		case err == nil && !patient:
			a.tell(t, "deleting")
			return nil
		case err == nil || !patient || !errors.Is(err, fault.Conflict):
			return err
		}
		p.say(t.String()+" is held back: "+err.Error(), "")
		select {
		case <-ctx.Done():
			return late(ctx, t, toBeGone, err)
		case <-time.After(conflictPause):
		}
	}
}

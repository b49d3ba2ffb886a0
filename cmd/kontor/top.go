package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/telemetry"
)

// A target process is found by its private listener.
type processFlags struct {
	data     string
	privates []string
}

func (p *processFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&p.data, "data", defaultExchange().Data, "data directory of the process: that of an exchange, or an agent's")
	c.Flags().StringArrayVar(&p.privates, "private", nil, "private listener, HOST:PORT or unix:FILE, in place of the one in --data; repeatable where several make sense")
}

func (p *processFlags) addresses() []string {
	if len(p.privates) > 0 {
		return p.privates
	}
	return []string{privateDefault(p.data)}
}

// inspect reads a page of a private listener.
func inspect(ctx context.Context, address, path string, to func(io.Reader) error) error {
	c, base := telemetry.Client(address)
	defer c.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return fault.Invalid.Errorf("%q is no private listener: %w", address, err)
	}
	resp, err := c.Do(r)
	if err != nil {
		return fault.Unavailable.Errorf("no process is to be seen at %s; say where with --data or --private: %w", address, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return fault.Missing.Errorf("%s has no %s", address, path)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return fault.Unavailable.Errorf("%s answers %s to %s", address, resp.Status, path)
	}
	return to(resp.Body)
}

func topCommand(a *app) *cobra.Command {
	var process processFlags
	var once, asJSON bool
	every := 2 * time.Second
	c := &cobra.Command{
		Use:   "top",
		Short: "Show what an exchange or an agent is doing: requests, regions, platforms, resources",
		Long: `Show what an exchange or an agent is doing, by the metrics on its private listener.
Rates and latencies are of the time between two looks. Several --private are shown as one.`,
		Example: "  kontor top --data /var/lib/kontor\n  kontor top --private 127.0.0.1:9464 --once --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 10*time.Millisecond {
				return usagef("--every must be at least 10ms")
			}
			return a.top(cmd.Context(), process.addresses(), every, once || asJSON, asJSON)
		},
	}
	process.add(c)
	c.Flags().BoolVar(&once, "once", false, "show it once and end")
	c.Flags().BoolVar(&asJSON, "json", false, "once, as JSON")
	c.Flags().DurationVar(&every, "every", every, "between two looks")
	return c
}

func (a *app) top(ctx context.Context, addresses []string, every time.Duration, once, asJSON bool) error {
	before, at, err := gather(ctx, addresses)
	if err != nil {
		return err
	}
	for {
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return nil
		}
		now, then, err := gather(ctx, addresses)
		if err != nil {
			return err
		}
		s := summarize(now, now.Since(before), then.Sub(at))
		before, at = now, then
		switch {
		case asJSON:
			return writeJSON(a.stdout, s)
		case once:
			return s.write(a.stdout, math.MaxInt)
		}
		height := math.MaxInt
		if f, ok := a.stdout.(interface{ Fd() uintptr }); ok && term.IsTerminal(int(f.Fd())) { //nolint:gosec // a small number
			fmt.Fprint(a.stdout, "\x1b[H\x1b[2J")
			if _, h, err := term.GetSize(int(f.Fd())); err == nil { //nolint:gosec // a small number
				height = h
			}
		}
		if err := s.write(a.stdout, height); err != nil {
			return err
		}
	}
}

// gather reads the metrics of some processes.
func gather(ctx context.Context, addresses []string) (all telemetry.Samples, at time.Time, err error) {
	for _, address := range addresses {
		err := inspect(ctx, address, "/metrics", func(r io.Reader) error {
			some, err := telemetry.ReadSamples(r)
			all = append(all, some...)
			return err
		})
		if err != nil {
			return nil, at, err
		}
	}
	return all, time.Now(), nil
}

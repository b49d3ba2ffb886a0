package main

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
)

func consoleCommand(a *app) *cobra.Command {
	var tail int
	var follow, raw bool
	command := func(use, short string) *cobra.Command {
		c := &cobra.Command{
			Use: use, Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: a.completes(a.namesOf("instance")),
			RunE: func(c *cobra.Command, args []string) error {
				if tail < 1 {
					return usagef("--tail counts bytes, from 1")
				}
				return a.console(c.Context(), args[0], tail, follow, raw || !isTerminal(a.stdout))
			},
		}
		c.Flags().IntVar(&tail, "tail", 64<<10, "how many of the last bytes")
		c.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing what comes")
		c.Flags().BoolVar(&raw, "raw", false, "on a terminal, too, show control characters as they are")
		return c
	}
	c := command("console INSTANCE", "Show what an instance writes to its serial console")
	c.AddCommand(command("log INSTANCE", "The same"))
	return c
}

const consoleEvery = time.Second

func (a *app) console(ctx context.Context, name string, tail int, follow, raw bool) error {
	ts, err := a.targets(ctx, []string{"instance", name}, "")
	if err != nil {
		return err
	}
	var shown []byte
	for {
		log, err := a.consoleTail(ctx, ts[0], tail)
		if err != nil && ctx.Err() != nil && follow {
			return nil
		}
		if err != nil {
			return err
		}
		fresh := log[overlap(shown, log):]
		if !raw {
			fresh = printable(fresh)
		}
		if _, err := a.stdout.Write(fresh); err != nil || !follow {
			return err
		}
		shown = log
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(consoleEvery):
		}
	}
}

func (a *app) consoleTail(ctx context.Context, t target, tail int) ([]byte, error) {
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	base, err := c.Regional(ctx, t.place.Region, "kontor.exchange")
	if err != nil {
		return nil, err
	}
	var log []byte
	_, err = c.Do(ctx, client.Call{
		Method: http.MethodGet, Accept: "text/plain, application/json", Out: &log,
		URL:   client.Under(base, "tenants", t.place.Tenant, "workspaces", t.place.Workspace, "instances", t.name, "console"),
		Query: url.Values{"tail": {strconv.Itoa(tail)}},
	})
	return log, err
}

// overlap tells how much of a tail has been in the one before, which has since
// lost some of its beginning.
func overlap(before, now []byte) int {
	for lost := range before {
		if rest := before[lost:]; bytes.HasPrefix(now, rest) {
			return len(rest)
		}
	}
	return 0
}

var terminalSequence = regexp.MustCompile("\x1b(\\[[0-9;?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)|[ -/]*[0-~])")

// printable drops what would let a guest steer the terminal of its owner.
func printable(b []byte) []byte {
	text := terminalSequence.ReplaceAllString(string(b), "")
	return []byte(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, text))
}

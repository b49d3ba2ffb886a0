package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/money"
)

func whyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "why ORDER|QUOTE|DECISION", Short: "Say why something was placed where it is, and why nowhere else", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			i, err := a.decisionOf(c.Context(), args[0])
			if err != nil {
				return err
			}
			if a.structured() {
				return a.write(i)
			}
			var e market.Explanation
			if err := json.Unmarshal(i.Status, &e); err != nil {
				return fault.Malformed.Errorf("read decision %s: %w", i.Metadata.Name, err)
			}
			return a.explain(i.Metadata.Name, e)
		},
	}
}

// decisionOf finds the decision behind an order or a quote, or itself.
func (a *app) decisionOf(ctx context.Context, name string) (client.Item, error) {
	p, err := a.complete(ctx, needTenant, client.Place{})
	if err != nil {
		return client.Item{}, err
	}
	c, err := a.connect()
	if err != nil {
		return client.Item{}, err
	}
	collection := map[string]string{"o": "orders", "q": "quotes", "d": "decisions"}[firstLetter(name)]
	if collection == "" {
		return client.Item{}, usagef("%q is neither an order (o-…), nor a quote (q-…), nor a decision (d-…)", name)
	}
	i, err := c.Get(ctx, c.Exchange("tenants", p.Tenant, collection, name))
	if err != nil || collection == "decisions" {
		return i, err
	}
	var of quoted
	if err := json.Unmarshal(i.Status, &of); err != nil {
		return i, fault.Malformed.Errorf("read %s: %w", name, err)
	}
	return c.Get(ctx, c.Exchange("tenants", p.Tenant, "decisions", of.Decision))
}

// firstLetter gives the mark of an id like q-abc.
func firstLetter(id string) string {
	mark, _, _ := strings.Cut(id, "-")
	return mark
}

// explain prints where it went, and for each other region what was needed and what it had.
func (a *app) explain(id string, e market.Explanation) error {
	d := e.Record
	fmt.Fprintf(a.stdout, "decision %s of %s, by version %d of the engine\n", id, time.Unix(d.Now, 0).UTC().Format(time.RFC3339), d.Engine)
	if d.Problem != nil {
		fmt.Fprintf(a.stdout, "nowhere: %s\n", clean(e.Summary))
	}
	for _, p := range d.Chosen {
		fmt.Fprintf(a.stdout, "%s: %s of %s\n", copyName(p), p.Region, p.Provider)
	}
	if len(d.Allowed) > 0 {
		fmt.Fprintln(a.stdout)
		t := a.table("GROUP", "REGION", "EUR/HOUR", "ROUND TRIP", "POINTS LOST")
		for _, x := range d.Allowed {
			trip := ""
			if x.RTT > 0 {
				trip = fmt.Sprintf("%.1f ms", float64(x.RTT)/1000)
			}
			t.row(x.Group, x.Region, euros(money.Amount{Nano: x.Hourly}, 5), trip, fmt.Sprintf("%.1f", float64(x.Score.Total)/1000))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if len(d.Excluded) > 0 {
		fmt.Fprintln(a.stdout)
		t := a.table("GROUP", "REGION", "PROVIDER", "DIMENSION", "SUBJECT", "NEEDED", "HAD")
		for _, x := range d.Excluded {
			for _, m := range x.Misses {
				t.row(x.Group, x.Region, x.Provider, string(m.Dimension), m.Subject, m.Needed.String(), m.Had.String())
			}
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if e.Nearest != nil {
		fmt.Fprintf(a.stdout, "\nthe nearest miss: %s of %s lacks %s\n", e.Nearest.Region, e.Nearest.Provider, clean(e.Nearest.Misses[0].String()))
	}
	return nil
}

func replayCommand(a *app) *cobra.Command {
	var file, key string
	c := &cobra.Command{
		Use: "replay DECISION|-f BUNDLE", Short: "Make a decision again from what it depended on, and compare",
		Long: `Make a decision again from what it depended on, here and not at the exchange, and say
whether it is the same to the byte and signed by the exchange.

A bundle is what "kontor decision export" writes. It needs no exchange; it also holds the
key by which it is signed, so that who has it from a stranger says --key, the id of the key that
the exchange publishes ("kontor decision keys").`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if (len(args) == 1) == (file != "") {
				return usagef("replay needs a decision, or -f with a bundle")
			}
			if file != "" {
				return a.replayFile(file, key)
			}
			return a.replayHere(c.Context(), args[0], key)
		},
	}
	c.Flags().StringVarP(&file, "filename", "f", "", "bundle, or - for standard input")
	c.Flags().StringVar(&key, "key", "", "id of the key by which it must be signed")
	return c
}

func (a *app) replayFile(name, key string) error {
	r := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fault.Invalid.Errorf("read bundle: %w", err)
		}
		defer f.Close()
		r = f
	}
	if key == "" {
		fmt.Fprintln(a.stderr, "kontor: no --key: that the exchange has signed it is only what the bundle says")
	}
	return a.replay(r, func(k string) bool { return key == "" || k == key })
}

// replayHere takes a bundle from the exchange, which also says which keys are its own.
func (a *app) replayHere(ctx context.Context, id, key string) error {
	i, err := a.decisionOf(ctx, id)
	if err != nil {
		return err
	}
	bundle, err := a.exported(ctx, i.Metadata.Name)
	if err != nil {
		return err
	}
	keys, err := a.decisionKeys(ctx)
	if err != nil {
		return err
	}
	return a.replay(bytes.NewReader(bundle), func(k string) bool {
		return slices.ContainsFunc(keys, func(i client.Item) bool { return i.Metadata.Name == k }) && (key == "" || k == key)
	})
}

func (a *app) replay(r io.Reader, trusted func(key string) bool) error {
	all, err := market.ReplayBundle(r)
	if err != nil {
		return err
	}
	for _, d := range all {
		if !trusted(d.Key) {
			return fault.Denied.Errorf("decision %s is signed by key %s, which is not the exchange's", d.ID, d.Key)
		}
	}
	if a.structured() {
		return a.write(map[string]any{"items": all})
	}
	for _, d := range all {
		fmt.Fprintf(a.stdout, "decision %s: the same to the byte; signed by %s for tenant %s at %s\n", clean(d.ID), d.Key, clean(d.Tenant), d.At.Format(time.RFC3339))
	}
	return nil
}

// exported reads the export of a decision.
func (a *app) exported(ctx context.Context, decision string) ([]byte, error) {
	p, err := a.complete(ctx, needTenant, client.Place{})
	if err != nil {
		return nil, err
	}
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	var b []byte
	_, err = c.Do(ctx, client.Call{Method: "GET", URL: c.Exchange("tenants", p.Tenant, "decisions", decision, "export"), Accept: "application/x-ndjson", Out: &b})
	return b, err
}

func (a *app) decisionKeys(ctx context.Context) ([]client.Item, error) {
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	return client.All(c.List(ctx, c.Exchange("decision-keys"), client.Query{}))
}

func decisionCommand(a *app) *cobra.Command {
	keys := a.listCommand(own("decision-key", "decision-keys"))
	keys.Use, keys.Short, keys.Aliases = "keys", "List the keys by which the exchange signs decisions", nil
	return family("decision", "Take decisions elsewhere", a.decisionExport(), keys)
}

func (a *app) decisionExport() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "export ORDER|QUOTE|DECISION", Short: "Write a decision with all that it depended on", Args: cobra.ExactArgs(1),
		Long: `Write a decision with its signature and all that it depended on, as lines of JSON:
whoever has it can make it again with "kontor replay -f", on any machine, without the exchange.`,
		RunE: func(c *cobra.Command, args []string) error {
			i, err := a.decisionOf(c.Context(), args[0])
			if err != nil {
				return err
			}
			b, err := a.exported(c.Context(), i.Metadata.Name)
			if err != nil {
				return err
			}
			if out == "" {
				_, err = a.stdout.Write(b)
				return err
			}
			if err := os.WriteFile(out, b, 0o600); err != nil {
				return fault.Invalid.Errorf("write bundle: %w", err)
			}
			fmt.Fprintf(a.stderr, "%s: decision %s; kontor replay -f %s\n", out, i.Metadata.Name, out)
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "file (by default standard output)")
	return c
}

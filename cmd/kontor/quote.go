package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
)

// A quoteFlags is what flags add to the wish of a file.
type quoteFlags struct {
	policies []string
	maxPrice string
	budget   string
	term     string
	near     string
	maxRTT   string
	prefer   []string
	not      []string
	in       string
	from     string // blueprint
	choices  []string
	validFor time.Duration
}

func quoteCommand(a *app) *cobra.Command {
	var files []string
	var q quoteFlags
	c := &cobra.Command{
		Use: "quote -f FILE… | --blueprint NAME", Short: "Ask where something can run by rule, and for what price",
		Long: `Ask where something can run by rule, and for what price. Price and capacity are kept
until the quote ends; "kontor order" takes them.

A file holds documents as "kontor apply -f" takes them, with common sizes (seca.*);
what they need is added up. A document of kind wish says the rest:

  kind: wish
  spec:
    policies: [eu-controlled, mine@2]
    maxPrice: 0.05 EUR        # of everything, for an hour
    near: {at: "45.7640,4.8357", maxRTT: 30ms}
    weights: {price: 3, carbon: 1}
    spread: [{over: owner, max: 1}]

Documents with the annotation ` + groupMark + ` are placed group by group; all
others are one group. A policy is one of your tenant's or a ready-made one.`,
		Example: `  kontor quote -f shop.yaml --policy eu-resident --max-price 0.10
  kontor quote -f shop.yaml --near 45.7640,4.8357 --max-rtt 20ms --prefer carbon=2,price=1
  kontor quote --blueprint web-standby --set name=shop --set image=debian-12`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if len(files) == 0 && q.from == "" {
				return usagef("quote needs -f FILE, a directory, or - for standard input, or --blueprint NAME (kontor blueprints)")
			}
			return a.quote(c.Context(), files, q)
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&files, "filename", "f", nil, "file, directory or - (may be given several times)")
	f.StringSliceVar(&q.policies, "policy", nil, "policy that must allow it: NAME or NAME@VERSION (may be given several times)")
	f.StringVar(&q.maxPrice, "max-price", "", "most that everything may cost an hour, in euro")
	f.StringVar(&q.budget, "budget", "", "most that everything may cost for the term, in euro")
	f.StringVar(&q.term, "term", "", "how long it is wanted, as in 720h (by default a month)")
	f.StringVar(&q.near, "near", "", "place from where it is reached: LATITUDE,LONGITUDE or a region")
	f.StringVar(&q.maxRTT, "max-rtt", "", "longest round trip from there, as in 30ms")
	f.StringSliceVar(&q.prefer, "prefer", nil, "what counts how much: price, latency, carbon, seal, reliability, each with =0 to 100")
	f.StringSliceVar(&q.not, "not", nil, "regions or providers that are out of the question")
	f.StringVar(&q.in, "in", "", "virtual region in which it is made, and whose policy must allow, too (by default eu)")
	f.StringVar(&q.from, "blueprint", "", "blueprint that is wanted, instead of documents")
	f.StringArrayVar(&q.choices, "set", nil, "choice of a blueprint's parameter, as NAME=VALUE or NAME=@FILE (may be given several times)")
	f.DurationVar(&q.validFor, "valid-for", market.UsualValidity, "how long price and capacity are kept, at most 24h")
	return c
}

// into puts what flags say into a wish.
func (q quoteFlags) into(w *market.Wish) (err error) {
	w.Policies = append(w.Policies, q.policies...)
	w.Not = append(w.Not, q.not...)
	for _, x := range []struct {
		flag, text string
		to         **money.Amount
	}{{"max-price", q.maxPrice, &w.MaxPrice}, {"budget", q.budget, &w.Budget}} {
		if x.text == "" {
			continue
		}
		amount, err := money.Parse(x.text, money.EUR)
		if err != nil {
			return usagef("--%s: %v", x.flag, err)
		}
		*x.to = &amount
	}
	if q.term != "" {
		if err := w.Term.UnmarshalText([]byte(q.term)); err != nil {
			return usagef("--term: %v", err)
		}
	}
	if q.near != "" || q.maxRTT != "" {
		w.Near = market.NearTo(q.near, q.maxRTT)
	}
	if len(q.prefer) > 0 {
		if w.Weights, err = market.ParseWeights(strings.Join(q.prefer, ",")); err != nil {
			return usagef("--prefer: %v", err)
		}
	}
	if q.in != "" {
		w.Region = q.in
	}
	return nil
}

func (a *app) quote(ctx context.Context, files []string, q quoteFlags) error {
	p, err := a.complete(ctx, needTenant, client.Place{})
	if err != nil {
		return err
	}
	s, err := a.resolve()
	if err != nil {
		return err
	}
	want, err := a.readPurchase(files, s.Workspace)
	if err != nil {
		return err
	}
	if err := q.into(&want.Wish); err != nil {
		return err
	}
	if want.Blueprint, err = q.blueprint(); err != nil {
		return err
	}
	want.ValidFor = q.validFor.String()
	c, err := a.connect()
	if err != nil {
		return err
	}
	var made client.Item
	if err := c.Post(ctx, c.Exchange("tenants", p.Tenant, "quotes"), map[string]any{"spec": want}, &made); err != nil {
		if k := fault.KindOf(err); k == fault.Exhausted || k == fault.Invalid && strings.Contains(err.Error(), "no region fits") {
			return hinted{err, "kontor why DECISION, or ask for less"}
		}
		return err
	}
	if a.structured() {
		return a.write(made)
	}
	return a.showQuote(made)
}

// quoted is the status of quotes and orders, as far as people want to see it.
type quoted struct {
	State      string    `json:"state"`
	Decision   string    `json:"decision"`
	ValidUntil time.Time `json:"validUntil"`
	market.Terms
	Order string `json:"order"`
}

func (a *app) showQuote(i client.Item) error {
	var q quoted
	if err := json.Unmarshal(i.Status, &q); err != nil {
		return fault.Malformed.Errorf("read quote %s: %w", i.Metadata.Name, err)
	}
	if err := a.showTerms(q.Terms); err != nil {
		return err
	}
	left := time.Until(q.ValidUntil).Round(time.Second)
	fmt.Fprintf(a.stdout, "\nquote %s holds price and capacity until %s (%s)\n", i.Metadata.Name, q.ValidUntil.Format(time.RFC3339), left)
	fmt.Fprintf(a.stdout, "order it: kontor order %s\nwhy there: kontor why %s\n", i.Metadata.Name, i.Metadata.Name)
	return nil
}

// showTerms prints a bill, line by line.
func (a *app) showTerms(terms market.Terms) error {
	t := a.table("GROUP", "REGION", "PROVIDER", "WHAT", "SKU", "COUNT", "EUR/HOUR", "EUR/MONTH")
	for _, p := range terms.Chosen {
		for _, l := range p.Lines {
			rate := offer.Rate{Kind: l.Need.Kind, SKU: l.SKU, Price: l.Price}
			hour, err := rate.Hourly(l.Need)
			if err != nil {
				return err
			}
			what := string(l.Need.Kind)
			if l.Need.GiB > 0 {
				what += fmt.Sprintf(" %d GiB", l.Need.GiB)
			}
			t.row(copyName(p), p.Region, p.Provider, what, l.SKU, fmt.Sprint(l.Need.Count), euros(hour, 5), euros(monthly(hour), 2))
		}
	}
	t.row("total", "", "", "", "", "", euros(terms.Hourly, 5), euros(monthly(terms.Hourly), 2))
	return t.flush()
}

func copyName(p placement.Placement) string {
	if p.Copy > 1 {
		return fmt.Sprintf("%s-%d", p.Group, p.Copy)
	}
	return p.Group
}

func monthly(hour money.Amount) money.Amount {
	m, err := hour.Times(int64(placement.Month/time.Hour), 1)
	if err != nil {
		return hour // nothing costs that much
	}
	return m
}

func euros(m money.Amount, decimals int) string { return m.Round(decimals).Decimal() }

func orderCommand(a *app) *cobra.Command {
	var w waiter
	c := &cobra.Command{
		Use: "order QUOTE", Short: "Order what a quote has offered, at its price", Args: cobra.ExactArgs(1),
		Long: `Order what a quote has offered, at its price, while it is valid. What its documents
describe is made at the regions that it chose, all or nothing. To order a quote again does no harm.`,
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.complete(c.Context(), needTenant, client.Place{})
			if err != nil {
				return err
			}
			x, err := a.connect()
			if err != nil {
				return err
			}
			var made client.Item
			if err := x.Post(c.Context(), x.Exchange("tenants", p.Tenant, "quotes", args[0], "order"), struct{}{}, &made); err != nil {
				return err
			}
			if w.wait {
				if err := a.awaitAll(c.Context(), []target{{orderKind, p, made.Metadata.Name}}, toBeActive, w.timeout); err != nil {
					return err
				}
			}
			if a.structured() {
				return a.write(made)
			}
			var o quoted
			if err := json.Unmarshal(made.Status, &o); err != nil {
				return fault.Malformed.Errorf("read order: %w", err)
			}
			fmt.Fprintf(a.stdout, "order %s: %s EUR an hour at %s\n", made.Metadata.Name, o.Hourly.Decimal(), strings.Join(regionsOf(o.Terms), ", "))
			fmt.Fprintf(a.stdout, "see: kontor describe order %[1]s\nwhy there: kontor why %[1]s\nend it, with all that it made: kontor delete order %[1]s\n", made.Metadata.Name)
			return nil
		},
	}
	w.flags(c)
	return c
}

func regionsOf(t market.Terms) []string {
	var names []string
	seen := map[string]bool{}
	for _, p := range t.Chosen {
		if !seen[p.Region] {
			seen[p.Region] = true
			names = append(names, p.Region)
		}
	}
	return names
}

// ofTenant is a collection of Kontor's own provider that each tenant has.
func ofTenant(name, collection string, verbs ...string) kind {
	return kind{
		name: name, collection: collection, provider: "kontor.exchange", need: needTenant, verbs: verbs,
		at: func(_ context.Context, c *client.Client, p client.Place) (string, error) {
			return c.Exchange("tenants", p.Tenant, collection), nil
		},
	}
}

var (
	quoteKind = ofTenant("quote", "quotes")
	orderKind = ofTenant("order", "orders", "delete")
)

func ordersCommand(a *app) *cobra.Command {
	c := a.listCommand(orderKind)
	c.Use, c.Short, c.Aliases = "orders", "List what was ordered", nil
	return c
}

func quotesCommand(a *app) *cobra.Command {
	c := a.listCommand(quoteKind)
	c.Use, c.Short, c.Aliases = "quotes", "List quotes", nil
	return c
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/money"
)

var driftKind = ofTenant("drift", "drift")

func driftCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "drift [ORDER|REGION.WORKSPACE]", Short: "Show what is not any more as it was decided, and what would have to move", Args: cobra.MaximumNArgs(1),
		Long: `Show what is not any more as it was decided: evidence that has expired, a provider with another
owner, a price that rises, a region that fails the policies of the order. The exchange looks every
minute. With a name, say all that differs, and what would have to move, at which cost. Nothing is
moved by itself.`,
		Example: `  kontor drift
  kontor drift o-5wq2l7
  kontor drift eu.shop`,
		ValidArgsFunction: a.completes(a.namesOf(driftKind.name)),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			if len(args) == 0 {
				return a.getLists(c.Context(), []kind{driftKind}, listing{})
			}
			i, err := a.driftOf(c.Context(), args[0])
			if err != nil {
				return err
			}
			if a.structured() {
				return a.write(i)
			}
			d, err := driftIn(i)
			if err != nil {
				return err
			}
			return a.showDrift(i.Metadata.Name, d)
		},
	}
}

// driftOf reads the drift of an order or a workspace.
func (a *app) driftOf(ctx context.Context, name string) (client.Item, error) {
	targets, err := a.targets(ctx, []string{"drift/" + name}, "")
	if err != nil {
		return client.Item{}, err
	}
	return a.read(ctx, targets[0])
}

func driftIn(i client.Item) (*market.Drift, error) {
	var d market.Drift
	if err := json.Unmarshal(i.Status, &d); err != nil {
		return nil, fault.Malformed.Errorf("read drift of %s: %w", i.Metadata.Name, err)
	}
	return &d, nil
}

// driftColumns tell of a drift in a line.
var driftColumns = []column{
	{"WHY", text("status.summary"), false},
	{"TO MOVE", ofPlan(toMove), false},
	{"EUR/MONTH", ofPlan(moreAMonth), false},
	{"ONCE", ofPlan(once), false},
	{"WORKSPACES", text("status.workspaces"), false},
}

// ofPlan shows something of the plan in a decoded document.
func ofPlan(show func(market.Plan) string) func(doc any) string {
	return func(doc any) string {
		var p market.Plan
		b, err := json.Marshal(find(doc, "status.plan"))
		if err == nil {
			err = json.Unmarshal(b, &p)
		}
		if err != nil {
			return ""
		}
		return show(p)
	}
}

// toMove says in a word or two what a plan comes to.
func toMove(p market.Plan) string {
	if p.Problem != "" {
		return "nowhere"
	}
	if len(p.Moves) == 0 {
		return "nothing"
	}
	var all []string
	for _, m := range p.Moves {
		all = append(all, m.From+" to "+m.To)
	}
	return strings.Join(all, ", ")
}

// moreAMonth is by how much a plan changes what everything costs.
func moreAMonth(p market.Plan) string {
	if p.After == nil {
		return ""
	}
	more := monthly(money.Amount{Nano: p.After.Nano - p.Hourly.Nano, Currency: money.EUR})
	if more.Nano < 0 {
		return euros(more, 2)
	}
	return "+" + euros(more, 2)
}

func once(p market.Plan) string {
	if p.Once == nil {
		return ""
	}
	return euros(*p.Once, 2)
}

func (a *app) showDrift(name string, d *market.Drift) error {
	fmt.Fprintf(a.stdout, "%s is not any more as decision %s has it\n", name, clean(d.Decision))
	if len(d.Workspaces) > 0 {
		fmt.Fprintf(a.stdout, "affected: %s\n", clean(strings.Join(d.Workspaces, ", ")))
	}
	fmt.Fprintln(a.stdout)
	t := a.table("GROUP", "REGION", "PROVIDER", "DIMENSION", "SUBJECT", "NEEDED", "HAS")
	for _, r := range d.Reasons {
		t.row(r.Group, r.Region, r.Provider, string(r.Dimension), r.Subject, r.Needed, r.Had)
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	return a.showMoves(d.Plan)
}

func (a *app) showMoves(p market.Plan) error {
	switch {
	case p.Problem != "":
		fmt.Fprintf(a.stdout, "it has to move, and there is no place: %s\n", clean(p.Problem))
		return nil
	case len(p.Moves) == 0:
		fmt.Fprintf(a.stdout, "nothing has to move; it costs %s EUR a month now\n", euros(monthly(p.Hourly), 2))
		return nil
	}
	t := a.table("GROUP", "FROM", "TO", "PROVIDER", "GIB", "EUR/MONTH", "THEN", "EGRESS EUR")
	for _, m := range p.Moves {
		egress := "unknown"
		if m.Egress != nil {
			egress = euros(*m.Egress, 2)
		}
		group := m.Group
		if m.Copy > 1 {
			group = fmt.Sprintf("%s-%d", m.Group, m.Copy)
		}
		t.row(group, m.From, m.To, m.Provider, fmt.Sprint(m.GiB), euros(monthly(m.Before), 2), euros(monthly(m.After), 2), egress)
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "\nthis would have to move: %s EUR a month, %s EUR once\n", moreAMonth(p), once(p))
	return nil
}

package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/market"
)

func (a *app) providerLosses() *cobra.Command {
	return &cobra.Command{
		Use: "losses NAME", Short: "Show why your regions were not chosen in the newest decisions, in figures", Args: cobra.ExactArgs(1),
		Long: `Show how often your regions were chosen in the newest decisions, how often they were out of
the question, and on what they failed: price, capacity, a fact that is not claimed, evidence that is too
weak … It names neither buyers and their rules nor who was chosen instead.`,
		ValidArgsFunction: a.completes(a.namesOf("participant")),
		RunE: func(c *cobra.Command, args []string) error {
			x, err := a.connect()
			if err != nil {
				return err
			}
			var l market.Losses
			if _, err := x.Do(c.Context(), client.Call{Method: "GET", URL: party(x, args[0], "losses"), Out: &l}); err != nil {
				return err
			}
			if a.structured() {
				return a.write(l)
			}
			fmt.Fprintf(a.stdout, "%d decisions: %d chose a region of %s, %d could choose none\n", l.Decisions, l.Chosen, args[0], l.Excluded)
			t := a.table("REGION", "FAILED ON", "DECISIONS")
			for _, r := range l.Reasons {
				t.row(r.Region, string(r.Dimension), strconv.Itoa(r.Decisions))
			}
			return t.flush()
		},
	}
}

package main

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/market"
)

func (a *app) providerLosses() *cobra.Command {
	var since time.Duration
	c := &cobra.Command{
		Use: "losses NAME", Short: "Show why your regions were not chosen in the newest decisions, and by how much", Args: cobra.ExactArgs(1),
		Long: `Show how often your regions were chosen in the newest decisions, how often they were out of
the question, and on what they failed: price, capacity, a fact that is not claimed, evidence that is too
weak, another one's better score … ALONE counts those in which a region lacked nothing else.

By how much is a median over customers, with the middle half of them in brackets, once there are enough of
them that it tells of none. It names neither buyers and their rules nor who was chosen instead.`,
		Example:           "  kontor provider losses rhone --since 168h",
		ValidArgsFunction: a.completes(a.namesOf("participant")),
		RunE: func(c *cobra.Command, args []string) error {
			x, err := a.connect()
			if err != nil {
				return err
			}
			at := party(x, args[0], "losses")
			if since > 0 {
				at += "?" + url.Values{"since": {time.Now().Add(-since).UTC().Format(time.RFC3339)}}.Encode()
			}
			var l market.Losses
			if _, err := x.Do(c.Context(), client.Call{Method: "GET", URL: at, Out: &l}); err != nil {
				return err
			}
			if a.structured() {
				return a.write(l)
			}
			return a.showLosses(l)
		},
	}
	c.Flags().DurationVar(&since, "since", 0, "how far back: 168h (default: as far as is looked)")
	return c
}

func (a *app) showLosses(l market.Losses) error {
	fmt.Fprintln(a.stdout, clean(l.Summary))
	fmt.Fprintf(a.stdout, "of %d decisions", l.Decisions)
	if !l.Since.IsZero() {
		fmt.Fprintf(a.stdout, " since %s", l.Since.Format(time.RFC3339))
	}
	fmt.Fprintf(a.stdout, ", %d chose a region of yours\n", l.Chosen)
	if l.Cut {
		fmt.Fprintln(a.stderr, "older decisions were not looked at: they are too many")
	}
	if len(l.Reasons) == 0 {
		return nil
	}
	fmt.Fprintln(a.stdout)
	t := a.table("REGION", "FAILED ON", "OF", "NEEDED", "HAD", "DECISIONS", "ALONE", "BY")
	for _, r := range l.Reasons {
		by := ""
		if s := r.By; s != nil {
			by = fmt.Sprintf("%d %s (%d to %d)", s.Median, s.Unit, s.From, s.To)
		}
		t.row(r.Region, string(r.Dimension), r.Subject, r.Needed, r.Had, strconv.Itoa(r.Decisions), strconv.Itoa(r.Alone), by)
	}
	return t.flush()
}

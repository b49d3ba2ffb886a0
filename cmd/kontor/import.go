package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/wire"
)

func (a *app) regionStrays() *cobra.Command {
	return &cobra.Command{
		Use:   "strays NAME",
		Short: "List what is on the platform and belongs to nobody: it can be imported",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: a.completes(a.regionNames),
		RunE: func(c *cobra.Command, args []string) error {
			x, err := a.connect()
			if err != nil {
				return err
			}
			var answer struct {
				Strays []wire.Stray `json:"strays"`
			}
			if _, err := x.Do(c.Context(), client.Call{Method: http.MethodGet, URL: x.Exchange("regions", args[0], "strays"), Out: &answer}); err != nil {
				return err
			}
			if a.structured() {
				return a.write(answer)
			}
			if len(answer.Strays) == 0 {
				fmt.Fprintln(a.stdout, "nothing")
				return nil
			}
			t := a.table("KIND", "NATIVE", "NAME", "REMARKS")
			for _, s := range answer.Strays {
				t.row(s.Kind, s.Native, s.Name, remarks(s.Problems, s.Notes))
			}
			return t.flush()
		},
	}
}

func remarks(problems, notes []string) string {
	if len(problems) > 0 {
		return "cannot be imported: " + strings.Join(problems, "; ")
	}
	return strings.Join(notes, "; ")
}

// An importItem is one choice: what, and under which name.
type importItem struct {
	Native string `json:"native"`
	Kind   string `json:"kind,omitempty"`
	Name   string `json:"name"`
}

// An importPlan is what the exchange says that an import does.
type importPlan struct {
	Items []struct {
		Native   string `json:"native"`
		Kind     string `json:"kind"`
		Name     string `json:"name"`
		Resource string `json:"resource,omitempty"`
		Action   string `json:"action"`
		Document *struct {
			Kind     string          `json:"kind"`
			Metadata json.RawMessage `json:"metadata"`
			Spec     json.RawMessage `json:"spec"`
		} `json:"document,omitempty"`
		Notes    []string `json:"notes,omitempty"`
		Problems []string `json:"problems,omitempty"`
	} `json:"items"`
	Applied bool `json:"applied"`
}

func (a *app) regionImport() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "import NAME NATIVE=NAME…",
		Short: "Take over what belongs to nobody on the platform, as resources of a workspace",
		Long: `Take over things that belong to nobody on the region's platform ("kontor region
strays"): each becomes a resource of the workspace under the name given. What it
refers to must be chosen with it, or have been imported before. The platform
is asked to put our tag on it and for nothing else, now or later, until somebody
changes the resource. What would happen is shown first, and done with --yes, or
after asking on a terminal. Where two kinds share an id, write KIND/NATIVE=NAME.`,
		Example:           "  kontor region import fr-lyon-acme -t acme -w shop 0f3a…=web 77c1…=web-boot --yes",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completes(a.regionNames),
		RunE: func(c *cobra.Command, args []string) error {
			items, err := importItems(args[1:])
			if err != nil {
				return err
			}
			return a.importAll(c.Context(), args[0], items, yes)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do it, without asking")
	return c
}

func importItems(args []string) ([]importItem, error) {
	items := make([]importItem, len(args))
	for i, arg := range args {
		at := strings.LastIndex(arg, "=")
		if at < 1 || at == len(arg)-1 {
			return nil, usagef("%q is not NATIVE=NAME", arg)
		}
		items[i] = importItem{Native: arg[:at], Name: arg[at+1:]}
		if kind, native, ok := strings.Cut(arg[:at], "/"); ok {
			if k, known := resource.KindNamed(kind); known {
				items[i].Kind, items[i].Native = k.Name, native
			}
		}
	}
	return items, nil
}

// importAll shows what an import does, and does it if it may.
func (a *app) importAll(ctx context.Context, region string, items []importItem, yes bool) error {
	if err := a.checkOutput(); err != nil {
		return err
	}
	x, err := a.connect()
	if err != nil {
		return err
	}
	at, err := a.complete(ctx, needWorkspace, client.Place{Region: region})
	if err != nil {
		return err
	}
	ask := func(apply bool) (p importPlan, err error) {
		return p, x.Post(ctx, x.Exchange("regions", region, "import"), map[string]any{
			"tenant": at.Tenant, "workspace": at.Workspace, "items": items, "apply": apply,
		}, &p)
	}
	plan, err := ask(false)
	if err != nil {
		return err
	}
	refused, open := plan.count()
	if !a.structured() {
		if err := a.showPlan(plan); err != nil {
			return err
		}
	}
	switch {
	case refused > 0:
		err = fault.Conflict.Errorf("%d of %d cannot be imported; nothing was done", refused, len(items))
	case open > 0 && a.mayImport(ctx, yes, open, at):
		plan, err = ask(true)
	}
	if err == nil && plan.Applied {
		fmt.Fprintf(a.stderr, "%d imported; `kontor get instances -w %s` and the like show them\n", open, at.Workspace)
	}
	if a.structured() {
		if e := a.write(plan); err == nil {
			err = e
		}
	}
	return err
}

func (p importPlan) count() (refused, open int) {
	for _, i := range p.Items {
		switch i.Action {
		case "refuse":
			refused++
		case "adopt":
			open++
		}
	}
	return refused, open
}

func (a *app) showPlan(p importPlan) error {
	t := a.table("NATIVE", "KIND", "NAME", "ACTION", "REMARKS")
	for _, i := range p.Items {
		said := strings.Join(append(i.Problems, i.Notes...), "; ")
		t.row(i.Native, i.Kind, i.Name, i.Action, said)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, i := range p.Items {
		if i.Action == "adopt" {
			fmt.Fprintf(a.stdout, "+ %s\n  %s\n", clean(i.Resource), clean(string(i.Document.Spec)))
		}
	}
	return nil
}

// mayImport asks on a terminal; elsewhere it takes --yes.
func (a *app) mayImport(ctx context.Context, yes bool, n int, at client.Place) bool {
	if yes {
		return true
	}
	if !isTerminal(a.stdin) {
		fmt.Fprintln(a.stderr, "nothing done yet; --yes does it")
		return false
	}
	fmt.Fprintf(a.stderr, "Import %d into workspace %s of tenant %s? [y/N] ", n, at.Workspace, at.Tenant)
	answer := a.readLine(ctx)
	return answer == "y" || answer == "yes"
}

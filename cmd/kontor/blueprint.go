package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/blueprint"
	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
)

var blueprintKind = own("blueprint", "blueprints")

// blueprintsCommand lists what can be bought as one, or shows what one has to be told.
func blueprintsCommand(a *app) *cobra.Command {
	list := a.listCommand(blueprintKind)
	c := &cobra.Command{
		Use: "blueprints [NAME]", Short: "List products of parts at several providers, or what one has to be told", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return list.RunE(c, nil)
			}
			return a.showBlueprint(c.Context(), args[0])
		},
		ValidArgsFunction: a.completes(a.namesOf(blueprintKind.name)),
	}
	c.Flags().AddFlagSet(list.Flags())
	return c
}

func (a *app) showBlueprint(ctx context.Context, name string) error {
	x, err := a.connect()
	if err != nil {
		return err
	}
	var i client.Item
	if _, err := x.Do(ctx, client.Call{Method: "GET", URL: x.Exchange("blueprints", name), Out: &i}); err != nil {
		return hinted{err, "kontor blueprints"}
	}
	if a.structured() {
		return a.write(i)
	}
	var b blueprint.Blueprint
	if err := json.Unmarshal(i.Spec, &b); err != nil {
		return fault.Malformed.Errorf("read blueprint %s: %w", name, err)
	}
	fmt.Fprintf(a.stdout, "%s: %s\n\n%s\n", &b, clean(b.Title), clean(b.About))
	for _, p := range b.Parts {
		fmt.Fprintf(a.stdout, "part %s (workspace NAME-%s): %d resources\n", p.Name, p.Name, len(p.Documents))
	}
	fmt.Fprintln(a.stdout)
	t := a.table("PARAMETER", "TYPE", "DEFAULT", "ABOUT")
	t.row(blueprint.NameParameter, "string", "", "what you call it")
	for _, p := range b.Parameters {
		about := p.About
		if len(p.OneOf) > 0 {
			about += " (" + strings.Join(p.OneOf, ", ") + ")"
		}
		t.row(p.Name, p.Type, string(p.Default), about)
	}
	return t.flush()
}

// blueprint reads what was chosen; nil if nothing was.
func (q quoteFlags) blueprint() (*chosenBlueprint, error) {
	if q.from == "" {
		if len(q.choices) > 0 {
			return nil, usagef("--set is for --blueprint NAME")
		}
		return nil, nil
	}
	out := &chosenBlueprint{Name: q.from, Parameters: map[string]json.RawMessage{}}
	for _, choice := range q.choices {
		name, value, ok := strings.Cut(choice, "=")
		if !ok || name == "" {
			return nil, usagef("--set %s: say NAME=VALUE", choice)
		}
		if file, isFile := strings.CutPrefix(value, "@"); isFile {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, usagef("--set %s: %v", name, err)
			}
			value = string(text)
		}
		out.Parameters[name] = q.choice(name, value)
	}
	return out, nil
}

// choice makes a value of what was typed: by the blueprint of this program, if it knows it.
func (q quoteFlags) choice(name, typed string) json.RawMessage {
	if b, err := blueprint.Named(q.from); err == nil {
		return b.Choice(name, typed)
	}
	text := json.RawMessage(typed)
	if !slices.Contains([]string{"true", "false"}, typed) && strings.Trim(typed, "0123456789") != "" || typed == "" {
		text, _ = json.Marshal(typed) // a text
	}
	return text
}

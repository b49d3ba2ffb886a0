package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
)

const completionPatience = 2 * time.Second // nobody waits longer for a Tab

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completes makes a completion out of names. What cannot be asked completes to nothing.
func (a *app) completes(names func(context.Context) []string) completion {
	return func(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmdContext(c), completionPatience)
		defer cancel()
		var fit []string
		for _, n := range names(ctx) {
			if strings.HasPrefix(n, prefix) {
				fit = append(fit, n)
			}
		}
		return fit, cobra.ShellCompDirectiveNoFileComp
	}
}

func cmdContext(c *cobra.Command) context.Context {
	if ctx := c.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// completeTargets completes KIND and then NAMEs of it.
func (a *app) completeTargets(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return a.completes(a.namesOf(args[0]))(c, args, prefix)
	}
	return a.completes(func(context.Context) []string {
		var names []string
		for _, k := range kinds() {
			names = append(names, k.collection, k.name)
		}
		return names
	})(c, args, prefix)
}

// namesOf lists the names of a kind where the settings say.
func (a *app) namesOf(word string) func(context.Context) []string {
	return func(ctx context.Context) []string {
		k, err := kindNamed(word)
		if err != nil {
			return nil
		}
		p, err := a.complete(ctx, k.need, client.Place{})
		if err != nil {
			return nil
		}
		names, _ := a.listed(ctx, k, p) // nothing is completed then
		return names
	}
}

func (a *app) regionNames(ctx context.Context) []string    { return a.namesOf("region")(ctx) }
func (a *app) workspaceNames(ctx context.Context) []string { return a.namesOf("workspace")(ctx) }

func (a *app) tenantNames(ctx context.Context) []string {
	who, _ := a.whoami(ctx) // nothing is completed then
	return who.Tenants
}

func (a *app) contextNames(context.Context) []string {
	f, _ := a.readContexts() // nothing is completed then
	return f.names()
}

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/resource"
)

// A need is how much of a place must be known to name a thing.
type need int

const (
	nothing need = iota
	needTenant
	needRegion // and the tenant
	needWorkspace
	needNetwork
)

// needOf says what the API's paths want of a kind.
func needOf(k *resource.Kind) need {
	switch {
	case k.Global:
		return needTenant
	case k.Scope == resource.Network:
		return needNetwork
	case k.Scope == resource.Workspace:
		return needWorkspace
	}
	return needRegion
}

// complete fills what p leaves open and n needs: from the settings, or, where
// there is no choice, with the only one there is.
func (a *app) complete(ctx context.Context, n need, p client.Place) (client.Place, error) {
	s, err := a.resolve()
	if err != nil {
		return p, err
	}
	steps := []struct {
		need       need
		to         *string
		set, label string
		keep       *string // where the only choice is remembered
		choices    func(context.Context, client.Place) ([]string, error)
	}{
		{needTenant, &p.Tenant, s.Tenant, "tenant", &s.Tenant, a.tenants},
		{needRegion, &p.Region, s.Region, "region", &s.Region, a.regions},
		{needWorkspace, &p.Workspace, s.Workspace, "workspace", nil, a.workspaces},
		{needNetwork, &p.Network, "", "network", nil, a.networks},
	}
	for _, step := range steps {
		if n < step.need || *step.to != "" {
			continue
		}
		if *step.to = step.set; step.set != "" {
			continue
		}
		names, err := step.choices(ctx, p)
		if err != nil {
			return p, err
		}
		if len(names) != 1 {
			return p, unclear(step.label, names)
		}
		*step.to = names[0]
		if step.keep != nil {
			*step.keep = names[0]
		}
	}
	return p, nil
}

const shownChoices = 8 // more are no help

// unclear asks the caller to choose.
func unclear(label string, names []string) error {
	more := ""
	if n := len(names) - shownChoices; n > 0 {
		names, more = names[:shownChoices], fmt.Sprintf(" and %d more", n)
	}
	there := "there is none"
	if len(names) > 0 {
		there = "there are " + strings.Join(names, ", ") + more
	}
	return usagef("which %s? Give --%s; %s", label, label, there)
}

func (a *app) tenants(ctx context.Context, _ client.Place) ([]string, error) {
	who, err := a.whoami(ctx)
	return who.Tenants, err
}

func (a *app) regions(ctx context.Context, _ client.Place) ([]string, error) {
	return a.listed(ctx, regionKind, client.Place{})
}

func (a *app) workspaces(ctx context.Context, p client.Place) ([]string, error) {
	return a.listed(ctx, mustKind("workspace"), p)
}

func (a *app) networks(ctx context.Context, p client.Place) ([]string, error) {
	return a.listed(ctx, mustKind("network"), p)
}

// listed gives the names in a collection.
func (a *app) listed(ctx context.Context, k kind, p client.Place) ([]string, error) {
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	at, err := k.at(ctx, c, p)
	if err != nil {
		return nil, err
	}
	var names []string
	for i, err := range c.List(ctx, at, client.Query{}) {
		if err != nil {
			return nil, err
		}
		names = append(names, i.Metadata.Name)
	}
	return names, nil
}

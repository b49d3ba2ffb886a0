package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/kontor-cloud/kontor/client"
)

func describeCommand(a *app) *cobra.Command {
	var network string
	c := &cobra.Command{
		Use:               "describe KIND NAME…",
		Short:             "Show all that is known of a thing",
		Example:           "  kontor describe instance web",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(c *cobra.Command, args []string) error {
			ts, err := a.targets(c.Context(), args, network)
			if err != nil {
				return err
			}
			for n, t := range ts {
				i, err := a.read(c.Context(), t)
				if err != nil {
					return err
				}
				if n > 0 {
					fmt.Fprintln(a.stdout)
				}
				if err := a.describe(t, i, time.Now()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&network, "network", "", "network, for subnets and routing tables")
	return c
}

func (a *app) describe(t target, i client.Item, now time.Time) error {
	if a.structured() {
		return a.write(i)
	}
	doc := decoded(i)
	lines := a.table("Kind:", t.kind.name)
	for _, l := range []struct{ title, text string }{
		{"Name:", i.Metadata.Name},
		{"Reference:", i.Metadata.Ref},
		{"Region:", i.Metadata.Region},
		{"Labels:", labels(doc)},
		{"Annotations:", mapText(doc, "annotations")},
		{"Extensions:", mapText(doc, "extensions")},
		{"Created:", ago(i.Metadata.CreatedAt, now)},
		{"Modified:", ago(i.Metadata.LastModifiedAt, now)},
		{"Version:", versionText(i)},
		{"State:", state(doc)},
		{"Provider:", plain(find(doc, "kontor.placement.provider"))},
		{"Zone:", plain(find(doc, "kontor.placement.zone"))},
		{"Agent:", agentText(doc)},
		{"Presence:", strings.TrimSpace(plain(find(doc, "kontor.presence")) + " " + plain(find(doc, "kontor.native")))},
		{"Notice:", strings.TrimSpace(plain(find(doc, "kontor.reason")) + " " + plain(find(doc, "kontor.message")))},
		{"Drift:", strings.TrimSpace(plain(find(doc, "kontor.drift.why")) + " " + seeDrift(plain(find(doc, "kontor.drift.drift"))))},
		{"Reached at:", forwards(doc)},
	} {
		if l.text != "" {
			lines.row(l.title, l.text)
		}
	}
	if err := lines.flush(); err != nil {
		return err
	}
	a.section("Spec", i.Spec)
	a.section("Status", statusFields(i))
	return a.conditions(i, now)
}

func mapText(doc any, name string) string {
	m, _ := find(doc, name).(map[string]any)
	return pairs(m)
}

func versionText(i client.Item) string {
	if i.Metadata.ResourceVersion == 0 {
		return ""
	}
	return fmt.Sprint(i.Metadata.ResourceVersion)
}

func ago(t *time.Time, now time.Time) string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("%s (%s ago)", t.Format(time.RFC3339), age(*t, now))
}

func agentText(doc any) string {
	text := plain(find(doc, "kontor.agent.liveness"))
	if since := plain(find(doc, "kontor.agent.since")); since != "" {
		text += ", since " + since
	}
	return text
}

// statusFields gives a status without what is shown elsewhere.
func statusFields(i client.Item) json.RawMessage {
	var fields map[string]any
	if json.Unmarshal(i.Status, &fields) != nil {
		return nil
	}
	delete(fields, "state")
	delete(fields, "conditions")
	b, err := json.Marshal(fields)
	if err != nil {
		return nil
	}
	return b
}

// section shows a part of the document as YAML.
func (a *app) section(title string, raw json.RawMessage) {
	text, err := yaml.JSONToYAML(raw)
	if len(raw) == 0 || err != nil || string(text) == "{}\n" || string(text) == "null\n" {
		return
	}
	fmt.Fprintf(a.stdout, "%s:\n", title)
	for line := range strings.Lines(string(text)) {
		fmt.Fprintf(a.stdout, "  %s\n", clean(strings.TrimRight(line, "\n")))
	}
}

// conditions shows the log of transitions, newest first as it comes.
func (a *app) conditions(i client.Item, now time.Time) error {
	log := i.Common().Conditions
	if len(log) == 0 {
		return nil
	}
	fmt.Fprintln(a.stdout, "Conditions:")
	t := a.table("  STATE", "AGE", "REASON", "MESSAGE")
	for _, c := range log {
		t.row("  "+string(c.State), age(c.LastTransitionAt, now), c.Reason, c.Message)
	}
	return t.flush()
}

// seeDrift says where there is more about it.
func seeDrift(name string) string {
	if name == "" {
		return ""
	}
	return "(kontor drift " + name + ")"
}

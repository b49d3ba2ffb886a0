package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
)

func editCommand(a *app) *cobra.Command {
	var network string
	c := &cobra.Command{
		Use:               "edit KIND NAME",
		Short:             "Change a thing in an editor ($VISUAL, $EDITOR or vi)",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeTargets,
		RunE: func(c *cobra.Command, args []string) error {
			ts, err := a.targets(c.Context(), args, network)
			if err != nil {
				return err
			}
			if !ts[0].kind.can("apply") {
				return ts[0].kind.refuse("edit")
			}
			return a.edit(c.Context(), ts[0])
		},
	}
	c.Flags().StringVar(&network, "network", "", "network, for subnets and routing tables")
	return c
}

// edit sends what the editor leaves, if the thing has not changed meanwhile.
func (a *app) edit(ctx context.Context, t target) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	at, err := t.writeURL(ctx, c)
	if err != nil {
		return err
	}
	have, err := c.Get(ctx, at)
	if err != nil {
		return err
	}
	m, err := a.edited(ctx, t, have)
	if err != nil {
		return err
	}
	differing := changes(m, have)
	if len(differing) == 0 {
		a.tell(t, "unchanged")
		return nil
	}
	if _, _, err = c.Put(ctx, at, m.body(), have.Metadata.ResourceVersion); err == nil {
		a.tell(t, fmt.Sprintf("changed %v", differing))
	}
	return err
}

// edited lets the editor work on the author's part of the document.
func (a *app) edited(ctx context.Context, t target, have client.Item) (manifest, error) {
	before := manifest{Labels: have.Labels, Annotations: have.Annotations, Extensions: have.Extensions, Metadata: have.Metadata, Spec: have.Spec}
	text, err := yaml.Marshal(before.body())
	if err != nil {
		return manifest{}, fmt.Errorf("write %s: %w", t, err)
	}
	dir, err := os.MkdirTemp("", "kontor-edit-")
	if err != nil {
		return manifest{}, fmt.Errorf("edit %s: %w", t, err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, t.kind.name+"-"+t.name+".yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return manifest{}, fmt.Errorf("edit %s: %w", t, err)
	}
	if err := a.execute(ctx, "sh", []string{"-c", a.editor() + ` "$1"`, "sh", file}); err != nil {
		return manifest{}, err
	}
	after, err := os.ReadFile(file)
	if err != nil {
		return manifest{}, fmt.Errorf("edit %s: %w", t, err)
	}
	ms, err := decodeManifests(file, bytes.NewReader(after))
	if err == nil && (len(ms) != 1 || ms[0].Metadata.Name != t.name) {
		err = fault.Invalid.Errorf("the editor must leave one document with the name %s", t.name)
	}
	if err != nil {
		return manifest{}, err
	}
	return ms[0], nil
}

// editor is a command line, as others that honour the variables take it.
func (a *app) editor() string {
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if a.env[name] != "" {
			return a.env[name]
		}
	}
	return "vi"
}

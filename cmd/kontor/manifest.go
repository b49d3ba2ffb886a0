package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

// A manifest is a document as its author writes it. What the server fills in
// is accepted and ignored, so that the output of get can be applied.
type manifest struct {
	Kind        string            `json:"kind,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Extensions  map[string]string `json:"extensions,omitempty"`
	Metadata    seca.Metadata     `json:"metadata"`
	Spec        json.RawMessage   `json:"spec,omitempty"`
	Status      json.RawMessage   `json:"status,omitempty"`
	Kontor      json.RawMessage   `json:"kontor,omitempty"`
	Items       []json.RawMessage `json:"items,omitempty"` // a list of manifests

	origin string // for messages: file and number
}

// body is what is sent: the author's part alone.
type body struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Extensions  map[string]string `json:"extensions,omitempty"`
	Metadata    bodyMetadata      `json:"metadata"`
	Spec        json.RawMessage   `json:"spec"`
}

type bodyMetadata struct {
	Name string `json:"name"`
}

func (m manifest) body() body {
	spec := m.Spec
	if len(spec) == 0 {
		spec = json.RawMessage("{}")
	}
	return body{m.Labels, m.Annotations, m.Extensions, bodyMetadata{m.Metadata.Name}, spec}
}

// An order is a manifest and what it is about.
type order struct {
	manifest
	target
}

// readOrders reads files, directories and "-", containers first.
func (a *app) readOrders(ctx context.Context, names []string) ([]order, error) {
	var all []order
	for _, name := range names {
		ms, err := a.readManifests(name)
		if err != nil {
			return nil, err
		}
		for _, m := range ms {
			o, err := a.order(ctx, m)
			if err != nil {
				return nil, err
			}
			all = append(all, o)
		}
	}
	if len(all) == 0 {
		return nil, usagef("no document in %s", strings.Join(names, ", "))
	}
	slices.SortStableFunc(all, func(x, y order) int { return rank(x.kind) - rank(y.kind) })
	return all, nil
}

// rank is the place of a kind in the table: containers come first.
func rank(k kind) int {
	return slices.IndexFunc(kinds(), func(other kind) bool { return other.name == k.name })
}

// order finds out what a manifest is about.
func (a *app) order(ctx context.Context, m manifest) (order, error) {
	word := m.Kind
	if word == "" {
		word = m.Metadata.Kind
	}
	if word == "" {
		return order{}, fault.Invalid.Errorf("%s has no kind", m.origin)
	}
	k, err := kindNamed(word)
	if err != nil {
		return order{}, fmt.Errorf("%s: %w", m.origin, err)
	}
	if !k.can("apply") {
		return order{}, fmt.Errorf("%s: %w", m.origin, k.refuse("apply"))
	}
	if m.Metadata.Name == "" {
		return order{}, fault.Invalid.Errorf("%s has no metadata.name", m.origin)
	}
	given := client.Place{Tenant: m.Metadata.Tenant, Region: m.Metadata.Region, Workspace: m.Metadata.Workspace, Network: m.Metadata.Network}
	if k.need == needNetwork && given.Network == "" {
		return order{}, fault.Invalid.Errorf("%s: a %s needs metadata.network", m.origin, k.name)
	}
	p, err := a.complete(ctx, k.need, given)
	if err != nil {
		return order{}, fmt.Errorf("%s: %w", m.origin, err)
	}
	return order{m, target{k, p, m.Metadata.Name}}, nil
}

const maxManifest = 16 << 20 // bytes in one file

func (a *app) readManifests(name string) ([]manifest, error) {
	if name == "-" {
		return decodeManifests("standard input", a.stdin)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fault.Invalid.Errorf("read manifests: %w", err)
	}
	files := []string{name}
	if info.IsDir() {
		if files, err = manifestFiles(name); err != nil {
			return nil, err
		}
	}
	var all []manifest
	for _, file := range files {
		ms, err := readManifestFile(file)
		if err != nil {
			return nil, err
		}
		all = append(all, ms...)
	}
	return all, nil
}

func manifestFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fault.Invalid.Errorf("read manifests: %w", err)
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml" || ext == ".json") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

func readManifestFile(name string) ([]manifest, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.Invalid.Errorf("read manifests: %w", err)
	}
	defer f.Close()
	return decodeManifests(name, f)
}

// decodeManifests reads YAML documents with "---" between them, or JSON values
// one after the other.
func decodeManifests(name string, r io.Reader) ([]manifest, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err != nil {
		return nil, fault.Invalid.Errorf("read %s: %w", name, err)
	}
	if len(b) > maxManifest {
		return nil, fault.TooLarge.Errorf("%s has more than %d MiB", name, maxManifest>>20)
	}
	documents, err := split(b)
	if err != nil {
		return nil, fault.Invalid.Errorf("%s: %w", name, err)
	}
	var all []manifest
	for n, d := range documents {
		ms, err := decodeManifest(fmt.Sprintf("%s, document %d", name, n+1), d)
		if err != nil {
			return nil, err
		}
		all = append(all, ms...)
	}
	return all, nil
}

// split gives the documents as JSON, without those that are empty. All JSON is
// YAML, but for values that follow each other without "---".
func split(b []byte) ([]json.RawMessage, error) {
	if all, err := splitJSON(b); err == nil && len(all) > 0 {
		return all, nil
	}
	var all []json.RawMessage
	var one bytes.Buffer
	end := func() error {
		j, err := yaml.YAMLToJSONStrict(one.Bytes())
		one.Reset()
		if err == nil && string(j) != "null" {
			all = append(all, j)
		}
		return err
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("---")); ok && (len(rest) == 0 || strings.ContainsRune(" \t\r\n", rune(rest[0]))) {
			if err := end(); err != nil {
				return nil, err
			}
			line = rest
		}
		one.Write(line)
	}
	if err := end(); err != nil {
		return nil, err
	}
	return all, nil
}

func splitJSON(b []byte) ([]json.RawMessage, error) {
	var all []json.RawMessage
	for d := json.NewDecoder(bytes.NewReader(b)); ; {
		var one json.RawMessage
		switch err := d.Decode(&one); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		all = append(all, one)
	}
}

func decodeManifest(origin string, b []byte) ([]manifest, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var m manifest
	if err := d.Decode(&m); err != nil {
		return nil, hinted{fault.Invalid.Errorf("%s: %w", origin, err), "kind, labels, annotations, extensions, metadata and spec at the top; labels do not stand in metadata"}
	}
	if m.Items == nil {
		m.origin = origin
		return []manifest{m}, nil
	}
	var all []manifest
	for n, item := range m.Items {
		ms, err := decodeManifest(fmt.Sprintf("%s, item %d", origin, n+1), item)
		if err != nil {
			return nil, err
		}
		all = append(all, ms...)
	}
	return all, nil
}

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/client"
)

func TestManifestsComeInYAMLAndJSONAndLists(t *testing.T) {
	for name, row := range map[string]struct {
		text string
		want []string
	}{
		"yaml":           {"kind: workspace\nmetadata: {name: a}\n---\nkind: workspace\nmetadata: {name: b}\n", []string{"a", "b"}},
		"empty between":  {"---\n# nothing\n---\nkind: workspace\nmetadata: {name: a}\n--- \n", []string{"a"}},
		"text after ---": {"--- {kind: workspace, metadata: {name: a}}\n", []string{"a"}},
		"json stream":    {`{"kind":"workspace","metadata":{"name":"a"}} {"kind":"workspace","metadata":{"name":"b"}}`, []string{"a", "b"}},
		"list":           {`{"items":[{"metadata":{"name":"a","kind":"instance"}},{"metadata":{"name":"b"}}],"metadata":{"verb":"GET"}}`, []string{"a", "b"}},
		"dashes inside":  {"kind: instance\nmetadata: {name: a}\nspec:\n  userData: |\n    ---\n    x\n", []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			ms, err := decodeManifests("test", strings.NewReader(row.text))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, m := range ms {
				names = append(names, m.Metadata.Name)
			}
			if d := cmp.Diff(row.want, names); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestManifestsAreReadStrictly(t *testing.T) {
	for name, text := range map[string]string{
		"misspelled":    "kind: workspace\nmetdata: {name: a}\n",
		"inside":        "kind: workspace\nmetadata: {name: a, labels: {x: y}}\n",
		"given twice":   "kind: workspace\nkind: role\nmetadata: {name: a}\n",
		"not a mapping": "- 1\n",
		"not YAML":      "kind: [\n",
	} {
		if ms, err := decodeManifests("test", strings.NewReader(text)); err == nil {
			t.Errorf("%s: read as %v, want an error", name, ms)
		}
	}
}

func TestChangesAreThoseThatMatter(t *testing.T) {
	for name, row := range map[string]struct {
		want, have string
		changes    []string
	}{
		"same":                    {`{"spec":{"a":1}}`, `{"spec":{"a":1}}`, nil},
		"no spec":                 {`{}`, `{"spec":{}}`, nil},
		"null spec":               {`{"spec":null}`, `{"spec":{}}`, nil},
		"field":                   {`{"spec":{"a":{"b":2}}}`, `{"spec":{"a":{"b":1}}}`, []string{"spec.a.b"}},
		"field added":             {`{"spec":{"a":1}}`, `{"spec":{}}`, []string{"spec.a"}},
		"field dropped":           {`{"spec":{}}`, `{"spec":{"userData":"x"}}`, []string{"spec.userData"}},
		"item":                    {`{"spec":{"l":[1,2]}}`, `{"spec":{"l":[1,3]}}`, []string{"spec.l.1"}},
		"items":                   {`{"spec":{"l":[1]}}`, `{"spec":{"l":[1,3]}}`, []string{"spec.l"}},
		"text and number":         {`{"spec":{"a":{"x":1}}}`, `{"spec":{"a":"map[x:1]"}}`, []string{"spec.a"}},
		"empty is absent":         {`{"spec":{"a":"","b":[],"c":{},"d":false,"e":0}}`, `{"spec":{}}`, nil},
		"bare reference":          {`{"spec":{"r":"skus/x"}}`, `{"spec":{"r":{"resource":"skus/x"}}}`, nil},
		"other reference":         {`{"spec":{"r":{"resource":"skus/x","tenant":"a"}}}`, `{"spec":{"r":{"resource":"skus/x"}}}`, []string{"spec.r"}},
		"zone chosen":             {`{"spec":{}}`, `{"spec":{"zone":"a"}}`, nil},
		"zone differs":            {`{"spec":{"zone":"b"}}`, `{"spec":{"zone":"a"}}`, []string{"spec.zone"}},
		"labels":                  {`{"labels":{"a":"1"}}`, `{"labels":{"a":"2"}}`, []string{"labels"}},
		"labels dropped":          {`{}`, `{"annotations":{"a":"2"}}`, []string{"annotations"}},
		"empty labels are absent": {`{"labels":{}}`, `{}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var m manifest
			var have client.Item
			for text, to := range map[string]any{row.want: &m, row.have: &have} {
				if err := json.Unmarshal([]byte(text), to); err != nil {
					t.Fatal(err)
				}
			}
			if row.want == row.have {
				if err := json.Unmarshal([]byte(row.want), &m); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(row.changes, changes(m, have)); d != "" {
				t.Error(d)
			}
		})
	}
}

func FuzzManifests(f *testing.F) {
	f.Add([]byte("kind: workspace\nmetadata: {name: a}\n---\n{}"))
	f.Add([]byte(`{"items":[{"metadata":{"name":"a"}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		ms, err := decodeManifests("fuzz", strings.NewReader(string(b)))
		if err != nil {
			return
		}
		for _, m := range ms {
			if m.Items != nil {
				t.Errorf("a list is left in %q", b)
			}
			if got := changes(m, client.Item{}); len(m.Labels) > 0 && len(got) == 0 {
				t.Errorf("labels of %q are no change", b)
			}
		}
	})
}

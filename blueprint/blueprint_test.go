package blueprint_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/blueprint"
	"github.com/kontor-cloud/kontor/fault"
)

const small = `name: pair
version: 2
title: Two
parameters:
  - {name: gib, type: int, default: 5, min: 1, max: 10}
  - {name: note, type: string}
  - {name: on, type: bool, default: true}
  - {name: color, type: string, default: red, oneOf: [red, blue]}
away: ["${note}"]
parts:
  - name: one
    documents:
      - {kind: block-storage, metadata: {name: disk}, spec: {sizeGB: "${gib}", on: "${on}", text: "a ${note} of ${gib} ${color}"}}
  - name: two
    documents:
      - {kind: block-storage, metadata: {name: disk}, spec: {sizeGB: 1}}
ties:
  - {parts: [one, two], different: [owner], same: [country], within: 20ms}
`

func choices(pairs ...string) map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return all
}

func TestExpand(t *testing.T) {
	b, err := blueprint.Parse("pair.yaml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Expand(choices("name", `"mine"`, "note", `"x\", \"evil\": \"${gib}\n"`))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Spec struct {
			SizeGB int
			On     bool
			Text   string
			Evil   any
		}
	}
	if err := json.Unmarshal(p.Parts[0].Documents[0], &d); err != nil || d.Spec.SizeGB != 5 || !d.Spec.On || d.Spec.Evil != nil {
		t.Errorf("%s, %v", p.Parts[0].Documents[0], err)
	}
	if want := "a x\", \"evil\": \"${gib}\n of 5 red"; d.Spec.Text != want { // what a buyer writes is not read again
		t.Errorf("%q, want %q", d.Spec.Text, want)
	}
	if p.Parts[1].Workspace != "mine-two" || p.Blueprint != "pair@2" || p.Ties[0].Within != 20_000 || p.Ties[0].Groups[1] != "two" || len(p.Away) != 1 {
		t.Errorf("%+v", p)
	}
}

func TestWrongChoices(t *testing.T) {
	b, err := blueprint.Parse("pair.yaml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		choices map[string]json.RawMessage
		want    string
	}{
		{choices("note", `"x"`), "/parameters/name"},
		{choices("name", `"m"`), "/parameters/note"},
		{choices("name", `"My Thing"`, "note", `"x"`), "/parameters/name"},
		{choices("name", `"m"`, "note", `1`), "must be a text"},
		{choices("name", `"m"`, "note", `"x"`, "gib", `11`), "1 to 10"},
		{choices("name", `"m"`, "note", `"x"`, "gib", `1.5`), "whole number"},
		{choices("name", `"m"`, "note", `"x"`, "on", `"yes"`), "true or false"},
		{choices("name", `"m"`, "note", `"x"`, "color", `"green"`), "one of red, blue"},
		{choices("name", `"m"`, "note", `"x"`, "colour", `"red"`), "did you mean color"},
	} {
		_, err := b.Expand(c.choices)
		text := ""
		if err != nil {
			text = err.Error()
			for _, s := range fault.SourcesOf(err) {
				text += " " + s.Pointer
			}
		}
		if !errors.Is(err, fault.Invalid) || !strings.Contains(text, c.want) {
			t.Errorf("%s: %s, want %s", c.choices, text, c.want)
		}
	}
}

func TestMistakesInBlueprints(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"name: pair", "name: Pair", "pair.yaml:1"},
		{"version: 2", "version: 0", "pair.yaml:2"},
		{"${note} of", "${noot} of", "${noot}"},
		{`away: ["${note}"]`, `away: ["${noot}"]`, "${noot}"},
		{"default: 5", "default: 50", "1 to 10"},
		{"type: bool", "type: truth", "string, int or bool"},
		{"{name: note,", "{name: name,", "every blueprint has"},
		{"different: [owner]", "different: [town]", "must be some of"},
		{"parts: [one, two]", "parts: [one, three]", "there is no three"},
		{"within: 20ms", "within: 2h", "round trip"},
		{"metadata: {name: disk}, spec: {sizeGB: 1}", "metadata: {name: disk, region: eu}, spec: {sizeGB: 1}", "must not say tenant"},
		{"title: Two", "titel: Two", "or title?"},
	} {
		_, err := blueprint.Parse("pair.yaml", []byte(strings.Replace(small, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.new, err, c.want)
		}
	}
}

func TestShippedBlueprints(t *testing.T) {
	all, err := blueprint.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 {
		t.Errorf("%d are shipped", len(all))
	}
	for _, b := range all {
		p, err := b.Expand(choicesOf(b, "name", "mine", "image", "tiny", "from", "rhone", "key", "ssh-ed25519 AAAA"))
		if err != nil {
			t.Errorf("%s: %v", b, err)
			continue
		}
		for _, part := range p.Parts {
			for _, d := range part.Documents {
				if strings.Contains(string(d), "${") {
					t.Errorf("%s: %s", b, d)
				}
			}
		}
	}
}

// choicesOf are those of the given ones that a blueprint has.
func choicesOf(b *blueprint.Blueprint, pairs ...string) map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	for i := 0; i < len(pairs); i += 2 {
		known := pairs[i] == blueprint.NameParameter
		for _, p := range b.Parameters {
			known = known || p.Name == pairs[i]
		}
		if known {
			all[pairs[i]] = b.Choice(pairs[i], pairs[i+1])
		}
	}
	return all
}

func FuzzExpand(f *testing.F) {
	f.Add(small, `"x"`)
	f.Fuzz(func(t *testing.T, text, choice string) {
		b, err := blueprint.Parse("f", []byte(text))
		if err != nil || !json.Valid([]byte(choice)) {
			return
		}
		all := choices("name", `"m"`)
		for _, p := range b.Parameters {
			all[p.Name] = json.RawMessage(choice)
		}
		p, err := b.Expand(all)
		if err != nil {
			return
		}
		for _, part := range p.Parts {
			for _, d := range part.Documents {
				if !json.Valid(d) {
					t.Fatalf("%s", d)
				}
			}
		}
	})
}

package blueprint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/placement"
)

// NameParameter is the one that every blueprint has: what the buyer calls what he
// buys. Workspaces are named NAME-PART.
const NameParameter = "name"

// A Product is a blueprint with the choices of a buyer.
type Product struct {
	Name      string // what the buyer calls it
	Blueprint string // NAME@VERSION
	Policies  []string
	Away      []string // regions or providers whose owners must keep none of it
	Parts     []Made
	Ties      []placement.Tie // over the names of parts
}

// Made is a part of a product.
type Made struct {
	Name      string
	Workspace string
	Documents []json.RawMessage // complete but for tenant, workspace and region
}

// Expand puts the choices of a buyer into a blueprint. All that is wrong with them is told at once,
// with pointers to their names.
func (b *Blueprint) Expand(choices map[string]json.RawMessage) (*Product, error) {
	values, err := b.values(choices)
	if err != nil {
		return nil, err
	}
	p := &Product{Name: values[NameParameter].(string), Blueprint: b.String(), Policies: b.Policies}
	for _, from := range b.Away {
		if name, _ := filled(from, values).(string); name != "" {
			p.Away = append(p.Away, name)
		}
	}
	for _, part := range b.Parts {
		m := Made{Name: part.Name, Workspace: p.Name + "-" + part.Name}
		for _, d := range part.Documents {
			full, err := fill(d, values)
			if err != nil {
				return nil, err
			}
			m.Documents = append(m.Documents, full)
		}
		p.Parts = append(p.Parts, m)
	}
	for _, t := range b.Ties {
		tie, err := t.tie()
		if err != nil {
			return nil, err
		}
		p.Ties = append(p.Ties, tie)
	}
	return p, nil
}

func (b *Blueprint) values(choices map[string]json.RawMessage) (map[string]any, error) {
	var l fault.List
	all := map[string]any{}
	known := []string{NameParameter}
	name := Parameter{Name: NameParameter, Type: "string", Pattern: nameRule.String()}
	for _, p := range append([]Parameter{name}, b.Parameters...) {
		known = append(known, p.Name)
		text, given := choices[p.Name]
		if !given {
			text = p.Default
		}
		if len(text) == 0 {
			l.Add("/parameters/"+p.Name, "must be given%s", p.hint())
			continue
		}
		v, err := p.value(text)
		if err != nil {
			l.Add("/parameters/"+p.Name, "%v", err)
		}
		all[p.Name] = v
	}
	for name := range choices {
		if !slices.Contains(known, name) {
			l.Add("/parameters/"+name, "must be a parameter of %s%s", b, fault.DidYouMean(name, known))
		}
	}
	return all, l.Err()
}

func (p *Parameter) hint() string {
	if p.About == "" {
		return ""
	}
	return ": " + p.About
}

// value reads a choice and holds it to the rules of the parameter.
func (p *Parameter) value(text json.RawMessage) (any, error) {
	switch p.Type {
	case "int":
		var n int64
		if err := json.Unmarshal(text, &n); err != nil {
			return nil, fault.Invalid.Errorf("must be a whole number")
		}
		if p.Min != nil && n < *p.Min || p.Max != nil && n > *p.Max {
			return nil, fault.Invalid.Errorf("must be %s", p.limits())
		}
		return n, nil
	case "bool":
		var yes bool
		if err := json.Unmarshal(text, &yes); err != nil {
			return nil, fault.Invalid.Errorf("must be true or false")
		}
		return yes, nil
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fault.Invalid.Errorf("must be a text")
	}
	if len(s) > maxText {
		return nil, fault.Invalid.Errorf("must not be longer than %d bytes", maxText)
	}
	if len(p.OneOf) > 0 && !slices.Contains(p.OneOf, s) {
		return nil, fault.Invalid.Errorf("must be one of %s", strings.Join(p.OneOf, ", "))
	}
	if p.Pattern != "" {
		if rule, err := regexp.Compile(`^(?:` + p.Pattern + `)$`); err != nil || !rule.MatchString(s) {
			return nil, fault.Invalid.Errorf("must be like %s", p.Pattern)
		}
	}
	return s, nil
}

func (p *Parameter) limits() string {
	switch {
	case p.Min == nil:
		return "at most " + strconv.FormatInt(*p.Max, 10)
	case p.Max == nil:
		return "at least " + strconv.FormatInt(*p.Min, 10)
	}
	return strconv.FormatInt(*p.Min, 10) + " to " + strconv.FormatInt(*p.Max, 10)
}

// Choice makes a value of what somebody typed: what is no number and not true or false is a text.
func (b *Blueprint) Choice(name, typed string) json.RawMessage {
	at := slices.IndexFunc(b.Parameters, func(p Parameter) bool { return p.Name == name })
	if at >= 0 && b.Parameters[at].Type != "string" && json.Valid([]byte(typed)) {
		return json.RawMessage(typed)
	}
	text, _ := json.Marshal(typed) // a text
	return text
}

// fill puts values in the place of ${NAME}. A text that is nothing else becomes the value itself, so
// that a number stays one; what a buyer writes never changes the form of the document.
func fill(text json.RawMessage, values map[string]any) (json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, fault.Malformed.Errorf("read document: %w", err)
	}
	out, err := json.Marshal(filled(tree, values))
	return out, err
}

func filled(tree any, values map[string]any) any {
	switch t := tree.(type) {
	case map[string]any:
		for k := range t {
			t[k] = filled(t[k], values)
		}
	case []any:
		for i := range t {
			t[i] = filled(t[i], values)
		}
	case string:
		if m := mark.FindStringSubmatch(t); m != nil && m[0] == t {
			return values[m[1]]
		}
		return mark.ReplaceAllStringFunc(t, func(m string) string {
			return fmt.Sprint(values[m[2:len(m)-1]])
		})
	}
	return tree
}

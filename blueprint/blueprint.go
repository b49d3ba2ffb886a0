// Package blueprint is products that are made of parts at several providers: a
// service with its standby elsewhere, a backup that lies with another owner. A
// blueprint says which resources each part has, how the places of the parts must
// stand to each other, and what its buyer may choose. Expanded with his choices it is a bill of
// materials that is placed, priced, ordered and ended as one thing.
//
// Everything here is a pure function: a blueprint reads nothing and makes nothing.
package blueprint

import (
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/document"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
)

// A Blueprint is a product. A new one is a new version: what was ordered by an older one stays as it is.
type Blueprint struct {
	Name       string      `json:"name"`
	Version    int         `json:"version"`
	Title      string      `json:"title"`
	About      string      `json:"about,omitempty"`
	Parameters []Parameter `json:"parameters,omitempty"`
	Policies   []string    `json:"policies,omitempty"` // ready-made or the buyer's, all of which must allow each place
	Away       []string    `json:"away,omitempty"`     // regions or providers, usually ${NAME}: nothing may lie with the same owners
	Parts      []Part      `json:"parts"`
	Ties       []Tie       `json:"ties,omitempty"`
}

// A Parameter is a choice of the buyer.
type Parameter struct {
	Name    string          `json:"name"`
	Type    string          `json:"type"` // string, int or bool
	About   string          `json:"about,omitempty"`
	Default json.RawMessage `json:"default,omitempty"` // without one it must be given
	OneOf   []string        `json:"oneOf,omitempty"`   // of strings
	Pattern string          `json:"pattern,omitempty"` // likewise: a regular expression for all of it
	Min     *int64          `json:"min,omitempty"`     // of ints
	Max     *int64          `json:"max,omitempty"`
}

// A Part is what lies in one region: a workspace of its own.
type Part struct {
	Name      string            `json:"name"`
	About     string            `json:"about,omitempty"`
	Documents []json.RawMessage `json:"documents"` // SECA's, without tenant, workspace and region; ${NAME} stands for a parameter
}

// A Tie says how the places of parts stand to each other.
type Tie struct {
	Parts     []string `json:"parts"`
	Different []string `json:"different,omitempty"` // owner, provider, country or region
	Same      []string `json:"same,omitempty"`
	Within    string   `json:"within,omitempty"` // round trip by the distance, like 20ms
}

const (
	maxParts     = 10
	maxDocuments = 100 // of a part
	maxText      = 4096
)

var (
	nameRule      = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$`)
	parameterRule = regexp.MustCompile(`^[a-z][A-Za-z0-9]{0,31}$`)
)

//go:embed data
var embedded embed.FS

// Shipped are the blueprints that come with the program, by name.
var Shipped = sync.OnceValues(shipped)

// Named finds one of them: NAME, or NAME@VERSION.
func Named(name string) (*Blueprint, error) {
	all, err := Shipped()
	if err != nil {
		return nil, err
	}
	var known []string
	for _, b := range all {
		if b.Name == name || b.String() == name {
			return b, nil
		}
		known = append(known, b.Name)
	}
	return nil, fault.Invalid.Errorf("there is no blueprint %q%s", name, fault.DidYouMean(name, known))
}

func shipped() ([]*Blueprint, error) {
	files, err := fs.Glob(embedded, "data/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list blueprints: %w", err)
	}
	all := make([]*Blueprint, len(files))
	for i, name := range files {
		b, err := fs.ReadFile(embedded, name)
		if err != nil {
			return nil, fmt.Errorf("read blueprint: %w", err)
		}
		if all[i], err = Parse(name, b); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Parse reads a blueprint from YAML. Mistakes are pointed at by line.
func Parse(name string, text []byte) (*Blueprint, error) {
	var b Blueprint
	d, err := document.Decode(name, text, &b)
	if err != nil {
		return nil, err
	}
	var l fault.List
	b.check(&l)
	return &b, d.Err(&l)
}

// Validate reports what is wrong with a blueprint that did not come through Parse.
func (b *Blueprint) Validate() error {
	var l fault.List
	b.check(&l)
	return l.Err()
}

// Digest is the SHA-256 of the blueprint as JSON.
func (b *Blueprint) Digest() policy.Digest {
	text, _ := json.Marshal(b) // it was made of such
	return sha256.Sum256(text)
}

func (b *Blueprint) check(l *fault.List) {
	if !nameRule.MatchString(b.Name) {
		l.Add("/name", "must be 1 to 32 lower-case letters, digits and hyphens")
	}
	if b.Version < 1 {
		l.Add("/version", "must be 1 or more")
	}
	if b.Title == "" || len(b.Title) > 128 {
		l.Add("/title", "must be 1 to 128 bytes")
	}
	if len(b.About) > maxText {
		l.Add("/about", "must not be longer than %d bytes", maxText)
	}
	known := map[string]bool{NameParameter: true}
	for i, p := range b.Parameters {
		p.check(l, "/parameters/"+strconv.Itoa(i), known)
	}
	for i, from := range b.Away {
		for _, name := range names(from) {
			if !known[name] {
				l.Add("/away/"+strconv.Itoa(i), "must have ${%s} as a parameter", name)
			}
		}
	}
	if len(b.Parts) == 0 || len(b.Parts) > maxParts {
		l.Add("/parts", "must be 1 to %d", maxParts)
	}
	parts := map[string]bool{}
	for i, p := range b.Parts {
		p.check(l, "/parts/"+strconv.Itoa(i), known, parts)
	}
	for i, t := range b.Ties {
		t.check(l, "/ties/"+strconv.Itoa(i), parts)
	}
}

func (p *Parameter) check(l *fault.List, at string, known map[string]bool) {
	if !parameterRule.MatchString(p.Name) {
		l.Add(at+"/name", "must be 1 to 32 letters and digits, the first a small letter")
	}
	if known[p.Name] {
		l.Add(at+"/name", "must not be %s twice; every blueprint has the parameter %s", p.Name, NameParameter)
	}
	known[p.Name] = true
	if !slices.Contains([]string{"string", "int", "bool"}, p.Type) {
		l.Add(at+"/type", "must be string, int or bool")
	}
	if p.Type != "string" && (len(p.OneOf) > 0 || p.Pattern != "") || p.Type != "int" && (p.Min != nil || p.Max != nil) {
		l.Add(at, "must have oneOf and pattern for strings alone, and min and max for ints")
	}
	if _, err := regexp.Compile(p.Pattern); err != nil {
		l.Add(at+"/pattern", "must be a regular expression: %v", err)
	} else if len(p.Default) > 0 {
		if _, err := p.value(p.Default); err != nil {
			l.Add(at+"/default", "%v", err)
		}
	}
}

func (p *Part) check(l *fault.List, at string, known, parts map[string]bool) {
	if !nameRule.MatchString(p.Name) || parts[p.Name] {
		l.Add(at+"/name", "must be lower-case letters, digits and hyphens, and no other part's")
	}
	parts[p.Name] = true
	if len(p.Documents) == 0 || len(p.Documents) > maxDocuments {
		l.Add(at+"/documents", "must be 1 to %d", maxDocuments)
	}
	for i, d := range p.Documents {
		here := at + "/documents/" + strconv.Itoa(i)
		var head struct {
			Kind     string
			Metadata struct{ Name, Workspace, Tenant, Region string }
		}
		if err := json.Unmarshal(d, &head); err != nil || head.Kind == "" || head.Metadata.Name == "" {
			l.Add(here, "must have a kind and metadata.name")
		}
		if m := head.Metadata; m.Workspace != "" || m.Tenant != "" || m.Region != "" {
			l.Add(here+"/metadata", "must not say tenant, workspace or region: the order does")
		}
		for _, name := range names(string(d)) {
			if !known[name] {
				l.Add(here, "must have ${%s} as a parameter", name)
			}
		}
	}
}

func (t Tie) check(l *fault.List, at string, parts map[string]bool) {
	for _, p := range t.Parts {
		if !parts[p] {
			l.Add(at+"/parts", "must be parts: there is no %s", p)
		}
	}
	if _, err := t.tie(); err != nil {
		l.Add(at, "%v", err)
	}
}

// tie is what the engine that places takes it for.
func (t Tie) tie() (placement.Tie, error) {
	out := placement.Tie{Groups: t.Parts, Different: t.Different, Same: t.Same}
	if t.Within != "" {
		d, err := time.ParseDuration(t.Within)
		if err != nil || d <= 0 || d > time.Second {
			return out, fault.Invalid.Errorf("within must be a round trip like 20ms, at most 1s")
		}
		out.Within = d.Microseconds()
	}
	groups := map[string]bool{}
	for _, p := range t.Parts {
		groups[p] = true
	}
	var l fault.List
	out.Check(&l, "", groups)
	return out, l.Err()
}

var mark = regexp.MustCompile(`\$\{([A-Za-z0-9]*)\}`)

// names lists the parameters that a text mentions.
func names(text string) (all []string) {
	for _, m := range mark.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// String names the blueprint.
func (b *Blueprint) String() string {
	return strings.Join([]string{b.Name, strconv.Itoa(b.Version)}, "@")
}

package policy

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/document"
	"github.com/kontor-cloud/kontor/fault"
)

// A Policy is a rule over attributes, and how well they must be known.
type Policy struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	Title   string `json:"title,omitempty"`

	// Rule is a CEL expression over the vocabulary. The parts of a conjunction
	// (&&) are judged one by one, so that a refusal names the part.
	Rule string `json:"rule"`

	// Parameters are what an order may set, seen by the rule as request.NAME.
	Parameters map[string]Parameter `json:"parameters,omitempty"`

	// Evidence is the weakest level that counts: by path, for "provider.*" or "*".
	// A fact that is known less well counts as missing. A path that the rule does
	// not mention must be known all the same.
	Evidence map[string]Level `json:"evidence,omitempty"`

	// SEAL is the least that each objective (sov1 to sov8, or level) must reach, 0 to 4.
	SEAL map[string]int64 `json:"seal,omitempty"`
}

// A Parameter is a value that an order gives to a policy.
type Parameter struct {
	Type    string          `json:"type"` // string, bool, int, double or list(string)
	Default json.RawMessage `json:"default,omitempty"`
	About   string          `json:"about,omitempty"`
}

const (
	maxRule = 8 << 10 // bytes
	maxName = 64
)

var (
	nameRule      = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	parameterRule = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
)

// Parse reads and compiles the policy that a YAML file holds. Name is that of the
// file, and mistakes are pointed at by line and column.
func (d *Data) Parse(name string, b []byte) (*Program, error) {
	var p Policy
	doc, err := document.Decode(name, b, &p)
	if err != nil {
		return nil, err
	}
	var l fault.List
	p.check(&l)
	if err := doc.Err(&l); err != nil {
		return nil, err
	}
	prog, err := d.Compile(&p)
	return prog, located(doc, err)
}

// Validate reports what is wrong with the policy, its rule aside.
func (p *Policy) Validate() error {
	var l fault.List
	p.check(&l)
	return l.Err()
}

func (p *Policy) check(l *fault.List) {
	if len(p.Name) > maxName || !nameRule.MatchString(p.Name) {
		l.Add("/name", "must be 1 to %d lower-case letters, digits and hyphens", maxName)
	}
	if p.Version < 1 {
		l.Add("/version", "must be 1 or more")
	}
	if strings.TrimSpace(p.Rule) == "" || len(p.Rule) > maxRule {
		l.Add("/rule", "must be an expression of at most %d bytes", maxRule)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Parameters)) {
		p.Parameters[name].check(name, l)
	}
	for _, pattern := range slices.Sorted(maps.Keys(p.Evidence)) {
		at := "/evidence/" + pattern
		if p.Evidence[pattern].rank() == 0 {
			l.Add(at, "must be one of %v", levels)
		}
		if !strings.HasSuffix(pattern, "*") {
			if _, err := attribute(pattern); err != nil {
				l.Add(at, "must be in the vocabulary: %v", err)
			}
		} else if !slices.ContainsFunc(vocabulary, func(a Attribute) bool { return matches(pattern, a.Path) }) {
			l.Add(at, "must cover something: *, provider.*, region.*, service.*, gaiax.*, seal.*")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.SEAL)) {
		if a := paths["seal."+name]; a == nil || a.kind != integer {
			l.Add("/seal/"+name, "must be an objective: sov1 to sov8, or level")
		}
		if n := p.SEAL[name]; n < 0 || n > 4 {
			l.Add("/seal/"+name, "must be 0 to 4")
		}
	}
}

func (p Parameter) check(name string, l *fault.List) {
	at := "/parameters/" + name
	if !parameterRule.MatchString(name) {
		l.Add(at, "must be named by lower-case letters, digits and underscores")
	}
	k, ok := parameterKind(p.Type)
	if !ok {
		l.Add(at+"/type", "must be string, bool, int, double or list(string)")
	} else if len(p.Default) > 0 {
		if _, _, err := k.decode(p.Default); err != nil {
			l.Add(at+"/default", "%v", err)
		}
	}
}

func parameterKind(name string) (kind, bool) {
	for _, k := range []kind{text, boolean, integer, double, texts} {
		if kinds[k].name == name {
			return k, true
		}
	}
	return 0, false
}

// least is the weakest evidence that counts for an attribute: that of the longest
// pattern that covers it.
func (p *Policy) least(path string) Level {
	best, level := -1, Level("")
	for pattern, l := range p.Evidence {
		if matches(pattern, path) && len(pattern) > best {
			best, level = len(pattern), l
		}
	}
	return level
}

func matches(pattern, path string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(path, prefix)
	}
	return pattern == path
}

// Digest names the content of the policy.
func (p *Policy) Digest() Digest {
	b, _ := json.Marshal(p) // maps go by their sorted keys
	return sha256.Sum256(b)
}

package policy

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"cel.dev/cel-go/common/types/ref"

	"github.com/kontor-cloud/kontor/fault"
)

// val is a value of CEL.
type val = ref.Val

// A Dimension is on what a candidate failed.
type Dimension string

// The dimensions of policies.
const (
	Rule         Dimension = "rule"     // a part of the rule is false
	MissingFact  Dimension = "fact"     // nothing is claimed
	WeakEvidence Dimension = "evidence" // claimed, but expired, not in force yet, or known too badly
	SEALTooLow   Dimension = "seal"
)

// A Reason is why a policy refuses.
type Reason struct {
	Dimension Dimension `json:"dimension"`
	Subject   string    `json:"subject"` // the attribute or the policy's name
	Needed    string    `json:"needed"`
	Had       string    `json:"had"`
}

// String says it in a line.
func (r Reason) String() string {
	return string(r.Dimension) + " " + r.Subject + ": needed " + r.Needed + ", had " + r.Had
}

// A Verdict is what a policy says of facts. It never changes.
type Verdict struct {
	Allowed bool
	Reasons []Reason // none if it is allowed

	from, until time.Time
}

// Holds reports whether the same facts would get the same verdict at another moment:
// until then no claim begins or ends, unless the policy itself looks at the clock.
func (v *Verdict) Holds(now time.Time) bool {
	return !now.Before(v.from) && (v.until.IsZero() || now.Before(v.until))
}

// A Bound is a program and the parameters of an order.
type Bound struct {
	Digest  Digest // of all that decides, the facts aside
	program *Program
	values  map[string]val
}

// Bind checks the parameters of an order against those of the policy.
func (prog *Program) Bind(parameters map[string]json.RawMessage) (*Bound, error) {
	var l fault.List
	b := &Bound{program: prog, values: map[string]val{}}
	canonical := map[string]json.RawMessage{}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if _, known := prog.Policy.Parameters[name]; !known {
			l.Add("/parameters/"+name, "is no parameter of %s%s", prog.Policy.Name, fault.DidYouMean(name, slices.Collect(maps.Keys(prog.Policy.Parameters))))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(prog.Policy.Parameters)) {
		p := prog.Policy.Parameters[name]
		raw := parameters[name]
		if raw == nil {
			raw = p.Default
		}
		if raw == nil {
			l.Add("/parameters/"+name, "is needed by %s (%s): %s", prog.Policy.Name, p.Type, p.About)
			continue
		}
		k, _ := parameterKind(p.Type)
		v, c, err := k.decode(raw)
		if err != nil {
			l.Add("/parameters/"+name, "%v", err)
		}
		b.values[name], canonical[name] = v, c
	}
	text, err := json.Marshal(canonical)
	if err != nil {
		return nil, err
	}
	b.Digest = sum(prog.Digest, sha256.Sum256(text))
	return b, l.Err()
}

func sum(a, b Digest) Digest { return sha256.Sum256(slices.Concat(a[:], b[:])) }

func (p *Policy) requestFields() fields {
	all := fields{}
	for name, parameter := range p.Parameters {
		k, _ := parameterKind(parameter.Type)
		all[name] = field(kinds[k].cel, func(b *Bound) (val, error) { return b.values[name], nil })
	}
	return all
}

// Judge puts the policy to facts. Whatever cannot be known refuses.
func (b *Bound) Judge(v *View) *Verdict {
	q := &question{view: v, bound: b}
	for i := range b.program.parts {
		q.put(&b.program.parts[i])
	}
	for _, a := range b.program.mustKnow {
		_, err := v.ask(a, b.program.least[a.at])
		q.unknown(err)
	}
	q.judgeSEAL()
	verdict := &Verdict{Allowed: len(q.reasons) == 0, Reasons: q.reasons, from: v.Now, until: v.Until}
	if b.program.clock {
		verdict.until = v.Now.Add(1)
	}
	return verdict
}

// A question is facts that a bound policy is put to. It is what CEL's variables stand in.
type question struct {
	view    *View
	bound   *Bound
	reasons []Reason
	certs   val
	levels  val
}

var _ interpreter.Activation = (*question)(nil)

// Parent is for activations within others.
func (q *question) Parent() interpreter.Activation { return nil }

// ResolveName gives CEL a variable.
func (q *question) ResolveName(name string) (any, bool) {
	switch name {
	case "now":
		return types.Timestamp{Time: q.view.Now}, true
	case "geo":
		return &object{geoType, q.bound.program.data}, true
	case "request":
		return &object{requestType, q.bound}, true
	case "certs":
		return q.certificates(), true
	case "evidence":
		return q.evidence(), true
	}
	if _, ok := rootFields[name]; ok {
		return &object{types.NewObjectType(name), q}, true
	}
	return nil, false
}

// certificates are those in force and known well enough.
func (q *question) certificates() val {
	if q.certs != nil {
		return q.certs
	}
	var all []val
	for _, c := range q.view.certs {
		if c.how.Level.rank() >= q.bound.program.least[paths["certs"].at].rank() {
			all = append(all, &object{certificateType, c})
		}
	}
	q.certs = types.NewRefValList(types.DefaultTypeAdapter, all)
	return q.certs
}

func (q *question) evidence() val {
	if q.levels != nil {
		return q.levels
	}
	all := map[string]string{}
	for i, f := range q.view.best {
		if f != nil {
			all[vocabulary[i].Path] = string(f.Level)
		}
	}
	q.levels = types.NewStringStringMap(types.DefaultTypeAdapter, all)
	return q.levels
}

// put asks one part of the rule.
func (q *question) put(p *part) {
	out, _, err := p.program.Eval(q)
	switch {
	case err != nil && q.missing(p):
		// each fact that is missing is a reason of its own
	case err != nil:
		q.refuse(Reason{Rule, q.bound.program.Policy.Name, p.text, oneLine(err.Error())})
	case out != types.True:
		q.refuse(Reason{Rule, q.bound.program.Policy.Name, p.text, q.had(p)})
	}
}

func (q *question) refuse(r Reason) {
	if !slices.Contains(q.reasons, r) {
		q.reasons = append(q.reasons, r)
	}
}

// missing notes each fact that a part lacks, and whether there is one.
func (q *question) missing(p *part) (any bool) {
	for _, a := range p.facts {
		if a.kind != certificates {
			_, err := q.view.ask(a, q.bound.program.least[a.at])
			any = q.unknown(err) || any
		}
	}
	for _, a := range p.kept {
		_, err := q.view.ask(a, "")
		any = q.unknown(err) || any
	}
	return any
}

func (q *question) unknown(err error) bool {
	u, ok := err.(*unknown) //nolint:errorlint // ask wraps nothing
	if ok {
		q.refuse(Reason{u.dimension, u.path, u.needed, u.had})
	}
	return ok
}

// had tells what the facts are that a part looked at.
func (q *question) had(p *part) string {
	var words []string
	for _, a := range p.facts {
		if a.kind == certificates {
			words = append(words, q.hadCertificates())
		} else if v, err := q.view.ask(a, q.bound.program.least[a.at]); err == nil {
			words = append(words, a.Path+" = "+show(v))
		} else {
			words = append(words, a.Path+" unknown")
		}
	}
	for _, a := range p.kept {
		words = append(words, fmt.Sprintf("evidence of %s = %q", a.Path, q.view.Level(a.Path)))
	}
	if len(words) == 0 {
		return "false"
	}
	return strings.Join(words, ", ")
}

// hadCertificates lists them, and those that do not count with the reason.
func (q *question) hadCertificates() string {
	var words []string
	for _, c := range q.view.certs {
		w := c.String()
		if c.how.Level.rank() < q.bound.program.least[paths["certs"].at].rank() {
			w += " (too weak)"
		}
		words = append(words, w)
	}
	for _, c := range q.view.over {
		words = append(words, c.String()+" (not in force)")
	}
	if len(words) == 0 {
		return "no certs"
	}
	slices.Sort(words)
	return "certs = [" + strings.Join(words, ", ") + "]"
}

// judgeSEAL compares with the least level of each objective.
func (q *question) judgeSEAL() {
	seal := q.bound.program.Policy.SEAL
	for _, name := range slices.Sorted(maps.Keys(seal)) {
		a, least := paths["seal."+name], seal[name]
		v, err := q.view.ask(a, q.bound.program.least[a.at])
		if q.unknown(err) {
			continue
		}
		if n := int64(v.(types.Int)); n < least {
			q.refuse(Reason{SEALTooLow, a.Path, fmt.Sprintf("at least %d", least), fmt.Sprint(n)})
		}
	}
}

// Name is that of the policy.
func (b *Bound) Name() string { return b.program.Policy.Name }

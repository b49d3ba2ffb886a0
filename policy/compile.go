package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/kontor-cloud/kontor/document"
	"github.com/kontor-cloud/kontor/fault"
)

// maxCost bounds what a rule may cost, in CEL's units: at compile time what the longest
// lists and texts could make of it, and at run time what each part of it really costs.
const maxCost = 1_000_000

// A Program is a policy that can be put to facts. It may be used by many at once.
type Program struct {
	Policy *Policy
	Digest Digest // of the policy and the data it was compiled with
	Cost   uint64 // what it may cost at most, in CEL's units

	data     *Data
	parts    []part
	least    []Level // by attribute
	clock    bool    // it looks at the clock
	mustKnow []*Attribute
}

// A part is a conjunct of the rule.
type part struct {
	text    string // as the author would write it in a line
	program cel.Program
	facts   []*Attribute // that it mentions
	kept    []*Attribute // whose evidence it mentions
}

// A Mistake is a place in a rule that means nothing. Line and column count from 1.
type Mistake struct {
	Line, Column int
	Text         string
}

// A SyntaxError is all mistakes of a rule.
type SyntaxError struct{ Mistakes []Mistake }

// Error names the places within the rule.
func (e *SyntaxError) Error() string {
	return e.at(func(m Mistake) string { return fmt.Sprintf("rule:%d:%d", m.Line, m.Column) })
}

func (e *SyntaxError) at(place func(Mistake) string) string {
	lines := make([]string, len(e.Mistakes))
	for i, m := range e.Mistakes {
		lines[i] = place(m) + ": " + m.Text
	}
	return strings.Join(lines, "\n")
}

// located says the places of mistakes in terms of the file that the rule stands in.
func located(d *document.Document, err error) error {
	if e, ok := errors.AsType[*SyntaxError](err); ok {
		return fault.At(fault.Invalid.Errorf("%s", e.at(func(m Mistake) string { return d.Within("/rule", m.Line, m.Column) })), "/rule")
	}
	return err
}

// Compile makes a program of a policy, or says what its rule cannot mean.
func (d *Data) Compile(p *Policy) (*Program, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	e, err := d.environment(p)
	if err != nil {
		return nil, err
	}
	checked, issues := e.Compile(p.Rule)
	if issues.Err() != nil {
		return nil, fault.At(fault.Invalid.Errorf("%w", p.mistakes(issues)), "/rule")
	}
	if !checked.OutputType().IsExactType(types.BoolType) {
		return nil, wrong("the rule is a %s; it must be true or false", checked.OutputType())
	}
	prog := &Program{Policy: p, data: d, Digest: sum(p.Digest(), d.Digest), least: make([]Level, len(vocabulary))}
	for i, a := range vocabulary {
		prog.least[i] = p.least(a.Path)
	}
	estimate, err := e.EstimateCost(checked, sizes{})
	if err != nil {
		return nil, wrong("the cost cannot be known: %v", err)
	}
	if prog.Cost = estimate.Max; prog.Cost > maxCost {
		return nil, wrong("it may cost %d steps, more than the limit of %d: nest fewer loops", prog.Cost, maxCost)
	}
	return prog, prog.split(e, checked.NativeRep())
}

func wrong(format string, args ...any) error {
	return fault.At(fault.Invalid.Errorf("%w", &SyntaxError{[]Mistake{{1, 1, fmt.Sprintf(format, args...)}}}), "/rule")
}

// base is CEL without what depends on more than its input: the time zones of the machine.
var base = sync.OnceValues(func() (*cel.Env, error) {
	subset := env.NewLibrarySubset()
	for _, name := range []string{"getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek", "getHours", "getMinutes", "getSeconds", "getMilliseconds"} {
		subset.AddExcludedFunctions(env.NewFunction(name))
	}
	return cel.NewCustomEnv(
		cel.StdLib(cel.StdLibSubset(subset)),
		cel.ParserExpressionSizeLimit(maxRule), cel.ParserRecursionLimit(64),
		cel.HomogeneousAggregateLiterals(), cel.EnableMacroCallTracking(), // the latter to show parts as they were written
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(), cel.ValidateComprehensionNestingLimit(2)),
	)
})

// environment is what the rule of p can speak of.
func (d *Data) environment(p *Policy) (*cel.Env, error) {
	b, err := base()
	if err != nil {
		return nil, err
	}
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	structs := map[string]fields{subprocessorType.TypeName(): subprocessorFields, certificateType.TypeName(): certificateFields}
	structs[geoType.TypeName()] = d.geoFields()
	structs[requestType.TypeName()] = p.requestFields()
	options := []cel.EnvOption{
		cel.CustomTypeProvider(&typeProvider{registry, structs}),
		cel.Variable("geo", geoType), cel.Variable("request", requestType), cel.Variable("now", types.TimestampType),
		cel.Variable("evidence", types.NewMapType(types.StringType, types.StringType)),
		cel.Variable("certs", kinds[certificates].cel),
	}
	for root, fields := range rootFields {
		structs[root] = fields
		options = append(options, cel.Variable(root, types.NewObjectType(root)))
	}
	return b.Extend(options...)
}

// rootFields are the attributes as fields of provider, region and so on.
var rootFields = fieldsOfRoots()

func fieldsOfRoots() map[string]fields {
	all := map[string]fields{}
	for i := range vocabulary {
		a := &vocabulary[i]
		if a.field() == "" {
			continue
		}
		if all[a.root()] == nil {
			all[a.root()] = fields{}
		}
		all[a.root()][a.field()] = field(kinds[a.kind].cel, func(q *question) (val, error) { return q.view.ask(a, q.bound.program.least[a.at]) })
	}
	return all
}

var unknownField = regexp.MustCompile(`undefined field '([^']*)'`)

// mistakes words what CEL found, with what was probably meant: CEL itself guesses variables, not fields.
func (p *Policy) mistakes(issues *cel.Issues) *SyntaxError {
	var e SyntaxError
	for _, i := range issues.Errors() {
		m := Mistake{i.Location.Line(), i.Location.Column() + 1, strings.TrimSuffix(i.Message, " (in container '')")}
		if s := unknownField.FindStringSubmatch(m.Text); s != nil {
			m.Text += fault.DidYouMean(s[1], p.fieldNames())
		}
		e.Mistakes = append(e.Mistakes, m)
	}
	return &e
}

func (p *Policy) fieldNames() []string {
	names := slices.Concat(certificateFields.names(), subprocessorFields.names(), p.requestFields().names(), []string{"eu", "eea", "efta", "adequate"})
	for _, a := range vocabulary {
		names = append(names, a.field())
	}
	return names
}

// sizes tells CEL how long things can be.
type sizes struct{}

// EstimateSize bounds lists and texts by what claims may have.
func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	switch n.Type().Kind() {
	case types.ListKind, types.MapKind:
		return &cost.SizeEstimate{Max: maxList}
	default:
		return &cost.SizeEstimate{Max: maxText}
	}
}

// EstimateCallCost leaves functions to CEL's own reckoning.
func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// split makes a program of each conjunct. An error or false in any makes the whole
// false, as && says, whatever the others are: so they can be judged one by one.
func (prog *Program) split(e *cel.Env, whole *ast.AST) error {
	for _, x := range conjuncts(whole.Expr()) {
		tree := ast.NewCheckedAST(ast.NewAST(x, whole.SourceInfo()), whole.TypeMap(), whole.ReferenceMap())
		program, err := e.PlanProgram(tree, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
		if err != nil {
			return wrong("%v", err)
		}
		text, err := cel.ExprToString(x, whole.SourceInfo())
		if err != nil {
			return wrong("%v", err)
		}
		p := part{text: oneLine(text), program: program}
		prog.mention(&p, ast.NavigateAST(tree))
		if err := p.checkEvidence(ast.NavigateAST(tree)); err != nil {
			return err
		}
		prog.parts = append(prog.parts, p)
	}
	for i := range vocabulary {
		a := &vocabulary[i]
		if _, named := prog.Policy.Evidence[a.Path]; named && a.kind != certificates && !prog.mentions(a) {
			prog.mustKnow = append(prog.mustKnow, a)
		}
	}
	return nil
}

func (prog *Program) mentions(a *Attribute) bool {
	return slices.ContainsFunc(prog.parts, func(p part) bool { return slices.Contains(p.facts, a) })
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func conjuncts(x ast.Expr) []ast.Expr {
	if x.Kind() != ast.CallKind || x.AsCall().FunctionName() != operators.LogicalAnd {
		return []ast.Expr{x}
	}
	var all []ast.Expr
	for _, arg := range x.AsCall().Args() {
		all = append(all, conjuncts(arg)...)
	}
	return all
}

// mention notes which facts a part looks at, in the order in which it does.
func (prog *Program) mention(p *part, n ast.NavigableExpr) {
	path := ""
	switch n.Kind() {
	case ast.SelectKind:
		if x := n.AsSelect().Operand(); x.Kind() == ast.IdentKind {
			path = x.AsIdent() + "." + n.AsSelect().FieldName()
		}
	case ast.IdentKind:
		path = n.AsIdent()
		prog.clock = prog.clock || path == "now"
	case ast.CallKind:
		if a := evidenceOf(n); a != "" && paths[a] != nil {
			p.kept = append(p.kept, paths[a])
		}
	default:
	}
	if a := paths[path]; a != nil && !slices.Contains(p.facts, a) {
		p.facts = append(p.facts, a)
	}
	for _, c := range n.Children() {
		prog.mention(p, c)
	}
}

// evidenceOf gives the constant path in evidence["region.pue"].
func evidenceOf(n ast.NavigableExpr) string {
	call := n.AsCall()
	if call.FunctionName() != operators.Index || len(call.Args()) != 2 {
		return ""
	}
	of, key := call.Args()[0], call.Args()[1]
	if of.Kind() != ast.IdentKind || of.AsIdent() != "evidence" || key.Kind() != ast.LiteralKind {
		return ""
	}
	path, _ := key.AsLiteral().Value().(string)
	return path
}

// checkEvidence refuses evidence["regoin.pue"].
func (p *part) checkEvidence(n ast.NavigableExpr) error {
	for _, call := range ast.MatchDescendants(n, ast.KindMatcher(ast.CallKind)) {
		if path := evidenceOf(call); path != "" {
			if _, err := attribute(path); err != nil {
				return wrong("evidence: %v", err)
			}
		}
	}
	return nil
}

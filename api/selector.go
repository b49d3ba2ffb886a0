package api

import (
	"strconv"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
)

// A selector is a conjunction of terms over labels (SECA v1.7, "labels"):
// key = value, !=, and the numeric >, <, >=, <=. An asterisk in a key or value
// of an equality stands for any characters.
type selector []term

type term struct {
	key, op, value string
	number         float64
}

const maxTerms, maxSelector = 32, 4096

// operators, longer ones first.
var operators = []string{"!=", ">=", "<=", "==", "=", ">", "<"}

// parseSelector reads the labels parameter. An empty one matches all.
func parseSelector(s string) (selector, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	parts := strings.Split(s, ",")
	if len(s) > maxSelector || len(parts) > maxTerms {
		return nil, badSelector("has more than %d terms or %d characters", maxTerms, maxSelector)
	}
	out := make(selector, 0, len(parts))
	for _, p := range parts {
		t, err := parseTerm(strings.TrimSpace(p))
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func badSelector(format string, args ...any) error {
	return fault.Parameter(fault.Malformed.Errorf("label selector "+format, args...), "labels")
}

func parseTerm(s string) (term, error) {
	at := strings.IndexAny(s, "!=<>")
	if at <= 0 {
		return term{}, badSelector("term %q is not of the form key=value, key!=value or key>number", s)
	}
	for _, op := range operators {
		value, ok := strings.CutPrefix(s[at:], op)
		if !ok {
			continue
		}
		t := term{key: strings.TrimSpace(s[:at]), op: op, value: strings.TrimSpace(value)}
		if strings.ContainsAny(t.value, "!=<>") || strings.ContainsAny(t.key, " ()") {
			return term{}, badSelector("term %q has a character that does not belong there", s)
		}
		if t.op == "==" {
			t.op = "="
		}
		return t, t.parseNumber(s)
	}
	return term{}, badSelector("term %q has no operator", s)
}

func (t *term) parseNumber(s string) (err error) {
	if t.op != "=" && t.op != "!=" {
		if t.number, err = strconv.ParseFloat(t.value, 64); err != nil {
			return badSelector("term %q compares with something that is not a number", s)
		}
	}
	return nil
}

// term gives what an index can answer: a label with its value, or else a label
// that must be there, as for a pattern or a comparison. Nil is nothing.
func (s selector) term() (best *resource.Term) {
	for _, t := range s {
		switch {
		case t.op == "!=" || strings.Contains(t.key, "*"):
			continue
		case t.op == "=" && !strings.Contains(t.value, "*"):
			return &resource.Term{Key: t.key, Value: &t.value}
		case best == nil:
			best = &resource.Term{Key: t.key}
		}
	}
	return best
}

// matches reports whether every term holds.
func (s selector) matches(labels map[string]string) bool {
	for _, t := range s {
		if !t.holds(labels) {
			return false
		}
	}
	return true
}

// holds: != holds for a label that is not there.
func (t term) holds(labels map[string]string) bool {
	switch t.op {
	case "=":
		return t.found(labels)
	case "!=":
		return !t.found(labels)
	}
	n, err := strconv.ParseFloat(labels[t.key], 64)
	if err != nil {
		return false
	}
	switch t.op {
	case ">":
		return n > t.number
	case "<":
		return n < t.number
	case ">=":
		return n >= t.number
	default:
		return n <= t.number
	}
}

func (t term) found(labels map[string]string) bool {
	if !strings.Contains(t.key, "*") {
		v, ok := labels[t.key]
		return ok && wild(t.value, v)
	}
	for k, v := range labels {
		if wild(t.key, k) && wild(t.value, v) {
			return true
		}
	}
	return false
}

// wild matches s against a pattern in which * stands for any characters. It
// goes back to the last asterisk only, so its cost is bounded by the product
// of the lengths.
func wild(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

package policytest

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/document"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/policy"
)

// change reads "ATTRIBUTE = VALUE | EVIDENCE", with += beside what there is, or
// "ATTRIBUTE unknown", and gives the claims after it.
func change(claims []policy.Claim, text string) ([]policy.Claim, error) {
	if name, ok := strings.CutSuffix(text, " unknown"); ok {
		return without(claims, strings.TrimSpace(name)), nil
	}
	name, rest, ok := strings.Cut(text, "=")
	if !ok {
		return nil, fault.Invalid.Errorf("%q is no claim: write ATTRIBUTE = VALUE | LEVEL by ISSUER until TIME", text)
	}
	name, adds := strings.CutSuffix(name, "+")
	c := policy.Claim{Attribute: strings.TrimSpace(name), Evidence: policy.Evidence{Level: policy.SelfDeclared}}
	value, how, ok := cutLast(rest, "|")
	if ok {
		var err error
		if c.Evidence, err = evidence(how); err != nil {
			return nil, err
		}
	}
	// The value is YAML: FR, [FR, DE], 0.3, {scheme: hds}.
	holder := struct {
		Value json.RawMessage `json:"value"`
	}{}
	if _, err := document.Decode("value", []byte("value: "+strings.TrimSpace(value)), &holder); err != nil {
		return nil, err
	}
	c.Value = holder.Value
	if !adds {
		claims = without(claims, c.Attribute)
	}
	return append(slices.Clone(claims), c), nil
}

func without(claims []policy.Claim, attribute string) []policy.Claim {
	return slices.DeleteFunc(slices.Clone(claims), func(c policy.Claim) bool { return c.Attribute == attribute })
}

func cutLast(s, separator string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

// evidence reads "LEVEL by ISSUER from TIME until TIME".
func evidence(text string) (policy.Evidence, error) {
	var e policy.Evidence
	words := strings.Fields(text)
	if len(words) == 0 {
		return e, fault.Invalid.Errorf("there is no level of evidence after |")
	}
	if err := e.Level.UnmarshalText([]byte(words[0])); err != nil {
		return e, err
	}
	var err error
	for words = words[1:]; len(words) > 0 && err == nil; {
		end := 1
		for end < len(words) && !slices.Contains([]string{"by", "from", "until"}, words[end]) {
			end++
		}
		said := strings.Join(words[1:end], " ")
		switch words[0] {
		case "by":
			e.Issuer = said
		case "from":
			e.From, err = moment(said)
		case "until":
			e.Until, err = moment(said)
		default:
			err = fault.Invalid.Errorf("unknown word %q in evidence%s", words[0], fault.DidYouMean(words[0], []string{"by", "from", "until"}))
		}
		words = words[end:]
	}
	return e, err
}

// moment reads a day or a time.
func moment(s string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fault.Invalid.Errorf("%q is no time: write 2026-11-26 or 2026-11-26T12:00:00Z", s)
	}
	return t.UTC(), nil
}

package document_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/document"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
)

type inner struct {
	Country string       `json:"country"`
	Price   money.Amount `json:"price"`
}

type outer struct {
	Meta
	Count int              `json:"count,omitempty"`
	Share float64          `json:"share,omitempty"`
	On    bool             `json:"on,omitempty"`
	From  time.Time        `json:"from,omitzero"`
	Rule  string           `json:"rule,omitempty"`
	List  []inner          `json:"list,omitempty"`
	By    map[string]inner `json:"by,omitempty"`
	Any   any              `json:"any,omitempty"`
	Maybe *inner           `json:"maybe,omitempty"`
}

// Meta is embedded.
type Meta struct {
	Name string `json:"name"`
}

func TestDecode(t *testing.T) {
	var got outer
	_, err := document.Decode("f.yaml", []byte(`
name: 3.2            # a text all the same
count: 7
share: 1
on: true
from: 2026-01-02T03:04:05Z
list: [{country: NO, price: 0.0432 EUR}]
by: {x: {country: "FR"}}
any: {a: [1, two, 2026-01-01, null]}
maybe: {country: DE}
`), &got)
	want := outer{
		Meta: Meta{"3.2"}, Count: 7, Share: 1, On: true, From: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		List: []inner{{"NO", money.Amount{Nano: 43_200_000, Currency: "EUR"}}}, By: map[string]inner{"x": {Country: "FR"}},
		Any:   map[string]any{"a": []any{1.0, "two", "2026-01-01", nil}},
		Maybe: &inner{Country: "DE"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestMistakesArePointedAt(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"name: a\ncuont: 7", "f.yaml:2: cuont is no member of this; did you mean count?"},
		{"name: a\nname: b", "f.yaml:1: name stands here twice (line 2, too)"},
		{"count: x\non: 1", "f.yaml:1: count must be a whole number, not \"x\"\nf.yaml:2: on must be true or false, not \"1\""},
		{"list:\n- country: DE\n- contry: DE", "f.yaml:3: list.1.contry is no member of this; did you mean country?"},
		{"list:\n- price: 0.1.2 EUR", `f.yaml:2: list.0.price must be right: "0.1.2 EUR" is no amount`},
		{"list: 7", "f.yaml:1: list must be a list"},
		{"count: 99999999999999999999", "f.yaml:1: count must be a whole number"},
		{"share: .nan", "f.yaml:1: share must be a number that"},
		{"name: &x a\nrule: *x", "anchors and aliases"},
		{"- a", "f.yaml:1: must have members, not be a list"},
		{"name: [", "f.yaml: line 1"},
		{"", "f.yaml is empty"},
		{"name: a\n---\nname: b", "a second document"},
	} {
		var got outer
		_, err := document.Decode("f.yaml", []byte(c.text), &got)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v\nwant %s", c.text, err, c.want)
		}
		if kind := fault.KindOf(err); kind != fault.Invalid && kind != fault.Malformed {
			t.Errorf("%q: %v is of kind %q", c.text, err, kind)
		}
	}
}

func TestPlaces(t *testing.T) {
	var got outer
	d, err := document.Decode("f.yaml", []byte("name: a\nrule: |\n\n  first\n    second\nby:\n  a/b:\n    country: \"XX\"\n"), &got)
	if err != nil {
		t.Fatal(err)
	}
	for pointer, want := range map[string]string{"/name": "f.yaml:1", "/by/a~1b/country": "f.yaml:8", "/by/a~1b/none": "f.yaml:8", "/list/0": "f.yaml:1"} {
		if got := d.Place(pointer); got != want {
			t.Errorf("%s is at %s, want %s", pointer, got, want)
		}
	}
	if got := d.Within("/rule", 2, 3); got != "f.yaml:4:5" {
		t.Errorf("the r of first is at %s", got)
	}
	if got := d.Within("/by/a~1b/country", 1, 2); got != "f.yaml:8:16" {
		t.Errorf("the second X is at %s", got)
	}
	var l fault.List
	l.Add("/by/a~1b/country", "must exist")
	if err := d.Err(&l); err == nil || !strings.HasPrefix(err.Error(), "f.yaml:8: ") || !errors.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"name: a\nlist: [{country: x}]", "any: {a: [1, 1e999, .inf]}", "a: &x [*x]", "from: 2026-01-01", "\xff", "? {a: b}\n: c"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got outer
		if _, err := document.Decode("f", b, &got); err != nil && fault.KindOf(err) == "" {
			t.Fatalf("%v has no kind", err)
		}
	})
}

package backup

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/db"
)

// contents are those of all tables but the one that has a new epoch after each
// restore.
func contents(m Manifest) map[string]string {
	all := map[string]string{}
	for _, c := range m.Tables {
		if c.Table != "exchange" {
			all[c.Table] = c.Content
		}
	}
	return all
}

// TestContentSurvivesAMove carries JSON that PostgreSQL writes in its own way
// through both kinds of database and back.
func TestContentSurvivesAMove(t *testing.T) {
	eachPair(t, func(t *testing.T, from, to string) {
		h := build(t, from)
		h.fill(t)
		check(t, h.put(t.Context(), "w"))
		_, err := db.Exec(t.Context(), h.db, `UPDATE region SET inventory = $1`,
			`{"longer": 1e2, "b":[0.50, -0, 12345678901234567890, 1E-7], "a": {"z":null,"y":"<\u00fc>"} , "long":true}`)
		check(t, err)
		b, first := take(t, from)
		check(t, restore(t.Context(), to, b))
		b, second := take(t, to)
		again := t.TempDir() + "/again.db"
		check(t, restore(t.Context(), again, b))
		_, third := take(t, again)
		if diff := cmp.Diff(contents(first), contents(second)); diff != "" {
			t.Errorf("after the move:\n%s", diff)
		}
		if diff := cmp.Diff(contents(first), contents(third)); diff != "" {
			t.Errorf("after the way back:\n%s", diff)
		}
		_, err = db.Exec(t.Context(), h.db, `UPDATE region SET inventory = $1`, `{"long":false}`)
		check(t, err)
		if _, m := take(t, from); contents(m)["region"] == contents(first)["region"] || contents(m)["resource"] != contents(first)["resource"] {
			t.Error("the content does not tell which table was changed")
		}
	})
}

func TestContent(t *testing.T) {
	table := db.Table{Name: "x", Columns: []db.Column{{Name: "id", Type: db.BigInt}, {Name: "doc", Type: db.JSONDoc}}}
	of := func(rows ...[]any) string {
		c := content{table: table}
		for _, row := range rows {
			line, err := json.Marshal(row)
			check(t, err)
			check(t, c.add(row, line))
		}
		return c.digest()
	}
	one, two := []any{int64(1), `{"a":1}`}, []any{int64(2), nil}
	if of(one, two) != of(two, one) {
		t.Error("the order of rows counts")
	}
	different := map[string]string{}
	for name, digest := range map[string]string{
		"none": of(), "one": of(one), "two": of(two), "both": of(one, two), "twice": of(one, one),
		"other": of([]any{int64(1), `{"a":2}`}), "list": of([]any{int64(1), `[1]`}), "text": of([]any{int64(1), `"x"`}),
	} {
		if other, ok := different[digest]; ok {
			t.Errorf("%s and %s are the same", name, other)
		}
		different[digest] = name
	}
	for _, same := range [][]string{
		{`{"a":1,"b":2}`, `{"b": 2.0, "a":10e-1}`, `{"b":1,"a":1,"b":2}`},
		{`[100]`, `[1e2]`, `[1E+2]`, `[100.0]`, `[0.1e3]`},
		{`[0]`, `[-0]`, `[0.0]`, `[0e9]`},
		{`[-0.0000125]`, `[-1.25e-5]`, `[-0.125E-04]`},
		{`"<\u00fc/>"`, "\"<ü\\/>\""},
	} {
		for _, doc := range same[1:] {
			if of([]any{int64(1), doc}) != of([]any{int64(1), same[0]}) {
				t.Errorf("%s and %s differ", doc, same[0])
			}
		}
	}
	c := content{table: table}
	if c.add([]any{int64(1), `{`}, nil) == nil {
		t.Error("half a document has content")
	}
}

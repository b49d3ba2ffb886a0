package resource_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/resource/resourcetest"
	"github.com/kontor-cloud/kontor/urn"
)

func workspace(t *testing.T, name string) (*resource.Kind, urn.URN) {
	t.Helper()
	k, ok := resource.KindNamed("workspace")
	if !ok {
		t.Fatal("no workspaces")
	}
	return k, k.URN("t1", "", "", name)
}

func label(t *testing.T, s *resource.Store, name string, labels map[string]string) {
	t.Helper()
	k, u := workspace(t, name)
	if _, _, err := s.Put(t.Context(), k, u, resource.Input{Labels: labels, Spec: json.RawMessage(`{}`)}, nil, resource.Env{Region: "r1"}); err != nil {
		t.Fatal(err)
	}
}

// names reads a whole list in pages and counts them.
func names(t *testing.T, s *resource.Store, page resource.Page) (all []string, pages int) {
	t.Helper()
	_, u := workspace(t, "")
	for {
		rs, after, err := s.List(t.Context(), "r1", u, page)
		if err != nil {
			t.Fatal(err)
		}
		if len(rs) == 0 && after != "" {
			t.Fatal("an empty page that is not the last")
		}
		for _, r := range rs {
			all = append(all, r.URN.Name)
		}
		if pages++; after == "" {
			return all, pages
		}
		page.After = after
	}
}

func by(key, value string) resource.Page {
	return resource.Page{
		Size: 2, By: &resource.Term{Key: key, Value: &value},
		Match: func(l map[string]string) bool { v, ok := l[key]; return ok && v == value },
	}
}

// TestLabelIndexFollows: a list by label has what carries the label now.
func TestLabelIndexFollows(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := resource.NewStore(d)
		for _, n := range []string{"a", "b", "c", "d", "e"} {
			label(t, s, n, map[string]string{"env": "prod", "name": n})
		}
		label(t, s, "x", nil)
		want := func(page resource.Page, want ...string) {
			t.Helper()
			if got, _ := names(t, s, page); !slices.Equal(got, want) {
				t.Errorf("listed %q, want %q", got, want)
			}
		}
		want(by("env", "prod"), "a", "b", "c", "d", "e")
		label(t, s, "b", map[string]string{"env": "test"})
		label(t, s, "c", nil)
		label(t, s, "x", map[string]string{"env": "prod", "odd": "a\x00b"})
		k, u := workspace(t, "d")
		if err := s.Delete(t.Context(), k, u, nil, resource.Env{Region: "r1"}); err != nil {
			t.Fatal(err)
		}
		want(by("env", "prod"), "a", "e", "x")
		want(by("env", "test"), "b")
		want(by("odd", "a\x00b"), "x")
		any := by("env", "")
		any.By.Value, any.Match = nil, func(l map[string]string) bool { return strings.HasPrefix(l["env"], "pro") }
		want(any, "a", "e", "x")
		if n, err := db.One(t.Context(), d, db.Scan[int], `SELECT count(*) FROM label`); err != nil || n != 6 {
			t.Errorf("%d labels in the index, want 6: %v", n, err)
		}
	})
}

// TestRareLabelIsFoundAtOnce among many, and what no index answers is looked
// for within bounds.
func TestRareLabelIsFoundAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := resource.NewStore(d)
		label(t, s, "w", map[string]string{"env": "prod"})
		_, u := workspace(t, "w")
		const many = 12_000
		resourcetest.Copies(t, d, "r1", u.String(), many)
		cost := func(most int64, page resource.Page) []string {
			t.Helper()
			before := d.Statements()
			all, pages := names(t, s, page)
			if n := d.Statements() - before; n > most*int64(pages) {
				t.Errorf("%d pages took %d statements, want at most %d each", pages, n, most)
			}
			return all
		}
		rare := by("rare", "yes")
		rare.Size = 50
		if n := len(cost(1, rare)); n != many/1000 {
			t.Errorf("%d are rare, want %d", n, many/1000)
		}
		if got := cost(1, by("n", "1011999")); len(got) != 1 {
			t.Errorf("number 11999 is %q", got)
		}
		first := resource.Page{Size: 50, Match: func(l map[string]string) bool {
			return l["n"] == fmt.Sprint(1_000_700) || l["n"] == fmt.Sprint(1_011_999)
		}}
		if got := cost(30, first); len(got) != 2 {
			t.Errorf("without an index, found %q", got)
		}
		first.Match = func(map[string]string) bool { return false }
		before := d.Statements()
		if _, _, err := s.List(context.Background(), "r1", u, first); fault.KindOf(err) != fault.Malformed {
			t.Errorf("what matches nothing of many: %v", err)
		}
		if n := d.Statements() - before; n > 30 {
			t.Errorf("that took %d statements", n)
		}
	})
}

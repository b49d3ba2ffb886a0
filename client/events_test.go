package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/fault"
)

// TestEventsGoOnWhereTheyBrokeOff: each connection tells two events and dies.
func TestEventsGoOnWhereTheyBrokeOff(t *testing.T) {
	tries := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries == 2 {
			http.Error(w, "{}", http.StatusServiceUnavailable)
			return
		}
		after := 0
		fmt.Sscan(r.Header.Get("Last-Event-ID"), &after)
		fmt.Fprintf(w, ": alive\n\nid: %d\nevent: state\ndata: {\"n\":%d}\n\n", after+1, after+1)
		fmt.Fprintf(w, "id: %d\nevent: state\ndata: {\"n\":\ndata: %d}\n\nid: %d\nevent: sta", after+2, after+2, after+3)
	}))
	defer s.Close()
	c, err := New(s.URL, "x", Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for e, err := range c.Events(t.Context(), "/events", "0") {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e.ID+string(e.Data)); len(got) == 5 {
			break
		}
	}
	if want := `1{"n":1} 2{"n":2} 3{"n":3} 4{"n":4} 5{"n":5}`; strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEventsThatNeverBegin(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"status":403,"detail":"no"}`)
	}))
	defer s.Close()
	c, err := New(s.URL, "x", Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range c.Events(t.Context(), "/events", "") {
		if n++; !errors.Is(err, fault.Denied) || n > 1 {
			t.Errorf("%d: %v", n, err)
		}
	}
	if n == 0 {
		t.Error("nobody is told")
	}
}

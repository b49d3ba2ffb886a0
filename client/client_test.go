package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
)

// script answers calls in turn, without a network, and keeps what was asked.
type script struct {
	answers []func(*http.Request) (*http.Response, error)
	asked   []*http.Request
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked = append(s.asked, r)
	if len(s.asked) > len(s.answers) {
		return nil, fmt.Errorf("call %d was not expected", len(s.asked))
	}
	resp, err := s.answers[len(s.asked)-1](r)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

func answer(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func broken(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

func scripted(t *testing.T, answers ...func(*http.Request) (*http.Response, error)) (*Client, *script) {
	t.Helper()
	s := &script{answers: answers}
	c, err := New("https://exchange.example", "secret", Options{Transport: s})
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func TestRefusalsKeepKindSourcesAndDelay(t *testing.T) {
	for _, row := range []struct {
		status int
		header []string
		want   fault.Kind
	}{
		{status: 400, want: fault.Malformed},
		{status: 401, want: fault.Unauthenticated},
		{status: 403, want: fault.Denied},
		{status: 404, want: fault.Missing},
		{status: 409, want: fault.Conflict},
		{status: 412, want: fault.Stale},
		{status: 413, want: fault.TooLarge},
		{status: 422, want: fault.Invalid},
		{status: 429, want: fault.Exhausted},
		{status: 429, header: []string{"Retry-After", "60"}, want: fault.Unavailable},
		{status: 500, want: ""},
	} {
		c, _ := scripted(t, answer(row.status, `{"status":1,"detail":"no","sources":[{"pointer":"/spec/x","parameter":""}]}`, row.header...))
		_, err := c.Get(t.Context(), "/x")
		if got := fault.KindOf(err); got != row.want {
			t.Errorf("%d is %q, want %q", row.status, got, row.want)
		}
		var p *Problem
		if !errors.As(err, &p) || p.Status != row.status || err.Error() != "no" {
			t.Errorf("%d gives %v, want the problem with its true status", row.status, err)
		}
		if d := cmp.Diff([]fault.Source{{Pointer: "/spec/x"}}, fault.SourcesOf(err)); d != "" {
			t.Error(d)
		}
	}
}

func TestRefusalThatIsNoDocumentStillSaysWhat(t *testing.T) {
	c, _ := scripted(t, answer(404, "<html>not here</html>", "Content-Type", "text/html"))
	_, err := c.Get(t.Context(), "/x")
	if !errors.Is(err, fault.Missing) || !strings.Contains(err.Error(), "not here") {
		t.Errorf("got %v", err)
	}
}

func TestReadsAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, broken, answer(503, `{}`), answer(429, `{}`, "Retry-After", "7"), answer(200, `{"metadata":{"name":"a"}}`))
		began := time.Now()
		i, err := c.Get(t.Context(), "/x")
		if err != nil || i.Metadata.Name != "a" {
			t.Fatalf("got %v, %v", i, err)
		}
		if took := time.Since(began); len(s.asked) != 4 || took < 7*time.Second || took > 9*time.Second {
			t.Errorf("%d calls in %s, want 4 that honour Retry-After", len(s.asked), took)
		}
	})
}

func TestTriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := answer(503, `{}`)
		c, s := scripted(t, busy, busy, busy, busy, busy)
		if _, err := c.Get(t.Context(), "/x"); !errors.Is(err, fault.Unavailable) {
			t.Errorf("got %v, want unavailable", err)
		}
		if len(s.asked) != 4 {
			t.Errorf("%d calls, want 4", len(s.asked))
		}
	})
}

func TestLongDelayIsShownAndNotWaitedFor(t *testing.T) {
	c, s := scripted(t, answer(503, `{}`, "Retry-After", "3600"))
	_, err := c.Get(t.Context(), "/x")
	if fault.After(err) != time.Hour || len(s.asked) != 1 {
		t.Errorf("got %v after %d calls, want the delay of an hour at once", err, len(s.asked))
	}
}

func TestActionsAndConditionalWritesAreTriedOnce(t *testing.T) {
	for name, do := range map[string]func(*Client) error{
		"post":        func(c *Client) error { return c.Post(t.Context(), "/x", nil, nil) },
		"delete at 7": func(c *Client) error { return c.Delete(t.Context(), "/x", 7) },
	} {
		c, s := scripted(t, broken, answer(202, ""))
		if err := do(c); !errors.Is(err, fault.Unavailable) || len(s.asked) != 1 {
			t.Errorf("%s: %v after %d calls, want one", name, err, len(s.asked))
		}
	}
}

func TestRequestCarriesTokenVersionAndBody(t *testing.T) {
	c, s := scripted(t, answer(201, `{}`))
	_, isNew, err := c.Put(t.Context(), "/x", map[string]int{"a": 1}, 7)
	if err != nil || !isNew {
		t.Fatalf("got new %t, %v", isNew, err)
	}
	r := s.asked[0]
	body, _ := io.ReadAll(r.Body)
	got := []string{r.URL.String(), r.Header.Get("Authorization"), r.Header.Get("If-Unmodified-Since"), string(body)}
	if d := cmp.Diff([]string{"https://exchange.example/x", "Bearer secret", "7", `{"a":1}`}, got); d != "" {
		t.Error(d)
	}
}

func TestTokenStaysEncryptedAndAtTheExchange(t *testing.T) {
	c, s := scripted(t, answer(307, "", "Location", "https://elsewhere.example/"))
	if _, err := c.Get(t.Context(), "http://exchange.example/x"); !errors.Is(err, fault.Denied) || len(s.asked) != 0 {
		t.Errorf("unencrypted: %v after %d calls, want a refusal", err, len(s.asked))
	}
	if _, err := c.Get(t.Context(), "/x"); err == nil || len(s.asked) != 1 {
		t.Errorf("redirected: %v after %d calls, want an error and no second call", err, len(s.asked))
	}
}

func TestNamesCannotLeaveTheirCollection(t *testing.T) {
	c, s := scripted(t)
	for _, name := range []string{"..", "."} {
		if _, err := c.Get(t.Context(), Under("/tenants/a/instances", name)); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v, want invalid", name, err)
		}
	}
	if at := Under("/t", "a/b?c"); at != "/t/a%2Fb%3Fc" {
		t.Errorf("got %s", at)
	}
	if len(s.asked) != 0 {
		t.Errorf("%d calls, want none", len(s.asked))
	}
}

func TestAnswersHaveALimit(t *testing.T) {
	s := &script{answers: []func(*http.Request) (*http.Response, error){answer(200, `"`+strings.Repeat("x", 100)+`"`)}}
	c, err := New("https://exchange.example", "", Options{Transport: s, MaxBody: 50})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "/x"); err == nil || !strings.Contains(err.Error(), "more than 50 bytes") {
		t.Errorf("got %v, want a refusal to read on", err)
	}
}

func TestListFollowsPages(t *testing.T) {
	c, s := scripted(t,
		answer(200, `{"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}],"metadata":{"skipToken":"t1"}}`),
		answer(200, `{"items":[{"metadata":{"name":"c"}}],"metadata":{}}`))
	var names []string
	for i, err := range c.List(t.Context(), "/x", Query{Labels: "env=prod", Page: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, i.Metadata.Name)
	}
	if d := cmp.Diff([]string{"a", "b", "c"}, names); d != "" {
		t.Error(d)
	}
	if q := s.asked[1].URL.RawQuery; q != "labels=env%3Dprod&limit=2&skipToken=t1" {
		t.Errorf("second page asked by %s", q)
	}
}

func TestListThatTurnsInCirclesEnds(t *testing.T) {
	page := answer(200, `{"items":[{"metadata":{"name":"a"}}],"metadata":{"skipToken":"t"}}`)
	c, _ := scripted(t, page, page, page)
	if _, err := All(c.List(t.Context(), "/x", Query{})); !errors.Is(err, fault.Malformed) {
		t.Errorf("got %v, want malformed", err)
	}
}

func TestItemsKeepWhatTheyDoNotKnow(t *testing.T) {
	const doc = `{"metadata":{"name":"a","new":1},"spec":{"x":[1,2]},"later":true}`
	var i Item
	if err := json.Unmarshal([]byte(doc), &i); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(i)
	if err != nil || string(b) != doc {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestPlacesComeFromDiscovery(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path != "/providers/seca.region/v1/regions/r1" {
			w.WriteHeader(404)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"metadata":{"name":"r1"},"spec":{"providers":[{"name":"seca.network","version":"v1","url":"http://%s/elsewhere/"}]}}`, r.Host)
	}))
	defer s.Close()
	c, err := New(s.URL+"/", "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	subnet, _ := resource.KindNamed("subnet")
	instance, _ := resource.KindNamed("instance")
	at, err := c.Resource(t.Context(), subnet, Place{Tenant: "t", Region: "r1", Workspace: "w", Network: "n"}, "s")
	if want := s.URL + "/elsewhere/v1/tenants/t/workspaces/w/networks/n/subnets/s"; err != nil || at != want {
		t.Errorf("got %s, %v; want %s", at, err, want)
	}
	if _, err := c.Collection(t.Context(), instance, Place{Tenant: "t", Region: "r1", Workspace: "w"}); !errors.Is(err, fault.Unsupported) {
		t.Errorf("compute of a region without it: %v, want unsupported", err)
	}
	if _, err := c.Collection(t.Context(), subnet, Place{Tenant: "t", Region: "r1", Workspace: "w"}); !errors.Is(err, fault.Invalid) {
		t.Errorf("subnets of no network: %v, want invalid", err)
	}
	if asked != 1 {
		t.Errorf("region was read %d times, want once", asked)
	}
	if _, err := c.Regional(t.Context(), "r2", "seca.compute"); !errors.Is(err, fault.Missing) {
		t.Errorf("unknown region: %v, want missing", err)
	}
}

func TestCancelEndsTheCall(t *testing.T) {
	c, _ := scripted(t, broken, broken, broken, broken)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, "/x"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

package main

import (
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A sink receives spans by OTLP over HTTP.
type sink struct {
	mu    sync.Mutex
	spans []*otlp.Span
	bad   []error
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := io.ReadAll(r.Body)
	var m collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(b, &m)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		s.bad = append(s.bad, err)
	}
	for _, rs := range m.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			s.spans = append(s.spans, ss.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// of gives the spans of a trace.
func (s *sink) of(trace string) (found []*otlp.Span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.spans {
		if hex.EncodeToString(span.TraceId) == trace {
			found = append(found, span)
		}
	}
	return found
}

// A traced exchange is a process of its own, as the environment says where
// traces go.
type traced struct {
	*process
	token string
}

func startTraced(t *testing.T, to string) *traced {
	t.Helper()
	dir := shortDir(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", to)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	p := startProcess(t, "up", "--fake", "1", "--data", dir)
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	return &traced{p, strings.TrimSpace(string(token))}
}

func (x *traced) call(method, path, body, parent string) string {
	x.t.Helper()
	r, err := http.NewRequestWithContext(x.t.Context(), method, x.url+path, strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+x.token)
	if parent != "" {
		r.Header.Set("traceparent", parent)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		x.t.Fatal(err, x.log.String())
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		x.t.Fatal(method, path, resp.Status, string(b), err)
	}
	return string(b)
}

const (
	workspacePath = "/regions/fake-1/providers/seca.workspace/v1/tenants/demo/workspaces/w"
	volumePath    = "/regions/fake-1/providers/seca.storage/v1/tenants/demo/workspaces/w/block-storages/"
)

func (x *traced) volume(name, parent string) {
	x.t.Helper()
	x.call("PUT", volumePath+name, `{"spec":`+benchVolume+`}`, parent)
	x.await("the volume to be active", func() bool { return strings.Contains(x.call("GET", volumePath+name, "", ""), `"state":"active"`) })
}

func (x *traced) await(what string, yes func() bool) {
	x.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !yes(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			x.t.Fatal("waited in vain for ", what)
		}
	}
}

// TestOneTraceFromTheCustomerToThePlatformAndBack follows a customer's PUT.
func TestOneTraceFromTheCustomerToThePlatformAndBack(t *testing.T) {
	s := &sink{}
	to := httptest.NewServer(s)
	defer to.Close()
	x := startTraced(t, to.URL)
	x.call("PUT", workspacePath, `{"spec":{}}`, "")
	const seen, unseen = "4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4737"
	x.volume("seen", "00-"+seen+"-00f067aa0ba902b7-01")
	x.volume("unseen", "00-"+unseen+"-00f067aa0ba902b7-00")
	const end = "4bf92f3577b34da6a3ce929d0e0e4738"
	x.call("DELETE", volumePath+"seen", "", "00-"+end+"-00f067aa0ba902b7-01")
	x.await("the volume to go", func() bool {
		return !strings.Contains(x.call("GET", strings.TrimSuffix(volumePath, "/"), "", ""), `"seen"`)
	})
	x.stop()
	if len(s.bad) > 0 {
		t.Error("not OTLP: ", s.bad)
	}
	if n := len(s.of(unseen)); n > 0 {
		t.Errorf("%d spans of a trace that its client does not record", n)
	}
	const route = " /regions/{region}/providers/seca.storage/v1/tenants/{tenant}/workspaces/{workspace}/block-storages/{name}"
	s.want(t, seen,
		"the client → PUT"+route,
		"PUT"+route+" → db transaction",
		"db transaction → db query",
		"PUT"+route+" → ensure block-storage",
		"ensure block-storage → journal",
		"ensure block-storage → platform ensure",
		"PUT"+route+" → observe active",
	)
	s.want(t, end,
		"the client → DELETE"+route,
		"DELETE"+route+" → delete block-storage",
		"delete block-storage → platform delete",
		"DELETE"+route+" → look block-storage",
		"look block-storage → platform list",
		"DELETE"+route+" → observe deleting",
	)
}

// want looks for spans of a trace, each below its parent.
func (s *sink) want(t *testing.T, trace string, wants ...string) {
	t.Helper()
	name := map[string]string{"00f067aa0ba902b7": "the client"}
	spans := s.of(trace)
	for _, span := range spans {
		name[hex.EncodeToString(span.SpanId)] = span.Name
	}
	got := map[string]bool{}
	for _, span := range spans {
		got[name[hex.EncodeToString(span.ParentSpanId)]+" → "+span.Name] = true
	}
	for _, w := range wants {
		if !got[w] {
			t.Errorf("no %s; there is %s", w, slices.Sorted(maps.Keys(got)))
		}
	}
}

// TestNoCollector: one that is away costs warnings and nothing else.
func TestNoCollector(t *testing.T) {
	x := startTraced(t, "http://127.0.0.1:1")
	x.call("PUT", workspacePath, `{"spec":{}}`, "")
	x.volume("v", "")
	x.stop()
	if !strings.Contains(x.log.String(), "traces not sent") {
		t.Error("nobody is told:\n", x.log.String())
	}
}

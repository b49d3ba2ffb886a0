package telemetry

import (
	"math"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// TestSamplesReadWhatIsWritten reads all that this process shows.
func TestSamplesReadWhatIsWritten(t *testing.T) {
	m := New(`a "version"\with
all`)
	r := NewRequests(m, nil)
	for _, s := range []int{200, 200, 404} {
		r.unrouted.note(s, 0)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(m.Gatherer(), promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	all, err := ReadSamples(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := all.Of("kontor_build_info").Values("version"); len(got) != 1 || got[0] != "a \"version\"\\with\nall" {
		t.Errorf("version %q", got)
	}
	if n := all.Of("kontor_http_requests_total", "code", "200").Sum(); n != 2 {
		t.Errorf("%v requests", n)
	}
	if n := all.Of("go_goroutines").Sum(); n < 1 {
		t.Errorf("%v goroutines", n)
	}
}

func samples(t *testing.T, text string) Samples {
	t.Helper()
	all, err := ReadSamples(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestQuantile(t *testing.T) {
	const before = `h_bucket{le="1"} 10
h_bucket{le="2"} 10
h_bucket{le="+Inf"} 10
`
	const after = `h_bucket{le="1"} 10
h_bucket{le="2"} 20
h_bucket{le="+Inf"} 21
`
	grown := samples(t, after).Since(samples(t, before)).Of("h_bucket")
	for q, want := range map[float64]float64{0.5: 1.55, 1: 2} {
		if got := grown.Quantile(q); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v: %v, want %v", q, got, want)
		}
	}
	if got := samples(t, after).Since(samples(t, after)).Quantile(.5); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
	if got := samples(t, before).Since(samples(t, after)).Of("h_bucket", "le", "2").Sum(); got != 10 { // it began anew
		t.Errorf("after a restart: %v", got)
	}
}

func TestBrokenSamples(t *testing.T) {
	for _, text := range []string{"x", "x{", `x{a="b`, "x nothing", `x{a=b} 1`} {
		if _, err := ReadSamples(strings.NewReader(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

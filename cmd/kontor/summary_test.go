package main

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/telemetry"
)

const (
	earlier = `kontor_build_info{version="1"} 1
kontor_http_requests_total{code="200",method="GET",route="/x"} 10
kontor_http_request_duration_seconds_count{method="GET",route="/x"} 10
kontor_http_request_duration_seconds_bucket{method="GET",route="/x",le="0.1"} 10
kontor_http_request_duration_seconds_bucket{method="GET",route="/x",le="+Inf"} 10
`
	afterwards = `kontor_build_info{version="1"} 1
kontor_http_requests_total{code="200",method="GET",route="/x"} 28
kontor_http_requests_total{code="503",method="GET",route="/x"} 2
kontor_http_request_duration_seconds_count{method="GET",route="/x"} 30
kontor_http_request_duration_seconds_bucket{method="GET",route="/x",le="0.1"} 30
kontor_http_request_duration_seconds_bucket{method="GET",route="/x",le="+Inf"} 30
kontor_region_alive{region="here"} 0
kontor_resources{kind="nic",state="active"} 3
kontor_resources{kind="nic",state="error"} 1
`
)

func TestSummaryOfTwoLooks(t *testing.T) {
	read := func(text string) telemetry.Samples {
		s, err := telemetry.ReadSamples(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	now := read(afterwards)
	s := summarize(now, now.Since(read(earlier)), 2*time.Second)
	if s.Requests != 10 || s.Failures != 1 || len(s.Routes) != 1 || s.Routes[0].Rate != 10 || *s.Routes[0].P50 != .05 {
		t.Errorf("%+v", s)
	}
	if s.Uptime != nil { // a hardened process does not know it
		t.Errorf("up %v", *s.Uptime)
	}
	var b strings.Builder
	if err := s.write(&b, math.MaxInt); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1 processes, up -,", "requests 10.0/s, failed 1.0/s", "here     NO", "nic         4", "active 3, error 1", "GET /x"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	if err := s.write(&b, 2); err != nil || strings.Count(b.String(), "\n") != 2 {
		t.Errorf("%v, two lines of a small terminal:\n%s", err, b.String())
	}
}

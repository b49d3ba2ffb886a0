package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kontor-cloud/kontor/telemetry"
)

// A summary is one look at what goes on. Times are in seconds, rates per second.
type summary struct {
	Versions  []string    `json:"versions"`
	Processes int         `json:"processes"`
	Uptime    *float64    `json:"uptime"` // of the youngest process; a hardened one may not know it
	CPU       float64     `json:"cpu"`    // cores
	Memory    float64     `json:"memory"` // bytes, resident
	InFlight  float64     `json:"inFlight"`
	Requests  float64     `json:"requests"`
	Failures  float64     `json:"failures"` // answers from 500 on
	Limited   float64     `json:"limited"`  // answers 429
	Writes    float64     `json:"writes"`   // transactions
	Retries   float64     `json:"retries"`
	Routes    []topRoute  `json:"routes"`
	Regions   []topRegion `json:"regions"`
	Resources []topKind   `json:"resources"`
}

type topRoute struct {
	Route  string   `json:"route"`
	Method string   `json:"method"`
	Rate   float64  `json:"rate"`
	P50    *float64 `json:"p50"`
	P95    *float64 `json:"p95"`
}

// A topRegion is what exchange and agent say of a region, as far as they were asked.
type topRegion struct {
	Region    string   `json:"region"`
	Alive     *bool    `json:"alive,omitempty"`
	Trouble   *bool    `json:"trouble,omitempty"`
	Lag       *float64 `json:"lag,omitempty"`
	Orphans   *float64 `json:"orphans,omitempty"`
	Connected *bool    `json:"connected,omitempty"`
	Breaker   *bool    `json:"breakerOpen,omitempty"`
	Calls     *float64 `json:"calls,omitempty"`
	Failed    *float64 `json:"failed,omitempty"`
	P95       *float64 `json:"p95,omitempty"`
	Queue     *float64 `json:"queue,omitempty"`
	LookAge   *float64 `json:"lookAge,omitempty"`
}

type topKind struct {
	Kind   string             `json:"kind"`
	States map[string]float64 `json:"states"`
}

func summarize(now, grown telemetry.Samples, took time.Duration) summary {
	rate := func(s telemetry.Samples) float64 { return s.Sum() / took.Seconds() }
	requests := grown.Of("kontor_http_requests_total")
	var uptime *float64
	for _, s := range now.Of("process_start_time_seconds") {
		up := time.Since(time.UnixMilli(int64(1e3 * s.Value))).Seconds()
		if uptime == nil || up < *uptime {
			uptime = &up
		}
	}
	return summary{
		Versions: now.Of("kontor_build_info").Values("version"), Processes: len(now.Of("kontor_build_info")),
		Uptime: uptime, CPU: rate(grown.Of("process_cpu_seconds_total")),
		Memory: now.Of("process_resident_memory_bytes").Sum(), InFlight: now.Of("kontor_http_requests_in_flight").Sum(),
		Requests: rate(requests), Failures: rate(where(requests, "code", func(c string) bool { return c >= "500" })),
		Limited: rate(requests.Of("kontor_http_requests_total", "code", "429")),
		Writes:  rate(grown.Of("kontor_db_transactions_total")), Retries: rate(grown.Of("kontor_db_retries_total")),
		Routes: topRoutes(grown, rate), Regions: topRegions(now, grown, rate), Resources: topKinds(now),
	}
}

func where(all telemetry.Samples, label string, fits func(string) bool) telemetry.Samples {
	return slices.DeleteFunc(slices.Clone(all), func(s telemetry.Sample) bool { return !fits(s.Labels[label]) })
}

// topRoutes are those that were asked for, the busiest first.
func topRoutes(grown telemetry.Samples, rate func(telemetry.Samples) float64) []topRoute {
	all := []topRoute{}
	for _, s := range grown.Of("kontor_http_request_duration_seconds_count") {
		if s.Value == 0 {
			continue
		}
		route, method := s.Labels["route"], s.Labels["method"]
		buckets := grown.Of("kontor_http_request_duration_seconds_bucket", "route", route, "method", method)
		all = append(all, topRoute{route, method, rate(telemetry.Samples{s}), number(buckets.Quantile(.5)), number(buckets.Quantile(.95))})
	}
	slices.SortFunc(all, func(x, y topRoute) int {
		return cmp.Or(cmp.Compare(y.Rate, x.Rate), cmp.Compare(x.Route, y.Route), cmp.Compare(x.Method, y.Method))
	})
	return all
}

func topRegions(now, grown telemetry.Samples, rate func(telemetry.Samples) float64) []topRegion {
	names := map[string]bool{}
	for _, metric := range []string{"kontor_region_alive", "kontor_agent_connected"} {
		for _, name := range now.Of(metric).Values("region") {
			names[name] = true
		}
	}
	all := []topRegion{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		r := topRegion{Region: name}
		here := func(metric string) telemetry.Samples { return now.Of(metric, "region", name) }
		for to, metric := range map[**bool]string{
			&r.Alive: "kontor_region_alive", &r.Trouble: "kontor_region_trouble",
			&r.Connected: "kontor_agent_connected", &r.Breaker: "kontor_agent_breaker_open",
		} {
			if s := here(metric); len(s) > 0 {
				yes := slices.ContainsFunc(s, func(s telemetry.Sample) bool { return s.Value > 0 })
				*to = &yes
			}
		}
		for to, metric := range map[**float64]string{
			&r.Lag: "kontor_feed_lag_seconds", &r.Orphans: "kontor_orphans",
			&r.Queue: "kontor_agent_queue_length", &r.LookAge: "kontor_agent_look_age_seconds",
		} {
			if s := here(metric); len(s) > 0 {
				*to = number(slices.MaxFunc(s, func(x, y telemetry.Sample) int { return cmp.Compare(x.Value, y.Value) }).Value)
			}
		}
		if r.Connected != nil {
			calls := grown.Of("kontor_driver_call_duration_seconds_count", "region", name)
			failed := where(calls, "outcome", func(o string) bool { return o != "ok" })
			r.Calls, r.Failed = number(rate(calls)), number(rate(failed))
			r.P95 = number(grown.Of("kontor_driver_call_duration_seconds_bucket", "region", name).Quantile(.95))
		}
		all = append(all, r)
	}
	return all
}

// topKinds are the resources of the exchange or, where only agents were asked, theirs.
func topKinds(now telemetry.Samples) []topKind {
	found := now.Of("kontor_resources")
	if len(found) == 0 {
		found = now.Of("kontor_agent_resources")
	}
	all := []topKind{}
	for _, kind := range found.Values("kind") {
		k := topKind{kind, map[string]float64{}}
		for _, s := range found {
			if s.Labels["kind"] == kind {
				k.States[s.Labels["state"]] = max(k.States[s.Labels["state"]], s.Value)
			}
		}
		all = append(all, k)
	}
	return all
}

// number is nil for what is none, as JSON has no NaN.
func number(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

// write shows a summary in at most so many lines.
func (s summary) write(w io.Writer, height int) error {
	var b strings.Builder
	up := "-"
	if s.Uptime != nil {
		up = age(time.Now().Add(-time.Duration(*s.Uptime*float64(time.Second))), time.Now())
	}
	fmt.Fprintf(&b, "kontor %s, %d processes, up %s, %.2f cores, %.0f MB\n",
		clean(strings.Join(s.Versions, " ")), s.Processes, up, s.CPU, s.Memory/1e6)
	fmt.Fprintf(&b, "requests %.1f/s, failed %.1f/s, limited %.1f/s, in flight %.0f; writes %.1f/s, retried %.1f/s\n\n",
		s.Requests, s.Failures, s.Limited, s.InFlight, s.Writes, s.Retries)
	t := tabwriter.NewWriter(&b, 0, 8, 3, ' ', 0)
	if len(s.Regions) > 0 {
		fmt.Fprintln(t, "REGION\tALIVE\tTROUBLE\tLAG\tORPHANS\tCONNECTED\tBREAKER\tCALLS/S\tFAILED/S\tP95\tQUEUE\tLOOKED")
	}
	for _, r := range s.Regions {
		fmt.Fprintln(t, strings.Join([]string{
			clean(r.Region), yesNo(r.Alive, "yes", "NO"), yesNo(r.Trouble, "YES", "no"), took(r.Lag), digits(r.Orphans), yesNo(r.Connected, "yes", "NO"),
			yesNo(r.Breaker, "OPEN", "closed"), tenth(r.Calls), tenth(r.Failed), took(r.P95), digits(r.Queue), took(r.LookAge),
		}, "\t"))
	}
	if len(s.Resources) > 0 {
		fmt.Fprintln(t, "\nRESOURCES\tTOTAL\tSTATES")
	}
	for _, k := range s.Resources {
		sum, parts := 0.0, []string{}
		for _, state := range slices.Sorted(maps.Keys(k.States)) {
			sum += k.States[state]
			parts = append(parts, fmt.Sprintf("%s %.0f", cmp.Or(state, "new"), k.States[state]))
		}
		fmt.Fprintf(t, "%s\t%.0f\t%s\n", clean(k.Kind), sum, clean(strings.Join(parts, ", ")))
	}
	if len(s.Routes) > 0 {
		fmt.Fprintln(t, "\nROUTE\tRATE/S\tP50\tP95")
	}
	for _, r := range s.Routes {
		fmt.Fprintf(t, "%s\t%.1f\t%s\t%s\n", clean(r.Method+" "+r.Route), r.Rate, took(r.P50), took(r.P95))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	lines := strings.SplitAfter(b.String(), "\n")
	_, err := io.WriteString(w, strings.Join(lines[:min(len(lines), height)], ""))
	return err
}

func yesNo(b *bool, yes, no string) string {
	switch {
	case b == nil:
		return "-"
	case *b:
		return yes
	}
	return no
}

func digits(v *float64) string {
	if v == nil {
		return "-"
	}
	return strconv.FormatFloat(*v, 'f', 0, 64)
}

func tenth(v *float64) string {
	if v == nil {
		return "-"
	}
	return strconv.FormatFloat(*v, 'f', 1, 64)
}

// took words a time in seconds.
func took(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v < 1:
		return fmt.Sprintf("%.1f ms", *v*1e3)
	}
	return fmt.Sprintf("%.1f s", *v)
}

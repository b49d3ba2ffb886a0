package main

import (
	"context"
	"time"

	"github.com/kontor-cloud/kontor/job"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/telemetry"
)

// metrics is what an exchange shows of itself beside its requests.
func (x *exchange) metrics() []telemetry.Row {
	var all []telemetry.Row
	for _, rows := range [][]telemetry.Row{x.databaseRows(), x.regionRows(), x.resourceRows(), x.jobRows(), x.clientRows()} {
		all = append(all, rows...)
	}
	return all
}

// A census is what costs a query to know.
type census struct {
	resources []resource.Count
	orphans   map[string]int
	jobs      []job.Outcome
	size      int64 // of the database, in bytes
}

func (x *exchange) census(ctx context.Context) (c census, err error) {
	if c.resources, err = x.Resources.Census(ctx); err != nil {
		return c, err
	}
	if c.orphans, err = x.Providers.CountOrphans(ctx); err != nil {
		return c, err
	}
	if c.jobs, err = job.Outcomes(ctx, x.db); err != nil {
		return c, err
	}
	c.size, err = x.db.Size(ctx)
	return c, err
}

func counter(name, help string, read func() float64) telemetry.Row {
	return telemetry.Row{Name: name, Help: help, Type: telemetry.Counter, Read: telemetry.One(read)}
}

func gauge(name, help string, read func() float64) telemetry.Row {
	return telemetry.Row{Name: name, Help: help, Type: telemetry.Gauge, Read: telemetry.One(read)}
}

func (x *exchange) databaseRows() []telemetry.Row {
	stats := x.db.Stats
	rows := []telemetry.Row{
		counter("kontor_db_statements_total", "Statements executed, transaction control left out.",
			func() float64 { return float64(stats().Statements) }),
		{
			Name: "kontor_db_transactions_total", Help: "Write transactions, by outcome: committed or failed.", Labels: []string{"outcome"},
			Read: func(put telemetry.Put) {
				s := stats()
				put(float64(s.Committed), "committed")
				put(float64(s.Failed), "failed")
			},
		},
		counter("kontor_db_retries_total", "Write transactions run again after a clash with another writer.",
			func() float64 { return float64(stats().Retried) }),
		{
			Name: "kontor_db_connections", Help: "Connections of the pool, by state: idle or used.", Type: telemetry.Gauge, Labels: []string{"state"},
			Read: func(put telemetry.Put) {
				p := stats().Pool
				put(float64(p.Idle), "idle")
				put(float64(p.InUse), "used")
			},
		},
		gauge("kontor_db_connections_max", "Connections that the pool may have.",
			func() float64 { return float64(stats().Pool.MaxOpenConnections) }),
		counter("kontor_db_connection_waits_total", "Times that somebody waited for a connection.",
			func() float64 { return float64(stats().Pool.WaitCount) }),
		counter("kontor_db_connection_wait_seconds_total", "Time that was spent waiting for connections.",
			func() float64 { return stats().Pool.WaitDuration.Seconds() }),
		gauge("kontor_peers", "Other processes of this exchange that have been heard of lately.",
			func() float64 { return float64(x.db.Bus().Peers()) }),
	}
	if !x.db.Postgres() {
		rows = append(rows, telemetry.Row{
			Name: "kontor_db_group_commit_size", Help: "Transactions that shared a commit, and so one wait for the disk.",
			Sizes: func() telemetry.Sizes {
				g := stats().Groups
				s := telemetry.Sizes{Count: uint64(g.Count), Sum: float64(g.Parts), Buckets: map[float64]uint64{}} //nolint:gosec // they only grow
				sum := uint64(0)
				for i, n := range g.UpTo {
					sum += uint64(n) //nolint:gosec // it only grows
					s.Buckets[float64(int(1)<<i)] = sum
				}
				return s
			},
		})
	}
	return rows
}

func (x *exchange) regionRows() []telemetry.Row {
	return []telemetry.Row{
		{
			Name: "kontor_regions", Help: "Regions, by how their agents are: alive, silent or unknown.", Type: telemetry.Gauge, Labels: []string{"liveness"},
			Read: func(put telemetry.Put) {
				count := map[provider.State]int{provider.Alive: 0, provider.Silent: 0, provider.Unknown: 0}
				for _, r := range x.Providers.Snapshot().All() {
					state, _ := x.Providers.Liveness(r.Name)
					count[state]++
				}
				for state, n := range count {
					put(float64(n), string(state))
				}
			},
		},
		{
			Name: "kontor_region_alive", Help: "1 if the agent of a region has been heard of in the last 10 s.", Type: telemetry.Gauge, Labels: []string{"region"},
			Read: func(put telemetry.Put) {
				for _, r := range x.Providers.Snapshot().All() {
					state, _ := x.Providers.Liveness(r.Name)
					put(truth(state == provider.Alive), r.Name)
				}
			},
		},
		{
			Name: "kontor_region_trouble", Help: "1 if the agent of a region says that its platform does not answer.", Type: telemetry.Gauge, Labels: []string{"region"},
			Read: func(put telemetry.Put) {
				for _, r := range x.Providers.Snapshot().All() {
					put(truth(r.Trouble != ""), r.Name)
				}
			},
		},
		{
			Name: "kontor_feed_lag_seconds", Help: "How long the oldest change waits that the agent of a region has not fetched, where this process is asked for it.",
			Type: telemetry.Gauge, Labels: []string{"region"},
			Read: func(put telemetry.Put) {
				for region, lag := range x.Resources.Lag(provider.UnknownAfter) {
					put(lag.Seconds(), region)
				}
			},
		},
	}
}

func (x *exchange) resourceRows() []telemetry.Row {
	return []telemetry.Row{
		{
			Name: "kontor_resources", Help: "Live resources of the whole exchange, by kind and state, as last counted.", Type: telemetry.Gauge, Labels: []string{"kind", "state"},
			Read: func(put telemetry.Put) {
				c, _ := x.survey.Read()
				for _, n := range c.resources {
					put(float64(n.N), n.Kind, n.State)
				}
			},
		},
		gauge("kontor_resources_counted_timestamp_seconds", "When resources, orphans and jobs were last counted; that is done for at most a hundredth of the time.",
			func() float64 { _, at := x.survey.Read(); return moment(at) }),
		gauge("kontor_db_size_bytes", "About what the database takes on its disk.",
			func() float64 { c, _ := x.survey.Read(); return float64(c.size) }),
		{
			Name: "kontor_orphans", Help: "Things on the platform of a region that carry the exchange's id and that it does not know.", Type: telemetry.Gauge, Labels: []string{"region"},
			Read: func(put telemetry.Put) {
				c, _ := x.survey.Read()
				for _, r := range x.Providers.Snapshot().All() {
					put(float64(c.orphans[r.Name]), r.Name)
				}
			},
		},
		{
			Name: "kontor_observations_total", Help: "Observations taken from agents, by outcome: news, known or stranger.", Labels: []string{"outcome"},
			Read: func(put telemetry.Put) {
				s := x.Resources.Stats()
				put(float64(s.News), "news")
				put(float64(s.Known), "known")
				put(float64(s.Strangers), "stranger")
			},
		},
	}
}

// jobRows are of the whole exchange: whichever process led did the work.
func (x *exchange) jobRows() []telemetry.Row {
	each := func(read func(job.Outcome) float64) func(telemetry.Put) {
		return func(put telemetry.Put) {
			c, _ := x.survey.Read()
			for _, o := range c.jobs {
				put(read(o), o.Name)
			}
		}
	}
	name := []string{"name"} // "job" is a label of Prometheus itself
	return []telemetry.Row{
		{
			Name: "kontor_job_failures", Help: "Runs of background work in a row that failed.", Type: telemetry.Gauge, Labels: name,
			Read: each(func(o job.Outcome) float64 { return float64(o.Failures) }),
		},
		{
			Name: "kontor_job_last_end_timestamp_seconds", Help: "When background work ended last, well or not.", Type: telemetry.Gauge, Labels: name,
			Read: each(func(o job.Outcome) float64 { return moment(o.Ended) }),
		},
		{
			Name: "kontor_job_last_duration_seconds", Help: "How long the last run of background work took.", Type: telemetry.Gauge, Labels: name,
			Read: each(func(o job.Outcome) float64 { return o.Ended.Sub(o.Began).Seconds() }),
		},
	}
}

func (x *exchange) clientRows() []telemetry.Row {
	return []telemetry.Row{
		gauge("kontor_http_requests_waiting", "Requests of clients that wait for their turn.",
			func() float64 { return float64(x.Waiting()) }),
		gauge("kontor_connections", "Connections of clients and agents.",
			func() float64 { return float64(x.door.Open()) }),
		counter("kontor_connections_refused_total", "Connections that were closed as their address, or all together, had as many as they may have.",
			func() float64 { return float64(x.door.Refused()) }),
		gauge("kontor_certificate_expiry_timestamp_seconds", "When the certificate that clients are shown ends; 0 without TLS.", func() float64 {
			if x.shown == nil {
				return 0
			}
			return moment(x.shown.Leaf().NotAfter)
		}),
	}
}

// moment is a time as Prometheus has it; 0 is never.
func moment(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/money"
)

func TestDriftIsShownWithItsPlan(t *testing.T) {
	eur := func(nano int64) *money.Amount { return &money.Amount{Nano: nano, Currency: money.EUR} }
	d := &market.Drift{
		Decision: "d-1", Workspaces: []string{"eu/shop"},
		Reasons: []market.Reason{{Group: "main", Region: "fake-1", Provider: "rhone", Dimension: "evidence", Subject: "ours: region.pue", Needed: "a value", Had: "1.2, expired"}},
		Plan: market.Plan{Hourly: *eur(40_000_000), After: eur(50_000_000), Once: eur(800_000_000), Moves: []market.Move{{
			Group: "main", Copy: 2, From: "fake-1", To: "fake-2", Provider: "spree", Before: *eur(40_000_000), After: *eur(50_000_000), GiB: 100, Egress: eur(800_000_000),
		}}},
	}
	shown := func() string {
		var out bytes.Buffer
		if err := (&app{stdout: &out}).showDrift("o-1", d); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if diff := cmp.Diff(`o-1 is not any more as decision d-1 has it
affected: eu/shop

GROUP   REGION   PROVIDER   DIMENSION   SUBJECT            NEEDED    HAS
main    fake-1   rhone      evidence    ours: region.pue   a value   1.2, expired

GROUP    FROM     TO       PROVIDER   GIB   EUR/MONTH   THEN    EGRESS EUR
main-2   fake-1   fake-2   spree      100   29.20       36.50   0.80

this would have to move: +7.30 EUR a month, 0.80 EUR once
`, shown()); diff != "" {
		t.Error(diff)
	}
	b, err := json.Marshal(map[string]any{"status": d})
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	var line []string
	for _, c := range driftColumns {
		line = append(line, c.cell(doc))
	}
	if diff := cmp.Diff([]string{"", "fake-1 to fake-2", "+7.30", "0.80", "eu/shop"}, line); diff != "" { // the exchange sends the summary
		t.Error(diff)
	}
	d.Plan = market.Plan{Hourly: *eur(40_000_000)}
	if got := shown(); !bytes.Contains([]byte(got), []byte("nothing has to move; it costs 29.20 EUR a month now\n")) {
		t.Error(got)
	}
	d.Plan.Problem = "no region fits: 2 by rule"
	if got := shown(); !bytes.Contains([]byte(got), []byte("there is no place: no region fits: 2 by rule\n")) {
		t.Error(got)
	}
}

package doctor

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/fault"
)

// kept is a report of a real run, as it is written.
func kept(t testing.TB, r *Report) []byte {
	t.Helper()
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func TestAReportIsReadAsItWasWritten(t *testing.T) {
	r := examine(t, fake.New(fake.Config{}))
	got, err := Read("report.json", kept(t, r), time.Now())
	if err != nil || len(got.Measured) < 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	if d := cmp.Diff(r, got); d != "" {
		t.Error(d)
	}
}

// TestReportsThatProveNothingAreRefused changes one thing of a good report each, and wants the mistake pointed at.
func TestReportsThatProveNothingAreRefused(t *testing.T) {
	good := kept(t, examine(t, fake.New(fake.Config{})))
	now := time.Now()
	for _, c := range []struct {
		name, pointer string
		now           time.Time
		change        func(*Report)
	}{
		{"a check failed", "/checks/1/status", now, func(r *Report) { r.Checks[1].Status = Fail }},
		{"a status of its own", "/checks/1/status", now, func(r *Report) { r.Checks[1].Status = "fine" }},
		{"no checks", "/checks", now, func(r *Report) { r.Checks = nil }},
		{"nothing measured", "/measured", now, func(r *Report) { r.Measured = nil }},
		{"a name of its own", "/measured/0/name", now, func(r *Report) { r.Measured[0].Name = "colour" }},
		{"a name twice", "/measured/1/name", now, func(r *Report) { r.Measured[1] = r.Measured[0] }},
		{"another unit", "/measured/0/unit", now, func(r *Report) { r.Measured[0].Unit = "s" }},
		{"less than nothing", "/measured/0/value", now, func(r *Report) { r.Measured[0].Value = -1 }},
		{"too much", "/measured/0/value", now, func(r *Report) { r.Measured[0].Value = 1e13 }},
		{"measured before it began", "/measured/0/at", now, func(r *Report) { r.Measured[0].At = r.Began.Add(-time.Second) }},
		{"ended before it began", "/ended", now, func(r *Report) { r.Ended = r.Began.Add(-time.Second); r.Measured = r.Measured[:0] }},
		{"of nothing", "/driver", now, func(r *Report) { r.Driver = "" }},
		{"too old", "/ended", now.Add(maxAge + time.Minute), func(*Report) {}},
		{"of the future", "/ended", now.Add(-maxSkew - time.Minute), func(*Report) {}},
	} {
		var r Report
		if err := json.Unmarshal(good, &r); err != nil {
			t.Fatal(err)
		}
		c.change(&r)
		_, err := Read("report.json", kept(t, &r), c.now)
		found := false
		for _, s := range fault.SourcesOf(err) {
			found = found || s.Pointer == c.pointer
		}
		if !found || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "report.json:") {
			t.Errorf("%s: %v points at %v, want %s", c.name, err, fault.SourcesOf(err), c.pointer)
		}
	}
	for name, text := range map[string]string{
		"a member of its own": strings.Replace(string(good), `"driver"`, `"colour": "red", "driver"`, 1),
		"a member twice":      strings.Replace(string(good), `"driver"`, `"driver": "qemu", "driver"`, 1),
		"no number":           strings.Replace(string(good), `"value": `, `"value": .inf, "unit": `, 1),
		"something after it":  string(good) + "---\n{}",
		"cut off":             string(good[:len(good)/2]),
		"nothing":             "",
		"too much":            string(good) + strings.Repeat(" ", maxReport),
	} {
		if _, err := Read("report.json", []byte(text), now); err == nil || fault.KindOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRead holds that whatever is taken as evidence says no more than what a run can have found.
func FuzzRead(f *testing.F) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	r := &Report{
		Driver: "fake", Platform: "fake 1", Region: "probe-x", Began: now.Add(-time.Minute), Ended: now,
		Checks:   []Check{{Name: "access", Status: OK, Detail: "driver fake is connected", Seconds: 0.1}, {Name: "probe", Status: Skip}},
		Measured: []Measurement{{APILatency, "ms", 1.5, now.Add(-time.Second)}, {VCPU, "loops/s", 2e5, now.Add(-time.Second)}},
	}
	f.Add(kept(f, r))
	f.Add([]byte(strings.ReplaceAll(string(kept(f, r)), "1.5", ".nan")))
	f.Add([]byte("driver: fake\nmeasured: [{name: rtt, value: 1e999}]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Read("f", b, now)
		if err != nil {
			if fault.KindOf(err) == "" {
				t.Fatalf("%v has no kind", err)
			}
			return
		}
		if got.Failed() || len(got.Measured) == 0 || now.Sub(got.Ended) > maxAge || got.Ended.Sub(now) > maxSkew {
			t.Fatalf("it was taken: %+v", got)
		}
		for _, m := range got.Measured {
			if Units[m.Name] != m.Unit || m.Value < 0 || m.Value > maxValue || math.IsNaN(m.Value) {
				t.Fatalf("it was taken: %+v", m)
			}
		}
		again, err := Read("f", kept(t, got), now)
		if err != nil {
			t.Fatalf("what was read is not taken again: %v", err)
		}
		if d := cmp.Diff(got, again); d != "" {
			t.Fatal(d)
		}
	})
}

package doctor

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/document"
	"github.com/kontor-cloud/kontor/fault"
)

// What a report that is to be evidence must keep to.
const (
	maxReport = 256 << 10 // bytes
	maxChecks = 200
	maxWord   = 4096 // bytes of any text in it
	maxValue  = 1e12

	maxAge  = 7 * 24 * time.Hour // a platform of last week may be another one
	maxRun  = 24 * time.Hour
	maxSkew = 5 * time.Minute // between the clocks of who measures and of who reads
)

// Read reads a report as evidence, at a moment: what kontor doctor --json has written, with nothing that it would not write,
// of a platform on which no check failed, and fresh. Name is that of the file, for messages, whose
// sources point into the report.
func Read(name string, text []byte, now time.Time) (*Report, error) {
	if len(text) > maxReport {
		return nil, fault.TooLarge.Errorf("%s has more than %d KiB, which no report has", name, maxReport>>10)
	}
	var r Report
	doc, err := document.Decode(name, text, &r)
	if err != nil {
		return nil, err
	}
	var l fault.List
	r.checkTime(&l, now)
	r.checkChecks(&l)
	r.checkMeasured(&l)
	return &r, doc.Err(&l)
}

func (r *Report) checkTime(l *fault.List, now time.Time) {
	for _, word := range []struct{ at, text string }{{"/driver", r.Driver}, {"/region", r.Region}} {
		if word.text == "" || len(word.text) > maxWord {
			l.Add(word.at, "must be 1 to %d bytes", maxWord)
		}
	}
	switch {
	case r.Ended.Before(r.Began) || r.Ended.Sub(r.Began) > maxRun:
		l.Add("/ended", "must be after it began, and at most %s", maxRun)
	case r.Ended.After(now.Add(maxSkew)):
		l.Add("/ended", "must not be in the future: set the clocks")
	case r.Ended.Before(now.Add(-maxAge)):
		l.Add("/ended", "must not be longer ago than %d days: measure again", maxAge/(24*time.Hour))
	}
}

func (r *Report) checkChecks(l *fault.List) {
	if len(r.Checks) == 0 || len(r.Checks) > maxChecks {
		l.Add("/checks", "must be 1 to %d", maxChecks)
		return
	}
	for i, c := range r.Checks {
		at := fmt.Sprintf("/checks/%d", i)
		if c.Name == "" || len(c.Name) > maxWord {
			l.Add(at+"/name", "must be 1 to %d bytes", maxWord)
		}
		switch c.Status {
		case OK, Warn, Skip:
		case Fail:
			l.Add(at+"/status", "must not be fail: repair %q and measure again", c.Name)
		default:
			l.Add(at+"/status", "must be ok, warn, fail or skip")
		}
	}
}

func (r *Report) checkMeasured(l *fault.List) {
	if len(r.Measured) == 0 {
		l.Add("/measured", "must not be empty: nothing was measured")
	}
	seen := map[string]bool{}
	for i, m := range r.Measured {
		at := fmt.Sprintf("/measured/%d", i)
		unit, known := Units[m.Name]
		switch {
		case !known:
			l.Add(at+"/name", "must be one of %s", strings.Join(Names(), ", "))
		case seen[m.Name]:
			l.Add(at+"/name", "must not be %s twice", m.Name)
		case m.Unit != unit:
			l.Add(at+"/unit", "of %s must be %s", m.Name, unit)
		}
		seen[m.Name] = true
		if m.Value < 0 || m.Value > maxValue || math.IsNaN(m.Value) {
			l.Add(at+"/value", "must be 0 to %g", maxValue)
		}
		if m.At.Before(r.Began) || m.At.After(r.Ended) {
			l.Add(at+"/at", "must be between the beginning and the end of the report")
		}
	}
}

// Names lists all measurements.
func Names() []string {
	var all []string
	for name := range Units {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

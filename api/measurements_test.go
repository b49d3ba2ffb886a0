package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/doctor"
	"github.com/kontor-cloud/kontor/participant"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/seca"
)

// report is one of the doctor's that has measured everything, 1.5 each.
func report(driver string, ended time.Time) *doctor.Report {
	r := &doctor.Report{
		Driver: driver, Region: "probe-x", Began: ended.Add(-time.Minute).UTC(), Ended: ended.UTC(),
		Checks: []doctor.Check{{Name: "access", Status: doctor.OK}, {Name: "measure", Status: doctor.Warn}},
	}
	for _, name := range doctor.Names() {
		r.Measured = append(r.Measured, doctor.Measurement{Name: name, Unit: doctor.Units[name], Value: 1.5, At: r.Ended})
	}
	return r
}

// measuring1 is a request that makes a report evidence.
func measuring1(region string, r *doctor.Report) string {
	return body(measuring{Region: region, Report: []byte(body(r))})
}

// TestEachMeasurementIsAnAttribute holds the table against the doctor and the vocabulary.
func TestEachMeasurementIsAnAttribute(t *testing.T) {
	for _, name := range doctor.Names() {
		at := slices.IndexFunc(policy.Vocabulary(), func(a policy.Attribute) bool { return a.Path == measuredAs[name] })
		if at < 0 {
			t.Errorf("%s is measured and %q is not in the vocabulary", name, measuredAs[name])
		} else if a := policy.Vocabulary()[at]; a.Usually != policy.Measured || a.Subject != policy.OfRegion || a.Type != "double" {
			t.Errorf("%s is %+v", name, a)
		}
	}
	if len(measuredAs) != len(doctor.Units) {
		t.Errorf("%d attributes of %d measurements", len(measuredAs), len(doctor.Units))
	}
}

// TestWhatTheDoctorMeasuresIsEvidence has a report become claims with level, issuer, validity and proof, the next one take its
// place, and neither the same nor an older one change anything.
func TestWhatTheDoctorMeasuresIsEvidence(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p := w.organisation("rhone")
		p.join("fr-lyon-rhone")
		now := time.Now()
		put := func(r *doctor.Report, want participant.Difference) {
			t.Helper()
			if got := decoded[participant.Difference](t, w.ok("op", "POST", p.path("/measurements"), measuring1("fr-lyon-rhone", r))); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		n := len(doctor.Units)
		first, second := report("fake", now.Add(-3*time.Hour)), report("fake", now.Add(-time.Hour))
		put(first, participant.Difference{Added: n})
		put(first, participant.Difference{Kept: n})
		put(second, participant.Difference{Added: n, Withdrawn: n})
		if status, b := w.do("op", "POST", p.path("/measurements"), measuring1("fr-lyon-rhone", first)); status != http.StatusConflict || !strings.Contains(b, "later") {
			t.Errorf("an older one: %d %s", status, b)
		}
		all := decoded[seca.List[seca.Document]](t, w.ok("rhone", "GET", p.path("/claims"), "")).Items
		if len(all) != n {
			t.Fatalf("%d claims stand", len(all))
		}
		proof := sha256.Sum256([]byte(body(second)))
		for _, x := range all {
			var c participant.Claim
			check(t, json.Unmarshal([]byte(body(x.Spec)), &c))
			want := policy.Evidence{
				Level: policy.Measured, Issuer: "kontor doctor", Proof: hex.EncodeToString(proof[:]),
				From: second.Began.Truncate(time.Minute), Until: second.Ended.Truncate(time.Second).Add(measuredFor),
			}
			if d := cmp.Diff(want, c.Evidence); d != "" || string(c.Value) != "1.5" || c.Region != "fr-lyon-rhone" || c.Service != "" || c.Source != participant.Exchange || c.By != "op" {
				t.Errorf("%+v %s", c, d)
			}
		}
		// A participant cannot take back what was measured, and an operator can.
		one := p.path("/claims/" + all[0].Metadata.Name)
		if status, b := w.do("rhone", "DELETE", one, ""); status != http.StatusNotFound {
			t.Errorf("he took it back: %d %s", status, b)
		}
		w.ok("op", "DELETE", one, "")
	})
}

// TestReportsOfSomethingElseAreRefused has those that cannot be of the region, and one that proves nothing.
func TestReportsOfSomethingElseAreRefused(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p := w.organisation("rhone")
		p.join("fr-lyon-rhone")
		w.organisation("elbe").join("de-hamburg-elbe")
		failed := report("fake", time.Now())
		failed.Checks[1].Status = doctor.Fail
		for pointer, text := range map[string]string{
			`"/region"`:                 measuring1("de-hamburg-elbe", report("fake", time.Now())),
			`"/report/driver"`:          measuring1("fr-lyon-rhone", report("qemu", time.Now())),
			`"/report/ended"`:           measuring1("fr-lyon-rhone", report("fake", time.Now().Add(-8*24*time.Hour))),
			`"/report/checks/1/status"`: measuring1("fr-lyon-rhone", failed),
		} {
			if status, b := w.do("op", "POST", p.path("/measurements"), text); status != http.StatusUnprocessableEntity || !strings.Contains(b, pointer) {
				t.Errorf("%s: %d %s", pointer, status, b)
			}
		}
		if b := w.ok("rhone", "GET", p.path("/claims"), ""); strings.Contains(b, "measured") {
			t.Errorf("something was taken: %s", b)
		}
	})
}

package placement

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/policy"
)

// A Dimension is on what a candidate failed: those of policies (rule, fact, evidence,
// seal), and these.
type Dimension = policy.Dimension

// The dimensions that are no policy's.
const (
	NotWanted   Dimension = "choice"      // the request names other regions
	Health      Dimension = "health"      // its agent is not heard of
	Support     Dimension = "capability"  // its platform or driver cannot do that
	Zones       Dimension = "zones"       // it has too few, or not those
	NotOffered  Dimension = "offer"       // it sells no such thing
	NotValid    Dimension = "validity"    // its offer ends too early or begins too late
	Full        Dimension = "capacity"    // too little is left
	TooDear     Dimension = "price"       // for an hour
	OverBudget  Dimension = "budget"      // for the term
	TooFar      Dimension = "latency"     // the round trip is too long
	TooLate     Dimension = "deadline"    // it cannot be over in time
	Unreliable  Dimension = "reliability" // it was down too often
	NoCandidate Dimension = "candidates"  // every region lacks something
	NotApart    Dimension = "spread"      // copies cannot be kept apart
	NotTogether Dimension = "together"    // everything costs too much, though each part alone does not
	NotTied     Dimension = "tie"         // groups cannot stand to each other as they must
)

// A Miss is one thing that a candidate lacks. It always has a Demand.
type Miss struct {
	*Demand
	Had  Quantity `json:"had"`
	Over int64    `json:"over,omitempty"` // by how many thousandths of what was needed it was missed
}

// A Demand is what a candidate is held to. Of thousands of misses few differ in it, so they share it
// with the bytes that it takes in a record. It never changes.
type Demand struct {
	Dimension Dimension `json:"dimension"`
	Subject   string    `json:"subject"`
	Needed    Quantity  `json:"needed"`
	record    []byte    // its members as a record has them, if it is shared
}

// shared makes a demand for many misses.
func shared(d Dimension, subject string, needed Quantity) *Demand {
	all := &Demand{Dimension: d, Subject: subject, Needed: needed}
	all.record = all.appendDemand(make([]byte, 0, 128))
	return all
}

func (d *Demand) is(dimension Dimension, subject string, needed Quantity) bool {
	return d.Dimension == dimension && d.Subject == subject && d.Needed == needed
}

// miss makes one with a demand of its own.
func miss(d Dimension, subject string, needed, had Quantity, over int64) Miss {
	return Miss{&Demand{Dimension: d, Subject: subject, Needed: needed}, had, over}
}

// same reports whether two misses say the same.
func (m *Miss) same(n *Miss) bool {
	return m.Had == n.Had && m.Over == n.Over && (m.Demand == n.Demand || m.is(n.Dimension, n.Subject, n.Needed))
}

// readMiss is a miss as encoding/json reads it: without a demand if none is there.
type readMiss Miss

func (m *Miss) take(in readMiss) error {
	if in.Demand == nil {
		return fault.Malformed.Errorf("a miss without what was demanded")
	}
	*m = Miss(in)
	return nil
}

// UnmarshalJSON reads a miss.
func (m *Miss) UnmarshalJSON(b []byte) error {
	var in readMiss
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	return m.take(in)
}

// String says it in a line.
func (m Miss) String() string {
	return string(m.Dimension) + " " + m.Subject + ": needed " + m.Needed.String() + ", had " + m.Had.String()
}

// ofPolicy is the subject of what a policy refuses.
func ofPolicy(name, subject string) string { return name + ": " + subject }

// Policy is the name of the policy that a subject is of, and what it is about by itself.
func (m Miss) Policy() (name, subject string) {
	name, subject, ok := strings.Cut(m.Subject, ": ")
	if !ok {
		return "", m.Subject
	}
	return name, subject
}

// A Quantity is what was needed or had. It becomes text when it is read.
type Quantity struct {
	text string
	n    int64
	unit unit
}

type unit uint8

const (
	text         unit = iota
	count             // a plain number
	euro              // billionths
	microseconds      // shown as milliseconds
	second            // since 1970
	millionths        // shown as percent
)

func words(s string) Quantity          { return Quantity{text: s} }
func amount(n int64, u unit) Quantity  { return Quantity{n: n, unit: u} }
func atLeast(n int64, u unit) Quantity { return Quantity{text: "at least ", n: n, unit: u} }
func atMost(n int64, u unit) Quantity  { return Quantity{text: "at most ", n: n, unit: u} }

// String gives it with its unit.
func (q Quantity) String() string { return string(q.append(nil)) }

// MarshalText gives it with its unit.
func (q Quantity) MarshalText() ([]byte, error) { return q.append(nil), nil }

// UnmarshalText takes the text as it is.
func (q *Quantity) UnmarshalText(b []byte) error {
	*q = words(string(b))
	return nil
}

// Number reads the number of a quantity that has one: 30 of "at most 30.0 ms".
func (q Quantity) Number() (n money.Decimal, ok bool) {
	number, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(q.String(), "at least "), "at most "), " ")
	ok = n.UnmarshalText([]byte(number)) == nil
	return n, ok
}

func (q Quantity) append(b []byte) []byte {
	b = append(b, q.text...)
	switch q.unit {
	case text:
	case count:
		b = strconv.AppendInt(b, q.n, 10)
	case euro:
		b = append(money.Amount{Nano: q.n}.AppendDecimal(b), " EUR"...)
	case microseconds:
		b = append(thousandths(b, q.n, 1), " ms"...)
	case second:
		b = time.Unix(q.n, 0).UTC().AppendFormat(b, time.RFC3339)
	case millionths:
		b = append(thousandths(b, q.n/10, 2), " %"...)
	}
	return b
}

// thousandths writes n/1000 with at least so many decimals as are not zero, and at least keep.
func thousandths(b []byte, n int64, keep int) []byte {
	b = strconv.AppendInt(b, n/1000, 10)
	b = append(b, '.', byte('0'+n/100%10), byte('0'+n/10%10), byte('0'+n%10))
	for drop := 3 - keep; drop > 0 && b[len(b)-1] == '0'; drop-- {
		b = b[:len(b)-1]
	}
	return b
}

// over is by how many thousandths of need have is beyond it.
func over(need, have int64) int64 {
	if need <= 0 {
		return 0
	}
	return ratio(have-need, 1000, need)
}

package policy

import (
	"regexp"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/fault"
)

// A Level is how well a fact is known.
type Level string

// The levels. What was measured counts most, as nobody had to be believed.
const (
	SelfDeclared Level = "self-declared"
	Contract     Level = "contract"    // promised to the customer, with consequences
	ThirdParty   Level = "third-party" // attested by an independent body
	Regulator    Level = "regulator"   // decided by a public authority
	Measured     Level = "measured"    // observed by the exchange itself
)

var levels = []Level{SelfDeclared, Contract, ThirdParty, Regulator, Measured}

// rank is 1 for the weakest level, 0 for none.
func (l Level) rank() int { return slices.Index(levels, l) + 1 }

// UnmarshalText reads a level.
func (l *Level) UnmarshalText(b []byte) error {
	*l = Level(b)
	if l.rank() > 0 {
		return nil
	}
	names := make([]string, len(levels))
	for i := range levels {
		names[i] = string(levels[i])
	}
	return fault.Invalid.Errorf("%q is no level of evidence (self-declared, contract, third-party, regulator, measured)%s", b, fault.DidYouMean(string(b), names))
}

// Evidence is how a fact is known, and for how long.
type Evidence struct {
	Level  Level     `json:"level"`
	Issuer string    `json:"issuer,omitempty"` // who vouches for it
	From   time.Time `json:"from,omitzero"`
	Until  time.Time `json:"until,omitzero"`  // zero: until it is withdrawn
	Proof  string    `json:"proof,omitempty"` // SHA-256 of the document, in hexadecimal
}

var proofRule = regexp.MustCompile(`^[0-9a-f]{64}$`)

// check reports what is wrong with the evidence.
func (e Evidence) check(l *fault.List, at string) {
	if e.Level.rank() == 0 {
		l.Add(at+"/level", "must be one of %v", levels)
	}
	if e.Proof != "" && !proofRule.MatchString(e.Proof) {
		l.Add(at+"/proof", "must be 64 hexadecimal digits, the SHA-256 of the document")
	}
	if len(e.Issuer) > maxText {
		l.Add(at+"/issuer", "must not be longer than %d bytes", maxText)
	}
	if !e.Until.IsZero() && !e.From.Before(e.Until) {
		l.Add(at+"/until", "must be after from")
	}
}

// holds reports whether the evidence is in force.
func (e Evidence) holds(now time.Time) bool {
	return !now.Before(e.From) && (e.Until.IsZero() || now.Before(e.Until))
}

// changes is the next moment after now at which holds may answer otherwise, or zero.
func (e Evidence) changes(now time.Time) time.Time {
	switch {
	case now.Before(e.From):
		return e.From
	case !e.Until.IsZero() && now.Before(e.Until):
		return e.Until
	}
	return time.Time{}
}

// stronger reports whether e is to be believed rather than other when they differ.
func (e Evidence) stronger(other Evidence) bool {
	if a, b := e.Level.rank(), other.Level.rank(); a != b {
		return a > b
	}
	return e.From.After(other.From) // the newer word
}

// day writes a moment for people.
func day(t time.Time) string {
	if t.Truncate(24 * time.Hour).Equal(t) {
		return t.Format(time.DateOnly)
	}
	return t.Format(time.RFC3339)
}

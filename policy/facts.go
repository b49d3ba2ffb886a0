package policy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"

	"github.com/kontor-cloud/kontor/fault"
)

// A Claim says that an attribute has a value, and how that is known. Several
// claims may be about one attribute: the strongest in force is believed. A
// provider has one claim of certs for each certificate.
type Claim struct {
	Attribute string          `json:"attribute"`
	Value     json.RawMessage `json:"value"`
	Evidence
}

// A Digest is a SHA-256.
type Digest [sha256.Size]byte

// String gives it in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText gives it in hexadecimal.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Digest) UnmarshalText(b []byte) error {
	if n, err := hex.Decode(d[:], b); err != nil || n != len(d) || len(b) != 2*len(d) {
		return fault.Invalid.Errorf("%q is no SHA-256", b)
	}
	return nil
}

// Facts is what is claimed of one service in one region of one provider. It never changes.
type Facts struct {
	Digest Digest // of the claims, in whatever order they came
	data   *Data
	facts  []*fact
}

// A fact is a claim that was understood.
type fact struct {
	Evidence
	of    *Attribute
	value val // a *held for certs
}

// Facts understands claims about a service, its region and its provider together.
// Their order means nothing.
func (d *Data) Facts(claims ...[]Claim) (*Facts, error) {
	type line struct {
		fact  *fact
		bytes []byte
	}
	var lines []line
	var l fault.List
	for i, c := range slices.Concat(claims...) {
		f, canonical := d.understand(c, &l, "/"+strconv.Itoa(i))
		if f != nil {
			lines = append(lines, line{f, canonical})
		}
	}
	if len(lines) > maxClaims {
		l.Add("", "must not be more than %d claims", maxClaims)
	}
	if err := l.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(lines, func(a, b line) int { return bytes.Compare(a.bytes, b.bytes) })
	lines = slices.CompactFunc(lines, func(a, b line) bool { return bytes.Equal(a.bytes, b.bytes) })
	facts, hash := &Facts{data: d}, sha256.New()
	for _, line := range lines {
		facts.facts = append(facts.facts, line.fact)
		hash.Write(append(line.bytes, '\n'))
	}
	hash.Sum(facts.Digest[:0])
	return facts, nil
}

// Check reports what is wrong with claims about one subject, each by its index.
func (d *Data) Check(of Subject, claims []Claim) error {
	var l fault.List
	for i, c := range claims {
		at := "/" + strconv.Itoa(i)
		if f, _ := d.understand(c, &l, at); f != nil && f.of.Subject != of {
			l.Add(at+"/attribute", "must be about a %s; %s is about a %s", of, c.Attribute, f.of.Subject)
		}
	}
	return l.Err()
}

// understand gives a claim its type, and its canonical bytes.
func (d *Data) understand(c Claim, l *fault.List, at string) (*fact, []byte) {
	a, err := attribute(c.Attribute)
	if err != nil {
		l.Add(at+"/attribute", "must be in the vocabulary: %v", err)
		return nil, nil
	}
	c.check(l, at)
	v, canonical, err := a.kind.decode(c.Value)
	if err != nil {
		l.Add(at+"/value", "of %s: %v", c.Attribute, err)
		return nil, nil
	}
	f := &fact{Evidence: c.Evidence, of: a, value: v}
	if a.kind == certificates {
		cert := &held{how: c.Evidence}
		_ = json.Unmarshal(canonical, &cert.Certificate) // it was just made of one
		if s := d.schemes[cert.Scheme]; s == nil {
			l.Add(at+"/value/scheme", "must be a scheme%s", fault.DidYouMean(cert.Scheme, d.schemeNames()))
		} else if len(s.Levels) > 0 && !slices.Contains(s.Levels, cert.Level) {
			l.Add(at+"/value/level", "must be one of %s", strings.Join(s.Levels, ", "))
		}
		f.value = &object{certificateType, cert}
	}
	c.Value, c.From, c.Until = canonical, c.From.UTC(), c.Until.UTC()
	b, _ := json.Marshal(c) // of texts and times
	return f, b
}

// held is a certificate and how it is known.
type held struct {
	Certificate
	how Evidence
}

// end is the end of its validity: far away if none was said.
func (c *held) end() time.Time {
	if c.how.Until.IsZero() {
		return time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	}
	return c.how.Until
}

func (c *held) periodEnd() (val, error) {
	if c.PeriodEnd.IsZero() {
		return nil, &unknown{path: "certs", needed: "the end of the period that " + c.Scheme + " covers", had: "nothing", dimension: MissingFact}
	}
	return types.Timestamp{Time: c.PeriodEnd}, nil
}

// String describes it in a line.
func (c *held) String() string {
	words := []string{c.Scheme, c.Version, c.Level, string(c.how.Level)}
	if !c.how.Until.IsZero() {
		words = append(words, "until", day(c.how.Until))
	}
	if len(c.Activities) > 0 {
		words = append(words, "for", strings.Join(c.Activities, ","))
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// A View is what Facts say at one moment.
type View struct {
	Now   time.Time
	Until time.Time // when a claim begins or ends next; zero if none does

	facts  *Facts
	best   []*fact // by attribute: the strongest in force
	lapsed []*fact // by attribute: one that is not, if nothing else is known
	certs  []*held // in force
	over   []*held // not in force
}

// At resolves the claims at a moment.
func (f *Facts) At(now time.Time) *View {
	v := &View{Now: now.UTC(), facts: f, best: make([]*fact, len(vocabulary)), lapsed: make([]*fact, len(vocabulary))}
	for _, one := range f.facts {
		if change := one.changes(now); !change.IsZero() && (v.Until.IsZero() || change.Before(v.Until)) {
			v.Until = change
		}
		v.take(one)
	}
	v.derive()
	return v
}

func (v *View) take(one *fact) {
	holds := one.holds(v.Now)
	if one.of.kind == certificates {
		to := &v.certs
		if !holds {
			to = &v.over
		}
		*to = append(*to, one.value.(*object).self.(*held))
		return
	}
	to := v.best
	if !holds {
		to = v.lapsed
	}
	// Equals keep the first in canonical order, which is the same in any order of claims.
	if old := to[one.of.at]; old == nil || one.stronger(old.Evidence) {
		to[one.of.at] = one
	}
}

// Level gives how well an attribute is known, "" if it is not.
func (v *View) Level(path string) Level {
	if a := paths[path]; a != nil && v.best[a.at] != nil {
		return v.best[a.at].Level
	}
	return ""
}

// Int gives a whole number or, in thousandths, another one that is known.
func (v *View) Int(path string) (n int64, known bool) {
	a := paths[path]
	if a == nil || v.best[a.at] == nil {
		return 0, false
	}
	switch x := v.best[a.at].value.(type) {
	case types.Int:
		return int64(x), true
	case types.Double:
		return milli(float64(x)), true
	}
	return 0, false
}

// milli is x in thousandths, within bounds. One product, rounded: there is
// nothing that machines could fuse differently.
func milli(x float64) int64 {
	const most = 1e12
	return int64(math.Round(min(max(x*1000, -most), most)))
}

// An unknown is why a fact cannot be used.
type unknown struct {
	path, needed, had string
	dimension         Dimension
}

// Error says it in words.
func (u *unknown) Error() string { return u.path + ": needed " + u.needed + ", had " + u.had }

// ask gives an attribute's value if its evidence is at least so good.
func (v *View) ask(a *Attribute, least Level) (val, error) {
	f := v.best[a.at]
	if f != nil && f.Level.rank() >= least.rank() {
		return f.value, nil
	}
	u := &unknown{path: a.Path, needed: neededWords + string(cmp.Or(least, SelfDeclared)) + orBetter, dimension: WeakEvidence}
	switch old := v.lapsed[a.at]; {
	case f != nil:
		u.had = show(f.value) + ", " + string(f.Level)
	case old == nil:
		u.dimension, u.had = MissingFact, "nothing"
	case v.Now.Before(old.From):
		u.had = show(old.value) + ", " + string(old.Level) + ", not before " + day(old.From)
	default:
		u.had = show(old.value) + ", " + string(old.Level) + ", expired " + day(old.Until)
	}
	return nil, u
}

const (
	neededWords = "a value, "
	orBetter    = " or better"
)

// Known reads out of the words of ask how well a fact had to be known, and how well it was: "third-party"
// and "contract", "third-party, expired" or "nothing". The value itself is left out.
func Known(needed, had string) (least, was string) {
	least = strings.TrimSuffix(strings.TrimPrefix(needed, neededWords), orBetter)
	words := strings.Split(had, ", ")
	was = words[len(words)-1]
	for _, state := range []string{"expired", "not before"} {
		if strings.HasPrefix(was, state+" ") && len(words) > 1 {
			return least, words[len(words)-2] + ", " + state
		}
	}
	return least, was
}

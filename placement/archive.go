package placement

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/policy"
)

// The inputs of decisions are pieces that are named by their SHA-256, so that what many
// decisions share is kept once: the data that policies are compiled with, profiles of candidates, the market (which
// lists profiles with their states) and requests (which hold policies and parameters).

// An Input is such a piece.
type Input struct {
	Kind   string // data, profile, market or request
	Digest policy.Digest
	Body   []byte
}

// Inputs gives all that a decision on a request in a market depends on.
func (e *Engine) Inputs(m *Market, request Request) ([]Input, error) {
	o, err := e.understand(m, request)
	if err != nil {
		return nil, err
	}
	data, err := m.data.MarshalJSON()
	if err != nil {
		return nil, err
	}
	all := []Input{{"data", m.data.Digest, data}}
	for _, c := range m.all {
		all = append(all, Input{"profile", c.digest, c.profile})
	}
	return append(all, Input{"market", m.Digest(), bytes.Join(slices.Collect(m.lines()), nil)}, Input{"request", o.digest, o.text}), nil
}

// An Archive is the inputs of decisions. It can be a table, a file or a map.
type Archive interface {
	// Input gives the bytes of the piece with this kind and digest, or fault.Missing.
	Input(kind string, digest policy.Digest) ([]byte, error)
}

// A Replayer makes decisions again from their inputs. It keeps the market that it used
// last, and may be used by one at a time.
type Replayer struct {
	archive Archive
	engine  Engine
	market  *Market
	data    *policy.Data
}

// NewReplayer reads inputs from an archive.
func NewReplayer(a Archive) *Replayer { return &Replayer{archive: a} }

// Replay makes a decision again and reports whether its record is the same to the byte.
// It returns what it made.
func (r *Replayer) Replay(record []byte) (*Decision, error) {
	said, err := Parse(record)
	if err != nil {
		return nil, err
	}
	if said.Engine != Version {
		return nil, fault.Unsupported.Errorf("the decision was made by version %d of the engine; this is version %d", said.Engine, Version)
	}
	if r.market == nil || r.market.Digest() != said.Market {
		if r.market, err = r.readMarket(said.Market); err != nil {
			return nil, err
		}
	}
	b, err := r.piece("request", said.Request)
	if err != nil {
		return nil, err
	}
	var request Request
	if err := json.Unmarshal(b, &request); err != nil {
		return nil, fault.Malformed.Errorf("read request: %w", err)
	}
	d, err := r.engine.Decide(r.market, request)
	if err != nil {
		return nil, err
	}
	if again := d.Append(nil); !bytes.Equal(again, record) {
		return d, fault.Conflict.Errorf("the same inputs give another decision: it differs from byte %d on", difference(again, record))
	}
	return d, nil
}

func difference(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// piece reads an input and holds it to its name.
func (r *Replayer) piece(kind string, digest policy.Digest) ([]byte, error) {
	b, err := r.archive.Input(kind, digest)
	if err != nil {
		return nil, err
	}
	if policy.Digest(sha256.Sum256(b)) != digest {
		return nil, fault.Conflict.Errorf("%s %s was changed since the decision", kind, digest)
	}
	return b, nil
}

// readMarket puts a market together from its text: a line of data, then one for each candidate.
func (r *Replayer) readMarket(digest policy.Digest) (*Market, error) {
	text, err := r.piece("market", digest)
	if err != nil {
		return nil, err
	}
	var data *policy.Data
	var all []Candidate
	for line := range bytes.Lines(text) {
		var l struct {
			Data    *policy.Digest `json:"data"`
			Profile policy.Digest  `json:"profile"`
			State   State          `json:"state"`
		}
		if err := json.Unmarshal(line, &l); err != nil {
			return nil, fault.Malformed.Errorf("read market: %w", err)
		}
		if l.Data != nil {
			if data, err = r.readData(*l.Data); err != nil {
				return nil, err
			}
			continue
		}
		c := Candidate{State: l.State}
		b, err := r.piece("profile", l.Profile)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, &c.Profile); err != nil {
			return nil, fault.Malformed.Errorf("read profile: %w", err)
		}
		all = append(all, c)
	}
	if data == nil {
		return nil, fault.Malformed.Errorf("read market: it names no data")
	}
	m, err := NewMarket(data, all...)
	if err == nil && m.Digest() != digest {
		err = fault.Conflict.Errorf("market %s is not in canonical form", digest)
	}
	return m, err
}

func (r *Replayer) readData(digest policy.Digest) (*policy.Data, error) {
	if r.data != nil && r.data.Digest == digest {
		return r.data, nil
	}
	b, err := r.piece("data", digest)
	if err != nil {
		return nil, err
	}
	r.data, err = policy.ParseData(b)
	return r.data, err
}

// A Bundle is decisions with all their inputs, to be replayed anywhere. The zero value is empty.
type Bundle struct {
	Records [][]byte
	inputs  map[inputKey][]byte
	order   []inputKey
}

type inputKey struct {
	kind   string
	digest policy.Digest
}

// Add puts a record in. Inputs that are there already are kept once.
func (b *Bundle) Add(record []byte, inputs ...Input) {
	b.Records = append(b.Records, record)
	for _, in := range inputs {
		b.put(inputKey{in.Kind, in.Digest}, in.Body)
	}
}

func (b *Bundle) put(k inputKey, body []byte) {
	if b.inputs == nil {
		b.inputs = map[inputKey][]byte{}
	}
	if _, there := b.inputs[k]; !there {
		b.inputs[k] = body
		b.order = append(b.order, k)
	}
}

// Input makes a bundle an Archive.
func (b *Bundle) Input(kind string, digest policy.Digest) ([]byte, error) {
	if body, ok := b.inputs[inputKey{kind, digest}]; ok {
		return body, nil
	}
	return nil, fault.Missing.Errorf("the bundle has no %s %s", kind, digest)
}

// bundleLine is a line of a bundle's file. Bodies are texts in it, so that no reader
// can spell them anew.
type bundleLine struct {
	Kind   string         `json:"kind"` // of an input, or decision
	Digest *policy.Digest `json:"digest,omitempty"`
	Body   string         `json:"body"`
}

// WriteTo writes lines of JSON: inputs, then decisions.
func (b *Bundle) WriteTo(w io.Writer) (int64, error) {
	counted := &counter{w: w}
	e := json.NewEncoder(counted)
	for _, k := range b.order {
		if err := e.Encode(bundleLine{k.kind, &k.digest, string(b.inputs[k])}); err != nil {
			return counted.n, fmt.Errorf("write bundle: %w", err)
		}
	}
	for _, record := range b.Records {
		if err := e.Encode(bundleLine{Kind: "decision", Body: string(record)}); err != nil {
			return counted.n, fmt.Errorf("write bundle: %w", err)
		}
	}
	return counted.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// ReadBundle reads what WriteTo wrote.
func ReadBundle(r io.Reader) (*Bundle, error) {
	b := &Bundle{}
	for d := json.NewDecoder(bufio.NewReader(r)); ; {
		var l bundleLine
		switch err := d.Decode(&l); {
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return nil, fault.Malformed.Errorf("read bundle: %w", err)
		case l.Kind == "decision":
			b.Records = append(b.Records, []byte(l.Body))
		case l.Digest == nil:
			return nil, fault.Malformed.Errorf("read bundle: a %s without a digest", l.Kind)
		default:
			b.put(inputKey{l.Kind, *l.Digest}, []byte(l.Body))
		}
	}
}

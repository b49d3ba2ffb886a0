// Package resource keeps what customers want and what agents see: every SECA
// kind, its rules, its life and its versions.
//
// A kind is a row of the table in kind.go and a file with its rules; all else
// is generic. The agents never appear here: they follow the feed (Follow) and
// report (Observe), and nothing depends on when.
package resource

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
	"github.com/kontor-cloud/kontor/wire"
)

// A Resource is a row: what is wanted, and what is there.
type Resource struct {
	ID     string // unique for all time; the tag of what is made on a platform
	Kind   *Kind
	Region string // where it is named; "" for a global kind
	Host   string // the region whose agent keeps it: Region, unless that is virtual
	URN    urn.URN

	Decision string // by which a workspace in a virtual region was placed

	Labels      map[string]string
	Annotations map[string]string
	Extensions  map[string]string
	Spec        json.RawMessage // as its author wrote it
	Power       seca.Power      // wanted, of an instance
	Restarts    int64           // wanted, of an instance

	State    seca.State
	Log      Log
	Status   json.RawMessage // the fields of the kind
	Observed Observed

	Version    int64 // grows with every change
	Generation int64 // grows with every change of what is wanted
	Revision   int64 // of the feed, at the last change

	CreatedAt  time.Time
	ModifiedAt time.Time
	DeletedAt  time.Time // zero while it is wanted
	GoneAt     time.Time // zero while it may exist

	wanted         json.RawMessage // spec with references resolved and choices made
	sku            json.RawMessage
	wantedRevision int64
	read           asRead
	entries        int // that were pushed since it was read
}

// Observed is what the agent last said beyond the status.
type Observed struct {
	Presence wire.Presence   `json:"presence,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Message  string          `json:"message,omitempty"`
	Native   string          `json:"native,omitempty"`
	Forwards json.RawMessage `json:"forwards,omitempty"`
	Lived    bool            `json:"lived,omitempty"`    // it has been active once
	Imported string          `json:"imported,omitempty"` // native id of what others had made, which it took over
	Trace    string          `json:"trace,omitempty"`    // in which somebody wished for it as it is wanted now, as in wire.Resource

	// Who said so last: a message that was long on its way is no news.
	Life   string `json:"life,omitempty"`
	Seq    int64  `json:"seq,omitempty"`
	Former string `json:"former,omitempty"` // the life before
}

// knows reports whether an observation was made before what is known.
func (o Observed) knows(n wire.Observation) bool {
	return n.Life != "" && (n.Life == o.Former || n.Life == o.Life && n.Seq <= o.Seq)
}

// heard notes who said what is known.
func (o *Observed) heard(n wire.Observation) {
	if n.Life != o.Life {
		o.Former = o.Life
	}
	o.Life, o.Seq = n.Life, n.Seq
}

func (o Observed) equal(p Observed) bool {
	return o.Presence == p.Presence && o.Reason == p.Reason && o.Message == p.Message &&
		o.Native == p.Native && bytes.Equal(o.Forwards, p.Forwards) && o.Lived == p.Lived
}

// Leaving reports whether the deletion of r has been accepted.
func (r *Resource) Leaving() bool { return !r.DeletedAt.IsZero() }

func (r *Resource) wantedSpec() json.RawMessage { return r.wanted }

// Wanted gives r in the form that agents follow.
func (r *Resource) Wanted() wire.Resource {
	w := wire.Resource{
		ID: r.ID, Kind: r.Kind.Name, URN: r.URN.String(), Tenant: r.URN.Tenant,
		Generation: r.Generation, Revision: r.wantedRevision, Deleting: r.Leaving(), Gone: !r.GoneAt.IsZero(),
	}
	if w.Gone {
		return w
	}
	w.Spec, w.SKU, w.Power, w.Restarts, w.Lived = r.wanted, r.sku, r.Power, r.Restarts, r.Observed.Lived
	w.Adopt, w.Trace = r.Observed.Imported, r.Observed.Trace
	return w
}

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID makes an id that sorts by time: 48 bits of milliseconds and 80 random
// ones, in Crockford's base 32, 26 characters.
func NewID() string {
	var b [16]byte
	ms := time.Now().UnixMilli()
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	_, _ = rand.Read(b[6:]) // never fails, see crypto/rand
	return idEncoding.EncodeToString(b[:])
}

func marshalFree(m map[string]any) ([]byte, error) {
	if m == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(m)
}

func decodeFree[M ~map[string]any](b []byte, to *M) error {
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	*to = m
	return nil
}

// prefix gives the range of URNs that a collection spans: names hold no "/",
// and "0" is the character after it.
func prefix(u urn.URN) (from, to string) {
	u.Name = "x"
	s := strings.TrimSuffix(u.String(), "x")
	return s, strings.TrimSuffix(s, "/") + "0"
}

// Package wire is what an agent and its exchange say to each other: JSON over
// HTTPS, always called by the agent. Every message is about state, not about
// events, so that losing, repeating or reordering one costs time and nothing
// else.
package wire

import (
	"encoding/json"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/seca"
)

// Capability is the version of this protocol. Either side refuses a peer below
// Oldest, and sends nothing that the peer's version does not have.
//
//	1  2026-11  changes, observations, inventory, orphans, requests
//	2  2026-11  Resource.Adopt, strays, Observation.Life and Seq
//	3  2026-11  Follow.Epoch, holdings
//	4  2026-11  Resource.Trace, Observation.Trace
const (
	Capability = 4
	Oldest     = 1
	Adopting   = 2 // the first that knows Resource.Adopt
	Tracing    = 4 // the first that knows Resource.Trace
)

// The paths of the agent's listener. All are POST.
const (
	PathEnrol        = "/agent/v1/enrol"        // Enrol → Enrolled; the only one without a certificate
	PathRenew        = "/agent/v1/renew"        // Renew → Enrolled
	PathChanges      = "/agent/v1/changes"      // Follow → Changes
	PathObservations = "/agent/v1/observations" // []Observation → Accepted
	PathInventory    = "/agent/v1/inventory"    // Inventory → {}
	PathOrphans      = "/agent/v1/orphans"      // []Orphan → Verdicts
	PathAnswers      = "/agent/v1/answers"      // Answer → {}
)

// Header names sent with every message.
const (
	HeaderCapability = "Kontor-Capability"
)

// The limits of one message.
const (
	MaxObservations = 500
	MaxChanges      = 500
	MaxBody         = 32 << 20
)

// Enrol asks for a certificate. The token is single use.
type Enrol struct {
	Token string `json:"token"`
	CSR   []byte `json:"csr"` // PKCS #10, DER
}

// Enrolled carries what an agent is from now on.
type Enrolled struct {
	Exchange    string `json:"exchange"` // id
	Region      string `json:"region"`
	Certificate []byte `json:"certificate"` // X.509, DER, short-lived
	CA          []byte `json:"ca"`          // X.509, DER
}

// Renew asks for a fresh certificate for the same agent.
type Renew struct {
	CSR []byte `json:"csr"`
}

// Follow asks for what changed after a revision, waiting up to Wait for
// something to come. Since 0 asks for all that is wanted.
type Follow struct {
	Since int64         `json:"since"`
	Epoch string        `json:"epoch,omitempty"` // of the Changes that Since is from
	Wait  time.Duration `json:"wait"`
}

// Changes are wanted states, in the order of their revisions.
type Changes struct {
	Exchange  string     `json:"exchange"`
	Revision  int64      `json:"revision"`        // follow from here
	Epoch     string     `json:"epoch,omitempty"` // in which Revision counts; another one follows a restored database
	Reset     bool       `json:"reset,omitempty"` // forget everything known: this starts from 0
	More      bool       `json:"more,omitempty"`  // ask again at once
	Resources []Resource `json:"resources,omitempty"`
	Requests  []Request  `json:"requests,omitempty"`
	Lenient   bool       `json:"lenient,omitempty"` // references to what does not exist are left out, not waited for
}

// A Resource is the wanted state of one thing.
type Resource struct {
	ID         string          `json:"id"`
	Kind       string          `json:"kind"` // SECA's: instance, block-storage
	URN        string          `json:"urn"`
	Tenant     string          `json:"tenant"`
	Generation int64           `json:"generation"` // grows with each change of what is wanted
	Revision   int64           `json:"revision"`
	Deleting   bool            `json:"deleting,omitempty"` // to be removed from the platform
	Gone       bool            `json:"gone,omitempty"`     // removed, and the exchange has let go of it
	Lived      bool            `json:"lived,omitempty"`    // has been active: if it is missing, it was lost
	Adopt      string          `json:"adopt,omitempty"`    // native id of the thing on the platform that it takes over; none is made in its place
	Spec       json.RawMessage `json:"spec,omitempty"`     // SECA's, every reference to a resource as a full URN
	Power      seca.Power      `json:"power,omitempty"`    // of an instance
	Restarts   int64           `json:"restarts,omitempty"` // of an instance
	SKU        json.RawMessage `json:"sku,omitempty"`      // of an instance: driver.InstanceSKU
	Trace      string          `json:"trace,omitempty"`    // W3C traceparent of the request that wants it so
}

// A Presence is what a look at the platform said.
type Presence string

// The three answers. Unknown is no answer and destroys nothing.
const (
	Present Presence = "present"
	Absent  Presence = "absent"
	Unknown Presence = "unknown"
)

// An Observation is what an agent knows of one resource.
type Observation struct {
	ID         string          `json:"id"`
	Generation int64           `json:"generation"` // of the wanted state that it was compared with
	Presence   Presence        `json:"presence"`
	State      seca.State      `json:"state"`              // how far the agent is: pending, creating, updating, active, error, deleting
	Reason     string          `json:"reason,omitempty"`   // one CamelCase word
	Message    string          `json:"message,omitempty"`  // a sentence for people
	Status     json.RawMessage `json:"status,omitempty"`   // the fields of the kind's SECA status
	Native     string          `json:"native,omitempty"`   // the platform's id
	Forwards   json.RawMessage `json:"forwards,omitempty"` // []driver.Forward
	At         time.Time       `json:"at"`
	Life       string          `json:"life,omitempty"`  // of the agent, from its start to its end
	Seq        int64           `json:"seq,omitempty"`   // grows with each that the agent says in this life
	Trace      string          `json:"trace,omitempty"` // of the Resource, until what it wants is done
}

// Accepted tells which observations were about things that the exchange does
// not have: the agent drops them.
type Accepted struct {
	Strangers []string `json:"strangers,omitempty"`
}

// Inventory is what the region offers now.
type Inventory struct {
	Driver    string           `json:"driver"`
	Kinds     []string         `json:"kinds"` // SECA kinds that the platform can keep
	Console   bool             `json:"console,omitempty"`
	Inventory driver.Inventory `json:"inventory"`
	Version   string           `json:"version"`           // of the agent
	Trouble   string           `json:"trouble,omitempty"` // why the platform does not answer, if so
}

// An Orphan is a thing on the platform that carries our exchange's id and that
// the exchange did not mention.
type Orphan struct {
	ID     string `json:"id"`
	Kind   string `json:"kind"`
	Name   string `json:"name,omitempty"`
	Native string `json:"native,omitempty"`
}

// Verdicts say which orphans may go. Only what the exchange positively knows to
// be deleted, or what its operator named, is in Remove; the rest stays and is shown.
type Verdicts struct {
	Remove []string `json:"remove,omitempty"`
}

// A Request asks the agent for something that is not state. It is answered
// once, or forgotten when its asker has gone.
type Request struct {
	ID       string `json:"id"`
	Verb     string `json:"verb"` // console, resync, strays, holdings
	Resource string `json:"resource,omitempty"`
	Tail     int    `json:"tail,omitempty"`
	Apply    bool   `json:"apply,omitempty"` // resync: act on the differences
}

// The verbs of a Request.
const (
	VerbConsole = "console" // Answer.Body: bytes of the serial console
	VerbResync  = "resync"  // Answer.Body: JSON []Difference
	VerbStrays  = "strays"  // Answer.Body: JSON []Stray

	VerbHoldings = "holdings" // Resource: a kind; Answer.Body: JSON []Holding
)

// An Answer is the reply to a Request.
type Answer struct {
	ID    string `json:"id"`
	Body  []byte `json:"body,omitempty"`
	Error string `json:"error,omitempty"`
	Kind  string `json:"kind,omitempty"` // a fault.Kind, with Error
}

// A Difference is one line of a resync: what the platform has, what is wanted,
// and what the agent would do.
type Difference struct {
	ID     string `json:"id"`
	Kind   string `json:"kind"`
	URN    string `json:"urn,omitempty"`
	Have   string `json:"have"`   // absent, building, ready, failed, changed
	Want   string `json:"want"`   // present, absent, unknown to the exchange
	Action string `json:"action"` // create, adopt, update, delete, report
	Detail string `json:"detail,omitempty"`
}

// A Stray is a thing on the platform that belongs to nobody, in SECA's words. A
// reference in its spec is Foreign and the native id of what it names.
type Stray struct {
	Kind     string          `json:"kind"` // SECA's
	Native   string          `json:"native"`
	Name     string          `json:"name,omitempty"`
	Within   string          `json:"within,omitempty"` // native id of the network that holds a subnet or routing table
	Spec     json.RawMessage `json:"spec"`
	Power    seca.Power      `json:"power,omitempty"`    // of an instance
	Notes    []string        `json:"notes,omitempty"`    // what was chosen for want of anything better
	Problems []string        `json:"problems,omitempty"` // why SECA has no words for it
}

// A Holding is a thing on the platform that carries our exchange's id, in
// SECA's words, for an exchange that has lost its database. A reference in its
// spec is Foreign and the id of a resource.
type Holding struct {
	Stray
	ID       string `json:"id"`
	URN      string `json:"urn,omitempty"`
	Restarts int64  `json:"restarts,omitempty"` // of an instance
	Leaving  bool   `json:"leaving,omitempty"`  // the platform is removing it
}

// Foreign begins a reference to something by its native id.
const Foreign = "foreign:"

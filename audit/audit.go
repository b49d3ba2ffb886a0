// Package audit keeps what happened: who did what, when and from where. Every
// tenant has a chain of entries, and so has the exchange itself, for what
// belongs to no tenant. An entry holds the hash of all before it, so nothing can be
// changed, removed or put in between without that being seen by whoever remembers a hash.
//
// What a context of With does in the database is told of by an entry in the
// same transaction (db.Witness): there is no change without it, and none of a change that was
// rolled back. Writers of one tenant do not wait for each other: entries go into an
// inbox, and about a second later the sealer gives them their places in the chain.
package audit

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/db"
)

// An Entry tells of one thing that happened. What a change was from and to is
// told by digests: the log outlives what it tells of, and keeps no secrets.
type Entry struct {
	At        time.Time `json:"at"` // UTC, in microseconds
	Actor     Actor     `json:"actor"`
	From      Origin    `json:"from,omitzero"`
	Method    string    `json:"method,omitempty"` // of HTTP
	Action    string    `json:"action"`           // put, delete, post.start, observe, enrol …
	Resource  string    `json:"resource"`         // its URN
	Region    string    `json:"region,omitempty"`
	Workspace string    `json:"workspace,omitempty"`
	Status    int       `json:"status,omitempty"` // of HTTP
	Before    string    `json:"before,omitempty"` // SHA-256 of the document, in hex; none if it is new
	After     string    `json:"after,omitempty"`  // none if it is gone
	State     string    `json:"state,omitempty"`  // a transition: "creating active"
	Count     int       `json:"count,omitempty"`  // of like refusals, if more than one
	Detail    string    `json:"detail,omitempty"`
}

// An Actor is who did it.
type Actor struct {
	Kind    Kind   `json:"kind"`
	Subject string `json:"subject"`          // an account, or the region of an agent
	Issuer  string `json:"issuer,omitempty"` // of a login at another one than the exchange
	TokenID string `json:"tokenID,omitempty"`
}

// A Kind says in which role somebody acts.
type Kind string

// The kinds of actors.
const (
	Account  Kind = "account"
	Service  Kind = "service" // a tenant's program
	Login    Kind = "login"   // an account, by a token of another issuer
	Operator Kind = "operator"
	Agent    Kind = "agent"  // of a region
	System   Kind = "system" // the exchange by itself, or who runs its program
	Nobody   Kind = "nobody" // who could not prove who he is
)

// An Origin is where a request came from. All but the address is only what the
// caller says.
type Origin struct {
	Address   string `json:"address,omitempty"`
	Forwarded string `json:"forwarded,omitempty"` // X-Forwarded-For
	Program   string `json:"userAgent,omitempty"`
	RequestID string `json:"requestID,omitempty"`
}

// The bounds of what callers can make an entry hold, in bytes.
const (
	maxText     = 128
	maxResource = 512
)

// bounded cuts what strangers have written.
func (e Entry) bounded() Entry {
	e.From.Forwarded, e.From.Program = clip(e.From.Forwarded, maxText), clip(e.From.Program, maxText)
	e.Actor.Subject, e.Actor.Issuer = clip(e.Actor.Subject, 2*maxText), clip(e.Actor.Issuer, 2*maxText)
	e.Resource, e.Detail = clip(e.Resource, maxResource), clip(e.Detail, maxResource)
	e.Workspace, e.Region = clip(e.Workspace, maxText), clip(e.Region, maxText)
	return e
}

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return db.Legible(s)
}

func digestText(sum [32]byte) string { return hex.EncodeToString(sum[:]) }

// ServiceTenant is the tenant whose program an account is, "" if it is a person's.
func ServiceTenant(account string) string {
	rest, ok := strings.CutPrefix(account, "service:")
	if !ok {
		return ""
	}
	tenant, _, _ := strings.Cut(rest, ":")
	return tenant
}

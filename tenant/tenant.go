// Package tenant knows who: tenants, the accounts that are members of them,
// the tokens by which accounts prove themselves, and what roles allow.
//
// A tenant is a customer's account in SECA's sense; an account here is a person
// or a program. Roles and their assignments are SECA resources and are kept
// by package resource; this package only evaluates them.
package tenant

import (
	"regexp"
	"time"

	"github.com/kontor-cloud/kontor/fault"
)

// A Tenant owns resources.
type Tenant struct {
	Name      string    `json:"name"`
	Display   string    `json:"display,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
}

// An Account is who acts: a person, by e-mail address, or a program.
type Account struct {
	ID        string    `json:"id"`
	Display   string    `json:"display,omitempty"`
	Operator  bool      `json:"operator,omitempty"` // runs the exchange
	Disabled  bool      `json:"disabled,omitempty"` // none of its tokens is good
	Owner     string    `json:"owner,omitempty"`    // the tenant whose program it is; "" for what operators manage
	CreatedAt time.Time `json:"createdAt"`
}

var (
	nameRule    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	accountRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._%+@:-]*$`)
)

// The longest names.
const (
	MaxName    = 64
	MaxAccount = 128
	maxDisplay = 256
)

// Validate reports what is wrong with the names.
func (t Tenant) Validate() error {
	var l fault.List
	if len(t.Name) > MaxName || !nameRule.MatchString(t.Name) {
		l.Add("/name", "must be 1 to %d lower-case letters, digits, dots and hyphens, each part beginning and ending with a letter or digit", MaxName)
	}
	checkDisplay(&l, t.Display)
	return l.Err()
}

// Validate reports what is wrong with the names. An id that is a wildcard in
// role assignments is none.
func (a Account) Validate() error {
	var l fault.List
	if len(a.ID) > MaxAccount || !accountRule.MatchString(a.ID) {
		l.Add("/id", "must be an e-mail address or a word of at most %d letters, digits and . _ %% + @ : -", MaxAccount)
	}
	checkDisplay(&l, a.Display)
	return l.Err()
}

func checkDisplay(l *fault.List, s string) {
	if len(s) > maxDisplay {
		l.Add("/display", "must not be longer than %d bytes", maxDisplay)
	}
}

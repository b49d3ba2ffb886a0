// Package participant knows with whom: the organisations that take part in the
// exchange, who acts for them, the keys by which they sign, and what is claimed of
// them, each claim with its evidence.
//
// An organisation that nobody knows yet proves one thing alone, that it holds a key:
// it signs its application with it. An operator looks at the application and
// approves it; from then on who holds the key gets tokens. No secret is ever sent.
package participant

import (
	"crypto/ed25519"
	"net/mail"
	"regexp"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/tenant"
)

// A Participant is an organisation that takes part.
type Participant struct {
	Profile
	State      State     `json:"state"`
	AppliedAt  time.Time `json:"appliedAt"`
	ApprovedAt time.Time `json:"approvedAt,omitzero"`
	Keys       []Key     `json:"keys,omitempty"`
	Claims     []Claim   `json:"claims,omitempty"` // also those that were withdrawn
}

// A Profile is what a participant says of itself when it applies. It is in the
// registers, so that anybody can look there; what registers do not have, such as
// its owners, is claimed with evidence.
type Profile struct {
	Name      string  `json:"name"`               // short, and for ever
	LegalName string  `json:"legalName"`          // as in the register
	Country   string  `json:"country"`            // of the register, ISO 3166-1 alpha-2
	Register  string  `json:"register,omitempty"` // with the name of the register: "SIREN 552100554"
	VAT       string  `json:"vat,omitempty"`      // with its prefix: FR40303265045
	Contact   Contact `json:"contact"`            // for the operator; nobody else sees it
}

// A Contact is who answers.
type Contact struct {
	Name  string `json:"name,omitempty"`
	Email string `json:"email"`
	Phone string `json:"phone,omitempty"`
}

// A State is how far the exchange trusts a participant.
type State string

// The states. What a suspended participant sells is not offered; what runs there goes on.
const (
	Applied   State = "applied"
	Approved  State = "approved"
	Suspended State = "suspended"
)

// A Key is one by which a participant signs price sheets, and logs in.
type Key struct {
	ID        string            `json:"id"` // of offer.KeyID
	Public    ed25519.PublicKey `json:"public"`
	CreatedAt time.Time         `json:"createdAt"`
	RevokedAt time.Time         `json:"revokedAt,omitzero"`
}

// Account is the account that acts for a participant from its approval on.
func Account(name string) string { return tenant.ParticipantPrefix + ":" + name }

var (
	nameRule    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	countryRule = regexp.MustCompile(`^[A-Z]{2}$`)
	phoneRule   = regexp.MustCompile(`^\+[0-9 ]{6,24}$`)
)

const (
	maxName = 32
	maxText = 256
)

// Tidy gives the numbers of the profile their only spelling, without blanks and dots.
func (p *Profile) Tidy() {
	p.VAT, p.Register = tidy(p.VAT), tidyRegister(p.Register)
}

// Validate reports all that is wrong with the profile.
func (p *Profile) Validate() error {
	var l fault.List
	p.Check(&l)
	return l.Err()
}

// Check is Validate for who has a list already.
func (p *Profile) Check(l *fault.List) {
	if len(p.Name) > maxName || !nameRule.MatchString(p.Name) {
		l.Add("/name", "must be 1 to %d lower-case letters, digits and hyphens", maxName)
	}
	if n := len(p.LegalName); n == 0 || n > maxText {
		l.Add("/legalName", "must be the name in the register, of at most %d bytes", maxText)
	}
	if !countryRule.MatchString(p.Country) {
		l.Add("/country", "must be two capital letters, as in ISO 3166-1")
		return // numbers are judged by the country
	}
	p.checkNumbers(l)
	p.Contact.check(l)
}

func (p *Profile) checkNumbers(l *fault.List) {
	if p.Register == "" && p.VAT == "" {
		l.Add("/register", "must be there, or /vat: nobody can tell otherwise who %s is", p.LegalName)
	}
	if p.Register != "" {
		if err := checkRegister(p.Register, p.Country); err != nil {
			l.Add("/register", "%v", err)
		}
	}
	if p.VAT != "" {
		if err := checkVAT(p.VAT, p.Country); err != nil {
			l.Add("/vat", "%v", err)
		}
	}
}

func (c Contact) check(l *fault.List) {
	if a, err := mail.ParseAddress(c.Email); err != nil || a.Address != c.Email || len(c.Email) > maxText {
		l.Add("/contact/email", "must be an address like ops@example.eu")
	}
	if len(c.Name) > maxText {
		l.Add("/contact/name", "must not be longer than %d bytes", maxText)
	}
	if c.Phone != "" && !phoneRule.MatchString(c.Phone) {
		l.Add("/contact/phone", "must look like +33 4 72 00 00 00")
	}
}

// Public is the participant as everybody may see it.
func (p *Participant) Public() *Participant {
	shown := *p
	shown.Contact = Contact{}
	return &shown
}

// Signing lists the public keys by which it signs now.
func (p *Participant) Signing() []ed25519.PublicKey {
	var all []ed25519.PublicKey
	for _, k := range p.Keys {
		if k.RevokedAt.IsZero() {
			all = append(all, k.Public)
		}
	}
	return all
}

// Standing lists the claims that were not withdrawn.
func (p *Participant) Standing() []Claim {
	var all []Claim
	for _, c := range p.Claims {
		if c.WithdrawnAt.IsZero() {
			all = append(all, c)
		}
	}
	return all
}

package tenant

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// An Identity is what a token of another issuer proves about its holder.
type Identity struct {
	Issuer  string
	Subject string // as the issuer calls him; unique there, and never reused
	Expires time.Time

	Account  string   // what a first login makes for him; "" if it makes nothing
	Display  string   // of that account
	Tenants  []string // where his groups make him a member; some may not exist
	Operator bool     // his groups make him an operator
}

// Others are the issuers, beside the exchange itself, whose tokens are taken.
type Others interface {
	// Prove checks all that a token itself tells. Its error is Unauthenticated,
	// or Unavailable if the token's issuer has to be asked and cannot be.
	Prove(ctx context.Context, raw string, now time.Time) (Identity, error)

	// Logins tells clients how people can log in.
	Logins() []Login
}

// A Login is what a command line needs to let somebody log in at an issuer.
type Login struct {
	Name     string   `json:"name"`
	Issuer   string   `json:"issuer"`
	ClientID string   `json:"clientID"`
	Audience string   `json:"audience"`
	Tokens   string   `json:"tokens"` // which kind to send: access or id
	Scopes   []string `json:"scopes"`
}

// maxGroups is how many tenants the groups of one token can name.
const maxGroups = 100

// welcome lets in who has a token of another issuer. Account, memberships and
// whether the account is disabled are those of now; what his groups give him
// is as the token says.
func (s *Store) welcome(ctx context.Context, raw string, hash [32]byte, now time.Time) (Principal, error) {
	who, err := s.Others.Prove(ctx, raw, now)
	if err != nil {
		return Principal{}, err
	}
	a, err := s.linked(ctx, who)
	if err != nil {
		return Principal{}, err
	}
	if a.Disabled {
		return Principal{}, errDisabled
	}
	tenants, err := s.Memberships(ctx, a.ID)
	if err != nil {
		return Principal{}, err
	}
	for _, name := range who.Tenants[:min(len(who.Tenants), maxGroups)] {
		switch _, err := s.Tenant(ctx, name); {
		case err == nil:
			tenants = append(tenants, name)
		case !errors.Is(err, fault.Missing):
			return Principal{}, err
		}
	}
	slices.Sort(tenants)
	return Principal{
		Subject: a.ID, Operator: a.Operator || who.Operator, Tenants: slices.Compact(tenants),
		TokenID: hex.EncodeToString(hash[:13]), Issuer: who.Issuer, Expires: who.Expires.UTC(),
	}, nil
}

// linked returns the account of an identity, which a first login may make.
func (s *Store) linked(ctx context.Context, who Identity) (Account, error) {
	find := func(q db.Querier) (Account, error) {
		return db.One(ctx, q, scanAccount, `
			SELECT a.id, a.display, a.operator, a.disabled, a.created_at, COALESCE(a.owner, '') FROM identity i JOIN account a ON a.id = i.account
			WHERE i.issuer = $1 AND i.subject = $2`, who.Issuer, who.Subject)
	}
	a, err := find(s.DB)
	if !errors.Is(err, fault.Missing) {
		return a, err
	}
	if who.Account == "" {
		return a, fault.Unauthenticated.Errorf("subject %q of %s is linked to no account; an operator does that: kontor account link ACCOUNT --issuer %s --subject %s",
			who.Subject, who.Issuer, who.Issuer, who.Subject)
	}
	a = Account{ID: who.Account, Display: who.Display}
	err = a.Validate()
	if prefix, _, named := strings.Cut(a.ID, ":"); named && Reserved(prefix) {
		err = fault.Invalid.Errorf("its name would be that of a tenant's program, or of a participant")
	}
	if err != nil {
		return a, fault.Unauthenticated.Errorf("no account can be made for subject %q: %w", who.Subject, err)
	}
	err = s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `
			INSERT INTO account (id, display, operator, disabled, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING`,
			a.ID, a.Display, false, false, db.Micros(time.Now()))
		if err != nil || n == 0 {
			return err
		}
		audit.Note(ctx, audit.Change{
			Action: "login.first", Resource: "kontor.exchange/v1/accounts/" + a.ID, Status: 201,
			By: &audit.Actor{Kind: audit.Login, Subject: a.ID, Issuer: who.Issuer},
		})
		return link(ctx, tx, who.Issuer, who.Subject, a.ID)
	})
	if err != nil {
		return a, err
	}
	// An account that was there before is nobody's by its name alone.
	if a, err = find(s.DB); errors.Is(err, fault.Missing) {
		err = fault.Unauthenticated.Errorf("there is an account %s, which subject %q of %s is not linked to; an operator does that: kontor account link %[1]s --issuer %[3]s --subject %[2]s",
			who.Account, who.Subject, who.Issuer)
	}
	return a, err
}

// Link makes an identity of another issuer stand for an account, and no longer
// for another one. An unknown account is a Conflict.
func (s *Store) Link(ctx context.Context, issuer, subject, account string) error {
	var l fault.List
	if issuer == "" {
		l.Add("/issuer", "must be the URL of an issuer")
	}
	if subject == "" || len(subject) > 255 {
		l.Add("/subject", "must have 1 to 255 bytes")
	}
	if err := l.Err(); err != nil {
		return err
	}
	defer s.verified.clear()
	return link(ctx, s.DB, issuer, subject, account)
}

func link(ctx context.Context, q db.Querier, issuer, subject, account string) error {
	_, err := db.Exec(ctx, q, `
		INSERT INTO identity (issuer, subject, account, created_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (issuer, subject) DO UPDATE SET account = excluded.account`, issuer, subject, account, db.Micros(time.Now()))
	return err
}

// issuerOf reads who a token says has issued it. Nothing is proved by that.
func issuerOf(raw string) string {
	_, rest, _ := strings.Cut(raw, ".")
	payload, _, _ := strings.Cut(rest, ".")
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return ""
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	_ = json.Unmarshal(b, &c) // what is no JSON has no issuer
	return c.Issuer
}

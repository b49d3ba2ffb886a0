package issuer

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/tenant"
)

// A Set is all issuers whose tokens are taken. Its methods may be called from
// many goroutines.
type Set struct{ by map[string]*provider }

type provider struct {
	Config
	keys keys
}

// Open makes a set. No issuer is asked before its first token comes. An error
// is Invalid and points into the list.
func Open(configs []Config) (*Set, error) {
	s := &Set{by: make(map[string]*provider)}
	var l fault.List
	names := map[string]bool{}
	for i, c := range configs {
		at := "/oidc/" + strconv.Itoa(i)
		c.check(&l, at)
		if s.by[c.Issuer] != nil || names[c.Name] {
			l.Add(at, "has the issuer or the name of another one")
		}
		names[c.Name] = true
		asks, err := NewClient(c.CA)
		if err != nil {
			l.Add(at+"/ca", "%v", err)
		}
		s.by[c.Issuer] = &provider{Config: c, keys: keys{client: asks, issuer: c.Issuer}}
	}
	return s, l.Err()
}

// Logins lists the issuers at which people can log in, by name.
func (s *Set) Logins() []tenant.Login {
	all := []tenant.Login{}
	for _, p := range s.by {
		if p.ClientID != "" {
			all = append(all, tenant.Login{
				Name: p.Name, Issuer: p.Issuer, ClientID: p.ClientID, Audience: p.Audience, Tokens: p.Tokens, Scopes: p.Scopes,
			})
		}
	}
	slices.SortFunc(all, func(a, b tenant.Login) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// claims are those that every rule here is about.
type claims struct {
	jwt.Claims
	Party   string `json:"azp"`
	Client  string `json:"client_id"`
	Type    string `json:"typ"` // Keycloak's
	Nonce   string `json:"nonce"`
	AtHash  string `json:"at_hash"`
	CodHash string `json:"c_hash"`

	Events       json.RawMessage `json:"events"` // of a logout token, and its like
	Confirmation json.RawMessage `json:"cnf"`

	Email    string `json:"email"`
	Verified bool   `json:"email_verified"`
	Name     string `json:"name"`
}

// Prove checks a token of one of the issuers. It is part of tenant.Others.
func (s *Set) Prove(ctx context.Context, raw string, now time.Time) (tenant.Identity, error) {
	var none tenant.Identity
	token, err := jwt.ParseSigned(raw, algorithms)
	if err != nil {
		return none, fault.Unauthenticated.Errorf("the token is no signed JWT")
	}
	var said jwt.Claims
	if err := token.UnsafeClaimsWithoutVerification(&said); err != nil {
		return none, errClaims
	}
	p := s.by[said.Issuer]
	if p == nil {
		return none, fault.Unauthenticated.Errorf("the token is of an issuer that is not known here")
	}
	header := token.Headers[0]
	if !slices.Contains(p.Algorithms, header.Algorithm) {
		return none, fault.Unauthenticated.Errorf("the token is signed with %s, which is not taken from %s", header.Algorithm, p.Issuer)
	}
	key, err := p.keys.find(ctx, header.KeyID, header.Algorithm)
	if err != nil {
		return none, err
	}
	var c claims
	all := map[string]json.RawMessage{}
	if err := token.Claims(key, &c, &all); err != nil {
		return none, errClaims
	}
	if err := p.judge(c, kindOf(header), now); err != nil {
		return none, err
	}
	return p.identity(c, all)
}

var errClaims = fault.Unauthenticated.Errorf("the token's signature or claims are not valid")

// kindOf reads the media type that a token says it has.
func kindOf(h jose.Header) string {
	kind, _ := h.ExtraHeaders[jose.HeaderType].(string)
	return strings.TrimPrefix(strings.ToLower(kind), "application/")
}

// judge applies the rules to claims that the issuer has signed.
func (p *provider) judge(c claims, kind string, now time.Time) error {
	switch err := c.ValidateWithLeeway(jwt.Expected{Issuer: p.Issuer, AnyAudience: jwt.Audience{p.Audience}, Time: now}, tenant.Leeway); {
	case errors.Is(err, jwt.ErrExpired):
		return fault.Unauthenticated.Errorf("the token has expired")
	case err != nil:
		return fault.Unauthenticated.Errorf("the token is not for here or not for now")
	case c.Expiry == nil || c.Subject == "" || len(c.Subject) > 255:
		return fault.Unauthenticated.Errorf("the token lacks exp or sub")
	case c.Events != nil:
		return fault.Unauthenticated.Errorf("a security event is no proof of who sends it")
	case c.Confirmation != nil:
		return fault.Unauthenticated.Errorf("the token is bound to a key (cnf), the proof of which is not asked for here")
	}
	if err := p.rightKind(c, kind); err != nil {
		return err
	}
	return p.rightParty(c)
}

// rightKind keeps ID tokens and access tokens apart. Of access tokens only some
// issuers say so in the header (RFC 9068), so that an ID token is also known by
// what only it has.
func (p *provider) rightKind(c claims, kind string) error {
	isID := c.Nonce+c.AtHash+c.CodHash != "" || c.Type == "ID"
	isAccess := kind == "at+jwt" || c.Type == "Bearer"
	switch {
	case kind != "" && kind != "jwt" && kind != "at+jwt":
		return fault.Unauthenticated.Errorf("a token of type %q is neither an access token nor an ID token", clip(kind))
	case c.Type != "" && !isID && !isAccess:
		return fault.Unauthenticated.Errorf("a token of type %q is neither an access token nor an ID token", clip(c.Type))
	case p.Tokens == accessTokens && isID:
		return fault.Unauthenticated.Errorf("this is an ID token; send the access token")
	case p.Tokens == idTokens && isAccess:
		return fault.Unauthenticated.Errorf("this is an access token; send the ID token")
	}
	return nil
}

// rightParty refuses tokens that were given to clients that we do not know.
func (p *provider) rightParty(c claims) error {
	known := append([]string{p.ClientID}, p.Clients...)
	if p.Tokens == idTokens {
		known = append(known, p.Audience)
	}
	for _, party := range []string{c.Party, c.Client} {
		if party != "" && !slices.Contains(known, party) {
			return fault.Unauthenticated.Errorf("the token was given to a client that is not known here")
		}
	}
	if c.Party+c.Client == "" && len(c.Audience) > 1 {
		return fault.Unauthenticated.Errorf("the token has many audiences and does not say who it was given to (azp)")
	}
	return nil
}

// identity reads who the token is about.
func (p *provider) identity(c claims, all map[string]json.RawMessage) (tenant.Identity, error) {
	who := tenant.Identity{
		Issuer: p.Issuer, Subject: c.Subject, Expires: c.Expiry.Time(), Display: clip(strings.ToValidUTF8(c.Name, "")),
	}
	if p.CreateAccounts {
		var err error
		if who.Account, err = p.account(c, all); err != nil {
			return who, err
		}
	}
	var groups []string
	if raw := all[p.GroupsClaim]; raw != nil && json.Unmarshal(raw, &groups) != nil {
		return who, fault.Unauthenticated.Errorf("the token's claim %s is no list of names", p.GroupsClaim)
	}
	for _, g := range groups {
		if name, ok := strings.CutPrefix(g, p.TenantPrefix); ok && p.TenantPrefix != "" && (tenant.Tenant{Name: name}).Validate() == nil {
			who.Tenants = append(who.Tenants, name)
		}
		who.Operator = who.Operator || p.OperatorsGroup != "" && g == p.OperatorsGroup
	}
	return who, nil
}

// account names the account that a first login makes.
func (p *provider) account(c claims, all map[string]json.RawMessage) (string, error) {
	if p.AccountClaim == "" {
		id := p.Name + ":" + c.Subject
		if (tenant.Account{ID: id}).Validate() != nil {
			sum := sha256.Sum256([]byte(c.Subject))
			id = p.Name + ":" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
		}
		return id, nil
	}
	var id string
	if json.Unmarshal(all[p.AccountClaim], &id) != nil || id == "" {
		return "", fault.Unauthenticated.Errorf("the token lacks the claim %s, which names the account", p.AccountClaim)
	}
	if p.AccountClaim == "email" && !c.Verified {
		return "", fault.Unauthenticated.Errorf("the issuer has not verified the e-mail address, which names the account")
	}
	return id, nil
}

// fits reports whether a key is of the kind that the algorithm is for.
func fits(key any, alg string) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return alg[0] == 'R' || alg[0] == 'P'
	case *ecdsa.PublicKey:
		return alg == fmt.Sprintf("ES%d", min(k.Curve.Params().BitSize, 512))
	case ed25519.PublicKey:
		return alg == string(jose.EdDSA)
	}
	return false
}

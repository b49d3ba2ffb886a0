// Package issuer takes tokens that others have issued: any number of OpenID
// Connect providers, each with its own rules.
//
// What is not written in a provider's Config is refused. A token is good if the
// provider named in "iss" signed it with an algorithm of the Config and a key
// that it publishes now, if it is for our audience, given to a client that we
// know, in its time, and of the one kind that the Config takes: an access token
// or an ID token, never both, so that a token made for one purpose cannot serve
// the other. A token bound to a key of its holder (cnf) is refused, since nobody
// here asks for the proof.
package issuer

import (
	"context"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"

	"github.com/go-jose/go-jose/v4"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/tenant"
)

// A Config is one issuer, as the operator writes it.
type Config struct {
	Name       string   `json:"name"`                 // a short word; the accounts that logins make are called NAME:SUBJECT
	Issuer     string   `json:"issuer"`               // https://…, exactly as in its tokens
	Audience   string   `json:"audience"`             // what its tokens for us name in "aud"
	ClientID   string   `json:"clientID,omitempty"`   // of "kontor login"; empty if nobody logs in there
	Clients    []string `json:"clients,omitempty"`    // further clients whose tokens are taken ("azp", "client_id")
	Tokens     string   `json:"tokens,omitempty"`     // access (the default) or id: the kind of token that is taken
	Scopes     []string `json:"scopes,omitempty"`     // that a login asks for; by default openid, offline_access
	Algorithms []string `json:"algorithms,omitempty"` // of signatures; by default RS256, ES256, EdDSA
	CA         string   `json:"ca,omitempty"`         // file of certificate authorities (PEM), if not the system's

	CreateAccounts bool   `json:"createAccounts,omitempty"` // a first login makes an account, without any right; else operators link accounts
	AccountClaim   string `json:"accountClaim,omitempty"`   // names that account, instead of NAME:SUBJECT
	GroupsClaim    string `json:"groupsClaim,omitempty"`    // a list of groups
	TenantPrefix   string `json:"tenantPrefix,omitempty"`   // a group PREFIX+TENANT makes a member of the tenant; empty: none does
	OperatorsGroup string `json:"operatorsGroup,omitempty"` // a group that makes an operator; empty: none does
}

// The kinds of tokens.
const (
	accessTokens = "access"
	idTokens     = "id"
)

// algorithms are those that there are keys of two halves for. No secret that
// is shared, and no missing signature, proves anything here.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.ES256, jose.EdDSA, // the default
	jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES384, jose.ES512,
}

const defaultAlgorithms = 3

var nameRule = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// check reports what is wrong with c, in terms of its JSON, and fills in what
// is left open.
func (c *Config) check(l *fault.List, at string) {
	if !nameRule.MatchString(c.Name) || tenant.Reserved(c.Name) {
		l.Add(at+"/name", "must be 1 to 32 lower-case letters, digits and hyphens, and neither %s nor %s", tenant.ServicePrefix, tenant.ParticipantPrefix)
	}
	if err := CheckURL(c.Issuer); err != nil {
		l.Add(at+"/issuer", "%v", err)
	}
	if c.Audience == "" {
		l.Add(at+"/audience", "must be what the issuer's tokens for this exchange name in aud")
	}
	switch c.Tokens {
	case "":
		c.Tokens = accessTokens
	case accessTokens, idTokens:
	default:
		l.Add(at+"/tokens", "must be access or id")
	}
	if len(c.Algorithms) == 0 {
		for _, a := range algorithms[:defaultAlgorithms] {
			c.Algorithms = append(c.Algorithms, string(a))
		}
	}
	for i, a := range c.Algorithms {
		if !slices.Contains(algorithms, jose.SignatureAlgorithm(a)) {
			l.Add(at+"/algorithms/"+strconv.Itoa(i), "must be one of %v", algorithms)
		}
	}
	if len(c.Scopes) == 0 {
		c.Scopes = []string{"openid", "offline_access"}
	}
	if c.GroupsClaim == "" && c.TenantPrefix+c.OperatorsGroup != "" {
		l.Add(at+"/groupsClaim", "must name the claim that holds the groups")
	}
}

// CheckURL reports whether an issuer can be asked there in safety: by HTTPS, or
// on this machine.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fault.Invalid.Errorf("must be a URL without query, fragment and password")
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()) {
		return nil
	}
	return fault.Invalid.Errorf("must begin with https://, unless it is on a loopback address")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// CheckEndpoint is CheckURL for what an issuer names, which may have a query.
func CheckEndpoint(raw string) error {
	if u, err := url.Parse(raw); err == nil {
		u.RawQuery = ""
		raw = u.String()
	}
	return CheckURL(raw)
}

// Metadata is what an issuer says of itself (OpenID Connect Discovery 1.0).
type Metadata struct {
	Issuer     string `json:"issuer"`
	Keys       string `json:"jwks_uri"`
	Token      string `json:"token_endpoint"`
	Device     string `json:"device_authorization_endpoint"`
	Revocation string `json:"revocation_endpoint"`
}

// Discover asks an issuer for its metadata. Each address in them is safe to ask.
func Discover(ctx context.Context, c Client, issuer string) (Metadata, error) {
	var m Metadata
	if err := CheckURL(issuer); err != nil {
		return m, err
	}
	if err := c.get(ctx, wellKnown(issuer), &m); err != nil {
		return m, err
	}
	if m.Issuer != issuer {
		return m, fault.Unavailable.Errorf("%s says that it is %q", issuer, clip(m.Issuer))
	}
	for _, e := range []string{m.Keys, m.Token, m.Device, m.Revocation} {
		if e == "" {
			continue
		}
		if err := CheckEndpoint(e); err != nil {
			return m, fault.Unavailable.Errorf("%s names %q: %w", issuer, clip(e), err)
		}
	}
	return m, nil
}

package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/tenant"
)

type tenantSpec struct {
	DisplayName string   `json:"displayName,omitempty"`
	Admins      []string `json:"admins,omitempty"`
}

type tenantStatus struct {
	Members []string `json:"members,omitempty"`
}

// withSpec is the body of what has a spec and no more.
type withSpec[T any] struct {
	Spec T `json:"spec"`
}

func (c *call) tenantDocument(t tenant.Tenant) (seca.Document, error) {
	members, err := c.server.Tenants.Members(c.ctx, t.Name)
	if err != nil {
		return seca.Document{}, err
	}
	admins, err := c.server.admins(c.ctx, t.Name)
	return ownDocument("tenant", "tenants", t.Name, t.CreatedAt, tenantSpec{t.Display, admins}, tenantStatus{members}), err
}

func (c *call) listTenants() (reply, error) {
	all, err := c.server.Tenants.Tenants(c.ctx)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "tenants", all, c.tenantDocument)
}

func (c *call) oneTenant() (reply, error) {
	t, err := c.server.Tenants.Tenant(c.ctx, c.at.Name)
	if err != nil {
		return reply{}, err
	}
	return ok(c.tenantDocument(t))
}

func (c *call) putTenant() (reply, error) {
	var in withSpec[tenantSpec]
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	if reserved(c.at.Name) {
		return reply{}, fault.Parameter(fault.Invalid.Errorf("the tenant names seca and public are aliases of the standard"), "name")
	}
	created, err := c.server.Bootstrap(c.ctx, tenant.Tenant{Name: c.at.Name, Display: in.Spec.DisplayName}, in.Spec.Admins)
	if err != nil {
		return reply{}, err
	}
	r, err := c.oneTenant()
	if created {
		r.status = http.StatusCreated
	}
	return r, err
}

func reserved(tenant string) bool { return tenant == "seca" || tenant == resource.PublicTenant }

func (c *call) deleteTenant() (reply, error) {
	name := c.at.Name
	return reply{status: http.StatusAccepted}, c.server.DeleteTenant(c.ctx, name)
}

type accountSpec struct {
	DisplayName string   `json:"displayName,omitempty"`
	Operator    bool     `json:"operator,omitempty"`
	Disabled    bool     `json:"disabled,omitempty"`
	Tenants     []string `json:"tenants,omitempty"`
}

func (c *call) accountDocument(a tenant.Account) (seca.Document, error) {
	of, err := c.server.Tenants.Memberships(c.ctx, a.ID)
	return ownDocument("account", "accounts", a.ID, a.CreatedAt, accountSpec{a.Display, a.Operator, a.Disabled, of}, nil), err
}

func (c *call) listAccounts() (reply, error) {
	all, err := c.server.Tenants.Accounts(c.ctx)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "accounts", all, c.accountDocument)
}

func (c *call) oneAccount() (reply, error) {
	a, err := c.server.Tenants.Account(c.ctx, c.at.Name)
	if err != nil {
		return reply{}, err
	}
	return ok(c.accountDocument(a))
}

func (c *call) putAccount() (reply, error) {
	var in withSpec[accountSpec]
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	a := tenant.Account{ID: c.at.Name, Display: in.Spec.DisplayName, Operator: in.Spec.Operator, Disabled: in.Spec.Disabled}
	prefix, _, named := strings.Cut(a.ID, ":")
	if _, err := c.server.Tenants.Account(c.ctx, a.ID); err != nil && named && tenant.Reserved(prefix) {
		return reply{}, fault.Parameter(fault.Invalid.Errorf("the names of service accounts belong to tenants (kontor service-account create), and those of participants come with their approval"), "name")
	}
	if a.ID == c.who.Subject && (!a.Operator || a.Disabled) {
		return reply{}, fault.Conflict.Errorf("an operator cannot take the right from himself; ask another one")
	}
	if err := c.server.Tenants.PutAccount(c.ctx, a); err != nil {
		return reply{}, err
	}
	if err := c.setMemberships(a.ID, in.Spec.Tenants); err != nil {
		return reply{}, err
	}
	return c.oneAccount()
}

// setMemberships makes an account a member of exactly these tenants; nil
// leaves them as they are.
func (c *call) setMemberships(account string, tenants []string) error {
	if tenants == nil {
		return nil
	}
	have, err := c.server.Tenants.Memberships(c.ctx, account)
	if err != nil {
		return err
	}
	for i, t := range tenants {
		if err := c.server.Tenants.AddMember(c.ctx, t, account); err != nil {
			return fault.At(err, "/spec/tenants/"+strconv.Itoa(i))
		}
	}
	for _, t := range have {
		if !slices.Contains(tenants, t) {
			if err := c.server.Tenants.RemoveMember(c.ctx, t, account); err != nil {
				return err
			}
		}
	}
	return nil
}

// disableAccount keeps the account: what it did must stay attributable.
func (c *call) disableAccount() (reply, error) {
	a, err := c.server.Tenants.Account(c.ctx, c.at.Name)
	if err != nil {
		return reply{}, err
	}
	if a.ID == c.who.Subject {
		return reply{}, fault.Conflict.Errorf("an operator cannot disable himself; ask another one")
	}
	a.Disabled = true
	return reply{status: http.StatusAccepted}, c.server.Tenants.PutAccount(c.ctx, a)
}

type identityLink struct {
	Issuer  string `json:"issuer" schema:"required,min=1"`
	Subject string `json:"subject" schema:"required,min=1,max=255"`
}

// linkAccount lets somebody of another issuer act as an account.
func (c *call) linkAccount() (reply, error) {
	var in identityLink
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	if _, err := c.server.Tenants.Account(c.ctx, c.at.Name); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, c.server.Tenants.Link(c.ctx, in.Issuer, in.Subject, c.at.Name)
}

func (c *call) listTokens() (reply, error) {
	all, err := c.server.Tenants.Tokens(c.ctx, c.at.Name)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "tokens", all, func(t tenant.Token) (seca.Document, error) {
		return ownDocument("token", "accounts/"+t.Account+"/tokens", t.ID, t.CreatedAt, t, nil), nil
	})
}

type tokenRequest struct {
	Name    string   `json:"name" schema:"required,min=1"`
	TTL     string   `json:"ttl" doc:"As 720h, which it is unless given."`
	Tenants []string `json:"tenants" doc:"It is narrowed to these."`
}

type issuedToken struct {
	ID        string    `json:"id"`
	Token     string    `json:"token" doc:"Shown this once."`
	ExpiresAt time.Time `json:"expiresAt"`
}

const defaultTokenTTL = 30 * 24 * time.Hour

func (c *call) newToken() (reply, error) {
	var in tokenRequest
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	ttl, err := duration(in.TTL, defaultTokenTTL, "/ttl")
	if err != nil {
		return reply{}, err
	}
	narrow := c.who.Scope // a token cannot make one that reaches further
	if len(in.Tenants) > 0 {
		narrow.Tenants = in.Tenants
	}
	if c.at.Name == c.who.Subject && !within(narrow.Tenants, c.who.Scope.Tenants) {
		return reply{}, fault.Denied.Errorf("this token cannot make one for other tenants than its own")
	}
	t, secret, err := c.server.Tenants.NewToken(c.ctx, c.at.Name, in.Name, ttl, narrow)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusCreated, body: issuedToken{t.ID, secret, t.ExpiresAt}}, nil
}

func within(names, limit []string) bool {
	return len(limit) == 0 || !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(limit, n) })
}

func duration(s string, otherwise time.Duration, at string) (time.Duration, error) {
	if s == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fault.At(fault.Invalid.Errorf("%q is not a duration such as 720h", clip(s, 32)), at)
	}
	return d, nil
}

type tokenRotation struct {
	TTL     string `json:"ttl" doc:"As 720h, which it is unless given."`
	Overlap string `json:"overlap" doc:"For how long the old one is still good: 1h unless given."`
}

func (c *call) rotateToken() (reply, error) {
	var in tokenRotation
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	ttl, err := duration(in.TTL, defaultTokenTTL, "/ttl")
	if err != nil {
		return reply{}, err
	}
	overlap, err := duration(in.Overlap, time.Hour, "/overlap")
	if err != nil {
		return reply{}, err
	}
	id := c.req.PathValue("id")
	if c.at.Name == c.who.Subject && !noScope(c.who.Scope) && id != c.who.TokenID {
		return reply{}, fault.Denied.Errorf("a narrowed token can rotate itself alone")
	}
	t, secret, err := c.server.Tenants.RotateToken(c.ctx, c.at.Name, id, ttl, overlap)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusCreated, body: issuedToken{t.ID, secret, t.ExpiresAt}}, nil
}

func noScope(s seca.Scope) bool { return len(s.Tenants)+len(s.Regions)+len(s.Workspaces) == 0 }

func (c *call) revokeToken() (reply, error) {
	all, err := c.server.Tenants.Tokens(c.ctx, c.at.Name)
	if err != nil {
		return reply{}, err
	}
	id := c.req.PathValue("id")
	if !slices.ContainsFunc(all, func(t tenant.Token) bool { return t.ID == id }) {
		return reply{}, fault.Parameter(fault.Missing.Errorf("account %s has no token %q", c.at.Name, clip(id, 64)), "id")
	}
	return reply{status: http.StatusAccepted}, c.server.Tenants.RevokeToken(c.ctx, id)
}

package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/tenant"
	"github.com/kontor-cloud/kontor/wire"
)

// Kontor's own provider, kontor.exchange/v1: what SECA leaves to the exchange.

const own = "kontor.exchange"

func ownRoutes() []route {
	const base = providers + own + "/v1"
	op, me := permission{operator: true}, permission{anybody: true}
	console := permission{provider: "seca.compute", resource: "instances/{name}", verb: "get"}
	instances, _ := resource.KindNamed("instance")
	return []route{
		{"GET", base + "/whoami", me, nil, (*call).whoami},
		{"GET", base + "/tenants", op, nil, (*call).listTenants},
		{"GET", base + "/tenants/{name}", op, nil, (*call).oneTenant},
		{"PUT", base + "/tenants/{name}", op, nil, (*call).putTenant},
		{"DELETE", base + "/tenants/{name}", op, nil, (*call).deleteTenant},
		{"GET", base + "/accounts", op, nil, (*call).listAccounts},
		{"GET", base + "/accounts/{name}", op, nil, (*call).oneAccount},
		{"PUT", base + "/accounts/{name}", op, nil, (*call).putAccount},
		{"DELETE", base + "/accounts/{name}", op, nil, (*call).disableAccount},
		{"GET", base + "/accounts/{name}/tokens", me, nil, self((*call).listTokens)},
		{"POST", base + "/accounts/{name}/tokens", me, nil, self((*call).newToken)},
		{"DELETE", base + "/accounts/{name}/tokens/{id}", me, nil, self((*call).revokeToken)},
		{"GET", base + "/regions", op, nil, (*call).listProfiles},
		{"GET", base + "/regions/{name}", op, nil, (*call).oneProfile},
		{"PUT", base + "/regions/{name}", op, nil, (*call).putRegion},
		{"DELETE", base + "/regions/{name}", op, nil, (*call).deleteRegion},
		{"POST", base + "/regions/{name}/join", op, nil, (*call).join},
		{"POST", base + "/regions/{name}/resync", op, nil, (*call).resync},
		{"GET", base + "/regions/{name}/orphans", op, nil, (*call).listOrphans},
		{"POST", base + "/regions/{name}/orphans/{id}/approve", op, nil, (*call).approveOrphan},
		{"GET", inRegion + base + "/tenants/{tenant}/workspaces/{workspace}/instances/{name}/console", console, instances, (*call).console},
	}
}

// self lets an account manage its own tokens, and operators everybody's.
func self(do func(*call) (reply, error)) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		if c.at.Name != c.who.Subject && !c.who.Operator {
			return reply{}, fault.Denied.Errorf("%s may not see the tokens of others", c.who.Subject)
		}
		return do(c)
	}
}

// ownDocument renders something of ours in SECA's form.
func ownDocument(kind, collection, name string, made time.Time, spec, status any) seca.Document {
	d := seca.Document{Metadata: seca.Metadata{
		Name: name, Provider: own + "/v1", Resource: collection + "/" + name, Ref: own + "/v1/" + collection + "/" + name,
		Verb: http.MethodGet, APIVersion: "v1", Kind: kind, CreatedAt: when(made), LastModifiedAt: when(made),
	}}
	d.Spec, _ = json.Marshal(spec) // our own types
	if status != nil {
		d.Status, _ = json.Marshal(status)
	}
	return d
}

// ownList answers a list of ours.
func ownList[T any](c *call, collection string, items []T, doc func(T) (seca.Document, error)) (reply, error) {
	q, err := c.query()
	if err != nil {
		return reply{}, err
	}
	c.at.Provider, c.at.Collection = own+"/v1", collection
	docs := make([]seca.Document, len(items))
	for i, item := range items {
		if docs[i], err = doc(item); err != nil {
			return reply{}, err
		}
	}
	return paged(c, q, docs)
}

func ok(body any, err error) (reply, error) { return reply{status: http.StatusOK, body: body}, err }

func (c *call) whoami() (reply, error) {
	return ok(map[string]any{
		"subject": c.who.Subject, "operator": c.who.Operator, "tenants": c.who.Tenants, "expiresAt": c.who.Expires,
	}, nil)
}

type tenantSpec struct {
	DisplayName string   `json:"displayName,omitempty"`
	Admins      []string `json:"admins,omitempty"`
}

func (c *call) tenantDocument(t tenant.Tenant) (seca.Document, error) {
	members, err := c.server.Tenants.Members(c.ctx, t.Name)
	return ownDocument("tenant", "tenants", t.Name, t.CreatedAt, tenantSpec{DisplayName: t.Display}, map[string]any{"members": members}), err
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
	var in struct {
		Spec tenantSpec `json:"spec"`
	}
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
	var in struct {
		Spec accountSpec `json:"spec"`
	}
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	a := tenant.Account{ID: c.at.Name, Display: in.Spec.DisplayName, Operator: in.Spec.Operator, Disabled: in.Spec.Disabled}
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

func (c *call) listTokens() (reply, error) {
	all, err := c.server.Tenants.Tokens(c.ctx, c.at.Name)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "tokens", all, func(t tenant.Token) (seca.Document, error) {
		return ownDocument("token", "accounts/"+t.Account+"/tokens", t.ID, t.CreatedAt, t, nil), nil
	})
}

const defaultTokenTTL = 30 * 24 * time.Hour

func (c *call) newToken() (reply, error) {
	var in struct {
		Name    string   `json:"name"`
		TTL     string   `json:"ttl"`
		Tenants []string `json:"tenants"`
	}
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
	return reply{status: http.StatusCreated, body: map[string]any{"id": t.ID, "token": secret, "expiresAt": t.ExpiresAt}}, nil
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

type regionSpec struct {
	DisplayName string            `json:"displayName,omitempty"`
	Country     string            `json:"country,omitempty"`
	City        string            `json:"city,omitempty"`
	Driver      string            `json:"driver,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
}

type regionStatus struct {
	Liveness     string     `json:"liveness"`
	Since        *time.Time `json:"since,omitempty"` // alive: since when; else: last heard of
	Driver       string     `json:"driver,omitempty"`
	Platform     string     `json:"platform,omitempty"`
	AgentVersion string     `json:"agentVersion,omitempty"`
	Trouble      string     `json:"trouble,omitempty"`
	Zones        []string   `json:"zones,omitempty"`
	Kinds        []string   `json:"kinds,omitempty"`
	Features     any        `json:"features,omitempty"`
	Free         any        `json:"free,omitempty"`
	Orphans      int        `json:"orphans"`
}

func (c *call) profile(r *provider.Region) (seca.Document, error) {
	orphans, err := c.server.Providers.Orphans(c.ctx, r.Name)
	l := c.liveness(r.Name)
	return ownDocument("region-profile", "regions", r.Name, r.CreatedAt,
		regionSpec{r.Display, r.Country, r.City, r.Driver, r.Labels},
		regionStatus{
			Liveness: l.Liveness, Since: l.Since, Driver: r.Driver, Platform: r.Inventory.Platform, AgentVersion: r.AgentVersion,
			Trouble: r.Trouble, Zones: r.Inventory.Zones, Kinds: r.Kinds, Features: r.Inventory.Features, Free: r.Inventory.Free, Orphans: len(orphans),
		}), err
}

func (c *call) listProfiles() (reply, error) {
	return ownList(c, "regions", c.server.Providers.Snapshot().All(), c.profile)
}

// named finds the region that the path names.
func (c *call) named() (*provider.Region, error) {
	r, err := c.server.Providers.Snapshot().Region(c.at.Name)
	return r, fault.Parameter(err, "name")
}

func (c *call) oneProfile() (reply, error) {
	r, err := c.named()
	if err != nil {
		return reply{}, err
	}
	return ok(c.profile(r))
}

func (c *call) putRegion() (reply, error) {
	var in struct {
		Spec regionSpec `json:"spec"`
	}
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	_, unknown := c.server.Providers.Snapshot().Region(c.at.Name)
	s := in.Spec
	err := c.server.Providers.PutRegion(c.ctx, provider.Region{
		Name: c.at.Name, Display: s.DisplayName, Country: s.Country, City: s.City, Driver: s.Driver, Labels: s.Labels,
	})
	if err != nil {
		return reply{}, err
	}
	r, err := c.oneProfile()
	if unknown != nil {
		r.status = http.StatusCreated
	}
	return r, err
}

// deleteRegion forgets a region in which nothing is left.
func (c *call) deleteRegion() (reply, error) {
	r, err := c.named()
	if err != nil {
		return reply{}, err
	}
	err = c.server.Providers.DeleteRegion(c.ctx, r.Name, func(ctx context.Context, tx *db.Tx) error {
		return c.server.Resources.Empty(ctx, tx, r.Name)
	})
	return reply{status: http.StatusAccepted}, err
}

const defaultJoinTTL = time.Hour

func (c *call) join() (reply, error) {
	var in struct {
		TTL string `json:"ttl"`
	}
	r, err := c.named()
	if err != nil {
		return reply{}, err
	}
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	ttl, err := duration(in.TTL, defaultJoinTTL, "/ttl")
	if err != nil {
		return reply{}, err
	}
	token, err := c.server.JoinToken(c.ctx, r.Name, ttl)
	if err != nil {
		return reply{}, err
	}
	return ok(map[string]any{
		"token": token, "expiresAt": time.Now().Add(ttl).UTC(),
		"command": "kontor agent --driver " + r.Driver + " --data DIR --join-file FILE",
	}, nil)
}

func (c *call) resync() (reply, error) {
	var in struct {
		Apply bool `json:"apply"`
	}
	r, err := c.named()
	if err != nil {
		return reply{}, err
	}
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	b, err := c.server.desk.ask(c.ctx, r.Name, wire.Request{Verb: wire.VerbResync, Apply: in.Apply})
	if err != nil {
		return reply{}, err
	}
	return ok(map[string]any{"differences": json.RawMessage(b)}, nil)
}

func (c *call) listOrphans() (reply, error) {
	r, err := c.named()
	if err != nil {
		return reply{}, err
	}
	all, err := c.server.Providers.Orphans(c.ctx, r.Name)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "regions/"+r.Name+"/orphans", all, func(o provider.Orphan) (seca.Document, error) {
		return ownDocument("orphan", "regions/"+r.Name+"/orphans", o.ID, o.FirstSeen, o, nil), nil
	})
}

func (c *call) approveOrphan() (reply, error) {
	return reply{status: http.StatusAccepted}, c.server.Providers.ApproveOrphan(c.ctx, c.at.Name, c.req.PathValue("id"))
}

const (
	defaultTail = 64 << 10
	maxTail     = 1 << 20
)

func (c *call) console() (reply, error) {
	r, err := c.server.Resources.Get(c.ctx, c.region.Name, c.at)
	if err != nil {
		return reply{}, err
	}
	if !c.region.Console {
		return reply{}, fault.Unsupported.Errorf("region %s keeps no consoles", c.region.Name)
	}
	tail := defaultTail
	if s := c.req.URL.Query().Get("tail"); s != "" {
		if tail, err = strconv.Atoi(s); err != nil || tail < 1 || tail > maxTail {
			return reply{}, fault.Parameter(fault.Malformed.Errorf("tail must be between 1 and %d bytes", maxTail), "tail")
		}
	}
	b, err := c.server.desk.ask(c.ctx, c.region.Name, wire.Request{Verb: wire.VerbConsole, Resource: r.ID, Tail: tail})
	if b == nil {
		b = []byte{}
	}
	return reply{status: http.StatusOK, text: b}, err
}

package api

import (
	"cmp"
	"encoding/json"
	"net/http"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/job"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/tenant"
)

// Kontor's own provider, kontor.exchange/v1: what SECA leaves to the exchange.

const own = "kontor.exchange"

func ownRoutes() []route {
	const base = providers + own + "/v1"
	op, me, seen := permission{operator: true}, permission{anybody: true}, permission{operator: true, member: true}
	console := permission{provider: "seca.compute", resource: "instances/{name}", verb: "get"}
	ofTenant := permission{provider: "kontor.audit", resource: "audit", verb: "list"} // tells of every workspace: seca.admin has it, of the system's roles
	instances, _ := resource.KindNamed("instance")
	owner := permission{owner: true}
	rs := []route{
		{"GET", base + "/whoami", me, nil, (*call).whoami},
		{"GET", base + "/logins", permission{open: true}, nil, (*call).logins},
		{"GET", base + "/tenants", op, nil, (*call).listTenants},
		{"GET", base + "/tenants/{name}", op, nil, (*call).oneTenant},
		{"PUT", base + "/tenants/{name}", op, nil, (*call).putTenant},
		{"DELETE", base + "/tenants/{name}", op, nil, (*call).deleteTenant},
		{"GET", base + quotas, seen, nil, (*call).listQuotas},
		{"GET", base + quotas + "/{name}", seen, nil, (*call).oneQuota},
		{"PUT", base + quotas + "/{name}", op, nil, (*call).putQuota},
		{"GET", base + services, service("", "list"), nil, (*call).listServices},
		{"GET", base + services + "/{name}", service("/{name}", "get"), nil, (*call).oneService},
		{"PUT", base + services + "/{name}", service("/{name}", "put"), nil, (*call).putService},
		{"GET", base + "/keys", op, nil, (*call).listKeys},
		{"POST", base + "/keys/rotate", op, nil, (*call).rotateKeys},
		{"GET", base + "/accounts", op, nil, (*call).listAccounts},
		{"GET", base + "/accounts/{name}", op, nil, (*call).oneAccount},
		{"PUT", base + "/accounts/{name}", op, nil, (*call).putAccount},
		{"DELETE", base + "/accounts/{name}", op, nil, (*call).disableAccount},
		{"POST", base + "/accounts/{name}/link", op, nil, (*call).linkAccount},
		{"GET", base + "/accounts/{name}/tokens", me, nil, self("get", (*call).listTokens)},
		{"POST", base + "/accounts/{name}/tokens", me, nil, self("put", (*call).newToken)},
		{"POST", base + "/accounts/{name}/tokens/{id}/rotate", me, nil, self("put", (*call).rotateToken)},
		{"DELETE", base + "/accounts/{name}/tokens/{id}", me, nil, self("put", (*call).revokeToken)},
		{"GET", base + "/audit", op, nil, (*call).listAudit},
		{"GET", base + "/audit/head", op, nil, (*call).auditHead},
		{"GET", base + "/tenants/{tenant}/audit", ofTenant, nil, (*call).listAudit},
		{"GET", base + "/tenants/{tenant}/audit/head", ofTenant, nil, (*call).auditHead},
		{"GET", base + "/jobs", op, nil, (*call).listJobs},
		{"GET", base + "/recovery", op, nil, (*call).showRecovery},
		{"GET", base + "/regions", op, nil, (*call).listProfiles},
		{"GET", base + "/regions/{name}", owner, nil, (*call).oneProfile},
		{"PUT", base + "/regions/{name}", owner, nil, (*call).putRegion},
		{"DELETE", base + "/regions/{name}", op, nil, (*call).deleteRegion},
		{"POST", base + "/regions/{name}/join", owner, nil, (*call).join},
		{"GET", base + "/regions/{name}/agents", owner, nil, (*call).listAgents},
		{"POST", base + "/regions/{name}/revoke", owner, nil, (*call).revokeAgent},
		{"POST", base + "/regions/{name}/resync", op, nil, (*call).resync},
		{"GET", base + "/regions/{name}/strays", op, nil, (*call).listStrays},
		{"POST", base + "/regions/{name}/import", op, nil, (*call).importStrays},
		{"GET", base + "/regions/{name}/orphans", op, nil, (*call).listOrphans},
		{"POST", base + "/regions/{name}/orphans/{id}/approve", op, nil, (*call).approveOrphan},
		{"GET", inRegion + base + "/tenants/{tenant}/events", permission{member: true}, nil, (*call).events},
		{"GET", inRegion + base + "/tenants/{tenant}/workspaces/{workspace}/events", permission{member: true}, nil, (*call).events},
		{"GET", inRegion + base + "/tenants/{tenant}/workspaces/{workspace}/instances/{name}/console", console, instances, (*call).console},
	}
	return append(rs, participantRoutes(base)...)
}

// self lets an account manage its own tokens, operators everybody's, and who
// may do verb to a service account of a tenant those of that.
func self(verb string, do func(*call) (reply, error)) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		if c.at.Name == c.who.Subject || c.who.Operator || c.ownsService(verb) {
			return do(c)
		}
		return reply{}, fault.Denied.Errorf("%s may not see the tokens of others", c.who.Subject)
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

type identity struct {
	Subject   string    `json:"subject"`
	Operator  bool      `json:"operator"`
	Tenants   []string  `json:"tenants"`
	ExpiresAt time.Time `json:"expiresAt"`
	TokenID   string    `json:"tokenID"`
	Issuer    string    `json:"issuer"`
}

func (c *call) whoami() (reply, error) {
	return ok(identity{
		Subject: c.who.Subject, Operator: c.who.Operator, Tenants: append([]string{}, c.who.Tenants...), ExpiresAt: c.who.Expires,
		TokenID: c.who.TokenID, Issuer: cmp.Or(c.who.Issuer, c.server.Tenants.Issuer),
	}, nil)
}

// listJobs tells how the last run went of what the exchange does by itself.
func (c *call) listJobs() (reply, error) {
	all, err := job.Outcomes(c.ctx, c.server.Providers.DB)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "jobs", all, func(o job.Outcome) (seca.Document, error) {
		return ownDocument("job", "jobs", o.Name, o.Began, struct{}{}, o), nil
	})
}

type loginList struct {
	Items []tenant.Login `json:"items"`
}

// logins tells who has no token yet where people get one.
func (c *call) logins() (reply, error) {
	all := []tenant.Login{}
	if others := c.server.Tenants.Others; others != nil {
		all = others.Logins()
	}
	return ok(loginList{all}, nil)
}

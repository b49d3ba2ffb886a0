package api

import (
	"bytes"
	"cmp"
	"net/http"
	"strconv"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/seca"
)

// Buying by rule: policies, quotes, orders and decisions of a tenant.

const (
	ofTenant  = "/tenants/{tenant}"
	policies  = ofTenant + "/policies"
	quotes    = ofTenant + "/quotes"
	orders    = ofTenant + "/orders"
	decisions = ofTenant + "/decisions"
	drift     = ofTenant + "/drift"
)

func marketRoutes() []route {
	const base = providers + own + "/v1"
	may := func(resource, verb string) permission {
		return permission{provider: own, resource: resource, verb: verb}
	}
	me := permission{anybody: true}
	return []route{
		{"GET", base + "/policies", me, nil, (*call).listPresets},
		{"GET", base + "/policies/{name}", me, nil, (*call).onePreset},
		{"GET", base + "/decision-keys", me, nil, (*call).listDecisionKeys},
		{"GET", base + policies, may("policies", "list"), nil, (*call).listPolicies},
		{"GET", base + policies + "/{name}", may("policies/{name}", "get"), nil, (*call).onePolicy},
		{"PUT", base + policies + "/{name}", may("policies/{name}", "put"), nil, (*call).putPolicy},
		{"DELETE", base + policies + "/{name}", may("policies/{name}", "delete"), nil, (*call).deletePolicy},
		{"GET", base + quotes, may("quotes", "list"), nil, (*call).listQuotes},
		{"POST", base + quotes, may("quotes", "post"), nil, (*call).newQuote},
		{"GET", base + quotes + "/{name}", may("quotes/{name}", "get"), nil, (*call).oneQuote},
		{"POST", base + quotes + "/{name}/order", may("quotes/{name}", "post.order"), nil, (*call).order},
		{"GET", base + orders, may("orders", "list"), nil, (*call).listOrders},
		{"GET", base + orders + "/{name}", may("orders/{name}", "get"), nil, (*call).oneOrder},
		{"DELETE", base + orders + "/{name}", may("orders/{name}", "delete"), nil, (*call).cancel},
		{"GET", base + "/blueprints", me, nil, (*call).listBlueprints},
		{"GET", base + "/blueprints/{name}", me, nil, (*call).oneBlueprint},
		{"GET", base + decisions + "/{name}", may("decisions/{name}", "get"), nil, (*call).oneDecision},
		{"GET", base + drift, may("drift", "list"), nil, (*call).listDrift},
		{"GET", base + drift + "/{name}", may("drift/{name}", "get"), nil, (*call).oneDrift},
		{"GET", base + decisions + "/{name}/export", may("decisions/{name}", "get"), nil, (*call).exportDecision},
	}
}

// tenantDocumentOf renders something of the call's tenant.
func (c *call) tenantDocumentOf(kind, collection, name string, made time.Time, spec, status any) seca.Document {
	d := ownDocument(kind, "tenants/"+c.at.Tenant+"/"+collection, name, made, spec, status)
	d.Metadata.Tenant = c.at.Tenant
	return d
}

// policyStatus names the content of a version, as decisions do.
type policyStatus struct {
	Digest    policy.Digest `json:"digest"`
	DeletedAt time.Time     `json:"deletedAt,omitzero"`
}

func presetDocument(p *policy.Policy) (seca.Document, error) {
	d := ownDocument("policy", "policies", p.Name, time.Time{}, p, policyStatus{Digest: p.Digest()})
	d.Metadata.ResourceVersion = int64(p.Version)
	return d, nil
}

func (c *call) listPresets() (reply, error) {
	return ownList(c, "policies", c.server.Market.Data.Presets, presetDocument)
}

func (c *call) onePreset() (reply, error) {
	p, err := c.server.Market.Data.Preset(c.at.Name)
	if err != nil {
		return reply{}, err
	}
	return ok(presetDocument(p))
}

type decisionKey struct {
	Public []byte `json:"public"` // Ed25519
}

// listDecisionKeys tells by which keys decisions are signed, so that one that comes from
// somewhere else can be believed.
func (c *call) listDecisionKeys() (reply, error) {
	all, err := c.server.Market.Keys(c.ctx)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "decision-keys", all, func(k market.Key) (seca.Document, error) {
		return ownDocument("decision-key", "decision-keys", k.ID, k.CreatedAt, decisionKey{k.Public}, nil), nil
	})
}

func (c *call) policyDocument(p *market.Saved) (seca.Document, error) {
	d := c.tenantDocumentOf("policy", "policies", p.Name, p.CreatedAt, p.Policy, policyStatus{p.Digest(), p.DeletedAt})
	d.Metadata.ResourceVersion = int64(p.Version)
	return d, nil
}

func (c *call) listPolicies() (reply, error) {
	all, err := c.server.Market.SavedPolicies(c.ctx, c.at.Tenant)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "policies", all, c.policyDocument)
}

// onePolicy gives the newest version, or another one with ?version=2.
func (c *call) onePolicy() (reply, error) {
	version, err := strconv.ParseInt(cmp.Or(c.req.URL.Query().Get("version"), "0"), 10, 64)
	if err != nil || version < 0 {
		return reply{}, fault.Parameter(fault.Malformed.Errorf("version must be a whole number"), "version")
	}
	p, err := c.server.Market.SavedPolicy(c.ctx, c.at.Tenant, c.at.Name, version)
	if err != nil {
		return reply{}, err
	}
	return ok(c.policyDocument(p))
}

func (c *call) putPolicy() (reply, error) {
	var in withSpec[policy.Policy]
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	seen, err := c.ifVersion()
	if err != nil {
		return reply{}, err
	}
	if name := cmp.Or(in.Spec.Name, c.at.Name); name != c.at.Name {
		return reply{}, fault.At(fault.Invalid.Errorf("the policy is called %s, the path says %s", clip(name, 64), clip(c.at.Name, 64)), "/spec/name")
	}
	in.Spec.Name = c.at.Name
	p, err := c.server.Market.SavePolicy(c.ctx, c.at.Tenant, in.Spec, seen)
	if err != nil {
		return reply{}, fault.Within(err, "/spec")
	}
	r, err := ok(c.policyDocument(p))
	if p.Version == 1 {
		r.status = http.StatusCreated
	}
	return r, err
}

func (c *call) deletePolicy() (reply, error) {
	return reply{status: http.StatusAccepted}, c.server.Market.DeletePolicy(c.ctx, c.at.Tenant, c.at.Name)
}

// quotedSpec is what is kept of it.
type quotedSpec struct {
	Documents []parcel `json:"documents,omitempty"`
}

// quoteStatus is what he gets.
type quoteStatus struct {
	State      string    `json:"state"` // open, ordered or expired
	Decision   string    `json:"decision"`
	ValidUntil time.Time `json:"validUntil"`
	market.Terms
	Order string `json:"order,omitempty"`
}

func (c *call) quoteDocument(q *market.Quote) (seca.Document, error) {
	state := "open"
	switch {
	case q.Order != "":
		state = "ordered"
	case !time.Now().Before(q.ValidUntil):
		state = "expired"
	}
	parcels, err := parcelsOf(q)
	return c.tenantDocumentOf("quote", "quotes", q.ID, q.CreatedAt, quotedSpec{parcels},
		quoteStatus{state, q.Decision, q.ValidUntil, q.Terms, q.Order}), err
}

func (c *call) listQuotes() (reply, error) {
	all, err := c.server.Market.Quotes(c.ctx, c.at.Tenant)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "quotes", all, c.quoteDocument)
}

func (c *call) oneQuote() (reply, error) {
	q, err := c.server.Market.FindQuote(c.ctx, c.at.Tenant, c.at.Name)
	if err != nil {
		return reply{}, err
	}
	return ok(c.quoteDocument(q))
}

func (c *call) oneDecision() (reply, error) {
	d, err := c.server.Market.Decision(c.ctx, c.at.Tenant, c.at.Name)
	if err != nil {
		return reply{}, err
	}
	return ok(c.tenantDocumentOf("decision", "decisions", d.ID, d.At, struct{}{}, market.Explain(d)), nil)
}

// exportDecision gives all that is needed to make a decision again somewhere else.
func (c *call) exportDecision() (reply, error) {
	var b bytes.Buffer
	if err := c.server.Market.Export(c.ctx, c.at.Tenant, c.at.Name, &b); err != nil {
		return reply{}, err
	}
	return reply{stream: func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = b.WriteTo(w) // nobody is left to tell
	}}, nil
}

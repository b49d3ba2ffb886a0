package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/tenant"
)

// changes reports whether a method is one that changes something.
func changes(method string) bool { return method != http.MethodGet && method != http.MethodHead }

// watch has what the call changes told of in the audit log.
func (c *call) watch(rt route) {
	if !changes(rt.method) {
		return
	}
	c.act = &audit.Act{Entry: c.entry(rt), Chains: c.chains()}
	c.act.Status = c.accepted
	c.ctx = c.server.Audit.With(c.ctx, c.act)
}

// greet has a first login told of, which makes an account.
func (c *call) greet() {
	if c.server.Tenants.Others != nil {
		c.ctx = c.server.Audit.With(c.ctx, &audit.Act{Entry: audit.Entry{From: origin(c.req)}})
	}
}

// accepted is the status of success, unless whoever changes something knows better.
func accepted(rt route) int {
	o, _ := describe(rt)
	return o.success()[0]
}

// entry is what is known of a call before it is carried out.
func (c *call) entry(rt route) audit.Entry {
	return audit.Entry{
		Actor: c.actor(rt.allow), From: origin(c.req), Method: rt.method, Action: action(rt),
		Resource: reference(c.req), Region: c.regionInPath(), Workspace: c.at.Workspace,
	}
}

func (c *call) actor(p permission) audit.Actor {
	a := audit.Actor{Kind: audit.Account, Subject: c.who.Subject, Issuer: c.who.Issuer, TokenID: c.who.TokenID}
	switch {
	case a.Subject == "":
		a.Kind = audit.Nobody
	case c.who.Operator && (p.operator || p.acting || p.owner || p.anybody && c.at.Name != a.Subject):
		a.Kind = audit.Operator
	case strings.HasPrefix(a.Subject, tenant.ServicePrefix+":"):
		a.Kind = audit.Service
	case a.Issuer != "":
		a.Kind = audit.Login
	}
	return a
}

func origin(r *http.Request) audit.Origin {
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr
	}
	return audit.Origin{
		Address: address, Forwarded: r.Header.Get("X-Forwarded-For"), Program: r.UserAgent(), RequestID: requestID(r.Context()),
	}
}

// action is put, delete, post.start and so on.
func action(rt route) string {
	if rt.allow.verb != "" {
		return rt.allow.verb
	}
	verb := strings.ToLower(rt.method)
	if last := rt.path[strings.LastIndex(rt.path, "/")+1:]; rt.method == http.MethodPost && !strings.HasPrefix(last, "{") {
		verb += "." + last
	}
	return verb
}

// reference is what a request is about, as a URN: the path from the provider on.
func reference(r *http.Request) string {
	_, ref, found := strings.Cut(r.URL.Path, providers)
	if !found {
		return r.URL.Path
	}
	return ref
}

// chains are where a call is told of: at its tenant, else at the exchange. What
// an operator does to a tenant is told at both.
func (c *call) chains() []string {
	name := c.req.PathValue("name")
	switch {
	case c.at.Tenant != "":
		return []string{c.at.Tenant}
	case strings.Contains(c.req.Pattern, "/tenants/{name}"):
		return []string{"", name}
	case strings.Contains(c.req.Pattern, "/accounts/{name}") && audit.ServiceTenant(name) != "":
		return []string{audit.ServiceTenant(name)}
	}
	return []string{""}
}

// refused notes that a call came to nothing: a change, or what the caller may not see.
func (c *call) refused(rt route, err error) {
	e := c.entry(rt)
	e.Status = problems[fault.KindOf(err)].status
	denied := e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized && c.req.Header.Get("Authorization") != ""
	if !denied && (!changes(rt.method) || e.Actor.Kind == audit.Nobody || e.Status < 400 || e.Status >= 500) {
		return
	}
	c.server.Audit.Refused(c.chains()[0], e)
}

// agentAct has what an agent says told of, as far as it changes something.
func (s *server) agentAct(r *http.Request, region, action string) context.Context {
	return s.Audit.With(r.Context(), &audit.Act{Entry: audit.Entry{
		Actor: audit.Actor{Kind: audit.Agent, Subject: region}, From: origin(r), Method: r.Method, Action: action,
	}})
}

// refusedAgent notes who could not join or renew.
func (s *server) refusedAgent(r *http.Request, err error) {
	status := problems[fault.KindOf(err)].status
	if status != http.StatusUnauthorized && status != http.StatusForbidden {
		return
	}
	s.Audit.Refused("", audit.Entry{
		Actor: audit.Actor{Kind: audit.Nobody}, From: origin(r), Method: r.Method, Action: "agent", Resource: r.URL.Path, Status: status,
	})
}

// HasTenant reports whether there is such a tenant, for Audit.KeepRefused.
func (x *Exchange) HasTenant(ctx context.Context, name string) bool {
	_, err := x.Tenants.Tenant(ctx, name)
	return err == nil
}

// listActivity is SECA's activity log of a workspace.
func (c *call) listActivity() (reply, error) {
	c.at.Provider, c.at.Collection = "seca.activitylog/v1beta1", "activity-logs"
	return c.listEntries(audit.Query{Chain: c.at.Tenant, Workspace: c.at.Workspace, Region: c.region.Name}, c.activity)
}

// listAudit is the whole chain of a tenant, or of the exchange.
func (c *call) listAudit() (reply, error) {
	c.at.Provider, c.at.Collection = own+"/v1", "audit"
	return c.listEntries(audit.Query{Chain: c.at.Tenant}, c.auditDocument)
}

func (c *call) listEntries(q audit.Query, doc func(audit.Sealed) (seca.Document, error)) (reply, error) {
	page, err := c.auditQuery(&q)
	if err != nil {
		return reply{}, err
	}
	base, err := c.firstEntry()
	if err != nil {
		return reply{}, err
	}
	q.After = max(q.After, base.Seq)
	q.Limit = page + 1
	all, err := c.server.Audit.List(c.ctx, q)
	if err != nil {
		return reply{}, err
	}
	docs, after := make([]seca.Document, 0, min(len(all), page)), ""
	for i, s := range all {
		if i == page {
			after = strconv.FormatInt(all[i-1].Seq, 10)
			break
		}
		d, err := doc(s)
		if err != nil {
			return reply{}, err
		}
		docs = append(docs, d)
	}
	return reply{status: http.StatusOK, body: c.page(docs, after)}, nil
}

// auditQuery reads what narrows a list of entries.
func (c *call) auditQuery(q *audit.Query) (page int, err error) {
	lq, err := c.query()
	if err != nil {
		return 0, err
	}
	v := c.req.URL.Query()
	q.Actor, q.Resource = v.Get("actor"), v.Get("resource")
	for _, p := range []struct {
		name, text string
	}{{"skipToken", lq.after}, {"after", v.Get("after")}} {
		if p.text == "" {
			continue
		}
		n, err := strconv.ParseInt(p.text, 10, 64)
		if err != nil || n < 0 {
			return 0, fault.Parameter(fault.Malformed.Errorf("must be the number of an entry"), p.name)
		}
		q.After = max(q.After, n)
	}
	since, err := c.since()
	if err != nil {
		return 0, err
	}
	if !since.IsZero() {
		q.Since = since.UnixMicro()
	}
	return lq.limit, nil
}

// since is the moment from which on the caller wants to know, zero if he has said none.
func (c *call) since() (t time.Time, err error) {
	s := c.req.URL.Query().Get("since")
	if s == "" {
		return t, nil
	}
	if t, err = time.Parse(time.RFC3339, s); err != nil {
		return t, fault.Parameter(fault.Malformed.Errorf("must be a time such as 2026-07-01T10:00:00Z"), "since")
	}
	return t, nil
}

// firstEntry is the mark before the first entry that the caller may see. A
// tenant sees nothing from before its making: another had the name.
func (c *call) firstEntry() (audit.Mark, error) {
	chain, err := c.server.Audit.Chain(c.ctx, c.at.Tenant)
	if err != nil || c.at.Tenant == "" {
		return chain.Base, err
	}
	t, err := c.server.Tenants.Tenant(c.ctx, c.at.Tenant)
	if err != nil {
		return audit.Mark{}, err
	}
	before, err := c.server.Audit.Before(c.ctx, chain, t.CreatedAt)
	return before, err
}

// auditDocument renders an entry. The spec is its text as it was hashed.
func (c *call) auditDocument(s audit.Sealed) (seca.Document, error) {
	e, err := s.Entry()
	if err != nil {
		return seca.Document{}, err
	}
	collection := "audit"
	if c.at.Tenant != "" {
		collection = "tenants/" + c.at.Tenant + "/audit"
	}
	d := ownDocument("audit-entry", collection, strconv.FormatInt(s.Seq, 10), e.At, nil, s.Mark)
	d.Metadata.Tenant, d.Spec = c.at.Tenant, s.Body
	return d, nil
}

func (c *call) activity(s audit.Sealed) (seca.Document, error) {
	e, err := s.Entry()
	if err != nil {
		return seca.Document{}, err
	}
	var spec seca.ActivityLogSpec
	spec.Subject = e.Actor.Subject
	if e.Actor.Kind == audit.Agent {
		spec.Subject = "agent:" + spec.Subject
	}
	spec.Request.Verb, spec.Request.Resource, spec.Response.Code = e.Method, e.Resource, e.Status
	if e.Status == 0 {
		spec.Response.Code = http.StatusOK
	}
	name := strconv.FormatInt(s.Seq, 10)
	k := resource.Kind{Provider: "seca.activitylog", Collection: c.at.Collection}
	u := k.URN(c.at.Tenant, c.at.Workspace, "", name)
	u.Provider = c.at.Provider
	return seca.Document{
		Spec: marshal(spec), Kontor: joined(marshal(s.Mark), s.Body),
		Metadata: seca.Metadata{
			Name: name, Provider: u.Provider, Resource: u.Resource(), Ref: u.String(), Verb: http.MethodGet, APIVersion: "v1beta1", Kind: "activity-log",
			Tenant: u.Tenant, Workspace: u.Workspace, Region: c.region.Name, CreatedAt: when(e.At), LastModifiedAt: when(e.At), ResourceVersion: 1,
		},
	}, nil
}

// auditHead tells where a chain begins and ends, for who verifies it.
func (c *call) auditHead() (reply, error) {
	base, err := c.firstEntry()
	if err != nil {
		return reply{}, err
	}
	chain, err := c.server.Audit.Chain(c.ctx, c.at.Tenant)
	chain.Base = base
	if chain.Head.Seq < base.Seq {
		err = errors.Join(err, fault.Unavailable.Errorf("the log is being pruned"))
	}
	return ok(chain, err)
}

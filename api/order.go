package api

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/kontor-cloud/kontor/blueprint"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

// quoteSpec is what a customer asks for.
type quoteSpec struct {
	market.Wish
	Blueprint *chosenBlueprint `json:"blueprint,omitempty"` // instead of documents
	Documents []parcel         `json:"documents,omitempty"`
	ValidFor  string           `json:"validFor,omitempty"`
}

// chosenBlueprint is a blueprint with the choices of its buyer.
type chosenBlueprint struct {
	Name       string                     `json:"name"`
	Parameters map[string]json.RawMessage `json:"parameters,omitempty"`
}

// A purchase is what a quote is to be made for.
type purchase struct {
	wish    market.Wish
	parcels []parcel
	titled  string // of the blueprint
}

// maxParcels is how many documents a quote can have: with their workspaces they are made at once.
const maxParcels = resource.MaxBatch / 2

// purchase completes what was asked for: a blueprint becomes its documents, and all documents a bill of materials.
func (c *call) purchase(in quoteSpec) (*purchase, error) {
	p := &purchase{wish: in.Wish, parcels: in.Documents}
	if in.Blueprint != nil {
		if len(in.Documents) > 0 {
			return nil, fault.At(fault.Invalid.Errorf("there are documents, or a blueprint: not both"), "/documents")
		}
		if err := p.expand(in.Blueprint); err != nil {
			return nil, fault.Within(err, "/blueprint")
		}
	}
	if len(p.parcels) > maxParcels {
		return nil, fault.At(fault.Invalid.Errorf("must be at most %d documents, not %d", maxParcels, len(p.parcels)), "/documents")
	}
	if len(p.parcels) > 0 {
		p.wish.Region = cmp.Or(p.wish.Region, market.EU)
	}
	return p, reckon(&p.wish, p.parcels)
}

// expand puts the parts of a blueprint into the purchase, each as a group.
func (p *purchase) expand(in *chosenBlueprint) error {
	b, err := blueprint.Named(in.Name)
	if err != nil {
		return fault.At(err, "/name")
	}
	product, err := b.Expand(in.Parameters)
	if err != nil {
		return err
	}
	p.titled = product.Blueprint
	p.wish.Policies = append(p.wish.Policies, product.Policies...)
	p.wish.Away = append(p.wish.Away, product.Away...)
	p.wish.Ties = append(p.wish.Ties, product.Ties...)
	for _, part := range product.Parts {
		for _, text := range part.Documents {
			var d parcel
			if err := json.Unmarshal(text, &d); err != nil {
				return fault.Invalid.Errorf("read a document of part %s: %w", part.Name, err)
			}
			d.Metadata.Workspace = part.Workspace
			d.Annotations = maps.Clone(d.Annotations)
			if d.Annotations == nil {
				d.Annotations = map[string]string{}
			}
			d.Annotations[groupMark] = part.Name
			p.parcels = append(p.parcels, d)
		}
	}
	return nil
}

func (c *call) newQuote() (reply, error) {
	var in withSpec[quoteSpec]
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	validFor, err := duration(in.Spec.ValidFor, market.UsualValidity, "/spec/validFor")
	if err != nil {
		return reply{}, err
	}
	q, err := c.quote(in.Spec, validFor)
	if err != nil {
		return reply{}, fault.Within(err, "/spec")
	}
	d, err := c.quoteDocument(q)
	return reply{status: http.StatusCreated, body: d}, err
}

func (c *call) quote(in quoteSpec, validFor time.Duration) (*market.Quote, error) {
	p, err := c.purchase(in)
	if err != nil {
		return nil, err
	}
	r, err := c.server.Market.Understand(c.ctx, c.at.Tenant, p.wish)
	if err != nil {
		return nil, err
	}
	full := market.QuoteRequest{Request: r, Region: p.wish.Region, Product: p.titled, ValidFor: validFor}
	if len(p.parcels) > 0 {
		full.Documents = marshal(p.parcels)
		full.Check = func(chosen []placement.Placement) error {
			writes, err := c.writes(p.wish.Region, p.parcels, chosen, "")
			if err != nil {
				return err
			}
			return resource.CheckAll(writes)
		}
	}
	return c.server.Market.Quote(c.ctx, c.at.Tenant, full)
}

// writes are the resources that documents describe, where they were placed, in a virtual region. The
// caller must be allowed to make each of them.
func (c *call) writes(region string, parcels []parcel, chosen []placement.Placement, decision string) ([]resource.Write, error) {
	hosts := map[string]string{}
	for _, p := range chosen {
		hosts[p.Group] = p.Region
	}
	parcels = withWorkspaces(parcels)
	writes := make([]resource.Write, len(parcels))
	for i, p := range parcels {
		var err error
		if writes[i], err = c.writeOf(region, p, hosts[p.group()], decision); err != nil {
			return nil, fault.Within(err, "/documents/"+strconv.Itoa(i))
		}
		writes[i].At = "/documents/" + strconv.Itoa(i)
	}
	return writes, nil
}

// withWorkspaces adds the workspaces that no document describes, at the end.
func withWorkspaces(parcels []parcel) []parcel {
	known := map[string]bool{}
	for _, p := range parcels {
		if p.Kind == "workspace" {
			known[p.Metadata.Name] = true
		}
	}
	all := slices.Clip(parcels)
	for _, p := range parcels {
		if name := p.workspace(); !known[name] {
			known[name] = true
			all = append(all, parcel{Kind: "workspace", Metadata: parcelMetadata{Name: name}, Annotations: map[string]string{groupMark: p.group()}})
		}
	}
	return all
}

func (c *call) writeOf(region string, p parcel, host, decision string) (w resource.Write, err error) {
	k, err := p.kind()
	if err != nil {
		return w, err
	}
	sub := &call{server: c.server, req: c.req, ctx: c.ctx, who: c.who, kind: k}
	sub.at = k.URN(c.at.Tenant, p.Metadata.Workspace, p.Metadata.Network, p.Metadata.Name)
	if sub.region, err = sub.findVirtual(region); err != nil {
		return w, err
	}
	if err := sub.wellFormed(true); err != nil {
		return w, fault.At(fault.Invalid.Errorf("%s", err), "/metadata/"+fault.SourcesOf(err)[0].Parameter)
	}
	if err := sub.authorizeAt(putting(k), region); err != nil {
		return w, err
	}
	e, err := sub.hosted(sub.bareEnv(), host)
	if err != nil {
		return w, err
	}
	if k.Name == "workspace" {
		e.Decision = decision
	}
	return resource.Write{Kind: k, URN: sub.at, Env: e, Input: resource.Input{Labels: p.Labels, Annotations: p.Annotations, Spec: p.Spec}}, nil
}

// order accepts a quote, and makes what it describes in the same transaction.
func (c *call) order() (reply, error) {
	q, err := c.server.Market.FindQuote(c.ctx, c.at.Tenant, c.at.Name)
	if err != nil {
		return reply{}, err
	}
	parcels, err := parcelsOf(q)
	if err != nil {
		return reply{}, err
	}
	writes, err := c.writes(q.Region, parcels, q.Chosen, q.Decision)
	if err != nil && q.Order == "" {
		return reply{}, err
	}
	announce := func() {}
	o, err := c.server.Market.Order(c.ctx, c.at.Tenant, q.ID, func(ctx context.Context, tx *db.Tx, _ *market.Quote) error {
		if len(writes) == 0 {
			return nil
		}
		var err error
		_, announce, err = c.server.Resources.Make(ctx, tx, writes)
		return err
	})
	if err != nil {
		return reply{}, err
	}
	announce()
	d, _, err := c.orderView(o, slices.Repeat([]seca.State{seca.Creating}, min(len(writes), 1)))
	return reply{status: http.StatusCreated, body: d}, err
}

func parcelsOf(q *market.Quote) (all []parcel, err error) {
	if len(q.Documents) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(q.Documents, &all); err != nil {
		return nil, fault.Malformed.Errorf("read the documents of quote %s: %w", q.ID, err)
	}
	return all, nil
}

type orderSpec struct {
	Quote     string   `json:"quote"`
	Documents []parcel `json:"documents,omitempty"`
}

// orderStatus is what became of an order.
type orderStatus struct {
	State    string        `json:"state"` // creating, active, error, deleting, failed or ended
	Decision string        `json:"decision"`
	Price    *market.Price `json:"price"` // now
	market.Terms
	Made    []partView   `json:"made,omitempty"` // if one order is shown
	Drift   *driftStatus `json:"drift,omitempty"`
	Problem string       `json:"problem,omitempty"` // why it was taken back
	EndedAt time.Time    `json:"endedAt,omitzero"`
}

// orderView renders an order of which things in some states are there; the status is for more to come.
func (c *call) orderView(o *market.Order, states []seca.State) (seca.Document, orderStatus, error) {
	price, err := c.server.Market.OrderPrice(c.ctx, o, time.Now())
	if err != nil {
		return seca.Document{}, orderStatus{}, err
	}
	s := orderStatus{State: orderState(o, states), Decision: o.Quote.Decision, Price: price, Terms: o.Quote.Terms, EndedAt: o.EndedAt, Problem: o.Problem}
	parcels, err := parcelsOf(o.Quote)
	return c.tenantDocumentOf("order", "orders", o.ID, o.CreatedAt, orderSpec{o.Quote.ID, parcels}, s), s, err
}

// orderState sums up the states of what an order has made.
func orderState(o *market.Order, states []seca.State) string {
	is := func(s seca.State) bool { return slices.Contains(states, s) }
	switch {
	case o.Problem != "":
		return "failed"
	case !o.EndedAt.IsZero():
		return "ended"
	case is(seca.Deleting) || len(states) == 0 && len(o.Quote.Documents) > 0:
		return string(seca.Deleting)
	case is(seca.Error):
		return string(seca.Error)
	case is(seca.Pending) || is(seca.Creating):
		return string(seca.Creating)
	}
	return string(seca.Active)
}

func (c *call) listOrders() (reply, error) {
	all, err := c.server.Market.Orders(c.ctx, c.at.Tenant)
	if err != nil {
		return reply{}, err
	}
	states, err := c.server.Resources.States(c.ctx, c.at.Tenant)
	if err != nil {
		return reply{}, err
	}
	drifted, err := c.server.Market.Drifts(c.ctx, c.at.Tenant)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "orders", all, func(o *market.Order) (seca.Document, error) {
		d, s, err := c.orderView(o, states[o.Quote.Decision])
		if at := slices.IndexFunc(drifted, func(d *market.Drift) bool { return d.Order == o.ID }); at >= 0 {
			s.Drift = &driftStatus{drifted[at].Summary(), drifted[at]}
			d.Status = marshal(s)
		}
		return d, err
	})
}

func (c *call) oneOrder() (reply, error) {
	o, err := c.server.Market.FindOrder(c.ctx, c.at.Tenant, c.at.Name)
	if err != nil {
		return reply{}, err
	}
	made, err := c.made(o)
	if err != nil {
		return reply{}, err
	}
	states := make([]seca.State, len(made))
	for i, p := range made {
		states[i] = p.State
	}
	d, s, err := c.orderView(o, states)
	if err != nil {
		return reply{}, err
	}
	s.Made = made
	if s.Drift, err = c.driftOf(o.ID); err != nil {
		return reply{}, err
	}
	d.Status = marshal(s)
	return ok(d, err)
}

// parts are the workspaces of an order that are there.
func (c *call) parts(o *market.Order) ([]*resource.Resource, error) {
	return c.server.Resources.Decided(c.ctx, c.at.Tenant, o.Quote.Decision)
}

// cancel deletes all that an order has made, as one. What was made in its workspaces beside that keeps it, unless ?all=true.
func (c *call) cancel() (reply, error) {
	o, err := c.server.Market.FindOrder(c.ctx, c.at.Tenant, c.at.Name)
	if err != nil {
		return reply{}, err
	}
	parts, err := c.parts(o)
	if err != nil {
		return reply{}, err
	}
	if c.req.URL.Query().Get("all") != "true" {
		if err := c.nothingElse(o, parts); err != nil {
			return reply{}, err
		}
	}
	names := make([]string, len(parts))
	for i, w := range parts {
		names[i] = w.URN.Name
		if err := c.authorizeAt(permission{provider: "seca.workspace", resource: "workspaces/" + w.URN.Name, verb: "delete"}, o.Quote.Region); err != nil {
			return reply{}, err
		}
	}
	if len(names) == 0 {
		return reply{status: http.StatusAccepted}, c.server.Market.End(c.ctx, o.ID)
	}
	var announce func()
	err = c.server.Providers.DB.InTx(c.ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		announce, err = c.server.Resources.Unmake(ctx, tx, o.Quote.Region, c.at.Tenant, names)
		return err
	})
	if err == nil {
		announce()
	}
	return reply{status: http.StatusAccepted}, err
}

// nothingElse refuses if the workspaces of an order have something that it did not make.
func (c *call) nothingElse(o *market.Order, parts []*resource.Resource) error {
	parcels, err := parcelsOf(o.Quote)
	if err != nil {
		return err
	}
	ordered := map[string]bool{}
	for _, p := range parcels {
		if k, err := p.kind(); err == nil {
			ordered[k.URN(c.at.Tenant, p.Metadata.Workspace, p.Metadata.Network, p.Metadata.Name).String()] = true
		}
	}
	for _, w := range parts {
		within, err := c.server.Resources.Within(c.ctx, w)
		if err != nil {
			return err
		}
		for _, r := range within {
			if !ordered[r.URN.String()] && !r.Leaving() {
				return fault.Conflict.Errorf("%s was not made by order %s; delete it first, or end the order with all that is in its workspaces (--all)", r.URN.Resource(), o.ID)
			}
		}
	}
	return nil
}

// A partView is something that an order has made.
type partView struct {
	Ref    string     `json:"ref"`
	Kind   string     `json:"kind"`
	Region string     `json:"region"` // whose agent keeps it
	State  seca.State `json:"state"`
}

// made shows all that an order has made and that is still there.
func (c *call) made(o *market.Order) ([]partView, error) {
	parts, err := c.parts(o)
	if err != nil {
		return nil, err
	}
	var all []partView
	for _, w := range parts {
		within, err := c.server.Resources.Within(c.ctx, w)
		if err != nil {
			return nil, err
		}
		for _, r := range append([]*resource.Resource{w}, within...) {
			all = append(all, partView{r.URN.String(), r.Kind.Name, r.Host, r.State})
		}
	}
	return all, nil
}

func putting(k *resource.Kind) permission {
	where := k.Collection
	if k.Scope == resource.Network {
		where = "networks/{network}/" + where
	}
	return permission{provider: k.Provider, resource: where + "/{name}", verb: "put"}
}

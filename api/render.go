package api

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

// The output-only member "kontor" of a resource is where, which is the same for
// all resources of a region, and seen.
type where struct {
	Placement placedAt `json:"placement"`
	Agent     liveness `json:"agent"`
}

type seen struct {
	Decision string          `json:"decision,omitempty"` // by which a workspace was placed
	Drift    *market.Flag    `json:"drift,omitempty"`    // of a workspace: what is not any more as was decided
	Presence string          `json:"presence,omitempty"` // present, absent, unknown: the agent's last look
	Reason   string          `json:"reason,omitempty"`
	Message  string          `json:"message,omitempty"`
	Native   string          `json:"native,omitempty"` // the platform's id
	Forwards json.RawMessage `json:"forwards,omitempty"`
}

type placedAt struct {
	Region   string `json:"region"`
	Provider string `json:"provider,omitempty"`
	Country  string `json:"country,omitempty"`
}

type liveness struct {
	Liveness string     `json:"liveness"`
	Since    *time.Time `json:"since,omitempty"` // alive: since when; else: last heard of
}

// document renders a resource as a client sees it. Presence is unknown while
// its region's agent has not been heard of.
func (c *call) document(r *resource.Resource, verb string) seca.Document {
	d := seca.Document{
		Labels: r.Labels, Annotations: r.Annotations, Extensions: r.Extensions,
		Metadata: c.metadata(r, verb), Spec: r.Spec, Status: status(r),
	}
	if c.region != nil && (r.Kind.Kept || r.Host != r.Region) {
		d.Kontor = c.view(r)
	}
	return d
}

func (c *call) metadata(r *resource.Resource, verb string) seca.Metadata {
	u := r.URN
	m := seca.Metadata{
		Name: u.Name, Provider: u.Provider, Resource: u.Resource(), Ref: u.String(), Verb: verb, APIVersion: "v1",
		Kind: r.Kind.Name, Tenant: u.Tenant, Workspace: u.Workspace, Network: u.Network, Region: r.Region,
		CreatedAt: at(&r.CreatedAt), LastModifiedAt: at(&r.ModifiedAt), DeletedAt: at(&r.DeletedAt), ResourceVersion: r.Version,
	}
	return m
}

func when(t time.Time) *time.Time { return at(&t) }

// at is a moment of what lives on, or nil.
func at(t *time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return t
}

// status puts the fields of the kind beside those that all kinds have.
func status(r *resource.Resource) json.RawMessage {
	log, fields := r.Log.JSON(), bytes.TrimSpace(r.Status)
	common := make([]byte, 0, len(log)+64)
	common = append(append(common, `{"state":"`...), r.State...)
	common = append(append(append(common, `","conditions":`...), log...), '}')
	if len(fields) == 0 || fields[0] != '{' {
		return common
	}
	return joined(common, fields)
}

func (c *call) view(r *resource.Resource) json.RawMessage {
	if c.where == nil || c.host != r.Host {
		agent := c.liveness(r.Host)
		c.silent = agent.Liveness == string(provider.Unknown)
		at := placedAt{Region: r.Host}
		if host, err := c.server.Providers.Snapshot().Region(r.Host); err == nil {
			at.Provider, at.Country = host.Display, host.Country
		}
		c.host, c.where = r.Host, marshal(where{at, agent})
	}
	v := seen{
		Decision: r.Decision,
		Presence: string(r.Observed.Presence), Reason: r.Observed.Reason, Message: r.Observed.Message,
		Native: r.Observed.Native, Forwards: r.Observed.Forwards,
	}
	if r.Decision != "" {
		v.Drift = c.flag(r)
	}
	if c.silent && v.Presence != "" {
		v.Presence, v.Reason, v.Message = "unknown", "AgentSilent", "the region's agent has not been heard of; what runs keeps running"
	}
	return joined(c.where, marshal(v))
}

// flag is of a workspace that was placed. A reply without it is better than none.
func (c *call) flag(r *resource.Resource) *market.Flag {
	f, err := c.server.Market.Flag(c.ctx, r.URN.Tenant, r.Region, r.URN.Name)
	if err != nil {
		c.server.log.WarnContext(c.ctx, "flags of drift not read", "error", err)
	}
	return f
}

// joined makes one object of the members of two; a has some.
func joined(a, b json.RawMessage) json.RawMessage {
	rest := bytes.TrimSpace(b[1:])
	if rest[0] == '}' {
		return a
	}
	out := make([]byte, 0, len(a)+len(b))
	return append(append(append(out, a[:len(a)-1]...), ','), rest...)
}

func marshal(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	return b
}

func (c *call) liveness(region string) liveness {
	state, since := c.server.Providers.Liveness(region)
	return liveness{Liveness: string(state), Since: when(since)}
}

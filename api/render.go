package api

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

// view is the output-only member "kontor" of a resource.
type view struct {
	Placement placement       `json:"placement"`
	Agent     liveness        `json:"agent"`
	Presence  string          `json:"presence,omitempty"` // present, absent, unknown: the agent's last look
	Reason    string          `json:"reason,omitempty"`
	Message   string          `json:"message,omitempty"`
	Native    string          `json:"native,omitempty"` // the platform's id
	Forwards  json.RawMessage `json:"forwards,omitempty"`
}

type placement struct {
	Region   string `json:"region"`
	Provider string `json:"provider,omitempty"`
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
	if r.Kind.Kept && c.region != nil {
		d.Kontor = c.view(r)
	}
	return d
}

func (c *call) metadata(r *resource.Resource, verb string) seca.Metadata {
	u := r.URN
	m := seca.Metadata{
		Name: u.Name, Provider: u.Provider, Resource: u.Resource(), Ref: u.String(), Verb: verb, APIVersion: "v1",
		Kind: r.Kind.Name, Tenant: u.Tenant, Workspace: u.Workspace, Network: u.Network, Region: r.Region,
		CreatedAt: when(r.CreatedAt), LastModifiedAt: when(r.ModifiedAt), DeletedAt: when(r.DeletedAt), ResourceVersion: r.Version,
	}
	return m
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// status puts the fields of the kind beside those that all kinds have.
func status(r *resource.Resource) json.RawMessage {
	common, err := json.Marshal(seca.Status{State: r.State, Conditions: r.Conditions})
	if err != nil {
		panic(err) // strings and times
	}
	fields := strings.TrimSpace(string(r.Status))
	if len(fields) <= 2 || fields[0] != '{' {
		return common
	}
	return json.RawMessage(string(common[:len(common)-1]) + "," + fields[1:])
}

func (c *call) view(r *resource.Resource) json.RawMessage {
	v := view{
		Placement: placement{Region: r.Region, Provider: c.region.Display},
		Agent:     c.liveness(r.Region),
		Presence:  string(r.Observed.Presence), Reason: r.Observed.Reason, Message: r.Observed.Message,
		Native: r.Observed.Native, Forwards: r.Observed.Forwards,
	}
	if v.Agent.Liveness == string(provider.Unknown) && v.Presence != "" {
		v.Presence, v.Reason, v.Message = "unknown", "AgentSilent", "the region's agent has not been heard of; what runs keeps running"
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func (c *call) liveness(region string) liveness {
	state, since := c.server.Providers.Liveness(region)
	return liveness{Liveness: string(state), Since: when(since)}
}

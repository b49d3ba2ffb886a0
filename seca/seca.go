// Package seca holds the wire types of the Sovereign European Cloud API, v1.7:
// what clients send and read, field by field. The rules that bind the fields
// are in package resource.
package seca

import (
	"bytes"
	"encoding/json"
	"time"
)

// Metadata is filled by the server and read-only. Which fields are present
// depends on the scope of the kind.
type Metadata struct {
	Name            string     `json:"name"`
	Provider        string     `json:"provider"` // seca.compute/v1
	Resource        string     `json:"resource"` // instances/vm1
	Ref             string     `json:"ref"`      // the full URN
	Verb            string     `json:"verb"`     // GET, PUT
	APIVersion      string     `json:"apiVersion"`
	Kind            string     `json:"kind"`
	Tenant          string     `json:"tenant,omitempty"`
	Workspace       string     `json:"workspace,omitempty"`
	Network         string     `json:"network,omitempty"`
	Region          string     `json:"region,omitempty"`
	CreatedAt       *time.Time `json:"createdAt,omitempty"`
	LastModifiedAt  *time.Time `json:"lastModifiedAt,omitempty"`
	DeletedAt       *time.Time `json:"deletedAt,omitempty"`
	ResourceVersion int64      `json:"resourceVersion,omitempty"`
}

// A Document is any resource as it travels. Spec and Status have the types of
// its kind.
type Document struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Extensions  map[string]string `json:"extensions,omitempty"`
	Metadata    Metadata          `json:"metadata"`
	Spec        json.RawMessage   `json:"spec"`
	Status      json.RawMessage   `json:"status,omitempty"`
	Kontor      json.RawMessage   `json:"kontor,omitempty"` // output only: placement, liveness, notices
}

// A List is one page of documents.
type List[T any] struct {
	Items    []T          `json:"items"`
	Metadata ListMetadata `json:"metadata"`
}

// ListMetadata describes a page. SkipToken is absent on the last one.
type ListMetadata struct {
	Provider  string `json:"provider"`
	Resource  string `json:"resource"`
	Verb      string `json:"verb"`
	SkipToken string `json:"skipToken,omitempty"`
}

// A State is a step in the life of a resource.
type State string

// The states of SECA. A deleted resource has none: it answers 404.
const (
	Pending  State = "pending"
	Creating State = "creating"
	Active   State = "active"
	Updating State = "updating"
	Deleting State = "deleting"
	Error    State = "error"
)

// Schema lists the states, for package openapi.
func (State) Schema() map[string]any {
	return map[string]any{"type": "string", "enum": []any{Pending, Creating, Active, Updating, Deleting, Error}}
}

// A Condition is one transition in the log that a status carries, newest first.
type Condition struct {
	State            State     `json:"state"`
	LastTransitionAt time.Time `json:"lastTransitionAt"`
	Type             string    `json:"type,omitempty"`
	Reason           string    `json:"reason,omitempty"`
	Message          string    `json:"message,omitempty"`
}

// Status is what every status has. The fields of a kind stand beside it.
type Status struct {
	State      State       `json:"state"`
	Conditions []Condition `json:"conditions"`
}

// A Reference names another resource, an address or a range. It keeps the
// spelling of its author, also the bare string of SECA before v1.5.
type Reference struct {
	Provider  string
	Tenant    string
	Workspace string
	Region    string
	Resource  string

	bare bool
}

type reference struct {
	Provider  string `json:"provider,omitempty"`
	Tenant    string `json:"tenant,omitempty"`
	Workspace string `json:"workspace,omitempty"`
	Region    string `json:"region,omitempty"`
	Resource  string `json:"resource"`
}

// Schema has both forms, for package openapi.
func (Reference) Schema() map[string]any {
	text := map[string]any{"type": []string{"string", "null"}}
	return map[string]any{"oneOf": []any{
		map[string]any{"type": "string", "description": "A URN, or a part of one. The form before SECA v1.5."},
		map[string]any{
			"type": "object", "required": []string{"resource"},
			"properties": map[string]any{
				"resource": map[string]any{"type": "string", "description": "skus/seca.rd100, workspaces/w/block-storages/disk, or a full URN; for routes and rules also an address or a range."},
				"provider": text, "tenant": text, "workspace": text, "region": text,
			},
		},
	}}
}

// Ref makes a reference out of a URN.
func Ref(urn string) Reference { return Reference{Resource: urn} }

// MarshalJSON writes the reference as its author wrote it.
func (r Reference) MarshalJSON() ([]byte, error) {
	if r.bare {
		return json.Marshal(r.Resource)
	}
	return json.Marshal(reference{r.Provider, r.Tenant, r.Workspace, r.Region, r.Resource})
}

// UnmarshalJSON takes the object form and the bare string.
func (r *Reference) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '"' {
		*r = Reference{bare: true}
		return json.Unmarshal(b, &r.Resource)
	}
	var w reference
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*r = Reference{Provider: w.Provider, Tenant: w.Tenant, Workspace: w.Workspace, Region: w.Region, Resource: w.Resource}
	return nil
}

// A CIDR is an address range of either family, or of both.
type CIDR struct {
	IPv4 string `json:"ipv4,omitempty"`
	IPv6 string `json:"ipv6,omitempty"`
}

// RegionSpec says what a region has and where its providers answer.
type RegionSpec struct {
	AvailableZones []string         `json:"availableZones"`
	Providers      []RegionProvider `json:"providers"`
}

// A RegionProvider is one API of a region. The URL lacks the version.
type RegionProvider struct {
	Name    string `json:"name"`
	URL     string `json:"url"`
	Version string `json:"version"`
}

// Wellknown is the document at /.wellknown/secapi.
type Wellknown struct {
	Version   string              `json:"version"`
	Endpoints []WellknownEndpoint `json:"endpoints"`
}

// A WellknownEndpoint is a global provider.
type WellknownEndpoint struct {
	Provider string `json:"provider"`
	URL      string `json:"url"`
}

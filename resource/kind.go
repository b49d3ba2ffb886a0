package resource

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
)

// A Scope is where a kind's names are unique.
type Scope int

// The scopes of SECA.
const (
	Tenant    Scope = iota // tenants/t
	Workspace              // tenants/t/workspaces/w
	Network                // tenants/t/workspaces/w/networks/n
)

// A Kind is a row of the table that the whole API is made of: its name and
// place, and its rules. Everything else about a resource is generic.
type Kind struct {
	Name       string // metadata.kind: block-storage
	Provider   string // seca.storage
	Collection string // block-storages
	Short      []string
	Scope      Scope
	Global     bool     // served for the whole exchange, not by a region
	Kept       bool     // made real by an agent; else by the exchange alone
	Actions    []string // POST verbs

	decode    func(json.RawMessage) (spec, error)
	marshaled func(spec) (json.RawMessage, error)
}

// A spec is a decoded spec with the rules of its kind bound to it.
type spec interface {
	fill(Env)                     // set what the author left to the server
	check(Env, *fault.List)       // rules of the fields alone
	keep(old spec, _ *fault.List) // what may not change
	links() []link                // references to other things
	relate(urn.URN, map[string]*Resource, *fault.List)
	choose(id string) // choices of the server, the same each time for one resource
	status() any      // the fields of the status until the agent knows better
}

// An Env is what the rules of a kind may look at.
type Env struct {
	Suite   bool // the rejection profile of the public conformance suite
	Region  string
	Regions func(name string) bool
	Tenants func(name string) bool
	Subject func(id string) bool

	Kinds     []string // what the region's platform can keep
	Inventory *driver.Inventory

	// Of a virtual region; Kinds and Inventory are those of the host, as Region calls them.
	Host      string                        // the region whose agent keeps things; "": Region
	Decision  string                        // by which a workspace is placed there
	Names     map[string]string             // how the host calls "zone/NAME" and "PROVIDER/SKU"; the same if it is not there
	Extension func(key, value string) error // why a workspace cannot have it; nil: there are none
}

// host is the region that has or lacks what is asked for.
func (e Env) host() string { return cmp.Or(e.Host, e.Region) }

func (e Env) nativeZone(name *string) {
	if n, ok := e.Names["zone/"+*name]; ok {
		*name = n
	}
}

func (e Env) nativeSKU(k link) {
	if n, ok := e.Names[k.in+"/"+path.Base(k.ref.Resource)]; ok {
		*k.ref = seca.Ref("skus/" + n)
	}
}

// Has reports whether the region's platform can do f.
func (e Env) Has(f driver.Feature) bool {
	if e.Inventory == nil {
		return false
	}
	return slices.Contains(e.Inventory.Features, f)
}

// Base is the context in which a reference of a resource at u is read.
func (k *Kind) Base(u urn.URN) urn.URN {
	return urn.URN{Tenant: u.Tenant, Workspace: u.Workspace, Network: u.Network}
}

// URN names the resource of this kind at the given place.
func (k *Kind) URN(tenant, workspace, network, name string) urn.URN {
	return urn.URN{
		Provider: k.Provider + "/v1", Tenant: tenant, Workspace: workspace, Network: network,
		Collection: k.Collection, Name: name,
	}
}

// Kinds returns the table, containers before what they contain.
func Kinds() []*Kind { return kinds }

// KindNamed finds a kind by its name, its collection or a short form.
func KindNamed(name string) (*Kind, bool) {
	k, ok := kindNames[name]
	if !ok {
		k, ok = kindNames[strings.ToLower(name)]
	}
	return k, ok
}

var kindNames = byName(kinds)

func byName(kinds []*Kind) map[string]*Kind {
	names := map[string]*Kind{}
	for _, k := range kinds {
		for _, n := range append([]string{k.Name, k.Collection}, k.Short...) {
			names[n] = k
		}
	}
	return names
}

// collectionNamed finds the kind of which a collection is, as references spell it.
func collectionNamed(name string) (*Kind, bool) {
	k, ok := kindNames[name]
	return k, ok && k.Collection == name
}

var kinds = []*Kind{
	define[role](Kind{Name: "role", Provider: "seca.authorization", Collection: "roles", Global: true}),
	define[assignment](Kind{Name: "role-assignment", Provider: "seca.authorization", Collection: "role-assignments", Short: []string{"ra"}, Global: true}),
	define[workspace](Kind{Name: "workspace", Provider: "seca.workspace", Collection: "workspaces", Short: []string{"ws"}}),
	define[image](Kind{Name: "image", Provider: "seca.storage", Collection: "images", Short: []string{"img"}, Kept: true}),
	define[blockStorage](Kind{Name: "block-storage", Provider: "seca.storage", Collection: "block-storages", Short: []string{"volume", "volumes", "vol", "bs"}, Scope: Workspace, Kept: true}),
	define[network](Kind{Name: "network", Provider: "seca.network", Collection: "networks", Short: []string{"net"}, Scope: Workspace, Kept: true}),
	define[gateway](Kind{Name: "internet-gateway", Provider: "seca.network", Collection: "internet-gateways", Short: []string{"gateway", "gateways", "igw"}, Scope: Workspace, Kept: true}),
	define[routeTable](Kind{Name: "routing-table", Provider: "seca.network", Collection: "route-tables", Short: []string{"route-table", "rt"}, Scope: Network, Kept: true}),
	define[subnet](Kind{Name: "subnet", Provider: "seca.network", Collection: "subnets", Scope: Network, Kept: true}),
	define[rule](Kind{Name: "security-group-rule", Provider: "seca.network", Collection: "security-group-rules", Short: []string{"rule", "rules", "sgr"}, Scope: Workspace, Kept: true}),
	define[securityGroup](Kind{Name: "security-group", Provider: "seca.network", Collection: "security-groups", Short: []string{"sg"}, Scope: Workspace, Kept: true}),
	define[publicIP](Kind{Name: "public-ip", Provider: "seca.network", Collection: "public-ips", Short: []string{"ip", "ips"}, Scope: Workspace, Kept: true}),
	define[nic](Kind{Name: "nic", Provider: "seca.network", Collection: "nics", Scope: Workspace, Kept: true}),
	define[instance](Kind{
		Name: "instance", Provider: "seca.compute", Collection: "instances", Short: []string{"vm", "vms", "server", "servers"},
		Scope: Workspace, Kept: true, Actions: []string{"start", "stop", "restart"},
	}),
}

// define binds the rules of S to a row.
func define[S any, P interface {
	*S
	spec
}](k Kind) *Kind {
	k.decode = func(raw json.RawMessage) (spec, error) {
		s := P(new(S))
		if len(raw) == 0 || bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
			raw = json.RawMessage("{}")
		}
		return s, decodeJSON(raw, s)
	}
	k.marshaled = func(s spec) (json.RawMessage, error) { return json.Marshal(s) }
	return &k
}

// decodeJSON reads one value and says where a wrong type stands.
func decodeJSON(raw []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	err := d.Decode(to)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		var at strings.Builder
		at.WriteString("/spec")
		for name := range strings.SplitSeq(wrong.Field, ".") {
			if name != "" && !unicode.IsUpper(rune(name[0])) { // the name of an embedded type
				at.WriteString("/" + name)
			}
		}
		return fault.At(fault.Invalid.Errorf("%s must be of type %s, not %s", strings.ReplaceAll(at.String()[1:], "/", "."), wrong.Type, wrong.Value), at.String())
	case err != nil && !errors.Is(err, io.EOF):
		return fault.Malformed.Errorf("read spec: %w", err)
	}
	return nil
}

// A when says at what moment a reference must name something that exists.
type when int

const (
	always   when = iota
	onCreate      // a later change may run ahead
	later         // the agent waits for it
)

// A link is a reference within a spec.
type link struct {
	at      string          // JSON pointer
	ref     *seca.Reference // in the spec, so that a resolved spelling can be put in its place
	to      string          // collection that it must name; "" for any, "skus" for a SKU of provider
	in      string          // provider that is meant when the author names none
	when    when
	address bool // an IP address or range is allowed instead
	empty   bool // an empty reference is allowed and names nothing
}

// none is embedded by specs that have no rules of some sort.
type none struct{}

func (none) fill(Env)                                          {}
func (none) check(Env, *fault.List)                            {}
func (none) keep(spec, *fault.List)                            {}
func (none) links() []link                                     { return nil }
func (none) relate(urn.URN, map[string]*Resource, *fault.List) {}
func (none) choose(string)                                     {}
func (none) status() any                                       { return nil }

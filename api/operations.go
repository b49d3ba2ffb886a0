package api

import (
	"net/http"
	"strings"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

// An operation is what the OpenAPI document tells of a route beside its path
// and permission. Every route has one.
type operation struct {
	id      string // unique: verb and noun
	summary string // one sentence
	in      any    // what the body is decoded into, or a document; nil: there is none
	out     any    // what is answered on success: a value of its type, a document or a list; nil: nothing
	status  []int  // of success; 200 unless set
	query   string // names of parameters, see parameters
	media   string // of what is answered, if not JSON
}

// A document is a resource as it travels: the envelope is always the same.
type document struct {
	name   string // of the schema
	spec   any
	status any // nil: it has none
	kontor any // the member of that name; nil: it has none
}

// A list is a page of documents.
type list struct{ of document }

// unchanged are the statuses of what callers may keep.
var unchanged = []int{http.StatusOK, http.StatusNotModified}

// Parameters that lists have.
const (
	pages     = "limit skipToken labels"
	deletable = pages + " accept"
	narrowed  = "limit skipToken after since actor resource"
)

// things are what kinds have in spec and status.
var things = map[string]document{
	"role":                {"Role", seca.RoleSpec{}, nil, nil},
	"role-assignment":     {"RoleAssignment", seca.RoleAssignmentSpec{}, nil, nil},
	"workspace":           {"Workspace", seca.WorkspaceSpec{}, seca.WorkspaceStatus{}, nil},
	"image":               {"Image", seca.ImageSpec{}, seca.ImageStatus{}, nil},
	"block-storage":       {"BlockStorage", seca.BlockStorageSpec{}, seca.BlockStorageStatus{}, nil},
	"network":             {"Network", seca.NetworkSpec{}, seca.NetworkStatus{}, nil},
	"internet-gateway":    {"InternetGateway", seca.InternetGatewaySpec{}, nil, nil},
	"routing-table":       {"RouteTable", seca.RouteTableSpec{}, seca.RouteTableStatus{}, nil},
	"subnet":              {"Subnet", seca.SubnetSpec{}, seca.SubnetStatus{}, nil},
	"security-group-rule": {"SecurityGroupRule", seca.SecurityGroupRuleSpec{}, nil, nil},
	"security-group":      {"SecurityGroup", seca.SecurityGroupSpec{}, seca.SecurityGroupStatus{}, nil},
	"public-ip":           {"PublicIp", seca.PublicIPSpec{}, seca.PublicIPStatus{}, nil},
	"nic":                 {"Nic", seca.NICSpec{}, seca.NICStatus{}, nil},
	"instance":            {"Instance", seca.InstanceSpec{}, seca.InstanceStatus{}, nil},
}

var (
	regions    = document{"Region", seca.RegionSpec{}, nil, regionView{}}
	activities = document{"ActivityLog", seca.ActivityLogSpec{}, nil, sealedEntry{}}
)

// sealedEntry is an entry of the audit log beside its place.
type sealedEntry struct {
	audit.Mark
	audit.Entry
}

// operations tells of all routes but those that kinds and SKUs make.
var operations = map[string]operation{
	"GET /.wellknown/secapi": {id: "getWellknown", summary: "Where the global providers are.", out: seca.Wellknown{}},
	"GET /healthz":           {id: "getHealth", summary: "Whether the process lives.", out: health{}},
	"GET /readyz":            {id: "getReadiness", summary: "Whether it should be sent work.", out: health{}},
	"GET /openapi.json":      {id: "getOpenAPI", summary: "This document.", out: map[string]any{}, status: unchanged, query: "ifNoneMatch"},
	"GET /docs":              {id: "getDocs", summary: "This document, for people.", media: "text/html", status: unchanged, query: "ifNoneMatch"},
	"GET /docs/{file}":       {id: "getDocsFile", summary: "What that page needs.", media: "text/*", status: unchanged, query: "ifNoneMatch"},

	"GET /providers/seca.region/v1/regions":        {id: "listRegions", summary: "The regions in which something can be ordered.", out: list{regions}, query: pages},
	"GET /providers/seca.region/v1/regions/{name}": {id: "getRegion", summary: "One region, and where its providers are.", out: regions},

	"GET /regions/{region}/providers/seca.activitylog/v1beta1/tenants/{tenant}/workspaces/{workspace}/activity-logs": {
		id: "listActivityLogs", summary: "Who did what in a workspace, the oldest first.", out: list{activities}, query: narrowed,
	},
}

// describe finds what is told of a route, if anything is.
func describe(r route) (operation, bool) {
	if r.kind != nil && strings.Contains(r.path, providers+r.kind.Provider+"/") {
		return ofKind(r), true
	}
	if p, ok := skuProvider(r.path); ok {
		return ofSKUs(p, strings.HasSuffix(r.path, "{name}")), true
	}
	if o, ok := operations[r.method+" "+r.path]; ok {
		return o, true
	}
	_, rest, found := strings.Cut(r.path, providers+own+"/v1")
	o, ok := ownOperations[r.method+" "+rest]
	return o, found && ok
}

// ofKind tells of the operations that every kind has.
func ofKind(r route) operation {
	t := things[r.kind.Name]
	name := strings.ReplaceAll(r.kind.Name, "-", " ")
	a := "a " + name
	if strings.ContainsAny(name[:1], "aeio") {
		a = "an " + name
	}
	switch verb, action, _ := strings.Cut(r.allow.verb, "."); verb {
	case "list":
		return operation{id: "list" + plural(t.name), summary: "The " + strings.ReplaceAll(r.kind.Collection, "-", " ") + " of " + container(r.kind) + ".", out: list{t}, query: deletable}
	case "get":
		return operation{id: "get" + t.name, summary: "One " + name + ".", out: t}
	case "put":
		return operation{id: "put" + t.name, summary: "Make " + a + ", or change it. The spec is replaced as a whole.", in: t, out: t, status: []int{200, 201}, query: "ifUnmodifiedSince"}
	case "delete":
		return operation{id: "delete" + t.name, summary: "Delete " + a + ". It is gone when reading it answers 404.", status: []int{202}, query: "ifUnmodifiedSince"}
	default:
		return operation{id: action + t.name, summary: strings.ToUpper(action[:1]) + action[1:] + " " + a + ".", status: []int{202}, query: "ifUnmodifiedSince"}
	}
}

func plural(name string) string { return strings.TrimSuffix(name, "s") + "s" }

func container(k *resource.Kind) string {
	return map[resource.Scope]string{resource.Tenant: "a tenant", resource.Workspace: "a workspace", resource.Network: "a network"}[k.Scope]
}

// skuProvider is the provider of a path to SKUs.
func skuProvider(path string) (string, bool) {
	_, rest, _ := strings.Cut(path, providers)
	p, rest, _ := strings.Cut(rest, "/")
	return p, strings.HasSuffix(strings.TrimSuffix(rest, "/{name}"), "/skus")
}

func ofSKUs(p string, one bool) operation {
	d := map[string]document{
		"seca.compute": {"InstanceSku", seca.InstanceSKUSpec{}, nil, nil},
		"seca.storage": {"StorageSku", seca.StorageSKUSpec{}, nil, nil},
		"seca.network": {"NetworkSku", seca.NetworkSKUSpec{}, nil, nil},
	}[p]
	if one {
		return operation{id: "get" + d.name, summary: "One size on offer.", out: d}
	}
	return operation{id: "list" + d.name + "s", summary: "The sizes on offer in a region.", out: list{d}, query: pages}
}

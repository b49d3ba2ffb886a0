package api

import (
	"strings"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/job"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/tenant"
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
	regions      = document{"Region", seca.RegionSpec{}, nil, regionView{}}
	activities   = document{"ActivityLog", seca.ActivityLogSpec{}, nil, sealedEntry{}}
	auditEntries = document{"AuditEntry", audit.Entry{}, audit.Mark{}, nil}
	tenants      = document{"Tenant", tenantSpec{}, tenantStatus{}, nil}
	accounts     = document{"Account", accountSpec{}, nil, nil}
	tokens       = document{"Token", tenant.Token{}, nil, nil}
	programs     = document{"ServiceAccount", serviceSpec{}, serviceStatus{}, nil}
	profiles     = document{"RegionProfile", profileSpec{}, profileStatus{}, nil}
	orphans      = document{"Orphan", provider.Orphan{}, nil, nil}
	jobs         = document{"Job", struct{}{}, job.Outcome{}, nil}
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
	"GET /openapi.json":      {id: "getOpenAPI", summary: "This document.", out: map[string]any{}},
	"GET /docs":              {id: "getDocs", summary: "This document, for people.", media: "text/html"},
	"GET /docs/{file}":       {id: "getDocsFile", summary: "What that page needs.", media: "text/*"},

	"GET /providers/seca.region/v1/regions":        {id: "listRegions", summary: "The regions in which something can be ordered.", out: list{regions}, query: pages},
	"GET /providers/seca.region/v1/regions/{name}": {id: "getRegion", summary: "One region, and where its providers are.", out: regions},

	"GET /regions/{region}/providers/seca.activitylog/v1beta1/tenants/{tenant}/workspaces/{workspace}/activity-logs": {
		id: "listActivityLogs", summary: "Who did what in a workspace, the oldest first.", out: list{activities}, query: narrowed,
	},
}

// ownOperations tells of Kontor's own provider, by what follows its base.
var ownOperations = map[string]operation{
	"GET /whoami": {id: "whoami", summary: "Who the caller is.", out: identity{}},
	"GET /logins": {id: "listLogins", summary: "Where people can log in.", out: loginList{}},

	"GET /tenants":           {id: "listTenants", summary: "All tenants.", out: list{tenants}, query: pages},
	"GET /tenants/{name}":    {id: "getTenant", summary: "One tenant.", out: tenants},
	"PUT /tenants/{name}":    {id: "putTenant", summary: "Make a tenant, or make accounts its administrators.", in: withSpec[tenantSpec]{}, out: tenants, status: []int{200, 201}},
	"DELETE /tenants/{name}": {id: "deleteTenant", summary: "Remove a tenant that owns nothing any more.", status: []int{202}},

	"GET /tenants/{tenant}/service-accounts":        {id: "listServiceAccounts", summary: "The programs of a tenant.", out: list{programs}, query: pages},
	"GET /tenants/{tenant}/service-accounts/{name}": {id: "getServiceAccount", summary: "One program of a tenant.", out: programs},
	"PUT /tenants/{tenant}/service-accounts/{name}": {id: "putServiceAccount", summary: "Make a program an account of its own, or change it.", in: withSpec[serviceSpec]{}, out: programs, status: []int{200, 201}},

	"GET /tenants/{tenant}/audit":      {id: "listTenantAudit", summary: "Who did what in a tenant, the oldest first.", out: list{auditEntries}, query: narrowed},
	"GET /tenants/{tenant}/audit/head": {id: "getTenantAuditHead", summary: "Where a tenant's log begins and ends.", out: audit.Chain{}},
	"GET /audit":                       {id: "listAudit", summary: "Who did what that belongs to no tenant, the oldest first.", out: list{auditEntries}, query: narrowed},
	"GET /audit/head":                  {id: "getAuditHead", summary: "Where that log begins and ends.", out: audit.Chain{}},

	"POST /keys/rotate": {id: "rotateKeys", summary: "Sign tokens with a new key from now on.", out: signingKey{}, status: []int{201}},

	"GET /accounts":                             {id: "listAccounts", summary: "All accounts.", out: list{accounts}, query: pages},
	"GET /accounts/{name}":                      {id: "getAccount", summary: "One account.", out: accounts},
	"PUT /accounts/{name}":                      {id: "putAccount", summary: "Make an account, or change it.", in: withSpec[accountSpec]{}, out: accounts},
	"DELETE /accounts/{name}":                   {id: "disableAccount", summary: "Disable an account; what it did stays its own.", status: []int{202}},
	"POST /accounts/{name}/link":                {id: "linkAccount", summary: "Let somebody of another issuer act as an account.", in: identityLink{}, status: []int{204}},
	"GET /accounts/{name}/tokens":               {id: "listTokens", summary: "The tokens of an account.", out: list{tokens}, query: pages},
	"POST /accounts/{name}/tokens":              {id: "createToken", summary: "Make a token.", in: tokenRequest{}, out: issuedToken{}, status: []int{201}},
	"POST /accounts/{name}/tokens/{id}/rotate":  {id: "rotateToken", summary: "Make a token in place of another.", in: tokenRotation{}, out: issuedToken{}, status: []int{201}},
	"DELETE /accounts/{name}/tokens/{id}":       {id: "revokeToken", summary: "End a token.", status: []int{202}},
	"GET /jobs":                                 {id: "listJobs", summary: "How it went what the exchange does by itself.", out: list{jobs}, query: pages},
	"GET /recovery":                             {id: "getRecovery", summary: "How far the recovery of an exchange is.", out: Recovery{}},
	"GET /regions":                              {id: "listRegionProfiles", summary: "All regions, as operators see them.", out: list{profiles}, query: pages},
	"GET /regions/{name}":                       {id: "getRegionProfile", summary: "One region, as operators see it.", out: profiles},
	"PUT /regions/{name}":                       {id: "putRegion", summary: "Make a region, or change what its operator chooses.", in: withSpec[profileSpec]{}, out: profiles, status: []int{200, 201}},
	"DELETE /regions/{name}":                    {id: "deleteRegion", summary: "Forget a region in which nothing is left.", status: []int{202}},
	"POST /regions/{name}/join":                 {id: "joinRegion", summary: "Make a token by which an agent can join, once.", in: joinRequest{}, out: joinToken{}},
	"POST /regions/{name}/resync":               {id: "resyncRegion", summary: "Compare what is wanted with what the platform has.", in: resyncRequest{}, out: resynced{}},
	"GET /regions/{name}/strays":                {id: "listStrays", summary: "What the platform has that nobody owns.", out: strayList{}},
	"POST /regions/{name}/import":               {id: "importStrays", summary: "Make resources of things that nobody owns, or tell what would be.", in: importing{}, out: importResult{}},
	"GET /regions/{name}/orphans":               {id: "listOrphans", summary: "What carries the exchange's id and is not known to it.", out: list{orphans}, query: pages},
	"POST /regions/{name}/orphans/{id}/approve": {id: "approveOrphan", summary: "Let an orphan be removed.", status: []int{202}},

	"GET /tenants/{tenant}/events":                                          {id: "followTenant", summary: "How the resources of a tenant change, as it happens.", out: event{}, query: "lastEventID eventsSince", media: "text/event-stream"},
	"GET /tenants/{tenant}/workspaces/{workspace}/events":                   {id: "followWorkspace", summary: "How the resources of a workspace change, as it happens.", out: event{}, query: "lastEventID eventsSince", media: "text/event-stream"},
	"GET /tenants/{tenant}/workspaces/{workspace}/instances/{name}/console": {id: "getConsole", summary: "What a machine has written to its console.", query: "tail", media: "text/plain"},
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
	switch verb, action, _ := strings.Cut(r.allow.verb, "."); verb {
	case "list":
		return operation{id: "list" + plural(t.name), summary: "The " + strings.ReplaceAll(r.kind.Collection, "-", " ") + " of " + container(r.kind) + ".", out: list{t}, query: deletable}
	case "get":
		return operation{id: "get" + t.name, summary: "One " + name + ".", out: t}
	case "put":
		return operation{id: "put" + t.name, summary: "Make a " + name + ", or change it. The spec is replaced as a whole.", in: t, out: t, status: []int{200, 201}, query: "ifUnmodifiedSince"}
	case "delete":
		return operation{id: "delete" + t.name, summary: "Delete a " + name + ". It is gone when reading it answers 404.", status: []int{202}, query: "ifUnmodifiedSince"}
	default:
		return operation{id: action + t.name, summary: strings.ToUpper(action[:1]) + action[1:] + " a " + name + ".", status: []int{202}, query: "ifUnmodifiedSince"}
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

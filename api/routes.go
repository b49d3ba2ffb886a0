package api

import (
	"errors"
	"net/http"
	"runtime/debug"
	"slices"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
)

// A route is one operation. Its permission is asked for before do is called.
type route struct {
	method string
	path   string
	allow  permission
	kind   *resource.Kind // nil where the path is not about resources
	do     func(*call) (reply, error)
}

// A permission is what the caller must have. Verb is SECA's: get, list, put,
// delete, post.start.
type permission struct {
	open     bool // no credential needed
	anybody  bool // any principal
	operator bool
	member   bool // of the path's tenant, or with operator, either; what each may see there is asked for it
	acting   bool // for the path's participant, or an operator
	owner    bool // for the participant whose region the path names, or an operator
	provider string
	resource string // as permissions spell it, with {name} and the like filled from the path
	verb     string
	version  string // of the provider; empty is v1
}

// A reply is a status and what goes into its body; nil is an empty one. Text
// is sent as it is, and a stream sends itself.
type reply struct {
	status int
	body   any
	text   []byte
	stream func(http.ResponseWriter)
}

const (
	providers = "/providers/"
	inRegion  = "/regions/{region}"
)

var scopePaths = map[resource.Scope]string{
	resource.Tenant:    "/tenants/{tenant}",
	resource.Workspace: "/tenants/{tenant}/workspaces/{workspace}",
	resource.Network:   "/tenants/{tenant}/workspaces/{workspace}/networks/{network}",
}

// routes is the whole API.
func (s *server) routes() []route {
	rs := []route{
		{"GET", "/.wellknown/secapi", permission{open: true}, nil, (*call).wellknown},
		{"GET", "/healthz", permission{open: true}, nil, (*call).healthy},
		{"GET", "/readyz", permission{open: true}, nil, (*call).ready},
		{"GET", "/openapi.json", permission{open: true}, nil, (*call).specification},
		{"GET", "/docs", permission{open: true}, nil, (*call).docs},
		{"GET", "/docs/{file}", permission{open: true}, nil, (*call).docsFile},
		{"GET", providers + "seca.region/v1/regions", permission{anybody: true}, nil, (*call).listRegions},
		{"GET", providers + "seca.region/v1/regions/{name}", permission{anybody: true}, nil, (*call).oneRegion},
	}
	for _, k := range resource.Kinds() {
		rs = append(rs, kindRoutes(k)...)
	}
	for _, p := range []string{"seca.compute", "seca.storage", "seca.network"} {
		base := inRegion + providers + p + "/v1/tenants/{tenant}/skus"
		rs = append(rs,
			route{"GET", base, permission{provider: p, resource: "skus", verb: "list"}, nil, listSKUs(p)},
			route{"GET", base + "/{name}", permission{provider: p, resource: "skus/{name}", verb: "get"}, nil, oneSKU(p)})
	}
	rs = append(rs, route{
		"GET", inRegion + providers + "seca.activitylog/v1beta1" + scopePaths[resource.Workspace] + "/activity-logs",
		permission{provider: "seca.activitylog", version: "v1beta1", resource: "activity-logs", verb: "list"},
		nil, (*call).listActivity,
	})
	return slices.Concat(rs, ownRoutes(), marketRoutes())
}

// kindRoutes makes the operations of a kind out of its row.
func kindRoutes(k *resource.Kind) []route {
	base := providers + k.Provider + "/v1" + scopePaths[k.Scope] + "/" + k.Collection
	if !k.Global {
		base = inRegion + base
	}
	where := k.Collection
	if k.Scope == resource.Network {
		where = "networks/{network}/" + where
	}
	may := func(name, verb string) permission {
		return permission{provider: k.Provider, resource: where + name, verb: verb}
	}
	rs := []route{
		{"GET", base, may("", "list"), k, (*call).list},
		{"GET", base + "/{name}", may("/{name}", "get"), k, (*call).get},
		{"PUT", base + "/{name}", may("/{name}", "put"), k, (*call).put},
		{"DELETE", base + "/{name}", may("/{name}", "delete"), k, (*call).remove},
	}
	for _, action := range k.Actions {
		rs = append(rs, route{"POST", base + "/{name}/" + action, may("/{name}", "post."+action), k, act(action)})
	}
	return rs
}

func (s *server) notAllowed(allowed string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allowed)
		s.writeJSON(w, r, http.StatusMethodNotAllowed, problem{
			Type: errorTypes + "invalid-request", Title: http.StatusText(http.StatusMethodNotAllowed),
			Status: http.StatusMethodNotAllowed, Detail: "this path takes " + allowed, Instance: clip(r.URL.Path, 256),
			Sources: []fault.Source{}, Meta: map[string]any{"requestId": requestID(r.Context())},
		})
	})
}

func (s *server) notFound() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.writeProblem(w, r, fault.Missing.Errorf("nothing is served here; see /.wellknown/secapi"))
	})
}

var errPanic = errors.New("panic")

func stack() string { return string(debug.Stack()) }

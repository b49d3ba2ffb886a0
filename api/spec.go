package api

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/openapi"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

// A specification is the OpenAPI document on its way: routes say what is there
// and who may, operations what travels, and Go types how.
type specification struct {
	server  *server
	schemas *openapi.Schemas
	paths   map[string]map[string]any
	tags    map[string]bool
}

type object = map[string]any

// openAPI makes the document of everything that is served to clients.
func (s *server) openAPI() object {
	d := &specification{server: s, schemas: openapi.New(), paths: map[string]map[string]any{}, tags: map[string]bool{}}
	d.envelope()
	all := s.routes()
	described := make([]operation, len(all))
	for i, r := range all { // what is sent first: it is described more loosely
		described[i], _ = describe(r)
		d.input(described[i].in)
	}
	for i, r := range all {
		if described[i].id != "" {
			d.add(r, described[i])
		}
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Kontor", "version": "v1",
			"description": "The Sovereign European Cloud API (SECA v1.7), and what Kontor has beside it. A document's \"metadata\" and \"status\" are the server's.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":  []any{object{"url": s.URL}},
		"tags":     d.allTags(),
		"security": []any{object{"token": []string{}}},
		"paths":    d.paths,
		"components": object{
			"schemas": d.schemas.Named, "parameters": parameters, "headers": headers, "responses": d.responses(),
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A token of the exchange, or of an issuer that it trusts."}},
		},
	}
}

// envelope names what is around every document.
func (d *specification) envelope() {
	d.schemas.Output(seca.Metadata{})
	d.schemas.Output(seca.ListMetadata{})
	d.schemas.Output(seca.Status{})
	d.schemas.Output(problem{})
	d.schemas.Define("ResourceView", d.schemas.Output(struct {
		where
		seen
	}{}))
	text := func(n int) object { return object{"type": "string", "maxLength": n} }
	d.schemas.Define("Labels", openapi.Schema{
		"type": "object", "additionalProperties": text(63), "maxProperties": 64, "propertyNames": object{"pattern": "^[A-Za-z0-9_./:-]{1,128}$"},
	})
	d.schemas.Define("Annotations", openapi.Schema{
		"type": "object", "additionalProperties": text(1024), "maxProperties": 64, "propertyNames": object{"pattern": "^[A-Za-z0-9_./:-]{1,128}$"},
	})
}

func (d *specification) add(r route, o operation) {
	op := object{"operationId": o.id, "summary": o.summary, "tags": []string{d.tag(r)}, "responses": d.answers(r, o)}
	if r.allow.open {
		op["security"] = []any{}
	}
	if p := asked(r, o); len(p) > 0 {
		op["parameters"] = p
	}
	if may := who(r.allow); may != "" {
		op["description"] = may
	}
	if o.in != nil {
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": d.input(o.in)}}}
	}
	if d.paths[r.path] == nil {
		d.paths[r.path] = map[string]any{}
	}
	d.paths[r.path][strings.ToLower(r.method)] = op
}

// tag is the provider, by which operations are shown together.
func (d *specification) tag(r route) string {
	_, rest, found := strings.Cut(r.path, providers)
	tag, _, _ := strings.Cut(rest, "/")
	if !found {
		tag = "exchange"
	}
	d.tags[tag] = true
	return tag
}

func (d *specification) allTags() []any {
	all := []any{}
	for _, t := range slices.Sorted(maps.Keys(d.tags)) {
		all = append(all, object{"name": t})
	}
	return all
}

// who says in words what the caller must be.
func who(p permission) string {
	switch {
	case p.open:
		return "Needs no token."
	case p.operator && p.member:
		return "For operators of the exchange, and members of the tenant."
	case p.operator:
		return "For operators of the exchange."
	case p.acting:
		return "For who acts for the participant, and for operators of the exchange."
	case p.owner:
		return "For who acts for the participant whose region it is, and for operators of the exchange."
	case p.member:
		return "For members of the tenant; each is told of what he may read."
	case p.provider != "":
		return "Needs the verb " + p.verb + " on " + p.provider + "/" + cmp.Or(p.version, "v1") + " " + p.resource + " in the tenant."
	}
	return ""
}

// asked are the parameters of a route: those of its path, and those that the operation names.
func asked(r route, o operation) []any {
	var all []any
	for part := range strings.SplitSeq(r.path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			all = append(all, object{"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	for name := range strings.FieldsSeq(o.query) {
		all = append(all, object{"$ref": "#/components/parameters/" + name})
	}
	return all
}

func parameter(in, name, what string, schema object) object {
	return object{"in": in, "name": name, "description": what, "schema": schema}
}

// parameters of queries and headers, by the names that operations use.
var parameters = object{
	"limit":             parameter("query", "limit", "The most items of a page.", object{"type": "integer", "minimum": 1, "maximum": maxLimit, "default": defaultLimit}),
	"skipToken":         parameter("query", "skipToken", "Of the page before. Absent for the first.", object{"type": "string"}),
	"labels":            parameter("query", "labels", "Terms such as env=prod,tier!=web,size>3 that must all hold; * stands for any text.", object{"type": "string"}),
	"accept":            parameter("header", "Accept", "\"application/json; deleted=true\" lists what was deleted, too; \"deleted=only\" that alone.", object{"type": "string"}),
	"ifUnmodifiedSince": parameter("header", "If-Unmodified-Since", "The resourceVersion that the caller has seen; 412 if it is another by now.", object{"type": "integer", "format": "int64"}),
	"ifNoneMatch":       parameter("header", "If-None-Match", "The ETag of what the caller has; 304 if it is still that.", object{"type": "string"}),
	"after":             parameter("query", "after", "The number of the last entry seen.", object{"type": "integer", "format": "int64", "minimum": 0}),
	"since":             parameter("query", "since", "From when on.", object{"type": "string", "format": "date-time"}),
	"actor":             parameter("query", "actor", "An account, or the region of an agent.", object{"type": "string"}),
	"resource":          parameter("query", "resource", "A URN, or the beginning of one.", object{"type": "string"}),
	"all":               parameter("query", "all", "Also what the order has not made, in its workspaces.", object{"type": "boolean", "default": false}),
	"version":           parameter("query", "version", "A version of the policy; 0 is the newest.", object{"type": "integer", "format": "int64", "minimum": 0}),
	"provider":          parameter("query", "provider", "Of this participant alone.", object{"type": "string"}),
	"region":            parameter("query", "region", "In this region alone.", object{"type": "string"}),
	"country":           parameter("query", "country", "In this country alone, two letters.", object{"type": "string"}),
	"kind":              parameter("query", "kind", "Of this kind alone.", object{"type": "string", "enum": []any{offer.Instance, offer.Volume, offer.Network, offer.PublicIP, offer.Traffic}}),
	"sku":               parameter("query", "sku", "Of this size alone: a common one, or a provider's own.", object{"type": "string"}),
	"maxPrice":          parameter("query", "maxPrice", "At most so many euro for each unit of its own, as in 0.05.", object{"type": "string"}),
	"sort":              parameter("query", "sort", "The order: by name, or for each kind the cheapest first.", object{"type": "string", "enum": []string{"name", "price"}}),
	"tail":              parameter("query", "tail", "The most bytes, from the end.", object{"type": "integer", "minimum": 1, "maximum": maxTail, "default": defaultTail}),
	"lastEventID":       parameter("header", "Last-Event-ID", "Go on after this event.", object{"type": "string"}),
	"eventsSince":       parameter("query", "since", "Begin after this event; 0 is before everything that is there. Now, unless given.", object{"type": "string"}),
}

var headers = object{
	"RequestID":       object{"description": "Of the request: the client's own, if it sent a sound one.", "schema": object{"type": "string"}},
	"RetryAfter":      object{"description": "Seconds after which another attempt may go well.", "schema": object{"type": "integer"}},
	"WWWAuthenticate": object{"schema": object{"type": "string"}},
}

func headerRefs(names ...string) object {
	all := object{"X-Request-Id": object{"$ref": "#/components/headers/RequestID"}}
	for _, n := range names {
		all[map[string]string{"RetryAfter": "Retry-After", "WWWAuthenticate": "WWW-Authenticate"}[n]] = object{"$ref": "#/components/headers/" + n}
	}
	return all
}

// answers are the responses of an operation.
func (d *specification) answers(r route, o operation) object {
	all := object{}
	for _, status := range o.success() {
		one := object{"description": http.StatusText(status), "headers": headerRefs()}
		if status != http.StatusNotModified && (o.out != nil || o.media != "") {
			content := object{}
			if o.out != nil {
				content["schema"] = d.output(o.out)
			}
			one["content"] = object{cmp.Or(o.media, "application/json"): content}
		}
		all[strconv.Itoa(status)] = one
	}
	if r.path == "/readyz" {
		all["503"] = all["200"]
	}
	for _, status := range refusals(r) {
		if code := strconv.Itoa(status); all[code] == nil {
			all[code] = object{"$ref": "#/components/responses/" + code}
		}
	}
	return all
}

func (o operation) success() []int {
	if o.status == nil {
		return []int{http.StatusOK}
	}
	return o.status
}

// refusals are the statuses with which a route may refuse.
func refusals(r route) []int {
	all := []int{http.StatusBadRequest, http.StatusNotFound, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}
	if !r.allow.open || strings.HasSuffix(r.path, "/login") { // where a signature is the token
		all = append(all, http.StatusUnauthorized, http.StatusForbidden)
	}
	if changes(r.method) || strings.HasSuffix(r.path, "/console") || strings.HasSuffix(r.path, "/strays") { // asks a platform, which may have no such thing
		all = append(all, http.StatusConflict, http.StatusPreconditionFailed, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity)
	}
	slices.Sort(all)
	return all
}

// responses are the problem documents, by status.
func (d *specification) responses() object {
	all := object{"500": d.problem(http.StatusInternalServerError)}
	for _, p := range problems {
		all[strconv.Itoa(p.status)] = d.problem(p.status)
	}
	return all
}

func (d *specification) problem(status int) object {
	var more []string
	switch status {
	case http.StatusUnauthorized:
		more = []string{"WWWAuthenticate"}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		more = []string{"RetryAfter"}
	}
	name := "internal-server-error"
	for _, p := range problems {
		if p.status == status {
			name = p.name
		}
	}
	return object{
		"description": http.StatusText(status), "headers": headerRefs(more...),
		"content": object{"application/json": object{
			"schema": openapi.Ref("Problem"),
			"example": problem{
				Type: errorTypes + name, Title: http.StatusText(status), Status: status, Detail: "what is wrong, and what to do",
				Instance: "/providers/…", Sources: []fault.Source{}, Meta: map[string]any{"requestId": "06h1bfy4jd0000000000000000"},
			},
		}},
	}
}

// input describes what an operation is sent.
func (d *specification) input(in any) openapi.Schema {
	t, ok := in.(document)
	switch {
	case in == nil:
		return nil
	case !ok:
		return d.schemas.Input(in)
	}
	spec := d.schemas.Input(t.spec)
	body := openapi.Schema{"type": "object", "properties": object{
		"labels": orNothing(openapi.Ref("Labels")), "annotations": orNothing(openapi.Ref("Annotations")),
		"extensions": extensions(t.name),
		"metadata": object{
			"type": []string{"object", "null"}, "description": "Ignored, but for a region that is not that of the path.",
			"properties": object{"region": object{"type": []string{"string", "null"}}},
		},
		"spec": spec,
	}}
	if needed, _ := d.named(spec)["required"].([]string); len(needed) > 0 {
		body["required"] = []string{"spec"}
	} else {
		body["properties"].(object)["spec"] = orNothing(spec) //nolint:forcetypeassert // made above
	}
	return d.schemas.Define(t.name+"Input", body)
}

// extensions are what a kind of document may have.
func extensions(kind string) object {
	if kind != "Workspace" {
		return object{"type": []string{"object", "null"}, "maxProperties": 0, "description": "None is known."}
	}
	return object{
		"type": []string{"object", "null"}, "propertyNames": object{"enum": market.Extensions()}, "additionalProperties": object{"type": "string"},
		"description": "What a virtual region is to look for beyond its policy. Other regions know none.",
	}
}

func orNothing(s openapi.Schema) object {
	return object{"anyOf": []any{s, object{"type": "null"}}}
}

// named is what a reference refers to.
func (d *specification) named(s openapi.Schema) openapi.Schema {
	ref, _ := s["$ref"].(string)
	return d.schemas.Named[ref[strings.LastIndex(ref, "/")+1:]]
}

// output describes what an operation answers.
func (d *specification) output(out any) openapi.Schema {
	switch out := out.(type) {
	case document:
		return d.document(out)
	case list:
		return d.schemas.Define(out.of.name+"List", openapi.Schema{
			"type": "object", "required": []string{"items", "metadata"},
			"properties": object{"items": object{"type": "array", "items": d.document(out.of)}, "metadata": openapi.Ref("ListMetadata")},
		})
	default:
		return d.schemas.Output(out)
	}
}

func (d *specification) document(t document) openapi.Schema {
	properties := object{
		"labels": openapi.Ref("Labels"), "annotations": openapi.Ref("Annotations"),
		"extensions": object{"type": "object", "additionalProperties": object{"type": "string"}},
		"metadata":   openapi.Ref("Metadata"), "spec": d.schemas.Output(t.spec),
	}
	required := []string{"metadata", "spec"}
	_, isKind := kindOf(t)
	switch {
	case isKind && t.status != nil:
		properties["status"] = object{"allOf": []any{openapi.Ref("Status"), d.schemas.Output(t.status)}}
		required = append(required, "status")
	case isKind:
		properties["status"] = openapi.Ref("Status")
		required = append(required, "status")
	case t.status != nil:
		properties["status"] = d.schemas.Output(t.status)
		required = append(required, "status")
	}
	switch {
	case isKind:
		properties["kontor"] = openapi.Ref("ResourceView")
	case t.kontor != nil:
		properties["kontor"] = d.schemas.Output(t.kontor)
	}
	return d.schemas.Define(t.name, openapi.Schema{"type": "object", "required": required, "properties": properties})
}

// kindOf finds the kind whose document t is.
func kindOf(t document) (*resource.Kind, bool) {
	for name, other := range things {
		if other.name == t.name {
			return resource.KindNamed(name)
		}
	}
	return nil, false
}

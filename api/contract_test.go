package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/resource"
)

// A contract holds all that a handler answers, and takes, against its own
// OpenAPI document.
type contract struct {
	t        testing.TB
	next     http.Handler
	doc      map[string]any
	mux      *http.ServeMux // finds the operation, by its path
	compiler *jsonschema.Compiler

	mu      sync.Mutex
	schemas map[string]*jsonschema.Schema
	known   map[string]bool // what has been looked at, to the byte
	missing map[string]bool // operations that have not succeeded yet
}

const documentURL = "https://exchange.test/openapi.json"

func held(t testing.TB, x *Exchange, next http.Handler) *contract {
	t.Helper()
	doc := documentOf(t, x)
	c := &contract{t: t, next: next, doc: doc, mux: http.NewServeMux(), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}, known: map[string]bool{}, missing: map[string]bool{}}
	c.compiler.AssertFormat()
	check(t, c.compiler.AddResource(documentURL, doc))
	for path, methods := range doc["paths"].(map[string]any) {
		for method := range methods.(map[string]any) {
			pattern := strings.ToUpper(method) + " " + path
			c.mux.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
			c.missing[pattern] = !endless(path)
		}
	}
	return c
}

// documentOf is the document as clients read it.
func documentOf(t testing.TB, x *Exchange) map[string]any {
	t.Helper()
	s := &server{Exchange: x, profile: Strict, log: x.Log}
	b, err := json.Marshal(s.openAPI())
	check(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	check(t, err)
	return doc.(map[string]any)
}

func (c *contract) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, pattern := c.mux.Handler(r)
	method, path, found := strings.Cut(pattern, " ")
	if !found || endless(path) || r.Method == http.MethodHead {
		c.next.ServeHTTP(w, r) // 404 and 405 of no operation, and what does not end
		return
	}
	sent, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	body := &readBody{Reader: io.MultiReader(bytes.NewReader(sent), r.Body)}
	if err == nil {
		r.Body = body
	}
	rec := &recorder{ResponseWriter: w, status: http.StatusOK}
	c.next.ServeHTTP(rec, r)
	if rec.status == http.StatusTemporaryRedirect { // Go's, of a path with dots
		return
	}
	op := c.doc["paths"].(map[string]any)[path].(map[string]any)[strings.ToLower(method)].(map[string]any)
	at := "/paths/" + escaped(path) + "/" + strings.ToLower(method)
	if err := c.answered(op, at, rec); err != nil {
		c.fail("%s %s answers %d, which is not as its operation says: %v\n%s", r.Method, r.URL.Path, rec.status, err, clip(rec.body.String(), 2000))
	}
	if rec.status < 300 {
		c.succeeded(pattern)
	}
	if described := op["requestBody"] != nil; body.read && !described || described && !body.read && rec.status < 300 {
		c.fail("%s reads a body: %t; its operation in api/operations.go or api/ownoperations.go has one (in: …): %t", pattern, body.read, described)
	}
	// Fuzzers find what Go's decoder takes beyond the document: keys in another case, say.
	if _, fuzzing := c.t.(*testing.F); op["requestBody"] != nil && rec.status < 300 && !fuzzing {
		if err := c.valid(at+"/requestBody/content/application~1json/schema", sent); err != nil {
			c.fail("%s %s takes what its operation does not: %v\n%s", r.Method, r.URL.Path, err, clip(string(sent), 2000))
		}
	}
}

// endless is a stream, whose events tests read by themselves.
func endless(path string) bool { return strings.HasSuffix(path, "/events") }

func (c *contract) succeeded(pattern string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missing[pattern] = false
}

// unseen are the operations that have not succeeded yet, in order.
func (c *contract) unseen() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for pattern, missing := range c.missing {
		if missing {
			all = append(all, pattern)
		}
	}
	slices.Sort(all)
	return all
}

// fail is Errorf, also within the target of a fuzz test, which is given no other way.
func (c *contract) fail(format string, args ...any) {
	if _, fuzzing := c.t.(*testing.F); fuzzing {
		panic(fmt.Sprintf(format, args...))
	}
	c.t.Errorf(format, args...)
}

// A readBody knows whether a handler has looked at it.
type readBody struct {
	io.Reader
	read bool
}

func (b *readBody) Read(to []byte) (int, error) {
	b.read = true
	return b.Reader.Read(to)
}

func (*readBody) Close() error { return nil }

type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.body.Write(b)
	return r.ResponseWriter.Write(b)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (c *contract) answered(op map[string]any, at string, rec *recorder) error {
	at += "/responses/" + strconv.Itoa(rec.status)
	response, ok := op["responses"].(map[string]any)[strconv.Itoa(rec.status)].(map[string]any)
	if !ok {
		return fmt.Errorf("this status is not described: see refusals in spec.go, or status in operations.go")
	}
	if ref, ok := response["$ref"].(string); ok {
		at = strings.TrimPrefix(ref, "#")
		response = c.doc["components"].(map[string]any)["responses"].(map[string]any)[strconv.Itoa(rec.status)].(map[string]any)
	}
	for name := range response["headers"].(map[string]any) {
		if rec.Header().Get(name) == "" && name != "Retry-After" {
			return fmt.Errorf("it lacks the header %s", name)
		}
	}
	content, _ := response["content"].(map[string]any)
	if len(content) == 0 {
		if rec.body.Len() > 0 {
			return fmt.Errorf("it has a body")
		}
		return nil
	}
	for media, one := range content {
		if got := rec.Header().Get("Content-Type"); !strings.HasPrefix(got, strings.TrimSuffix(media, "*")) {
			return fmt.Errorf("it is %s, not %s", got, media)
		}
		if one.(map[string]any)["schema"] == nil {
			return nil
		}
		return c.valid(at+"/content/"+escaped(media)+"/schema", rec.body.Bytes())
	}
	return nil
}

// valid holds a body against the schema at a pointer.
func (c *contract) valid(pointer string, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := pointer + "\n" + string(body)
	if c.known[seen] {
		return nil
	}
	schema := c.schemas[pointer]
	if schema == nil {
		var err error
		if schema, err = c.compiler.Compile(documentURL + "#" + pointer); err != nil {
			return err
		}
		c.schemas[pointer] = schema
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	c.known[seen] = true
	return schema.Validate(v)
}

func escaped(s string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(s)
}

func TestEveryRouteHasAnOperation(t *testing.T) {
	s := &server{Exchange: &Exchange{}}
	ids, told := map[string]string{}, map[string]bool{}
	for _, r := range s.routes() {
		name := r.method + " " + r.path
		o, ok := describe(r)
		switch {
		case !ok:
			_, rest, ours := strings.Cut(r.path, providers+own+"/v1")
			table, row := "operations in api/operations.go", name
			if ours {
				table, row = "ownOperations in api/ownoperations.go", r.method+" "+rest
			}
			t.Errorf("%s is not in the OpenAPI document: add to %s a row\n\t%q: {id: \"verbNoun\", summary: \"A sentence.\", in: theTypeOfItsBody{}, out: theTypeOfItsAnswer{}, status: []int{…}},\n"+
				"without in if the handler reads no body; out is a document{…} or list{document} for what has metadata", name, table, row)
		case o.id == "" || !strings.HasSuffix(o.summary, "."):
			t.Errorf("the operation of %s needs an id, and a summary that is a sentence", name)
		case ids[o.id] != "":
			t.Errorf("%s and %s are both called %s", name, ids[o.id], o.id)
		}
		ids[o.id] = name
		_, rest, _ := strings.Cut(r.path, providers+own+"/v1")
		told[name], told[r.method+" "+rest] = true, true
	}
	for _, name := range append(slices.Collect(maps.Keys(operations)), slices.Collect(maps.Keys(ownOperations))...) {
		if !told[name] {
			t.Errorf("the operation %s has no route: remove its row from api/operations.go or api/ownoperations.go", name)
		}
	}
	for _, k := range resource.Kinds() {
		if things[k.Name].spec == nil {
			t.Errorf("kind %s has no row in things in api/operations.go", k.Name)
		}
	}
}

func TestTheDocumentIsOpenAPI31(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), Strict)
	body := w.ok("", "GET", "/openapi.json", "")
	doc, err := openapi3.NewLoader().LoadFromData([]byte(body))
	check(t, err)
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("it is OpenAPI %s", doc.OpenAPI)
	}
	check(t, doc.Validate(t.Context()))
	// Each schema is one, and all that is referred to is there.
	c := held(t, w.Exchange, nil)
	for name := range doc.Components.Schemas {
		if _, err := c.compiler.Compile(documentURL + "#/components/schemas/" + name); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
	if n := len(doc.Components.Schemas); n < 50 {
		t.Errorf("only %d schemas", n)
	}
}

// TestBadBodiesAreBadForBoth: what the API refuses for its form, the document refuses.
func TestBadBodiesAreBadForBoth(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), Strict)
	w.fill()
	c := held(t, w.Exchange, nil)
	const sku, volume = `"skuRef":{"resource":"skus/seca.rd100"}`, `"bootVolume":{"deviceRef":{"resource":"block-storages/disk"}}`
	rules := func(rule string) string { return `{"spec":{"rules":[` + rule + `]}}` }
	for _, b := range []struct {
		schema, path, body string
		good               bool
	}{
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"spec":{"sizeGB":1,` + sku + `}}`, true},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"labels":null,"annotations":null,"extensions":null,"metadata":{"name":"","region":"","createdAt":"0001-01-01T00:00:00Z"},"spec":{"sizeGB":1,` + sku + `,"sourceImageRef":null},"status":null,"more":1}`, true},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/bare", `{"spec":{"sizeGB":1,"skuRef":"skus/seca.rd100"}}`, true},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{}`, false},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `[]`, false},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"spec":null}`, false},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"spec":{"sizeGB":"1",` + sku + `}}`, false},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"spec":{"sizeGB":1.5,` + sku + `}}`, false},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"spec":{"sizeGB":0,` + sku + `}}`, false},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"spec":{"sizeGB":1000001,` + sku + `}}`, false},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"spec":{"sizeGB":1}}`, false},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"spec":{"sizeGB":1,"skuRef":{}}}`, false},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"spec":{"sizeGB":1,"skuRef":7}}`, false},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"labels":{"a":1},"spec":{"sizeGB":1,` + sku + `}}`, false},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"labels":{"a b":"c"},"spec":{"sizeGB":1,` + sku + `}}`, false},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"labels":{"a":"` + strings.Repeat("x", 64) + `"},"spec":{"sizeGB":1,` + sku + `}}`, false},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"extensions":{"a":"b"},"spec":{"sizeGB":1,` + sku + `}}`, false},
		{"BlockStorage", "seca.storage" + shop + "/block-storages/x", `{"metadata":{"region":7},"spec":{"sizeGB":1,` + sku + `}}`, false},
		{"Instance", "seca.compute" + shop + "/instances/x", `{"spec":{"skuRef":{"resource":"skus/seca.d2xs"},` + volume + `}}`, true},
		{"Instance", "seca.compute" + shop + "/instances/x", `{"spec":{"skuRef":{"resource":"skus/seca.d2xs"},"zone":"a","bootVolume":{"deviceRef":{"resource":"block-storages/disk"},"type":""},"sshKeys":null}}`, true},
		{"Instance", "seca.compute" + shop + "/instances/x", `{"spec":{"skuRef":{"resource":"skus/seca.d2xs"}}}`, false},
		{"Instance", "seca.compute" + shop + "/instances/x", `{"spec":{"skuRef":{"resource":"skus/seca.d2xs"},"bootVolume":{"deviceRef":{"resource":"block-storages/disk"},"type":"ide"}}}`, false},
		{"Instance", "seca.compute" + shop + "/instances/x", `{"spec":{"skuRef":{"resource":"skus/seca.d2xs"},` + volume + `,"zone":7}}`, false},
		{"Instance", "seca.compute" + shop + "/instances/x", `{"spec":{"skuRef":{"resource":"skus/seca.d2xs"},` + volume + `,"zone":"` + strings.Repeat("a", 33) + `"}}`, false},
		{"Instance", "seca.compute" + shop + "/instances/x", `{"spec":{"skuRef":{"resource":"skus/seca.d2xs"},` + volume + `,"userData":"` + strings.Repeat("a", 65537) + `"}}`, false},
		{"Instance", "seca.compute" + shop + "/instances/x", `{"spec":{"skuRef":{"resource":"skus/seca.d2xs"},` + volume + `,"sshKeys":"one"}}`, false},
		{"Image", "seca.storage" + acme + "/images/x", `{"spec":{"blockStorageRef":{"resource":"workspaces/shop/block-storages/disk"},"cpuArchitecture":"m68k"}}`, false},
		{"PublicIp", "seca.network" + shop + "/public-ips/x", `{"spec":{"version":"IPv4"}}`, true},
		{"PublicIp", "seca.network" + shop + "/public-ips/x", `{"spec":{"version":"IPv5"}}`, false},
		{"PublicIp", "seca.network" + shop + "/public-ips/x", `{"spec":{}}`, false},
		{"RouteTable", "seca.network" + shop + "/networks/net/route-tables/x", `{"spec":{"routes":[]}}`, false},
		{"RouteTable", "seca.network" + shop + "/networks/net/route-tables/x", `{"spec":{"routes":[{"destinationCidrBlock":"","targetRef":{"resource":"internet-gateways/gw"}}]}}`, false},
		{"Nic", "seca.network" + shop + "/nics/x", `{"spec":{"subnetRef":{"resource":"networks/net/subnets/sub"},"addresses":[]}}`, false},
		{"SecurityGroup", "seca.network" + shop + "/security-groups/x", rules(`{"direction":"ingress","protocol":"icmp","icmp":{"type":8,"code":0}}`), true},
		{"SecurityGroup", "seca.network" + shop + "/security-groups/x", rules(`{"direction":"sideways"}`), false},
		{"SecurityGroup", "seca.network" + shop + "/security-groups/x", rules(`{"direction":"ingress","protocol":"sctp"}`), false},
		{"SecurityGroup", "seca.network" + shop + "/security-groups/x", rules(`{"direction":"ingress","protocol":"icmp","icmp":{"type":9,"code":0}}`), false},
		{"SecurityGroup", "seca.network" + shop + "/security-groups/x", rules(`{"direction":"ingress","ports":{"from":65536}}`), false},
		{"SecurityGroup", "seca.network" + shop + "/security-groups/x", rules(`{"direction":"ingress","ports":{"from":-1}}`), false},
		{"Workspace", "seca.workspace" + acme + "/workspaces/x", `{"spec":null}`, true},
		{"Workspace", "seca.workspace" + acme + "/workspaces/x", `{}`, true},
		{"Workspace", "seca.workspace" + acme + "/workspaces/x", `{"spec":[]}`, false},
		{"Workspace", "seca.workspace" + acme + "/workspaces/x", `null`, false},
	} {
		status, answer := w.do("acme-admin", "PUT", region+b.path, b.body)
		err := c.valid("/components/schemas/"+b.schema+"Input", []byte(b.body))
		if taken := status < 300; taken != b.good || (err == nil) != b.good {
			t.Errorf("%s %s: good %t, the API says %d, the document %v\n%s", b.schema, clip(b.body, 300), b.good, status, err, clip(answer, 500))
		}
	}
}

func TestThePageNeedsNothingFromElsewhere(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), Strict)
	r, err := http.Get(w.http.URL + "/docs")
	check(t, err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	check(t, err)
	if csp := r.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	page := string(b)
	for _, route := range (&server{Exchange: w.Exchange}).routes() {
		o, _ := describe(route)
		if !strings.Contains(page, `id="`+o.id+`"`) || !strings.Contains(page, "<code>"+route.path+"</code>") {
			t.Errorf("the page lacks %s %s", route.method, route.path)
		}
	}
	for _, bad := range []string{"<script>", "<style", " style=", " onclick", "src=\"http", "href=\"//"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	for _, f := range []string{"docs.css", "docs.js"} {
		w.ok("", "GET", "/docs/"+f, "")
	}
	for _, f := range []string{"docs.html", "..%2fapi.go", "no.js", "%2e%2e%2f%2e%2e%2fetc%2fpasswd"} {
		if status, _ := w.do("", "GET", "/docs/"+f, ""); status != http.StatusNotFound {
			t.Errorf("%s: %d", f, status)
		}
	}
}

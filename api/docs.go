package api

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"mime"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/openapi"
)

// The page is ours alone: nothing of it comes from elsewhere, and without
// scripts it is a list of all operations.

//go:embed page
var pageFiles embed.FS

var pageTemplate = template.Must(template.ParseFS(pageFiles, "page/docs.html"))

// docsPolicy lets the page load its own style and script, and read the document.
const docsPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// A description keeps the OpenAPI document and its page, which are made once.
type description struct {
	once       sync.Once
	json, page []byte
	err        error
}

func (s *server) described() *description {
	d := &s.description
	d.once.Do(func() {
		doc := s.openAPI()
		if d.json, d.err = json.Marshal(doc); d.err != nil {
			return
		}
		var b bytes.Buffer
		d.err = pageTemplate.Execute(&b, s.chapters())
		d.page = b.Bytes()
	})
	return d
}

// A chapter is the operations of one provider, for the page.
type chapter struct {
	Name       string
	Operations []shown
}

type shown struct {
	Method, Path, ID, Summary, Who string
	Parameters                     []object
	In                             string // schema of the body
	Answers                        []answer
}

type answer struct{ Status, Schema, Text string }

func (s *server) chapters() []chapter {
	d := &specification{server: s, tags: map[string]bool{}}
	by := map[string]int{}
	var all []chapter
	for _, r := range s.routes() {
		o, ok := describe(r)
		if !ok {
			continue
		}
		tag := d.tag(r)
		if _, known := by[tag]; !known {
			by[tag] = len(all)
			all = append(all, chapter{Name: tag})
		}
		c := &all[by[tag]]
		c.Operations = append(c.Operations, show(r, o))
	}
	slices.SortStableFunc(all, func(a, b chapter) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func show(r route, o operation) shown {
	s := shown{Method: r.method, Path: r.path, ID: o.id, Summary: o.summary, Who: who(r.allow)}
	for _, p := range asked(r, o) {
		p := p.(object) //nolint:forcetypeassert // made there
		if ref, ok := p["$ref"].(string); ok {
			p = parameters[path.Base(ref)].(object) //nolint:forcetypeassert // that table
		}
		s.Parameters = append(s.Parameters, p)
	}
	s.In = schemaName(o.in)
	if _, ok := o.in.(document); ok {
		s.In += "Input"
	}
	for _, status := range o.success() {
		s.Answers = append(s.Answers, answer{strconv.Itoa(status), schemaName(o.out), http.StatusText(status)})
	}
	for _, status := range refusals(r) {
		s.Answers = append(s.Answers, answer{strconv.Itoa(status), "Problem", http.StatusText(status)})
	}
	return s
}

// schemaName is how the schema of what travels is called; "" if it has no name.
func schemaName(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case document:
		return v.name
	case list:
		return v.of.name + "List"
	}
	return openapi.NameOf(reflect.TypeOf(v))
}

func (c *call) specification() (reply, error) {
	d := c.server.described()
	return c.file("application/json", d.json), d.err
}

func (c *call) docs() (reply, error) {
	d := c.server.described()
	return c.file("text/html; charset=utf-8", d.page), d.err
}

func (c *call) docsFile() (reply, error) {
	name := c.req.PathValue("file")
	kind := mime.TypeByExtension(path.Ext(name))
	b, err := pageFiles.ReadFile("page/" + path.Base(name))
	if err != nil || name != path.Base(name) || path.Ext(name) == ".html" {
		return reply{}, fault.Missing.Errorf("no file %q", clip(name, 64))
	}
	return c.file(kind, b), nil
}

// file answers with something that is the same for everybody until another
// version is started, and that a browser may show. Caches ask each time.
func (c *call) file(kind string, b []byte) reply {
	sum := sha256.Sum256(b)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return reply{stream: func(w http.ResponseWriter) {
		h := w.Header()
		h.Set("Cache-Control", "public, no-cache")
		h.Set("ETag", tag)
		h.Set("Content-Security-Policy", docsPolicy)
		h.Set("Referrer-Policy", "no-referrer")
		if known := c.req.Header.Get("If-None-Match"); known == "*" || strings.Contains(known, tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", kind)
		h.Set("Content-Length", strconv.Itoa(len(b)))
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(b) // nobody is left to tell
	}}
}

package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

func (c *call) get() (reply, error) {
	if err := c.wellFormed(false); err != nil {
		return reply{}, err
	}
	if doc, ok := c.offeredImage(); ok {
		return reply{status: http.StatusOK, body: doc}, nil
	}
	if doc, ok := c.systemRole(c.at.Name); ok {
		return reply{status: http.StatusOK, body: doc}, nil
	}
	r, err := c.server.Resources.Get(c.ctx, c.regionName(), c.at)
	if err != nil {
		return reply{}, err
	}
	if err := c.countResources(r); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: c.document(r, http.MethodGet)}, nil
}

// countResources fills the status of a workspace.
func (c *call) countResources(r *resource.Resource) error {
	if r.Kind.Name != "workspace" {
		return nil
	}
	n, err := c.server.Resources.Count(c.ctx, r.Region, r.URN.Tenant, r.URN.Name)
	if err != nil {
		return err
	}
	r.Status, err = json.Marshal(seca.WorkspaceStatus{ResourceCount: &n})
	return err
}

type input struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Extensions  map[string]string `json:"extensions"`
	Metadata    struct {
		Region string `json:"region"`
	} `json:"metadata"`
	Spec json.RawMessage `json:"spec"`
}

func (c *call) put() (reply, error) {
	if err := c.wellFormed(true); err != nil {
		return reply{}, err
	}
	ifVersion, err := c.ifVersion()
	if err != nil {
		return reply{}, err
	}
	var in input
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	if want := in.Metadata.Region; want != "" && c.region != nil && want != c.region.Name {
		return reply{}, fault.At(fault.Invalid.Errorf("metadata.region is %q, but this is %q", clip(want, 64), c.region.Name), "/metadata/region")
	}
	r, created, err := c.write(in, ifVersion)
	if err != nil {
		return reply{}, err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return reply{status: status, body: c.document(r, http.MethodPut)}, nil
}

func (in input) input() resource.Input {
	return resource.Input{Labels: in.Labels, Annotations: in.Annotations, Extensions: in.Extensions, Spec: in.Spec}
}

// write makes or changes the resource. A workspace that is new in a virtual region needs a place first.
func (c *call) write(in input, ifVersion *int64) (*resource.Resource, bool, error) {
	e, err := c.env(in.Spec)
	if c.virtual != nil && c.kind.Name == "workspace" && ifVersion == nil && errors.Is(err, fault.Missing) {
		return c.settle(in)
	}
	if err != nil {
		return nil, false, err
	}
	return c.server.Resources.Put(c.ctx, c.kind, c.at, in.input(), ifVersion, e)
}

func (c *call) remove() (reply, error) {
	if err := c.wellFormed(false); err != nil {
		return reply{}, err
	}
	ifVersion, err := c.ifVersion()
	if err != nil {
		return reply{}, err
	}
	e, err := c.env(nil)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusAccepted}, c.server.Resources.Delete(c.ctx, c.kind, c.at, ifVersion, e)
}

func act(action string) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		if err := c.wellFormed(false); err != nil {
			return reply{}, err
		}
		ifVersion, err := c.ifVersion()
		if err != nil {
			return reply{}, err
		}
		e, err := c.env(nil)
		if err != nil {
			return reply{}, err
		}
		err = c.server.Resources.Act(c.ctx, c.kind, c.at, action, ifVersion, e)
		failpoint.Here(failpoint.ActCommitted)
		return reply{status: http.StatusAccepted}, err
	}
}

func (c *call) list() (reply, error) {
	q, err := c.query()
	if err != nil {
		return reply{}, err
	}
	if err := c.wellFormed(false); err != nil {
		return reply{status: http.StatusOK, body: c.page([]seca.Document{}, "")}, nil
	}
	if c.kind.Name == "image" && c.at.Tenant == resource.PublicTenant {
		docs, err := c.offeredImages()
		if err != nil {
			return reply{}, err
		}
		return paged(c, q, docs)
	}
	if c.kind.Name == "role" && strings.HasPrefix(q.after, systemMark) {
		return c.withSystemRoles(q, []seca.Document{}), nil
	}
	rs, after, err := c.server.Resources.List(c.ctx, c.regionName(), c.at, resource.Page{
		Size: q.limit, After: q.after, Deleted: q.deleted, Match: q.match(), By: q.selector.term(),
	})
	if err != nil {
		return reply{}, err
	}
	docs := make([]seca.Document, len(rs))
	for i, r := range rs {
		docs[i] = c.document(r, http.MethodGet)
	}
	if c.kind.Name == "role" && after == "" {
		return c.withSystemRoles(q, docs), nil
	}
	return reply{status: http.StatusOK, body: c.page(docs, after)}, nil
}

func (c *call) page(docs []seca.Document, after string) seca.List[seca.Document] {
	l := seca.List[seca.Document]{Items: docs, Metadata: seca.ListMetadata{Provider: c.at.Provider, Resource: c.at.Collection, Verb: http.MethodGet}}
	if c.at.Network != "" {
		l.Metadata.Resource = "networks/" + c.at.Network + "/" + c.at.Collection
	}
	if after != "" {
		l.Metadata.SkipToken = encodeToken(after)
	}
	return l
}

// listQuery is the parameters that all lists take.
type listQuery struct {
	limit    int
	after    string
	selector selector
	deleted  resource.Deleted
}

func (q listQuery) match() func(map[string]string) bool {
	if len(q.selector) == 0 {
		return nil
	}
	return q.selector.matches
}

const (
	defaultLimit = 1000
	maxLimit     = 10000
)

func (c *call) query() (q listQuery, err error) {
	v := c.req.URL.Query()
	q.limit = defaultLimit
	if s := v.Get("limit"); s != "" {
		if q.limit, err = strconv.Atoi(s); err != nil || q.limit < 1 || q.limit > maxLimit {
			return q, fault.Parameter(fault.Malformed.Errorf("limit must be between 1 and %d, not %q", maxLimit, clip(s, 32)), "limit")
		}
	}
	if s := v.Get("skipToken"); s != "" {
		if q.after, err = decodeToken(s); err != nil {
			return q, err
		}
	}
	if q.selector, err = parseSelector(v.Get("labels")); err != nil {
		return q, err
	}
	for part := range strings.SplitSeq(c.req.Header.Get("Accept"), ";") {
		switch strings.TrimSpace(part) {
		case "deleted=true":
			q.deleted = resource.WithDeleted
		case "deleted=only":
			q.deleted = resource.OnlyDeleted
		}
	}
	return q, nil
}

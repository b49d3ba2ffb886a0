package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/tenant"
	"github.com/kontor-cloud/kontor/urn"
)

// A call is a request whose path has been read and whose caller is known and
// allowed. Handlers take where they look from at and region, never from the
// request: that is where tenants are kept apart.
type call struct {
	server *server
	req    *http.Request
	ctx    context.Context
	who    tenant.Principal
	kind   *resource.Kind
	region *provider.Region // nil for global paths
	at     urn.URN          // Tenant, Workspace, Network, Collection, Name, as far as the path has them

	virtual *market.Virtual // if region is one
	sent    []byte          // the body, once it was read
	afresh  bool            // who may do what is read again: it was refused by what is remembered

	act      *audit.Act      // what the audit log will tell; nil if nothing
	accepted int             // the status of success, for that
	host     string          // of what was rendered last
	where    json.RawMessage // of that, for all that it keeps
	silent   bool            // its agent has not been heard of
}

// handle turns a route into a handler. It is the only place where callers are
// let in, and the only one where errors become problem documents.
func (s *server) handle(rt route) http.Handler {
	accepted := accepted(rt)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := call{server: s, req: r, ctx: r.Context(), kind: rt.kind, accepted: accepted}
		c := begun
		rep, err := c.run(rt)
		if err != nil && c.behind(err) {
			begun.sent, begun.afresh = c.sent, true
			c = begun
			rep, err = c.run(rt)
		}
		if err != nil {
			c.refused(rt, err)
		}
		switch {
		case err != nil:
			s.writeProblem(w, r, err)
		case rep.stream != nil:
			rep.stream(w)
		case rep.text != nil:
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(rep.status)
			_, _ = w.Write(rep.text) // nobody is left to tell
		case rep.body == nil:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(rep.status)
		default:
			s.writeJSON(w, r, rep.status, rep.body)
		}
	})
}

func (c *call) run(rt route) (reply, error) {
	if err := c.authenticate(rt.allow); err != nil {
		return reply{}, err
	}
	if p := c.req.URL.Path; !utf8.ValidString(p) || strings.ContainsRune(p, 0) {
		return reply{}, fault.Malformed.Errorf("the path is not text")
	}
	c.place()
	if err := c.authorize(rt.allow); err != nil {
		return reply{}, err
	}
	if err := c.server.tenants.take(c.at.Tenant); err != nil {
		return reply{}, err
	}
	leave, err := c.takeTurn(rt)
	if err != nil {
		return reply{}, err
	}
	defer leave()
	if err := c.findRegion(); err != nil {
		return reply{}, err
	}
	if err := c.readOnly(); err != nil {
		return reply{}, err
	}
	c.watch(rt)
	rep, err := rt.do(c)
	if err == nil && c.act != nil {
		err = c.act.Tell(c.ctx)
	}
	return rep, err
}

// behind reports whether a refusal may be due to what this process remembers and another
// has changed: who was told of a region, or let in, by one must not be refused by the next.
// What is doubtful is read again then.
func (c *call) behind(refusal error) bool {
	regions := c.server.Providers
	switch {
	case errors.Is(refusal, fault.Denied) && regions.DB.Postgres():
		token, _ := strings.CutPrefix(c.req.Header.Get("Authorization"), "Bearer ")
		c.server.Tenants.Doubt(token)
		return true
	case c.kind != nil && (errors.Is(refusal, fault.Unsupported) || errors.Is(refusal, fault.Invalid)):
		news, err := regions.Behind(c.ctx)
		return news && err == nil
	}
	return false
}

// takeTurn waits until it is the turn of the tenant, or of the caller. What everybody
// may ask costs little; event streams wait by themselves, and are counted.
func (c *call) takeTurn(rt route) (leave func(), err error) {
	if rt.allow.open || rt.lasting() {
		return func() {}, nil
	}
	flow := "account " + c.who.Subject
	if c.at.Tenant != "" {
		flow = "tenant " + c.at.Tenant
	}
	return c.server.queue.enter(c.ctx, flow)
}

func (c *call) authenticate(p permission) error {
	if p.open {
		return c.stranger()
	}
	token, ok := strings.CutPrefix(c.req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return fault.Unauthenticated.Errorf("send a token: Authorization: Bearer TOKEN")
	}
	c.greet()
	who, err := c.server.Tenants.Verify(c.ctx, token)
	c.who = who
	if err == nil {
		err = c.server.accounts.take(who.Subject)
	}
	return err
}

// maxStranger is how much somebody without a token may send.
const maxStranger = 16 << 10

// stranger bounds what somebody without a token may cost, if he wants to change something.
func (c *call) stranger() error {
	if !changes(c.req.Method) {
		return nil
	}
	c.req.Body = http.MaxBytesReader(nil, c.req.Body, maxStranger)
	return c.server.nobody.take(origin(c.req).Address)
}

// place reads where the request is about from its path.
func (c *call) place() {
	v := c.req.PathValue
	c.at = urn.URN{Tenant: v("tenant"), Workspace: v("workspace"), Network: v("network"), Name: v("name")}
	if c.kind != nil {
		c.at.Provider, c.at.Collection = c.kind.Provider+"/v1", c.kind.Collection
	}
}

func (c *call) findRegion() error {
	name := c.req.PathValue("region")
	if name == "" {
		return nil
	}
	r, err := c.server.Providers.Find(c.ctx, name)
	if errors.Is(err, fault.Missing) {
		r, err = c.findVirtual(name)
	}
	c.region = r
	return fault.Parameter(err, "region")
}

// regionName is "" for global things.
func (c *call) regionName() string {
	if c.region == nil || c.kind != nil && c.kind.Global {
		return ""
	}
	return c.region.Name
}

// wellFormed checks the names of the path that lead to the resource. A name
// that no resource can have is missing, or, where one is to be made, invalid.
func (c *call) wellFormed(writing bool) error {
	for _, p := range []struct{ parameter, name string }{
		{"tenant", c.at.Tenant}, {"workspace", c.at.Workspace}, {"network", c.at.Network}, {"name", c.at.Name},
	} {
		if p.name == "" {
			continue
		}
		if err := resource.CheckName(p.name, 128); err != nil {
			if !writing && !strings.Contains(p.name, "/") {
				return fault.Missing.Errorf("no %s named %q", p.parameter, clip(p.name, 128))
			}
			return fault.Parameter(err, p.parameter)
		}
	}
	return nil
}

// body reads a JSON object into to.
func (c *call) body(to any) error {
	if t := c.req.Header.Get("Content-Type"); t != "" && !strings.Contains(t, "json") {
		return fault.Malformed.Errorf("the body must be application/json, not %q", clip(t, 64))
	}
	raw, err := c.read()
	if err != nil {
		return err
	}
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return fault.Malformed.Errorf("the body is null; it must be a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(to); err != nil {
		return badJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fault.Malformed.Errorf("something follows the JSON object")
	}
	return nil
}

// read gives the body, also to who asks again.
func (c *call) read() ([]byte, error) {
	if c.sent != nil {
		return c.sent, nil
	}
	raw, err := io.ReadAll(c.req.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, fault.TooLarge.Errorf("the body is larger than %d bytes", large.Limit)
	case err != nil:
		return nil, fault.Malformed.Errorf("read body: %w", err)
	}
	c.sent = raw
	return raw, nil
}

func badJSON(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		at := "/" + strings.ReplaceAll(wrong.Field, ".", "/")
		return fault.At(fault.Invalid.Errorf("%s must be of type %s, not %s", wrong.Field, wrong.Type, wrong.Value), at)
	}
	if errors.Is(err, io.EOF) {
		return fault.Malformed.Errorf("the body is empty; it must be a JSON object")
	}
	return fault.Malformed.Errorf("the body is not JSON: %w", err)
}

// ifVersion reads the conditional header, which is a number in spite of its name.
func (c *call) ifVersion() (*int64, error) {
	h := c.req.Header.Get("If-Unmodified-Since")
	if h == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(h), 10, 64)
	if err != nil {
		return nil, fault.Parameter(fault.Malformed.Errorf("if-unmodified-since must be a resourceVersion, a whole number, not %q", clip(h, 64)), "if-unmodified-since")
	}
	return &n, nil
}

// env is what the rules of kinds may look at. spec is that of something to be made, nil if
// nothing is.
func (c *call) env(spec json.RawMessage) (resource.Env, error) {
	e := c.bareEnv()
	if c.virtual == nil || c.kind != nil && c.kind.Global {
		return e, nil
	}
	host, err := c.hostOf(spec)
	if err != nil {
		return e, err
	}
	return c.hosted(e, host)
}

// names reports whether there is a region of a name, virtual or not.
func (c *call) names(region string) bool {
	if _, err := c.server.Providers.Snapshot().Region(region); err == nil {
		return true
	}
	v, ok := market.VirtualNamed(region)
	return ok && c.server.Market != nil && (v.Tenant == "" || v.Tenant == c.at.Tenant)
}

// bareEnv is env as far as no host is concerned.
func (c *call) bareEnv() resource.Env {
	x := c.server
	e := resource.Env{
		Suite: x.profile == Suite, Region: c.regionName(),
		Regions: c.names,
		Tenants: func(name string) bool { _, err := x.Tenants.Tenant(c.ctx, name); return err == nil },
		Subject: func(id string) bool { _, err := x.Tenants.Account(c.ctx, id); return err == nil },
	}
	if c.region != nil && c.virtual == nil {
		e.Kinds, e.Inventory = c.region.Kinds, &c.region.Inventory
	}
	return e
}

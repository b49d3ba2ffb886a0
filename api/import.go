package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
	"github.com/kontor-cloud/kontor/wire"
)

// An importing says which things of nobody shall become whose resources. With
// Apply they do; else the answer only tells what would be.
type importing struct {
	Tenant    string `json:"tenant"`
	Workspace string `json:"workspace"`
	Items     []struct {
		Native string `json:"native"`
		Kind   string `json:"kind,omitempty"` // needed where several kinds have such a native id
		Name   string `json:"name"`
	} `json:"items" schema:"required,min=1,max=200"`
	Apply bool `json:"apply,omitempty"`
}

// An imported is one thing of the answer.
type imported struct {
	Native   string     `json:"native"`
	Kind     string     `json:"kind"`
	Name     string     `json:"name"`
	Resource string     `json:"resource,omitempty"` // the URN that it gets, or has
	Action   string     `json:"action"`             // adopt, none, refuse
	Document *candidate `json:"document,omitempty"` // the resource that would be
	Notes    []string   `json:"notes,omitempty"`    // what was chosen for want of anything better
	Problems []string   `json:"problems,omitempty"` // why it is refused

	kind   *resource.Kind
	urn    urn.URN
	power  seca.Power
	within string
}

type strayList struct {
	Strays []wire.Stray `json:"strays"`
}

type importResult struct {
	Items   []*imported `json:"items"`
	Applied bool        `json:"applied"`
}

type candidate struct {
	Kind     string          `json:"kind"`
	Metadata map[string]any  `json:"metadata"`
	Spec     json.RawMessage `json:"spec"`
}

// The actions of an import.
const (
	actAdopt  = "adopt"
	actNone   = "none" // an earlier import has done it
	actRefuse = "refuse"
)

func (c *call) strays(r *provider.Region) ([]wire.Stray, error) {
	b, err := c.server.desk.ask(c.ctx, r.Name, wire.Request{Verb: wire.VerbStrays})
	if err != nil {
		return nil, err
	}
	all := []wire.Stray{}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fault.Unavailable.Errorf("read what the agent of region %s found: %w", r.Name, err)
	}
	return all, nil
}

func (c *call) listStrays() (reply, error) {
	r, err := c.named()
	if err != nil {
		return reply{}, err
	}
	all, err := c.strays(r)
	return ok(strayList{all}, err)
}

// importStrays tells what an import would do, or does it.
func (c *call) importStrays() (reply, error) {
	r, err := c.named()
	if err != nil {
		return reply{}, err
	}
	var in importing
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	if n := len(in.Items); n < 1 || n > resource.MaxImport {
		return reply{}, fault.At(fault.Invalid.Errorf("items must be 1 to %d, not %d", resource.MaxImport, n), "/items")
	}
	c.region = r
	plan, err := c.plan(in)
	if err != nil {
		return reply{}, err
	}
	if in.Apply {
		err = c.adopt(plan)
	}
	return reply{status: http.StatusOK, body: importResult{plan, in.Apply}}, err
}

// plan finds what each chosen thing would become.
func (c *call) plan(in importing) ([]*imported, error) {
	space, _ := resource.KindNamed("workspace")
	if _, err := c.server.Resources.Get(c.ctx, c.region.Name, space.URN(in.Tenant, "", "", in.Workspace)); err != nil {
		return nil, fault.At(err, "/workspace")
	}
	strays, err := c.strays(c.region)
	if err != nil {
		return nil, err
	}
	before, err := c.server.Resources.Imported(c.ctx, c.region.Name)
	if err != nil {
		return nil, err
	}
	p := planner{importing: in, strays: strays, before: before}
	for _, item := range in.Items {
		p.choose(item.Native, item.Kind, item.Name)
	}
	for _, i := range p.items {
		p.place(i)
	}
	taken, err := c.taken(p.items)
	if err != nil {
		return nil, err
	}
	for _, i := range p.items {
		p.finish(i, taken)
	}
	return p.items, nil
}

// taken finds the names that others have.
func (c *call) taken(items []*imported) (map[string]*resource.Resource, error) {
	var names []string
	for _, i := range items {
		if i.Action == actAdopt {
			names = append(names, i.Resource)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	return c.server.Resources.Named(c.ctx, c.region.Name, names)
}

// adopt writes the resources, all or none. The agent does the rest.
func (c *call) adopt(plan []*imported) error {
	var all []resource.Import
	for _, k := range resource.Kinds() { // what others refer to comes first
		for _, i := range plan {
			if i.Action == actRefuse {
				return fault.Conflict.Errorf("%s cannot be imported: %s; nothing was done", i.Native, strings.Join(i.Problems, "; "))
			}
			if i.Action == actAdopt && i.kind == k {
				all = append(all, resource.Import{Kind: k, URN: i.urn, Spec: i.Document.Spec, Native: i.Native, Power: i.power})
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return c.server.Resources.Import(c.ctx, all, c.bareEnv())
}

// A planner finds names for references: those of what is imported together,
// and of what was imported into the workspace before.
type planner struct {
	importing
	strays []wire.Stray
	before map[resource.Native]*resource.Resource
	items  []*imported
}

func (i *imported) refuse(why string) {
	i.Action = actRefuse
	i.Problems = append(i.Problems, why)
}

// choose finds the stray that an item means.
func (p *planner) choose(native, kind, name string) {
	i := &imported{Native: native, Kind: kind, Name: name, Action: actAdopt}
	if k, ok := resource.KindNamed(kind); ok {
		i.Kind = k.Name
	}
	for _, other := range p.items {
		if other.Native == native && (i.Kind == "" || other.Kind == i.Kind) {
			i.refuse("it is chosen twice")
		}
	}
	p.items = append(p.items, i)
	means := func(k, id string) bool { return id == native && (i.Kind == "" || k == i.Kind) }
	for n, r := range p.before {
		if means(n.Kind, n.ID) {
			i.Kind, i.Resource = n.Kind, r.URN.String()
			if i.Action = actNone; r.URN.Tenant != p.Tenant || r.URN.Workspace != p.Workspace || r.URN.Name != name {
				i.refuse("it has been imported as " + i.Resource)
			} else if r.Leaving() {
				i.refuse("it is being deleted as " + i.Resource)
			}
			return
		}
	}
	found := slices.DeleteFunc(slices.Clone(p.strays), func(s wire.Stray) bool { return !means(s.Kind, s.Native) })
	switch {
	case len(found) == 0:
		i.refuse("nothing on the platform that belongs to nobody has this id")
	case len(found) > 1:
		i.refuse("things of several kinds have this id: say which kind")
	default:
		i.take(found[0])
	}
}

func (i *imported) take(s wire.Stray) {
	i.Kind, i.Notes, i.power, i.within = s.Kind, s.Notes, s.Power, s.Within
	i.Document = &candidate{Kind: s.Kind, Spec: s.Spec}
	for _, why := range s.Problems {
		i.refuse(why)
	}
	var known bool
	if i.kind, known = resource.KindNamed(s.Kind); !known {
		i.refuse("SECA has no such kind")
	}
}

// place gives an item its URN.
func (p *planner) place(i *imported) {
	if i.kind == nil {
		return
	}
	if err := resource.CheckName(i.Name, 64); err != nil {
		i.refuse(err.Error())
		return
	}
	inside := ""
	if i.kind.Scope == resource.Network {
		for _, n := range p.items {
			if n.Kind == "network" && n.Native == i.within {
				inside = n.Name
			}
		}
		if r := p.before[resource.Native{Kind: "network", ID: i.within}]; r != nil && p.here(r) {
			inside = r.URN.Name
		}
		if inside == "" {
			i.refuse("it is in network " + i.within + ", which is not chosen")
			return
		}
	}
	space := p.Workspace
	if i.kind.Scope == resource.Tenant {
		space = ""
	}
	i.urn = i.kind.URN(p.Tenant, space, inside, i.Name)
	i.Resource = i.urn.String()
}

func (p *planner) here(r *resource.Resource) bool {
	return r.URN.Tenant == p.Tenant && r.URN.Workspace == p.Workspace
}

// finish resolves what an item refers to, and refuses names that are taken.
func (p *planner) finish(i *imported, taken map[string]*resource.Resource) {
	if i.Document == nil || i.Resource == "" {
		return
	}
	i.Document.Metadata = map[string]any{"name": i.Name, "tenant": p.Tenant, "workspace": i.urn.Workspace}
	if i.urn.Network != "" {
		i.Document.Metadata["network"] = i.urn.Network
	}
	if taken[i.Resource] != nil {
		i.refuse("there is another " + i.Kind + " of this name")
	}
	for _, other := range p.items {
		if other != i && other.Resource == i.Resource {
			i.refuse("another that is chosen has the same name")
		}
	}
	var spec any
	if err := json.Unmarshal(i.Document.Spec, &spec); err != nil {
		i.refuse("the agent has not told what it is")
		return
	}
	missing := map[string]bool{}
	i.Document.Spec, _ = json.Marshal(p.resolve(spec, missing)) // it was JSON
	for native := range missing {
		i.refuse("it refers to " + native + ", which is not chosen")
	}
}

// resolve puts names in the place of native ids.
func (p *planner) resolve(v any, missing map[string]bool) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = p.resolve(v[k], missing)
		}
	case []any:
		for k := range v {
			v[k] = p.resolve(v[k], missing)
		}
	case string:
		if native, ok := strings.CutPrefix(v, wire.Foreign); ok {
			name := p.nameOf(native)
			if name == "" {
				missing[native] = true
			}
			return name
		}
	}
	return v
}

// nameOf is how a spec in this workspace names a thing, or empty.
func (p *planner) nameOf(native string) string {
	for _, i := range p.items {
		if i.Native == native && !i.urn.IsZero() {
			return i.urn.Resource()
		}
	}
	for n, r := range p.before {
		if n.ID == native && p.here(r) {
			return r.URN.Resource()
		}
	}
	return ""
}

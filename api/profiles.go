package api

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/participant"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

type profileSpec struct {
	DisplayName string            `json:"displayName,omitempty"`
	Country     string            `json:"country,omitempty"`
	City        string            `json:"city,omitempty"`
	Driver      string            `json:"driver,omitempty"`
	Provider    string            `json:"provider,omitempty"` // the participant whose it is
	Labels      map[string]string `json:"labels,omitempty"`
	Coordinates string            `json:"coordinates,omitempty" doc:"Degrees north and east, as 45.7640,4.8357: how far it is from a customer."`
}

type profileStatus struct {
	Liveness     string     `json:"liveness"`
	Since        *time.Time `json:"since,omitempty"` // alive: since when; else: last heard of
	Driver       string     `json:"driver,omitempty"`
	Platform     string     `json:"platform,omitempty"`
	AgentVersion string     `json:"agentVersion,omitempty"`
	Trouble      string     `json:"trouble,omitempty"`
	Zones        []string   `json:"zones,omitempty"`
	Kinds        []string   `json:"kinds,omitempty"`
	Features     any        `json:"features,omitempty"`
	Free         any        `json:"free,omitempty"`
	Orphans      int        `json:"orphans"`
}

func (c *call) profile(r *provider.Region) (seca.Document, error) {
	orphans, err := c.server.Providers.Orphans(c.ctx, r.Name)
	l := c.liveness(r.Name)
	return ownDocument("region-profile", "regions", r.Name, r.CreatedAt,
		profileSpec{r.Display, r.Country, r.City, r.Driver, r.Provider, r.Labels, r.Annotations[market.Coordinates]},
		profileStatus{
			Liveness: l.Liveness, Since: l.Since, Driver: r.Driver, Platform: r.Inventory.Platform, AgentVersion: r.AgentVersion,
			Trouble: r.Trouble, Zones: r.Inventory.Zones, Kinds: r.Kinds, Features: r.Inventory.Features, Free: r.Inventory.Free, Orphans: len(orphans),
		}), err
}

func (c *call) listProfiles() (reply, error) {
	return ownList(c, "regions", c.server.Providers.Snapshot().All(), c.profile)
}

// named finds the region that the path names.
func (c *call) named() (*provider.Region, error) {
	r, err := c.server.Providers.Find(c.ctx, c.at.Name)
	return r, fault.Parameter(err, "name")
}

func (c *call) oneProfile() (reply, error) {
	r, err := c.named()
	if err != nil {
		return reply{}, err
	}
	return ok(c.profile(r))
}

func (c *call) putRegion() (reply, error) {
	var in withSpec[profileSpec]
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	if c.at.Name == market.EU {
		return reply{}, fault.Parameter(fault.Conflict.Errorf("%s is a virtual region; choose another name, like fr-lyon-PROVIDER", c.at.Name), "name")
	}
	_, unknown := c.server.Providers.Snapshot().Region(c.at.Name)
	s := in.Spec
	if err := c.ownRegion(&s); err != nil {
		return reply{}, err
	}
	r := provider.Region{
		Name: c.at.Name, Display: s.DisplayName, Country: s.Country, City: s.City, Driver: s.Driver, Provider: s.Provider, Labels: s.Labels,
	}
	if s.Coordinates != "" {
		if _, err := market.ParsePoint(s.Coordinates); err != nil {
			return reply{}, fault.At(fault.Invalid.Errorf("%w; write degrees north and east, like 45.7640,4.8357", err), "/spec/coordinates")
		}
		r.Annotations = map[string]string{market.Coordinates: s.Coordinates}
	}
	if err := c.server.Providers.PutRegion(c.ctx, r); err != nil {
		return reply{}, err
	}
	shown, err := c.oneProfile()
	if unknown != nil {
		shown.status = http.StatusCreated
	}
	return shown, err
}

// ownRegion checks whose a region is to be. A participant makes his own alone, in his own
// name; an operator gives them to whom he approved.
func (c *call) ownRegion(s *profileSpec) error {
	if !c.who.Operator {
		owner := c.ownerOf(c.at.Name)
		if s.Provider != "" && s.Provider != owner {
			return fault.At(fault.Denied.Errorf("the region is %s's", owner), "/spec/provider")
		}
		s.Provider = owner
	}
	if s.Provider == "" {
		return nil
	}
	p, err := c.server.Participants.Get(c.ctx, s.Provider)
	if err == nil && p.State != participant.Approved {
		err = fault.Conflict.Errorf("%s is %s; only an approved participant has regions", p.Name, p.State)
	}
	if err == nil && !c.who.Operator {
		s.DisplayName = p.LegalName // what customers see is not his to choose
	}
	return fault.At(err, "/spec/provider")
}

// deleteRegion forgets a region in which nothing is left.
func (c *call) deleteRegion() (reply, error) {
	r, err := c.named()
	if err != nil {
		return reply{}, err
	}
	err = c.server.Providers.DeleteRegion(c.ctx, r.Name, func(ctx context.Context, tx *db.Tx) error {
		return c.server.Resources.Empty(ctx, tx, r.Name)
	})
	return reply{status: http.StatusAccepted}, err
}

type joinRequest struct {
	TTL string `json:"ttl" doc:"As 1h, which it is unless given."`
}

type joinToken struct {
	Token     string    `json:"token" doc:"Shown this once."`
	ExpiresAt time.Time `json:"expiresAt"`
	Command   string    `json:"command"`
}

const defaultJoinTTL = time.Hour

func (c *call) join() (reply, error) {
	var in joinRequest
	r, err := c.named()
	if err != nil {
		return reply{}, err
	}
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	ttl, err := duration(in.TTL, defaultJoinTTL, "/ttl")
	if err != nil {
		return reply{}, err
	}
	token, err := c.server.JoinToken(c.ctx, r.Name, ttl)
	if err != nil {
		return reply{}, err
	}
	return ok(joinToken{token, time.Now().Add(ttl).UTC(), "kontor agent --driver " + cmp.Or(r.Driver, "DRIVER") + " --dir DIR --join-file FILE"}, nil)
}

type resyncRequest struct {
	Apply bool `json:"apply"`
}

type resynced struct {
	Differences json.RawMessage `json:"differences"`
}

func (c *call) resync() (reply, error) {
	var in resyncRequest
	r, err := c.named()
	if err != nil {
		return reply{}, err
	}
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	b, err := c.server.desk.ask(c.ctx, r.Name, wire.Request{Verb: wire.VerbResync, Apply: in.Apply})
	if err != nil {
		return reply{}, err
	}
	return ok(resynced{b}, nil)
}

func (c *call) listOrphans() (reply, error) {
	r, err := c.named()
	if err != nil {
		return reply{}, err
	}
	all, err := c.server.Providers.Orphans(c.ctx, r.Name)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "regions/"+r.Name+"/orphans", all, func(o provider.Orphan) (seca.Document, error) {
		return ownDocument("orphan", "regions/"+r.Name+"/orphans", o.ID, o.FirstSeen, o, nil), nil
	})
}

func (c *call) listAgents() (reply, error) {
	r, err := c.named()
	if err != nil {
		return reply{}, err
	}
	all, err := c.server.Providers.Agents(c.ctx, r.Name)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "regions/"+r.Name+"/agents", all, func(a provider.Agent) (seca.Document, error) {
		return ownDocument("agent", "regions/"+r.Name+"/agents", a.Serial, a.IssuedAt, struct{}{}, a), nil
	})
}

// revokeAgent shuts a region's agent out. What it made goes on.
func (c *call) revokeAgent() (reply, error) {
	r, err := c.named()
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, c.server.Providers.Revoke(c.ctx, r.Name)
}

func (c *call) approveOrphan() (reply, error) {
	return reply{status: http.StatusAccepted}, c.server.Providers.ApproveOrphan(c.ctx, c.at.Name, c.req.PathValue("id"))
}

const (
	defaultTail = 64 << 10
	maxTail     = 1 << 20
)

func (c *call) console() (reply, error) {
	r, err := c.server.Resources.Get(c.ctx, c.region.Name, c.at)
	if err != nil {
		return reply{}, err
	}
	host, err := c.server.Providers.Find(c.ctx, r.Host)
	if err != nil {
		return reply{}, err
	}
	if !host.Console {
		return reply{}, fault.Unsupported.Errorf("region %s keeps no consoles", host.Name)
	}
	tail := defaultTail
	if s := c.req.URL.Query().Get("tail"); s != "" {
		if tail, err = strconv.Atoi(s); err != nil || tail < 1 || tail > maxTail {
			return reply{}, fault.Parameter(fault.Malformed.Errorf("tail must be between 1 and %d bytes", maxTail), "tail")
		}
	}
	b, err := c.server.desk.ask(c.ctx, host.Name, wire.Request{Verb: wire.VerbConsole, Resource: r.ID, Tail: tail})
	if b == nil {
		b = []byte{}
	}
	return reply{status: http.StatusOK, text: b}, err
}

package api

import (
	"crypto/ed25519"
	"net/http"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/participant"
	"github.com/kontor-cloud/kontor/seca"
)

const (
	participants   = "/participants"
	oneParticipant = participants + "/{participant}"
)

// participantRoutes are about the organisations that take part.
func participantRoutes(base string) []route {
	nobody, anybody, op, acting := permission{open: true}, permission{anybody: true}, permission{operator: true}, permission{acting: true}
	at := base + oneParticipant
	return []route{
		{"GET", base + participants, anybody, nil, (*call).listParticipants},
		{"POST", base + participants, nobody, nil, (*call).apply},
		{"GET", at, anybody, nil, (*call).oneParticipant},
		{"POST", at + "/approve", op, nil, (*call).approve},
		{"POST", at + "/suspend", op, nil, (*call).suspend},
		{"POST", at + "/reject", op, nil, (*call).reject},
		{"POST", at + "/challenge", nobody, nil, (*call).challenge},
		{"POST", at + "/login", nobody, nil, (*call).loginByKey},
		{"GET", at + "/claims", anybody, nil, (*call).listClaims},
		{"PUT", at + "/claims", acting, nil, (*call).putClaims},
		{"DELETE", at + "/claims/{id}", acting, nil, (*call).withdrawClaim},
		{"POST", at + "/attestations", op, nil, (*call).attest},
		{"POST", at + "/measurements", op, nil, (*call).measure},
		{"GET", at + "/keys", anybody, nil, (*call).listSigners},
		{"POST", at + "/keys", acting, nil, (*call).addSigner},
		{"DELETE", at + "/keys/{id}", acting, nil, (*call).revokeSigner},
		{"GET", at + "/members", acting, nil, (*call).listActing},
		{"PUT", at + "/members/{name}", op, nil, (*call).addActing}, // who may, learns which accounts there are
		{"DELETE", at + "/members/{name}", acting, nil, (*call).removeActing},
		{"GET", at + "/sheets", anybody, nil, (*call).listSheets},
		{"GET", at + "/sheets/{version}", anybody, nil, (*call).oneSheet},
		{"POST", at + "/sheets", acting, nil, (*call).publish},
		{"GET", at + "/losses", acting, nil, (*call).losses},
		{"GET", base + "/offers", anybody, nil, (*call).listOffers},
	}
}

type participantStatus struct {
	State      participant.State `json:"state"`
	ApprovedAt time.Time         `json:"approvedAt,omitzero"`
	Keys       int               `json:"keys"`   // that are good
	Claims     int               `json:"claims"` // that stand
	Account    string            `json:"account,omitempty"`
}

func participantDocument(p *participant.Participant) (seca.Document, error) {
	s := participantStatus{State: p.State, ApprovedAt: p.ApprovedAt, Keys: len(p.Signing()), Claims: len(p.Standing())}
	if p.State != participant.Applied {
		s.Account = participant.Account(p.Name)
	}
	d := ownDocument("participant", "participants", p.Name, p.AppliedAt, p.Profile, s)
	d.Labels = map[string]string{own + "/country": p.Country, own + "/state": string(p.State)}
	return d, nil
}

// visible gives a participant as the caller may see it: contacts, and those who are
// not approved, are for operators and for who acts for it.
func (c *call) visible(p *participant.Participant) (*participant.Participant, bool, error) {
	if c.who.Operator {
		return p, true, nil
	}
	own, err := c.actsFor(p.Name)
	if err != nil || own {
		return p, true, err
	}
	return p.Public(), p.State != participant.Applied, nil
}

func (c *call) listParticipants() (reply, error) {
	all, err := c.server.Participants.All(c.ctx)
	if err != nil {
		return reply{}, err
	}
	shown := all[:0]
	for _, p := range all {
		p, may, err := c.visible(p)
		if err != nil {
			return reply{}, err
		}
		if may {
			shown = append(shown, p)
		}
	}
	return ownList(c, "participants", shown, participantDocument)
}

// party finds the participant of the path, if the caller may know that it is there.
func (c *call) party() (*participant.Participant, error) {
	name := c.req.PathValue("participant")
	p, err := c.server.Participants.Get(c.ctx, name)
	if err != nil {
		return nil, fault.Parameter(err, "participant")
	}
	p, may, err := c.visible(p)
	if err == nil && !may {
		err = fault.Parameter(fault.Missing.Errorf("there is no participant %s", clip(name, 64)), "participant")
	}
	return p, err
}

func (c *call) oneParticipant() (reply, error) {
	p, err := c.party()
	if err != nil {
		return reply{}, err
	}
	return ok(participantDocument(p))
}

func (c *call) apply() (reply, error) {
	var in participant.Application
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	if err := c.server.Participants.Apply(c.ctx, &in, c.server.URL); err != nil {
		return reply{}, err
	}
	p, err := c.server.Participants.Get(c.ctx, in.Profile.Name)
	if err != nil {
		return reply{}, err
	}
	d, err := participantDocument(p)
	return reply{status: http.StatusAccepted, body: d}, err
}

func (c *call) approve() (reply, error) {
	return c.decided(c.server.Participants.Approve(c.ctx, c.req.PathValue("participant")))
}

func (c *call) suspend() (reply, error) {
	return c.decided(c.server.Participants.Suspend(c.ctx, c.req.PathValue("participant")))
}

func (c *call) decided(err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return c.oneParticipant()
}

func (c *call) reject() (reply, error) {
	return reply{status: http.StatusNoContent}, c.server.Participants.Reject(c.ctx, c.req.PathValue("participant"))
}

type challenge struct {
	Challenge string    `json:"challenge"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// challenge is had by everybody, for whatever name: it tells nothing and keeps nothing.
func (c *call) challenge() (reply, error) {
	text, expires, err := c.server.Tenants.Challenge(participant.Account(clip(c.req.PathValue("participant"), 64)))
	return ok(challenge{text, expires}, err)
}

type keyLogin struct {
	Challenge string `json:"challenge"`
	Signature []byte `json:"signature"`
	TTL       string `json:"ttl,omitempty"`
}

const (
	defaultLoginTTL = 12 * time.Hour
	maxLoginTTL     = 30 * 24 * time.Hour
)

// loginByKey gives a token to who signs a fresh challenge with a key of a participant.
func (c *call) loginByKey() (reply, error) {
	var in keyLogin
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	ttl, err := duration(in.TTL, defaultLoginTTL, "/ttl")
	if err != nil {
		return reply{}, err
	}
	if ttl > maxLoginTTL {
		return reply{}, fault.At(fault.Invalid.Errorf("must be at most %s", maxLoginTTL), "/ttl")
	}
	name := clip(c.req.PathValue("participant"), 64)
	met, err := c.server.Tenants.ReadChallenge(c.ctx, in.Challenge, participant.Account(name))
	if err != nil {
		return reply{}, err
	}
	if err := c.prove(name, in); err != nil {
		return reply{}, err
	}
	if err := c.server.Tenants.Spend(c.ctx, met); err != nil {
		return reply{}, err
	}
	t, secret, err := c.server.Tenants.NewToken(c.ctx, participant.Account(name), "login by key", ttl, seca.Scope{})
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusCreated, body: issuedToken{ID: t.ID, Token: secret, ExpiresAt: t.ExpiresAt}}, nil
}

// prove checks the signature of a login. Whether a participant is known is not told to
// who cannot sign for it.
func (c *call) prove(name string, in keyLogin) error {
	p, err := c.server.Participants.Get(c.ctx, name)
	if fault.KindOf(err) != fault.Missing && err != nil {
		return err
	}
	var keys []ed25519.PublicKey
	if p != nil {
		keys = p.Signing()
	}
	if _, signed := participant.Answers(in.Challenge, in.Signature, c.server.URL, keys); !signed {
		return fault.Unauthenticated.Errorf("the challenge is not signed by a key of participant %s for %s, which is how this exchange is reached", name, c.server.URL)
	}
	if p.State == participant.Applied {
		return fault.Denied.Errorf("the application of %s waits for an operator", name)
	}
	return nil
}

func (c *call) listClaims() (reply, error) {
	p, err := c.party()
	if err != nil {
		return reply{}, err
	}
	at := "participants/" + p.Name + "/claims"
	return ownList(c, at, p.Standing(), func(cl participant.Claim) (seca.Document, error) {
		d := ownDocument("claim", at, cl.ID, cl.CreatedAt, cl, nil)
		d.Labels = map[string]string{own + "/attribute": cl.Attribute, own + "/level": string(cl.Level), own + "/source": string(cl.Source)}
		if cl.Region != "" {
			d.Labels[own+"/region"] = cl.Region
		}
		return d, nil
	})
}

type claimList struct {
	Claims []participant.Claim `json:"claims"`
}

// putClaims is a participant's own word.
func (c *call) putClaims() (reply, error) {
	p, err := c.party()
	if err != nil {
		return reply{}, err
	}
	own, err := c.actsFor(p.Name)
	if err == nil && !own {
		err = fault.Denied.Errorf("only %s says what it says of itself; an operator attests (kontor provider attest)", p.Name)
	}
	if err != nil {
		return reply{}, err
	}
	var in claimList
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	return ok(c.server.Participants.PutClaims(c.ctx, p.Name, participant.Self, c.who.Subject, in.Claims))
}

// attest is the word of an operator who has seen the proofs.
func (c *call) attest() (reply, error) {
	p, err := c.party()
	if err != nil {
		return reply{}, err
	}
	var in claimList
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	d, err := c.server.Participants.AddClaims(c.ctx, p.Name, participant.Operator, c.who.Subject, in.Claims)
	return reply{status: http.StatusCreated, body: d}, err
}

// withdrawClaim takes back what the caller's side has said.
func (c *call) withdrawClaim() (reply, error) {
	p, err := c.party()
	if err != nil {
		return reply{}, err
	}
	own, err := c.actsFor(p.Name)
	if err != nil {
		return reply{}, err
	}
	sources := []participant.Source{participant.Operator, participant.Exchange}
	if own {
		sources = []participant.Source{participant.Self}
	}
	return reply{status: http.StatusAccepted}, c.server.Participants.WithdrawClaim(c.ctx, p.Name, c.req.PathValue("id"), sources...)
}

func (c *call) listSigners() (reply, error) {
	p, err := c.party()
	if err != nil {
		return reply{}, err
	}
	at := "participants/" + p.Name + "/keys"
	return ownList(c, at, p.Keys, func(k participant.Key) (seca.Document, error) {
		return ownDocument("participant-key", at, k.ID, k.CreatedAt, k, nil), nil
	})
}

type newSigner struct {
	Key []byte `json:"key"`
}

func (c *call) addSigner() (reply, error) {
	p, err := c.party()
	if err != nil {
		return reply{}, err
	}
	var in newSigner
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	k, err := c.server.Participants.AddKey(c.ctx, p.Name, in.Key)
	return reply{status: http.StatusCreated, body: k}, err
}

func (c *call) revokeSigner() (reply, error) {
	return reply{status: http.StatusAccepted}, c.server.Participants.RevokeKey(c.ctx, c.req.PathValue("participant"), c.req.PathValue("id"))
}

func (c *call) listActing() (reply, error) {
	p, err := c.party()
	if err != nil {
		return reply{}, err
	}
	all, err := c.server.Participants.Members(c.ctx, p.Name)
	if err != nil {
		return reply{}, err
	}
	at := "participants/" + p.Name + "/members"
	return ownList(c, at, all, func(account string) (seca.Document, error) {
		return ownDocument("participant-member", at, account, p.AppliedAt, struct{}{}, nil), nil
	})
}

func (c *call) addActing() (reply, error) {
	return reply{status: http.StatusNoContent}, c.server.Participants.AddMember(c.ctx, c.req.PathValue("participant"), c.at.Name)
}

func (c *call) removeActing() (reply, error) {
	return reply{status: http.StatusAccepted}, c.server.Participants.RemoveMember(c.ctx, c.req.PathValue("participant"), c.at.Name)
}

// losses tells a participant how often its regions were not chosen, on what they failed, and by how much.
func (c *call) losses() (reply, error) {
	p, err := c.party()
	if err != nil {
		return reply{}, err
	}
	since, err := c.since()
	if err != nil {
		return reply{}, err
	}
	return ok(c.server.Market.Losses(c.ctx, p.Name, since))
}

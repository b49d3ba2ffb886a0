package participant

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/policy"
)

// A Claim is what somebody says of a participant, of one of its regions, or of a service
// there.
type Claim struct {
	ID      string `json:"id"`
	Region  string `json:"region,omitempty"`  // "" is about the participant itself, or its service in all regions
	Service string `json:"service,omitempty"` // a row of Services; "" is about region or participant
	policy.Claim
	Source      Source    `json:"source"`
	By          string    `json:"by,omitempty"` // the account that said it
	CreatedAt   time.Time `json:"createdAt,omitzero"`
	WithdrawnAt time.Time `json:"withdrawnAt,omitzero"`
}

// A Source is who says something.
type Source string

// The sources.
const (
	Self     Source = "self"     // the participant
	Operator Source = "operator" // who has seen a proof
	Exchange Source = "exchange" // which has measured
)

// Services are the kinds of things that claims can be about.
var Services = []string{"iaas-vm", "iaas-block", "iaas-network", "iaas-object", "caas-k8s", "hpc-batch"}

// levels is the one place that says how well a source can know something. That others
// have looked is not for the participant to say, and that the exchange has looked
// is not even for its operator.
var levels = map[Source][]policy.Level{
	Self:     {policy.SelfDeclared, policy.Contract},
	Operator: {policy.Contract, policy.ThirdParty, policy.Regulator},
	Exchange: {policy.Measured},
}

// defined are attributes that the exchange itself gives a value.
var defined = []string{"region.id", "service.id", "service.kind"}

// maxClaims bounds what stands of one participant: as many as a policy can look at
// beside what is said of one region.
const maxClaims = 500

// subject is what a claim is about, in the words of policies.
func (c Claim) subject() policy.Subject {
	switch {
	case c.Service != "":
		return policy.OfService
	case c.Region != "":
		return policy.OfRegion
	}
	return policy.OfParticipant
}

// checkClaims reports all that is wrong with what a source says. Region tells whether a
// region is the participant's.
func checkClaims(data *policy.Data, source Source, claims []Claim, region func(string) bool) error {
	var l fault.List
	if len(claims) > maxClaims {
		l.Add("", "must not be more than %d claims", maxClaims)
		return l.Err()
	}
	for i, c := range claims {
		at := "/claims/" + strconv.Itoa(i)
		c.checkPlace(&l, at, region)
		c.checkSource(&l, at, source)
		if slices.Contains(defined, c.Attribute) {
			l.Add(at+"/attribute", "must not be %s: the exchange itself says that", c.Attribute)
		}
		if err := data.Check(c.subject(), []policy.Claim{c.Claim}); err != nil {
			note(&l, at, err)
		}
	}
	return l.Err()
}

func (c Claim) checkPlace(l *fault.List, at string, region func(string) bool) {
	if c.Region != "" && !region(c.Region) {
		l.Add(at+"/region", "must be a region of this participant; %q is none", c.Region)
	}
	if c.Service != "" && !slices.Contains(Services, c.Service) {
		l.Add(at+"/service", "must be one of %v%s", Services, fault.DidYouMean(c.Service, Services))
	}
}

func (c Claim) checkSource(l *fault.List, at string, source Source) {
	if !slices.Contains(levels[source], c.Level) {
		l.Add(at+"/level", "must be one of %v: %q is not what %s can say", levels[source], c.Level, speaker[source])
	}
	if source != Operator {
		return
	}
	if c.Issuer == "" {
		l.Add(at+"/issuer", "must be who vouches for it")
	}
	if c.Proof == "" {
		l.Add(at+"/proof", "must be the SHA-256 of the document that proves it")
	}
}

var speaker = map[Source]string{Self: "a participant", Operator: "an operator", Exchange: "a measurement"}

// note adds what policy.Data.Check found in the one claim that it was given.
func note(l *fault.List, at string, err error) {
	sources := fault.SourcesOf(err)
	pointer := at
	if len(sources) > 0 {
		pointer += sources[0].Pointer[min(2, len(sources[0].Pointer)):] // after "/0"
	}
	l.Add(pointer, "%v", err)
}

// same reports whether two claims say the same, whoever said it and when.
func (c Claim) same(other Claim) bool {
	a, b := c, other
	a.ID, a.By, a.CreatedAt, a.WithdrawnAt = b.ID, b.By, b.CreatedAt, b.WithdrawnAt
	return string(a.text()) == string(b.text())
}

func (c Claim) text() []byte {
	c.From, c.Until = c.From.UTC(), c.Until.UTC()
	b, _ := json.Marshal(c) // a value that is no JSON was refused before
	return b
}

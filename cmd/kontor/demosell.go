package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/participant"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/provider"
)

// pretending are the regions of the demo that have no machines.
var pretending = []provider.Region{
	{Name: "de-frankfurt-main", Display: "Main Server", Country: "DE", City: "Frankfurt", Driver: "fake", Annotations: standing("50.11,8.68")},
	{Name: "fi-helsinki-vantaa", Display: "Vantaa Data", Country: "FI", City: "Helsinki", Driver: "fake", Annotations: standing("60.17,24.94")},
	{Name: "fr-paris-seine", Display: "Seine Hébergement", Country: "FR", City: "Paris", Driver: "fake", Annotations: standing("48.86,2.35")},
	{Name: "it-torino-po", Display: "Po Cloud", Country: "IT", City: "Torino", Driver: "fake", Annotations: standing("45.07,7.69")},
}

// A demoSeller is a participant of the demo with its one region. Each but one lacks something
// that the demo's customer asks for.
type demoSeller struct {
	region string
	hour   string // EUR, for the small machine
	owners string // countries of the chain
	sov5   int
	where  policy.Level // how well it is known where the region is
	pue    string       // "" says nothing
}

var demoSellers = []demoSeller{
	{"fr-lyon-rhone", "0.0432", `["FR"]`, 3, policy.Contract, "1.2"},
	{"de-berlin-spree", "0.0400", `["DE","US"]`, 3, policy.Contract, "1.2"},  // an owner from outside
	{"nl-delft-schie", "0.0519", `["NL"]`, 3, policy.Contract, "1.2"},        // too dear
	{"de-frankfurt-main", "0.0400", `["DE"]`, 3, policy.SelfDeclared, "1.2"}, // his word alone
	{"fi-helsinki-vantaa", "0.0400", `["FI"]`, 3, policy.Contract, "1.2"},    // too far
	{"fr-paris-seine", "0.0400", `["FR"]`, 1, policy.Contract, "1.2"},        // too little sovereignty
	{"it-torino-po", "0.0400", `["IT"]`, 3, policy.Contract, ""},             // says nothing of energy
}

// sellAll has the participants of the demo apply, be approved, make their claims and publish prices, as
// they would from their own machines. Who sells already goes on doing so.
func (x *exchange) sellAll(ctx context.Context) error {
	ctx = bySystem(ctx, x.Audit, "demo", "participants", "")
	for _, s := range demoSellers {
		if err := x.sell(ctx, s); err != nil {
			return fmt.Errorf("have %s sell: %w", s.region, err)
		}
	}
	return nil
}

func (x *exchange) sell(ctx context.Context, s demoSeller) error {
	region, err := x.Providers.Find(ctx, s.region)
	if err != nil {
		return err
	}
	name := s.region[strings.LastIndexByte(s.region, '-')+1:]
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	profile := participant.Profile{
		Name: name, LegalName: region.Display, Country: region.Country, Register: "EUID " + region.Country + "DEMO." + name,
		Contact: participant.Contact{Email: "sales@" + name + ".example"},
	}
	err = x.Participants.Apply(ctx, participant.Apply(profile, key, x.publicURL()), x.publicURL())
	if fault.KindOf(err) == fault.Conflict { // of an earlier demo on this data
		return nil
	}
	if err != nil {
		return err
	}
	owned := *region
	owned.Provider = name
	declared, attested := s.claims()
	if err := errors.Join(x.Participants.Approve(ctx, name), x.Providers.PutRegion(ctx, owned)); err != nil {
		return err
	}
	if _, err := x.Participants.PutClaims(ctx, name, participant.Self, participant.Account(name), declared); err != nil {
		return err
	}
	if _, err := x.Participants.AddClaims(ctx, name, participant.Operator, adminAccount, attested); err != nil {
		return err
	}
	sheet, err := s.sheet(name, region)
	if err != nil {
		return err
	}
	sheet.Sign(key)
	return x.Offers.Publish(ctx, sheet)
}

// claims are what the seller says itself, and what an operator has seen a proof of.
func (s demoSeller) claims() (declared, attested []participant.Claim) {
	add := func(region, attribute, value string, level policy.Level) {
		c := participant.Claim{Region: region, Claim: policy.Claim{Attribute: attribute, Value: json.RawMessage(value), Evidence: policy.Evidence{Level: level}}}
		if level == policy.SelfDeclared {
			declared = append(declared, c)
			return
		}
		c.Issuer, c.Proof = "demo", strings.Repeat("00", 32)
		attested = append(attested, c)
	}
	add("", "provider.owner_chain", s.owners, policy.ThirdParty)
	add("", "seal.sov5", fmt.Sprint(s.sov5), policy.ThirdParty)
	add(s.region, "region.country", `"`+strings.ToUpper(s.region[:2])+`"`, s.where)
	if s.pue != "" {
		add(s.region, "region.pue", s.pue, policy.Contract)
	}
	return declared, attested
}

// sheet has prices for all sizes that the region has: in proportion to the small machine's.
func (s demoSeller) sheet(name string, region *provider.Region) (*offer.Sheet, error) {
	var hour money.Decimal
	if err := hour.UnmarshalText([]byte(s.hour)); err != nil {
		return nil, err
	}
	p := offer.Prices{Instances: map[string]offer.Hourly{}, Volumes: map[string]offer.Monthly{}, Networks: map[string]offer.Hourly{}, PublicIP: &offer.Hourly{}}
	for _, k := range region.Inventory.InstanceSKUs {
		p.Instances[k.Name] = offer.Hourly{Hour: hour * money.Decimal(k.VCPU)}
	}
	for _, k := range region.Inventory.StorageSKUs {
		p.Volumes[k.Name] = offer.Monthly{As: "seca.le100", GiBMonth: 0}
	}
	for _, k := range region.Inventory.NetworkSKUs {
		p.Networks[k.Name] = offer.Hourly{}
	}
	from := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	return &offer.Sheet{
		Provider: name, Version: 1, Currency: money.EUR, NoticeDays: 30, ValidFrom: from, ValidUntil: from.AddDate(1, 0, 0),
		Regions: map[string]offer.Prices{region.Name: p},
	}, nil
}

package market

import (
	"context"
	"encoding/json"
	"hash/fnv"

	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/participant"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/provider"
)

// Participants are the sellers of an exchange: the participants that were approved, with their
// regions and the price sheets that they have signed.
type Participants struct {
	Participants *participant.Store
	Offers       *offer.Store
	Regions      *provider.Store
}

// Changes differs from what it was when participants, their claims, sheets or regions have changed.
func (p Participants) Changes(ctx context.Context) (int64, error) {
	n, err := p.Participants.Changes(ctx)
	if err != nil {
		return 0, err
	}
	owned := fnv.New32a()
	for _, r := range p.Regions.Snapshot().All() {
		_, _ = owned.Write([]byte(r.Name + "\x00" + r.Provider + "\x00")) // it never fails
	}
	return n<<32 | int64(owned.Sum32()), nil
}

// Sellers lists who may sell.
func (p Participants) Sellers(ctx context.Context) ([]Seller, error) {
	all, err := p.Participants.All(ctx)
	if err != nil {
		return nil, err
	}
	sheets, err := p.Offers.Published(ctx)
	if err != nil {
		return nil, err
	}
	regions := map[string][]string{}
	for _, r := range p.Regions.Snapshot().All() {
		regions[r.Provider] = append(regions[r.Provider], r.Name)
	}
	var sellers []Seller
	for _, one := range all {
		if one.State == participant.Approved {
			sellers = append(sellers, sellerOf(one, regions[one.Name], sheets[one.Name]))
		}
	}
	return sellers, nil
}

// sellerOf sorts the claims of a participant by what they are about.
func sellerOf(p *participant.Participant, regions []string, sheets []offer.Published) Seller {
	s := Seller{Name: p.Name, Owner: p.Name, Regions: map[string][]policy.Claim{}, Services: map[string][]placement.Service{}, Sheets: sheets}
	services := map[string]map[string][]policy.Claim{} // by region and kind
	for _, r := range regions {
		s.Regions[r], services[r] = nil, map[string][]policy.Claim{}
	}
	for _, c := range p.Standing() {
		switch _, has := s.Regions[c.Region]; {
		case c.Region == "" && c.Service == "":
			s.Claims = append(s.Claims, c.Claim)
		case c.Region == "":
			for _, r := range regions {
				services[r][c.Service] = append(services[r][c.Service], c.Claim)
			}
		case !has: // it is no longer a region of his
		case c.Service == "":
			s.Regions[c.Region] = append(s.Regions[c.Region], c.Claim)
		default:
			services[c.Region][c.Service] = append(services[c.Region][c.Service], c.Claim)
		}
	}
	for _, r := range regions {
		for _, kind := range participant.Services {
			if claims := services[r][kind]; len(claims) > 0 {
				s.Services[r] = append(s.Services[r], placement.Service{ID: p.Name + "/" + r + "/" + kind, Kind: kind, Claims: claims})
			}
		}
	}
	if owner := ownerIn(s.Claims); owner != "" {
		s.Owner = owner
	}
	return s
}

// ownerIn is who owns a participant in the end, as its claims have it. Who says nothing about that
// counts as its own owner.
func ownerIn(claims []policy.Claim) (owner string) {
	for _, c := range claims {
		if c.Attribute == "provider.ultimate_owner" {
			_ = json.Unmarshal(c.Value, &owner) // claims were checked when they were made
		}
	}
	return owner
}

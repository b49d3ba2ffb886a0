package participant

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/tenant"
)

const here = "https://exchange.example.eu"

var rhone = Profile{
	Name: "rhone", LegalName: "Rhône Cloud SAS", Country: "FR", Register: "siren 552 100 554", VAT: "FR 40 303 265 045",
	Contact: Contact{Name: "Jeanne", Email: "ops@rhone.example", Phone: "+33 4 72 00 00 00"},
}

func each(t *testing.T, test func(t *testing.T, s *Store)) {
	data, err := policy.Builtin()
	no(t, err)
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		test(t, &Store{DB: d, Data: data, Owns: func(p, region string) bool { return strings.HasSuffix(region, "-"+p) }})
	})
}

func no(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func kind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %s", err, want)
	}
}

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(n byte) ed25519.PublicKey { return key(n).Public().(ed25519.PublicKey) }

// approved makes rhone a participant with key 1.
func approved(t *testing.T, s *Store) {
	t.Helper()
	no(t, s.Apply(t.Context(), Apply(rhone, key(1), here), here))
	no(t, s.Approve(t.Context(), "rhone"))
}

func TestAnApplicationWaitsForTheOperator(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		no(t, s.Apply(ctx, Apply(rhone, key(1), here), here))
		corrected := rhone
		corrected.LegalName = "Rhône Cloud SA"
		no(t, s.Apply(ctx, Apply(corrected, key(1), here), here)) // the same key may correct it
		kind(t, s.Apply(ctx, Apply(rhone, key(2), here), here), fault.Conflict)
		other := rhone
		other.Name = "saone"
		kind(t, s.Apply(ctx, Apply(other, key(1), here), here), fault.Conflict) // a key is one participant's
		p, err := s.Get(ctx, "rhone")
		no(t, err)
		if p.State != Applied || p.LegalName != "Rhône Cloud SA" || p.Register != "SIREN 552100554" || p.VAT != "FR40303265045" || len(p.Keys) != 1 || !p.ApprovedAt.IsZero() {
			t.Errorf("%+v", p)
		}
		no(t, s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
			_, err := s.Keys(ctx, tx, "rhone")
			kind(t, err, fault.Denied)
			return nil
		}))
		kind(t, s.Suspend(ctx, "rhone"), fault.Conflict)
		before, err := s.Changes(ctx)
		no(t, err)
		no(t, s.Approve(ctx, "rhone"))
		after, err := s.Changes(ctx)
		no(t, err)
		if before != 0 || after != 1 {
			t.Errorf("changes went from %d to %d, want 0 to 1", before, after)
		}
		account, err := (&tenant.Store{DB: s.DB}).Account(ctx, "participant:rhone")
		if err != nil || account.Operator || account.Display != "Rhône Cloud SA" {
			t.Errorf("%+v, %v", account, err)
		}
		if of, err := s.Of(ctx, account.ID); err != nil || !slices.Equal(of, []string{"rhone"}) {
			t.Errorf("acts for %v, %v", of, err)
		}
		kind(t, s.Apply(ctx, Apply(rhone, key(1), here), here), fault.Conflict) // approved is approved
		kind(t, s.Reject(ctx, "rhone"), fault.Missing)
		no(t, s.Suspend(ctx, "rhone"))
		no(t, s.Approve(ctx, "rhone"))
		kind(t, s.Approve(ctx, "nobody"), fault.Missing)
	})
}

func TestAnAccountThatIsThereIsNobodys(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		no(t, (&tenant.Store{DB: s.DB}).PutAccount(t.Context(), tenant.Account{ID: "participant:rhone"}))
		no(t, s.Apply(t.Context(), Apply(rhone, key(1), here), here))
		kind(t, s.Approve(t.Context(), "rhone"), fault.Conflict)
		p, err := s.Get(t.Context(), "rhone")
		if err != nil || p.State != Applied {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

func TestForgedApplications(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		kind(t, s.Apply(ctx, Apply(rhone, key(1), "https://elsewhere.example"), here), fault.Denied)
		a := Apply(rhone, key(1), here)
		a.Profile.Country = "US"
		kind(t, s.Apply(ctx, a, here), fault.Denied)
		a = Apply(rhone, key(1), here)
		a.Key = public(2)
		kind(t, s.Apply(ctx, a, here), fault.Denied)
		kind(t, s.Apply(ctx, &Application{Profile: rhone}, here), fault.Invalid)
		bad := rhone
		bad.VAT, bad.Contact.Email, bad.Name = "FR40303265046", "Jeanne <ops@rhone.example>", "Rhone"
		err := s.Apply(ctx, Apply(bad, key(1), here), here)
		var at []string
		for _, source := range fault.SourcesOf(err) {
			at = append(at, source.Pointer)
		}
		if got := strings.Join(at, " "); got != "/profile/name /profile/vat /profile/contact/email" {
			t.Errorf("%v points at %s", err, got)
		}
		if all, err := s.All(ctx); err != nil || len(all) != 0 {
			t.Errorf("%v, %v", all, err)
		}
	})
}

func TestApplicationsAreBounded(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		no(t, s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
			for i := range maxPending {
				if _, err := db.Exec(ctx, tx, `INSERT INTO participant (name, profile, state, applied_at, approved_at) VALUES ($1, '{}', $2, $3, 0)`,
					fmt.Sprint("flood-", i), Applied, db.Micros(time.Now())); err != nil {
					return err
				}
			}
			return nil
		}))
		kind(t, s.Apply(ctx, Apply(rhone, key(1), here), here), fault.Exhausted)
		no(t, s.Reject(ctx, "flood-7"))
		no(t, s.Apply(ctx, Apply(rhone, key(1), here), here))
		no(t, s.Prune(ctx, time.Now()))
		if all, err := s.All(ctx); err != nil || len(all) != maxPending {
			t.Errorf("%d are left, %v", len(all), err)
		}
		no(t, s.Prune(ctx, time.Now().Add(patience+time.Hour)))
		if all, err := s.All(ctx); err != nil || len(all) != 0 {
			t.Errorf("%d are left, %v", len(all), err)
		}
	})
}

func TestKeys(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		approved(t, s)
		first := offer.KeyID(public(1))
		kind(t, s.RevokeKey(ctx, "rhone", first), fault.Conflict)
		k, err := s.AddKey(ctx, "rhone", public(2))
		no(t, err)
		_, err = s.AddKey(ctx, "rhone", public(2))
		kind(t, err, fault.Conflict)
		_, err = s.AddKey(ctx, "rhone", []byte("short"))
		kind(t, err, fault.Invalid)
		_, err = s.AddKey(ctx, "nobody", public(3))
		kind(t, err, fault.Missing)
		no(t, s.RevokeKey(ctx, "rhone", first))
		kind(t, s.RevokeKey(ctx, "rhone", first), fault.Missing)
		kind(t, s.RevokeKey(ctx, "rhone", k.ID), fault.Conflict)
		p, err := s.Get(ctx, "rhone")
		no(t, err)
		if got := p.Signing(); len(got) != 1 || !got[0].Equal(public(2)) {
			t.Errorf("signs by %v", got)
		}
		all, err := s.Signers(ctx)
		if err != nil || len(all["rhone"]) != 2 {
			t.Errorf("%v, %v", all, err)
		}
		for n := range byte(maxKeys - 2) {
			_, err := s.AddKey(ctx, "rhone", public(10+n))
			no(t, err)
		}
		_, err = s.AddKey(ctx, "rhone", public(3))
		kind(t, err, fault.Exhausted)
	})
}

func claim(attribute, value string, level policy.Level) Claim {
	return Claim{Claim: policy.Claim{Attribute: attribute, Value: json.RawMessage(value), Evidence: policy.Evidence{Level: level}}}
}

func at(region string, c Claim) Claim {
	c.Region = region
	return c
}

// Who says something bounds how well it is known.
func TestNobodySaysMoreThanHeCanKnow(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		approved(t, s)
		all := []policy.Level{policy.SelfDeclared, policy.Contract, policy.ThirdParty, policy.Regulator, policy.Measured}
		for source, may := range map[Source]string{
			Self: "self-declared contract", Operator: "contract third-party regulator", Exchange: "measured", "": "", "stranger": "",
		} {
			for _, level := range all {
				c := claim("provider.legal_country", `"FR"`, level)
				c.Issuer, c.Proof = "Infogreffe", strings.Repeat("0", 64)
				_, err := s.AddClaims(t.Context(), "rhone", source, "x", []Claim{c})
				if allowed := strings.Contains(may, string(level)); allowed != (err == nil) {
					t.Errorf("%s says %s: %v", source, level, err)
				}
			}
		}
		bare := claim("provider.legal_country", `"FR"`, policy.ThirdParty)
		_, err := s.AddClaims(t.Context(), "rhone", Operator, "op", []Claim{bare})
		var pointers []string
		for _, source := range fault.SourcesOf(err) {
			pointers = append(pointers, source.Pointer)
		}
		if got := strings.Join(pointers, " "); got != "/claims/0/issuer /claims/0/proof" {
			t.Errorf("an attestation without a proof: %v at %s", err, got)
		}
	})
}

func TestClaimsAreChecked(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		approved(t, s)
		foreign, vm := claim("region.pue", `1.2`, policy.Contract), claim("service.notice_days", `30`, policy.Contract)
		vm.Service = "iaas-vn"
		for pointer, c := range map[string]Claim{
			"/claims/0/attribute":    claim("provider.colour", `"red"`, policy.Contract),
			"/claims/0/value":        claim("provider.owner_chain", `"FR"`, policy.Contract),
			"/claims/0/region":       at("de-berlin-spree", foreign),
			"/claims/0/service":      vm,
			"/claims/0/value/scheme": claim("certs", `{"scheme":"nonsense"}`, policy.Contract),
		} {
			_, err := s.PutClaims(t.Context(), "rhone", Self, "x", []Claim{c})
			if sources := fault.SourcesOf(err); len(sources) == 0 || sources[0].Pointer != pointer {
				t.Errorf("%v points at %v, want %s", err, sources, pointer)
			}
		}
		for _, c := range []Claim{
			claim("region.pue", `1.2`, policy.Contract),                                       // of a region, and none is named
			at("fr-lyon-rhone", claim("provider.owner_chain", `["FR"]`, policy.SelfDeclared)), // of the participant, and a region is
			at("fr-lyon-rhone", claim("region.id", `"x"`, policy.SelfDeclared)),
		} {
			_, err := s.PutClaims(t.Context(), "rhone", Self, "x", []Claim{c})
			kind(t, err, fault.Invalid)
		}
		_, err := s.PutClaims(t.Context(), "nobody", Self, "x", nil)
		kind(t, err, fault.Missing)
		_, err = s.PutClaims(t.Context(), "rhone", Self, "x", slices.Repeat([]Claim{claim("provider.legal_country", `"FR"`, policy.Contract)}, maxClaims+1))
		kind(t, err, fault.Invalid)
	})
}

func TestPutClaimsAreAllThatStands(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		approved(t, s)
		pue := func(v string) Claim { return at("fr-lyon-rhone", claim("region.pue", v, policy.Contract)) }
		chain := claim("provider.owner_chain", `[ "FR" ]`, policy.SelfDeclared)
		put := func(want Difference, claims ...Claim) {
			t.Helper()
			if got, err := s.PutClaims(ctx, "rhone", Self, "participant:rhone", claims); err != nil || got != want {
				t.Errorf("%+v, %v, want %+v", got, err, want)
			}
		}
		put(Difference{Added: 2}, chain, pue("1.3"))
		put(Difference{Kept: 2}, pue("1.3"), chain)
		put(Difference{Added: 1, Kept: 1, Withdrawn: 1}, chain, pue("1.2"))
		attested := chain
		attested.Level, attested.Issuer, attested.Proof = policy.ThirdParty, "auditor", strings.Repeat("a", 64)
		d, err := s.AddClaims(ctx, "rhone", Operator, "op", []Claim{attested})
		if err != nil || d != (Difference{Added: 1}) {
			t.Errorf("%+v, %v", d, err)
		}
		put(Difference{Withdrawn: 2})
		p, err := s.Get(ctx, "rhone")
		no(t, err)
		if standing := p.Standing(); len(p.Claims) != 4 || len(standing) != 1 || standing[0].Source != Operator || standing[0].By != "op" || string(standing[0].Value) != `["FR"]` {
			t.Errorf("of %d claims %+v stand", len(p.Claims), standing)
		}
		id := p.Standing()[0].ID
		kind(t, s.WithdrawClaim(ctx, "rhone", id, Self), fault.Missing) // nobody withdraws for another
		no(t, s.WithdrawClaim(ctx, "rhone", id, Operator))
		kind(t, s.WithdrawClaim(ctx, "rhone", id, Operator), fault.Missing)
	})
}

func TestWhatIsMeasuredReplacesWhatWas(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		approved(t, s)
		for i, v := range []string{"1.3", "1.25"} {
			c := at("fr-lyon-rhone", claim("region.pue", v, policy.Measured))
			c.From = time.Date(2026, 7, 1+i, 0, 0, 0, 0, time.UTC)
			d, err := s.AddClaims(t.Context(), "rhone", Exchange, "doctor", []Claim{c})
			if err != nil || d != (Difference{Added: 1, Withdrawn: i}) {
				t.Errorf("%+v, %v", d, err)
			}
		}
		late := at("fr-lyon-rhone", claim("region.pue", "1.1", policy.Measured))
		late.From = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
		_, err := s.AddClaims(t.Context(), "rhone", Exchange, "doctor", []Claim{late})
		kind(t, err, fault.Conflict)
		p, err := s.Get(t.Context(), "rhone")
		no(t, err)
		if standing := p.Standing(); len(standing) != 1 || string(standing[0].Value) != "1.25" {
			t.Errorf("an older measurement came late: %+v stands", standing)
		}
		kind(t, s.WithdrawClaim(t.Context(), "rhone", p.Standing()[0].ID, Operator), fault.Missing)
		no(t, s.WithdrawClaim(t.Context(), "rhone", p.Standing()[0].ID, Operator, Exchange))
	})
}

func TestManyClaimAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		approved(t, s)
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				_, err := s.PutClaims(t.Context(), "rhone", Self, "x", []Claim{claim("provider.legal_country", `"FR"`, policy.Contract)})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		p, err := s.Get(t.Context(), "rhone")
		no(t, err)
		if n := len(p.Claims); n != 1 {
			t.Errorf("%d claims of one", n)
		}
		if n, err := s.Changes(t.Context()); err != nil || n != 17 {
			t.Errorf("%d changes, %v, want 17", n, err)
		}
	})
}

func TestMembers(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		approved(t, s)
		kind(t, s.AddMember(ctx, "rhone", "jeanne@rhone.example"), fault.Conflict)
		no(t, (&tenant.Store{DB: s.DB}).PutAccount(ctx, tenant.Account{ID: "jeanne@rhone.example"}))
		no(t, s.AddMember(ctx, "rhone", "jeanne@rhone.example"))
		no(t, s.AddMember(ctx, "rhone", "jeanne@rhone.example"))
		if got, err := s.Members(ctx, "rhone"); err != nil || strings.Join(got, " ") != "jeanne@rhone.example participant:rhone" {
			t.Errorf("%v, %v", got, err)
		}
		kind(t, s.RemoveMember(ctx, "rhone", Account("rhone")), fault.Conflict)
		no(t, s.RemoveMember(ctx, "rhone", "jeanne@rhone.example"))
		kind(t, s.RemoveMember(ctx, "rhone", "jeanne@rhone.example"), fault.Missing)
	})
}

func TestAnAnswerIsForOneChallengeAtOneExchange(t *testing.T) {
	answer := Answer("once", key(1), here)
	keys := []ed25519.PublicKey{public(2), public(1)}
	if id, ok := Answers("once", answer, here, keys); !ok || id != offer.KeyID(public(1)) {
		t.Error("the answer does not count")
	}
	for _, wrong := range []func() bool{
		func() bool { _, ok := Answers("twice", answer, here, keys); return ok },
		func() bool { _, ok := Answers("once", answer, "https://elsewhere.example", keys); return ok },
		func() bool { _, ok := Answers("once", answer, here, keys[:1]); return ok },
		func() bool { _, ok := Answers("once", ed25519.Sign(key(1), []byte("once")), here, keys); return ok },
	} {
		if wrong() {
			t.Error("a wrong answer counts")
		}
	}
}

package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/participant"
	"github.com/kontor-cloud/kontor/policy"
)

// scriptSeller makes an organisation sell a region that is there: it applies, is approved and attested, and
// publishes what it asks for the sizes of fake regions. A claim is ATTRIBUTE=VALUE@LEVEL; those that are
// self-declared it makes itself, and the operator attests the others.
func scriptSeller(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: seller NAME REGION NORTH,EAST EUR/HOUR [ATTRIBUTE=VALUE@LEVEL]…")
	}
	name, region := args[0], args[1]
	token, err := os.ReadFile(ts.Getenv("KONTOR_TOKEN_FILE"))
	ts.Check(err)
	url, ctx := ts.Getenv("KONTOR_URL"), context.Background()
	op, err := client.New(url, string(token), client.Options{})
	ts.Check(err)
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat(name, ed25519.SeedSize)[:ed25519.SeedSize]))
	at := func(rest ...string) string { return op.Exchange(append([]string{"participants", name}, rest...)...) }
	ts.Check(op.Post(ctx, op.Exchange("participants"), participant.Apply(participant.Profile{
		Name: name, LegalName: name + " SAS", Country: "FR", Register: "EUID FRRCS." + name, Contact: participant.Contact{Email: "ops@" + name + ".example"},
	}, key, url), nil))
	ts.Check(op.Post(ctx, at("approve"), struct{}{}, nil))
	_, _, err = op.Put(ctx, op.Exchange("regions", region), map[string]any{"spec": map[string]any{"provider": name, "coordinates": args[2]}}, 0)
	ts.Check(err)

	var said struct{ Challenge string }
	ts.Check(op.Post(ctx, at("challenge"), struct{}{}, &said))
	var own struct{ Token string }
	ts.Check(op.Post(ctx, at("login"), map[string]any{"challenge": said.Challenge, "signature": participant.Answer(said.Challenge, key, url)}, &own))
	self, err := client.New(url, own.Token, client.Options{})
	ts.Check(err)
	declared, attested := scriptClaims(ts, region, args[4:])
	_, err = self.Do(ctx, client.Call{Method: "PUT", URL: at("claims"), In: map[string]any{"claims": declared}})
	ts.Check(err)
	ts.Check(op.Post(ctx, at("attestations"), map[string]any{"claims": attested}, nil))
	ts.Check(self.Post(ctx, at("sheets"), scriptSheet(ts, name, region, args[3], key), nil))
}

func scriptClaims(ts *testscript.TestScript, region string, args []string) (declared, attested []participant.Claim) {
	for _, arg := range args {
		attribute, rest, _ := strings.Cut(arg, "=")
		value, level, ok := strings.Cut(rest, "@")
		if !ok {
			ts.Fatalf("%q is not ATTRIBUTE=VALUE@LEVEL", arg)
		}
		c := participant.Claim{Claim: policy.Claim{Attribute: attribute, Value: json.RawMessage(value), Evidence: policy.Evidence{Level: policy.Level(level)}}}
		var about []participant.Claim
		switch {
		case strings.HasPrefix(attribute, "region."):
			c.Region = region
			about = append(about, c)
		case strings.HasPrefix(attribute, "service."):
			for _, c.Service = range []string{"iaas-vm", "iaas-block", "iaas-network"} {
				about = append(about, c)
			}
		default:
			about = append(about, c)
		}
		for _, c := range about {
			if c.Level == policy.SelfDeclared {
				declared = append(declared, c)
				continue
			}
			c.Issuer, c.Proof = "auditor", strings.Repeat("ab", 32)
			attested = append(attested, c)
		}
	}
	return declared, attested
}

// scriptSheet has the sizes of fake regions.
func scriptSheet(ts *testscript.TestScript, name, region, price string, key ed25519.PrivateKey) *offer.Sheet {
	var hour money.Decimal
	ts.Check(hour.UnmarshalText([]byte(price)))
	from := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	s := &offer.Sheet{
		Provider: name, Version: 1, Currency: money.EUR, NoticeDays: 30, ValidFrom: from, ValidUntil: from.AddDate(1, 0, 0),
		Regions: map[string]offer.Prices{region: {
			Instances: map[string]offer.Hourly{"seca.d2xs": {Hour: hour}}, Volumes: map[string]offer.Monthly{"seca.rd100": {GiBMonth: 1}},
			Networks: map[string]offer.Hourly{"seca.n1k": {}}, PublicIP: &offer.Hourly{},
		}},
	}
	s.Sign(key)
	return s
}

// scriptField puts a member of the JSON document that the last command wrote into a variable.
func scriptField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: field VAR PATH")
	}
	var doc any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &doc))
	ts.Setenv(args[0], plain(find(doc, args[1])))
}

// scriptExcluded wants a decision to have excluded these regions, for these reasons, and no others.
func scriptExcluded(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: excluded QUOTE [REGION/DIMENSION]…")
	}
	ts.Check(ts.Exec("kontor", "why", args[0], "--json"))
	var doc struct{ Status market.Explanation }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &doc))
	var got []string
	for _, x := range doc.Status.Record.Excluded {
		for _, m := range x.Misses {
			got = append(got, fmt.Sprintf("%s/%s", x.Region, m.Dimension))
		}
	}
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(args[1:])); !slices.Equal(got, want) {
		ts.Fatalf("excluded are %v, want %v", got, want)
	}
}

// TestLabPatientScripts are those that wait for what the exchange does by itself, for minutes.
func TestLabPatientScripts(t *testing.T) {
	if os.Getenv("KONTOR_LAB") == "" {
		t.Skip("KONTOR_LAB is not set")
	}
	p := scripts()
	p.Dir = "testdata/patient"
	testscript.Run(t, p)
}

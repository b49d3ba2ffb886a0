package policytest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/policy/policytest"
)

func builtin(t *testing.T) *policy.Data {
	t.Helper()
	d, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestCorpus holds the ready-made policies to their cases.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/*.policytest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".policytest"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r, err := policytest.Run(file, text, builtin(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Failures {
				t.Error(f)
			}
		})
	}
}

// TestEveryPresetHasCases wants three that are allowed and three that are not, among them one
// with expired evidence and one with nothing but the provider's word.
func TestEveryPresetHasCases(t *testing.T) {
	for _, p := range builtin(t).Presets {
		b, err := os.ReadFile("testdata/" + p.Name + ".policytest")
		if err != nil {
			t.Error(err)
			continue
		}
		text := string(b)
		allowed := strings.Count(text, "\n    allowed\n")
		if all := strings.Count(text, "\n  vm\n"); allowed < 3 || all-allowed < 3 {
			t.Errorf("%s has %d cases of which %d are allowed", p.Name, all, allowed)
		}
		if !strings.Contains(strings.ToLower(text), "expired") || !strings.Contains(text, "self-declared") {
			t.Errorf("%s has no case of expired or of self-declared evidence", p.Name)
		}
	}
}

const base = "at 2026-11-26\nprovider p\nregion r of p\n  region.country = FR | contract\nservice s in r\n"

// TestWrongExpectationsFail shows that the runner can fail.
func TestWrongExpectationsFail(t *testing.T) {
	const mine = "policy\n  name: mine\n  version: 1\n  rule: region.country == \"FR\" && region.nuts2 == \"FRK2\"\njudge mine\n  s\n"
	for _, c := range []struct {
		expect string
		fails  bool
	}{
		{"    allowed\n", true},
		{"    fact region.nuts2\n", false},
		{"    fact region.country\n", true},
		{"    rule region.nuts2\n", true},
		{"    fact region.nuts2\n    rule region.country\n", true},
		{"    but region.nuts2 = FRK2\n    allowed\n", false},
		{"    but region.nuts2 = FRK2\n    fact region.nuts2\n", true},
		{"    but region.country = DE\n    fact region.nuts2\n", true},
	} {
		r, err := policytest.Run("x", []byte(base+mine+c.expect), builtin(t))
		if err != nil || r.Checks != 1 || (len(r.Failures) > 0) != c.fails {
			t.Errorf("%q: %+v, %v", c.expect, r, err)
		}
	}
}

// TestWrongPlacesFail spoils what is expected of placements, one thing at a time.
func TestWrongPlacesFail(t *testing.T) {
	b, err := os.ReadFile("testdata/seven-providers.policytest")
	if err != nil {
		t.Fatal(err)
	}
	for old, spoilt := range map[string]string{
		"  fr-lyon-rhone\n    chosen\n": "  fr-lyon-rhone\n    allowed\n",
		"  de-berlin-spree\n    rule provider.owner_chain.all(c, c in geo.eea), had provider.owner_chain = [\"FR\",\"US\"]\n": "",
		"    health agent": "    price hour",
		"    seal seal.sov5: needed at least 2, had 1\n":  "    allowed\n",
		"    capacity vCPU: needed 2, had 1\n":            "    capacity vCPU: needed 2, had 1\n    health agent\n",
		"maxPrice: 0.05 EUR":                              "maxPrice: 0.04 EUR",
		"  nowhere\n  fr-lyon-rhone\n    capacity vCPU\n": "  nowhere\n  fr-lyon-rhone\n    chosen\n",

		"order much\n  groups: [{name: web, needs: [{kind: instance, sku: seca.d2xs, count: 9}]}]": "order much\n  groups: [{name: web, needs: [{kind: instance, sku: seca.d2xs, count: 1}]}]",
	} {
		text := strings.Replace(string(b), old, spoilt, 1)
		if text == string(b) {
			t.Fatalf("%q is not in the file", old)
		}
		if r, err := policytest.Run("x", []byte(text), builtin(t)); err != nil || len(r.Failures) == 0 {
			t.Errorf("%q went unseen: %+v, %v", spoilt, r, err)
		}
	}
}

func TestMistakesInTests(t *testing.T) {
	for text, want := range map[string]string{
		"reigon x of p":                                  "did you mean region?",
		"region r of q":                                  "stands in no subject",
		"provider p\n  provider.hq_contry = FR":          "did you mean provider.hq_country?",
		"provider p\n  region.country = FR":              "about a region",
		"provider p\n  provider.hq_country = FR | sworn": "no level of evidence",
		"provider p\n  provider.hq_country = 3":          "must be string",
		"provider p\n  provider.hq_country":              "is no claim",
		"provider p\nregion r of p\nsite r\n  stete: {}": "site:1: stete is no member of this; did you mean state?",
		"site r":                              "is no region",
		"place x under y":                     "is no order",
		"at noon":                             "is no time",
		"judge eu-residant\n  s\n    allowed": "did you mean eu-resident?",
		base + "judge eu-resident\n  x\n    allowed":                    "is no service",
		base + "judge eu-resident\n  s":                                 "nothing is expected",
		"policy\n  name: p\n  version: 1\n  rule: |\n    region.contry": "policy:4:11: undefined field 'contry'; did you mean country?",
		base + "judge low-carbon with {max: 3}\n  s\n    allowed":       "is no parameter of low-carbon",
	} {
		if _, err := policytest.Run("x", []byte(text), builtin(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
}

func FuzzRun(f *testing.F) {
	d, err := policy.Builtin()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(base + "judge eu-resident\n  s\n    allowed\n")
	f.Add("policy\n  name: p\n  version: 1\n  rule: certs.exists(c, c.scheme == 'hds')\n")
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = policytest.Run("x", []byte(text), d) // only must not panic
	})
}

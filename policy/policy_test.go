package policy_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/policy"
)

var november = time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)

func builtin(t testing.TB) *policy.Data {
	t.Helper()
	d, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func claim(attribute, value string, level policy.Level, until time.Time) policy.Claim {
	return policy.Claim{Attribute: attribute, Value: json.RawMessage(value), Evidence: policy.Evidence{Level: level, Until: until}}
}

func bound(t testing.TB, d *policy.Data, p *policy.Policy) *policy.Bound {
	t.Helper()
	prog, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	b, err := prog.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rule(text string) *policy.Policy { return &policy.Policy{Name: "p", Version: 1, Rule: text} }

func TestMistakesInRules(t *testing.T) {
	d := builtin(t)
	for text, want := range map[string]string{
		"reigon.country == 'x'":                            "rule:1:1: undeclared reference to 'reigon' (did you mean 'region'?)",
		"true &&\n  region.contry == 'x'":                  "rule:2:9: undefined field 'contry'; did you mean country?",
		"region.country == 3":                              "rule:1:16: found no matching overload",
		"region.country in geo.euu":                        "did you mean eu",
		"region.country":                                   "the rule is a string",
		"region.country ==":                                "rule:1:18: Syntax error",
		"evidence['regoin.pue'] == 'x'":                    "did you mean region.pue",
		"certs.exists(c, c.schem == 'x')":                  "rule:1:18: undefined field 'schem'; did you mean scheme?",
		"request.limit > 3":                                "undefined field 'limit'",
		"now.getHours() == 1":                              "undeclared reference to 'getHours'", // the machine's time zones
		"now - now < duration('3 days')":                   "invalid duration",
		"certs.all(a, certs.all(b, certs.all(c, a == b)))": "nesting limit",
		"certs.all(a, certs.all(b, a.scheme in b.services || a.scheme in b.regions || b.scheme in a.services || b.scheme in a.regions))": "more than the limit",
		strings.Repeat("!", 9000) + "true": "at most 8192 bytes",
		"":                                 "must be an expression",
	} {
		_, err := d.Compile(rule(text))
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v\nwant %s", text, err, want)
		}
		if s := fault.SourcesOf(err); len(s) == 0 || s[0].Pointer != "/rule" {
			t.Errorf("%.60q: the error is about %v", text, s)
		}
	}
}

func TestMistakesInFilesArePointedAt(t *testing.T) {
	d := builtin(t)
	for text, want := range map[string]string{
		"name: p\nversion: 1\nrule: |\n  true\n  && region.contry == 'x'":                  "p.yaml:5:12: undefined field",
		"name: p\nversion: 1\nrule: region.contry == 'x'":                                  "p.yaml:3:13: undefined field",
		"name: p\nversion: 1\nrule: \"true\"\nevidence: {region.puee: contract}":           "p.yaml:4: evidence.region.puee must be in the vocabulary",
		"name: p\nversion: 1\nrule: \"true\"\nevidence: {region.pue: sworn}":               "p.yaml:4: ",
		"name: p\nversion: 1\nrule: \"true\"\nevidence: {x.*: contract}":                   "must cover something",
		"name: P\nversion: 0\nrule: \"true\"":                                              "p.yaml:1: name must be",
		"name: p\nversion: 1\nrule: \"true\"\nseal: {sov9: 3, sov1: 5}":                    "sov9 must be an objective",
		"name: p\nversion: 1\nrule: \"true\"\nparameters: {x: {type: string, default: 3}}": "parameters.x.default must be string",
		"name: p\nversion: 1\nrule: \"true\"\nruel: 3":                                     "did you mean rule?",
	} {
		if _, err := d.Parse("p.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\nwant %s", text, err, want)
		}
	}
}

func TestDataCanBeReplacedWithoutARebuild(t *testing.T) {
	dir := fstest.MapFS{
		"countries.yaml":        {Data: []byte("asOf: 2027-01-01\nsets: {eu: [FR, CH], eea: [FR], efta: [], adequate: [], benelux: [BE, NL, LU]}")},
		"policies/benelux.yaml": {Data: []byte("name: benelux\nversion: 1\nrule: region.country in geo.benelux")},
	}
	d, err := policy.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Presets) != 9 || d.Digest == builtin(t).Digest {
		t.Errorf("%d policies, digest %s", len(d.Presets), d.Digest)
	}
	p, err := d.Preset("benelux")
	if err != nil {
		t.Fatal(err)
	}
	facts, err := d.Facts([]policy.Claim{claim("region.country", `"NL"`, policy.Contract, time.Time{})})
	if err != nil {
		t.Fatal(err)
	}
	if v := bound(t, d, p).Judge(facts.At(november)); !v.Allowed {
		t.Errorf("refused: %v", v.Reasons)
	}
	for name, text := range map[string]string{
		"countries.yaml":      "asOf: 2027-01-01\nsets: {eu: [FR]}",
		"seal.yaml":           "asOf: 2027-01-01\nweights: {sov1: 100}",
		"laws.yaml":           "laws: []",
		"policies/other.yaml": "name: mine\nversion: 1\nrule: \"true\"",
		"schemes.yaml":        "asOf: 2027-01-01\nshcemes: []",
	} {
		if _, err := policy.Load(fstest.MapFS{name: {Data: []byte(text)}}); err == nil {
			t.Errorf("%s was taken: %s", name, text)
		}
	}
}

func TestWrongClaimsAreRefused(t *testing.T) {
	d := builtin(t)
	for _, c := range []policy.Claim{
		claim("region.contry", `"FR"`, policy.Contract, time.Time{}),
		claim("region.country", `3`, policy.Contract, time.Time{}),
		claim("region.country", `null`, policy.Contract, time.Time{}),
		claim("region.country", `"FR"`, "sworn", time.Time{}),
		claim("region.country", `"`+strings.Repeat("x", 257)+`"`, policy.Contract, time.Time{}),
		claim("certs", `{"scheme": "iso27002"}`, policy.Contract, time.Time{}),
		claim("certs", `{"scheme": "bsi-c5", "level": "type3"}`, policy.Contract, time.Time{}),
		claim("certs", `{"scheme": "hds", "activites": []}`, policy.Contract, time.Time{}),
		{Attribute: "region.country", Value: json.RawMessage(`"FR"`), Evidence: policy.Evidence{Level: policy.Contract, From: november, Until: november}},
		{Attribute: "region.country", Value: json.RawMessage(`"FR"`), Evidence: policy.Evidence{Level: policy.Contract, Proof: "abc"}},
	} {
		if _, err := d.Facts([]policy.Claim{c}); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s = %.40s: %v", c.Attribute, c.Value, err)
		}
	}
}

func TestBindChecksParameters(t *testing.T) {
	d := builtin(t)
	p, err := d.Preset("low-carbon")
	if err != nil {
		t.Fatal(err)
	}
	prog, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for given, fine := range map[string]bool{`{}`: true, `{"max_gco2e_kwh": 50}`: true, `{"max_gco2e_kwh": "50"}`: false, `{"max_co2": 50}`: false} {
		var parameters map[string]json.RawMessage
		if err := json.Unmarshal([]byte(given), &parameters); err != nil {
			t.Fatal(err)
		}
		if _, err := prog.Bind(parameters); (err == nil) != fine {
			t.Errorf("%s: %v", given, err)
		}
	}
}

// levels and countries are few, so that claims often meet.
func claims(t *rapid.T, label string) []policy.Claim {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.Claim {
		country := func(label string) string {
			return `"` + rapid.SampledFrom([]string{"FR", "DE", "US", "CH"}).Draw(t, label) + `"`
		}
		c := policy.Claim{Evidence: policy.Evidence{
			Level: rapid.SampledFrom([]policy.Level{policy.SelfDeclared, policy.Contract, policy.ThirdParty}).Draw(t, "level"),
			From:  november.AddDate(0, rapid.IntRange(-12, 2).Draw(t, "from"), 0),
		}}
		if rapid.Bool().Draw(t, "ends") {
			c.Until = c.From.AddDate(0, rapid.IntRange(1, 18).Draw(t, "until"), 0)
		}
		c.Attribute = rapid.SampledFrom([]string{"region.country", "provider.hq_country", "provider.owner_chain", "certs"}).Draw(t, "attribute")
		switch c.Attribute {
		case "certs":
			c.Value = json.RawMessage(`{"scheme": "hds", "version": "2", "activities": [` + rapid.SampledFrom([]string{`"1"`, `"1","2"`}).Draw(t, "activities") + `]}`)
		case "provider.owner_chain":
			c.Value = json.RawMessage(`[` + country("owner") + `]`)
		default:
			c.Value = json.RawMessage(country("country"))
		}
		return c
	}), 0, 12).Draw(t, label)
}

var trialRules = []string{
	`region.country in geo.eu`,
	`region.country in geo.eu && provider.hq_country in geo.eu`,
	`region.country == "CH" || provider.owner_chain.all(c, c in geo.eu)`,
	`certs.exists(c, "2" in c.activities)`,
	`!provider.foreign_laws.exists(l, l.startsWith("US-"))`,
	`provider.foreign_laws.size() == 0 && region.country != "US" && certs.size() > 0`,
}

func TestOrderOfClaimsMeansNothing(t *testing.T) {
	d := builtin(t)
	rapid.Check(t, func(rt *rapid.T) {
		all := claims(rt, "claims")
		mixed := rapid.Permutation(all).Draw(rt, "mixed")
		a, err := d.Facts(all)
		if err != nil {
			rt.Fatal(err)
		}
		cut := rapid.IntRange(0, len(mixed)).Draw(rt, "cut")
		b, err := d.Facts(mixed[:cut], mixed[cut:])
		if err != nil || a.Digest != b.Digest {
			rt.Fatalf("%s and %s, %v", a.Digest, b.Digest, err)
		}
		q := bound(t, d, rule(rapid.SampledFrom(trialRules).Draw(rt, "rule")))
		x, y := q.Judge(a.At(november)), q.Judge(b.At(november))
		if x.Allowed != y.Allowed || !cmp.Equal(x.Reasons, y.Reasons) {
			rt.Fatalf("%v and %v", x, y)
		}
	})
}

// TestVerdictsHoldUntilTheySay compares a verdict that holds with a fresh one.
func TestVerdictsHoldUntilTheySay(t *testing.T) {
	d := builtin(t)
	clock := bound(t, d, rule(`now < timestamp("2026-12-24T00:00:00Z")`))
	rapid.Check(t, func(rt *rapid.T) {
		f, err := d.Facts(claims(rt, "claims"))
		if err != nil {
			rt.Fatal(err)
		}
		q := bound(t, d, rule(rapid.SampledFrom(trialRules).Draw(rt, "rule")))
		if rapid.Bool().Draw(rt, "clock") {
			q = clock
		}
		then := november.AddDate(0, 0, rapid.IntRange(0, 500).Draw(rt, "days"))
		old, fresh := q.Judge(f.At(november)), q.Judge(f.At(then))
		if old.Holds(then) && (old.Allowed != fresh.Allowed || !cmp.Equal(old.Reasons, fresh.Reasons)) {
			rt.Fatalf("%v said to hold, and %v", old, fresh)
		}
	})
}

// TestEveryRefusalHasAReason and no permission has one; a rule's parts decide as the whole.
func TestEveryRefusalHasAReason(t *testing.T) {
	d := builtin(t)
	rapid.Check(t, func(rt *rapid.T) {
		f, err := d.Facts(claims(rt, "claims"))
		if err != nil {
			rt.Fatal(err)
		}
		text := rapid.SampledFrom(trialRules).Draw(rt, "rule")
		parts, whole := bound(t, d, rule(text)), bound(t, d, rule("("+text+") == true"))
		v, w := parts.Judge(f.At(november)), whole.Judge(f.At(november))
		if v.Allowed != (len(v.Reasons) == 0) || v.Allowed != w.Allowed {
			rt.Fatalf("%v; as a whole %v", v, w)
		}
	})
}

func FuzzCompile(f *testing.F) {
	d := builtin(f)
	facts, err := d.Facts([]policy.Claim{claim("region.country", `"FR"`, policy.Contract, time.Time{}), claim("certs", `{"scheme": "hds"}`, policy.ThirdParty, time.Time{})})
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range d.Presets {
		f.Add(p.Rule)
	}
	for _, r := range trialRules {
		f.Add(r)
	}
	f.Fuzz(func(t *testing.T, text string) {
		prog, err := d.Compile(rule(text))
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("%v has no kind", err)
			}
			return
		}
		b, err := prog.Bind(nil)
		if err != nil {
			t.Fatal(err)
		}
		if v := b.Judge(facts.At(november)); v.Allowed != (len(v.Reasons) == 0) {
			t.Fatalf("%+v", v)
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	d := builtin(b)
	p, err := d.Preset("eu-controlled")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Compile(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	d := builtin(b)
	p, err := d.Preset("eu-controlled")
	if err != nil {
		b.Fatal(err)
	}
	prog, err := d.Compile(p)
	if err != nil {
		b.Fatal(err)
	}
	q, err := prog.Bind(nil)
	if err != nil {
		b.Fatal(err)
	}
	f, err := d.Facts([]policy.Claim{
		claim("provider.legal_country", `"FR"`, policy.ThirdParty, time.Time{}), claim("provider.hq_country", `"FR"`, policy.ThirdParty, time.Time{}),
		claim("provider.ultimate_owner_known", `true`, policy.ThirdParty, time.Time{}), claim("provider.ultimate_owner_country", `"DE"`, policy.ThirdParty, time.Time{}),
		claim("provider.owner_chain", `["FR","DE"]`, policy.ThirdParty, time.Time{}), claim("provider.non_eu_control", `false`, policy.ThirdParty, time.Time{}),
		claim("provider.non_eu_max_share", `0.1`, policy.ThirdParty, time.Time{}), claim("provider.non_eu_total_share", `0.2`, policy.ThirdParty, time.Time{}),
	})
	if err != nil {
		b.Fatal(err)
	}
	v := f.At(november)
	b.ReportAllocs()
	for b.Loop() {
		if !q.Judge(v).Allowed {
			b.Fatal("refused")
		}
	}
}

// TestKnownReadsTheWordsOfReasons has each way in which a fact cannot be used, with a value that looks like words.
func TestKnownReadsTheWordsOfReasons(t *testing.T) {
	d := builtin(t)
	chain := func(e policy.Evidence) []policy.Claim {
		return []policy.Claim{{Attribute: "provider.owner_chain", Value: json.RawMessage(`["FR", "expired 2020, self-declared"]`), Evidence: e}}
	}
	prog, err := d.Compile(&policy.Policy{Name: "known", Version: 1, Rule: "true", Evidence: map[string]policy.Level{"provider.owner_chain": policy.ThirdParty}})
	if err != nil {
		t.Fatal(err)
	}
	bound, err := prog.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	for want, claims := range map[string][]policy.Claim{
		"third-party, had nothing":              nil,
		"third-party, had contract":             chain(policy.Evidence{Level: policy.Contract}),
		"third-party, had regulator, expired":   chain(policy.Evidence{Level: policy.Regulator, Until: november.Add(-time.Hour)}),
		"third-party, had measured, not before": chain(policy.Evidence{Level: policy.Measured, From: november.Add(time.Hour)}),
	} {
		facts, err := d.Facts(claims)
		if err != nil {
			t.Fatal(err)
		}
		v := bound.Judge(facts.At(november))
		if len(v.Reasons) != 1 {
			t.Fatalf("%s: %+v", want, v)
		}
		if least, was := policy.Known(v.Reasons[0].Needed, v.Reasons[0].Had); least+", had "+was != want {
			t.Errorf("%+v is read as %q, %q, want %q", v.Reasons[0], least, was, want)
		}
	}
}

package policy

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"

	"cel.dev/cel-go/common/types"

	"github.com/kontor-cloud/kontor/document"
	"github.com/kontor-cloud/kontor/fault"
)

//go:embed data
var embedded embed.FS

// Data is what changes with the law and not with the program: which countries
// belong together, whose laws reach abroad, which certificates there are, and the ready-made policies.
// It never changes while it is in use.
type Data struct {
	Countries Countries
	Laws      []Law
	Schemes   []Scheme
	SEAL      SEAL
	Presets   []*Policy // by name
	Digest    Digest    // of all of it but the presets

	schemes map[string]*Scheme
	asOf    [2]string // of laws and schemes
}

// Countries are sets of countries, as of a day.
type Countries struct {
	AsOf string              `json:"asOf"`
	Sets map[string][]string `json:"sets"` // eu, eea, efta, adequate: ISO 3166-1 alpha-2
}

// A Law reaches providers outside its country.
type Law struct {
	ID      string `json:"id"`
	Country string `json:"country"`
	About   string `json:"about"`
}

// A Scheme is something that one can be certified for.
type Scheme struct {
	ID     string   `json:"id"`
	About  string   `json:"about"`
	Levels []string `json:"levels,omitempty"` // empty: it has none
	Issuer string   `json:"issuer,omitempty"`
}

// SEAL is the EU Cloud Sovereignty Framework: what each objective weighs, in percent.
type SEAL struct {
	AsOf    string           `json:"asOf"`
	Weights map[string]int64 `json:"weights"`
}

// Builtin is the data that came with the program.
func Builtin() (*Data, error) { return Load(nil) }

// Load reads the built-in data; what dir (which may be nil) has under the same names
// takes the place of it: countries.yaml, laws.yaml, schemes.yaml, seal.yaml, policies/NAME.yaml.
func Load(dir fs.FS) (*Data, error) {
	d := &Data{}
	var laws struct {
		AsOf string `json:"asOf"`
		Laws []Law  `json:"laws"`
	}
	var schemes struct {
		AsOf    string   `json:"asOf"`
		Schemes []Scheme `json:"schemes"`
	}
	for name, to := range map[string]any{"countries.yaml": &d.Countries, "laws.yaml": &laws, "schemes.yaml": &schemes, "seal.yaml": &d.SEAL} {
		b, err := read(dir, name)
		if err != nil {
			return nil, err
		}
		if _, err := document.Decode(name, b, to); err != nil {
			return nil, err
		}
	}
	d.Laws, d.Schemes, d.asOf = laws.Laws, schemes.Schemes, [2]string{laws.AsOf, schemes.AsOf}
	if err := d.check(); err != nil {
		return nil, err
	}
	return d, d.loadPresets(dir)
}

// check reports what is wrong with the data, and sums it up.
func (d *Data) check() error {
	for _, day := range append(d.asOf[:], d.Countries.AsOf, d.SEAL.AsOf) {
		if _, err := time.Parse(time.DateOnly, day); err != nil {
			return fault.Invalid.Errorf("each file of data needs asOf, a day like 2026-10-01: %w", err)
		}
	}
	for _, need := range []string{"eu", "eea", "efta", "adequate"} {
		if d.Countries.Sets[need] == nil {
			return fault.Invalid.Errorf("countries.yaml lacks the set %s", need)
		}
	}
	d.schemes = map[string]*Scheme{}
	for i := range d.Schemes {
		d.schemes[d.Schemes[i].ID] = &d.Schemes[i]
	}
	var sum int64
	for _, w := range d.weights() {
		sum += w
	}
	if sum != 100 || len(d.SEAL.Weights) != len(objectives) {
		return fault.Invalid.Errorf("seal.yaml: the weights of sov1 to sov8 must sum to 100, not %d", sum)
	}
	slices.SortFunc(d.Laws, func(a, b Law) int { return cmp.Compare(a.ID, b.ID) })
	b, err := d.MarshalJSON()
	d.Digest = sha256.Sum256(b)
	return err
}

// written is the data as it is kept with decisions, and summed up.
type written struct {
	Countries Countries `json:"countries"`
	LawsAsOf  string    `json:"lawsAsOf"`
	Laws      []Law     `json:"laws"`
	CertsAsOf string    `json:"schemesAsOf"`
	Schemes   []Scheme  `json:"schemes"`
	SEAL      SEAL      `json:"seal"`
}

// MarshalJSON writes the data without the ready-made policies.
func (d *Data) MarshalJSON() ([]byte, error) {
	return json.Marshal(written{d.Countries, d.asOf[0], d.Laws, d.asOf[1], d.Schemes, d.SEAL})
}

// ParseData reads what MarshalJSON wrote.
func ParseData(b []byte) (*Data, error) {
	var w written
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, fault.Malformed.Errorf("read data: %w", err)
	}
	d := &Data{Countries: w.Countries, Laws: w.Laws, Schemes: w.Schemes, SEAL: w.SEAL, asOf: [2]string{w.LawsAsOf, w.CertsAsOf}}
	return d, d.check()
}

func (d *Data) loadPresets(dir fs.FS) error {
	names := map[string]bool{}
	for _, f := range []fs.FS{builtinFS(), dir} {
		if f == nil {
			continue
		}
		found, err := fs.Glob(f, "policies/*.yaml")
		if err != nil {
			return fault.Invalid.Errorf("list policies: %w", err)
		}
		for _, n := range found {
			names[n] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		b, err := read(dir, name)
		if err != nil {
			return err
		}
		prog, err := d.Parse(name, b)
		if err != nil {
			return err
		}
		if prog.Policy.Name+".yaml" != path.Base(name) {
			return fault.Invalid.Errorf("%s holds the policy %s", name, prog.Policy.Name)
		}
		d.Presets = append(d.Presets, prog.Policy)
	}
	return nil
}

// Preset returns a ready-made policy, or fault.Missing.
func (d *Data) Preset(name string) (*Policy, error) {
	var names []string
	for _, p := range d.Presets {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return nil, fault.Missing.Errorf("there is no ready-made policy %q%s", name, fault.DidYouMean(name, names))
}

func builtinFS() fs.FS {
	sub, err := fs.Sub(embedded, "data")
	if err != nil {
		panic(err) // the folder is in the program
	}
	return sub
}

// read prefers dir to what is built in.
func read(dir fs.FS, name string) ([]byte, error) {
	if dir != nil {
		b, err := fs.ReadFile(dir, name)
		if !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
	}
	return fs.ReadFile(builtinFS(), name)
}

func (d *Data) schemeNames() []string { return slices.Sorted(maps.Keys(d.schemes)) }

// weights are those of sov1 to sov8.
func (d *Data) weights() (w [8]int64) {
	for i, a := range objectives {
		w[i] = d.SEAL.Weights[a.field()]
	}
	return w
}

// geoFields are the sets as policies see them.
func (d *Data) geoFields() fields {
	all := fields{}
	for name, countries := range d.Countries.Sets {
		set := types.NewStringList(types.DefaultTypeAdapter, countries)
		all[name] = field(kinds[texts].cel, func(*Data) (val, error) { return set, nil })
	}
	return all
}

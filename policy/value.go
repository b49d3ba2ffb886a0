package policy

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"

	"github.com/kontor-cloud/kontor/fault"
)

// Bounds of what is said of a participant. They are what makes the cost of a
// policy known before it runs.
const (
	maxText   = 256 // bytes
	maxList   = 64  // members of a list, certificates of a provider
	maxClaims = 1024
)

// A Subprocessor is somebody else who takes part in a service.
type Subprocessor struct {
	Name          string `json:"name"`
	Country       string `json:"country"`
	ParentCountry string `json:"parent_country"`
	TouchesData   bool   `json:"touches_data"`
	ControlsIAM   bool   `json:"controls_iam"`
}

// A Certificate says that somebody met the rules of a scheme. Its issuer, its validity and its
// level are those of the evidence.
type Certificate struct {
	Scheme     string    `json:"scheme"` // a name of data/schemes.yaml
	Version    string    `json:"version,omitempty"`
	Level      string    `json:"level,omitempty"`
	PeriodEnd  time.Time `json:"period_end,omitzero"` // of the audited period
	Regions    []string  `json:"regions,omitempty"`   // empty: all of the provider's
	Services   []string  `json:"services,omitempty"`  // empty: all
	Activities []string  `json:"activities,omitempty"`
}

// decode reads the value of an attribute strictly, and gives it to CEL and in its
// only spelling.
func (k kind) decode(raw json.RawMessage) (val, json.RawMessage, error) {
	to := reflect.New(goTypes[k])
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(to.Interface()); err != nil || string(bytes.TrimSpace(raw)) == "null" {
		return nil, nil, fault.Invalid.Errorf("must be %s%s", kinds[k].name, detail(err))
	}
	if err := bounded(to.Elem()); err != nil {
		return nil, nil, err
	}
	v := value(to.Elem().Interface())
	canonical, err := json.Marshal(to.Elem().Interface())
	return v, canonical, err
}

func detail(err error) string {
	if err == nil {
		return ""
	}
	return ": " + strings.TrimPrefix(err.Error(), "json: ")
}

var goTypes = [...]reflect.Type{
	text:          reflect.TypeFor[string](),
	boolean:       reflect.TypeFor[bool](),
	integer:       reflect.TypeFor[int64](),
	double:        reflect.TypeFor[float64](),
	texts:         reflect.TypeFor[[]string](),
	moment:        reflect.TypeFor[time.Time](),
	subprocessors: reflect.TypeFor[[]Subprocessor](),
	certificates:  reflect.TypeFor[Certificate](), // one a claim
}

// bounded refuses what is longer than the cost of policies is reckoned with.
func bounded(v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		if v.Len() > maxText {
			return fault.Invalid.Errorf("must not have a text of more than %d bytes", maxText)
		}
	case reflect.Slice:
		if v.Len() > maxList {
			return fault.Invalid.Errorf("must not have more than %d members", maxList)
		}
		for i := range v.Len() {
			if err := bounded(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for _, f := range v.Fields() {
			if err := bounded(f); err != nil {
				return err
			}
		}
	default:
	}
	return nil
}

// value gives a Go value to CEL.
func value(v any) val {
	switch v := v.(type) {
	case []string:
		return types.NewStringList(types.DefaultTypeAdapter, v)
	case []Subprocessor:
		all := make([]val, len(v))
		for i := range v {
			all[i] = &object{subprocessorType, &v[i]}
		}
		return types.NewRefValList(types.DefaultTypeAdapter, all)
	case time.Time:
		return types.Timestamp{Time: v}
	}
	return types.DefaultTypeAdapter.NativeToValue(v)
}

// show writes a value for people, in at most limit bytes.
func show(v val) string {
	var out strings.Builder
	write(&out, v)
	if s := out.String(); len(s) > maxText {
		return strings.ToValidUTF8(s[:maxText], "") + "…"
	} else {
		return s
	}
}

func write(out *strings.Builder, v val) {
	switch v := v.Value().(type) {
	case []val:
		out.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				out.WriteString(", ")
			}
			write(out, item)
		}
		out.WriteByte(']')
	case *Subprocessor:
		out.WriteString(v.Name + " in " + v.Country + " of " + v.ParentCountry)
	case *held:
		out.WriteString(v.String())
	case time.Time:
		out.WriteString(day(v))
	default:
		b, _ := json.Marshal(v) // texts, lists of them, numbers
		out.Write(b)
	}
}

package policy

import (
	"fmt"
	"reflect"
	"slices"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/kontor-cloud/kontor/fault"
)

// The types that policies see. They are structs to CEL, so that a misspelt
// field is an error of the one who writes it, not of a placement a year later.
var (
	subprocessorType = types.NewObjectType("Subprocessor")
	certificateType  = types.NewObjectType("Certificate")
	geoType          = types.NewObjectType("Geo")
	requestType      = types.NewObjectType("Request")
)

// An object is a value of such a type.
type object struct {
	of   *types.Type
	self any
}

// ConvertToNative is for functions that no policy can call with an object.
func (o *object) ConvertToNative(to reflect.Type) (any, error) {
	return nil, fault.Unsupported.Errorf("%s is not a %s", o.of, to)
}

// ConvertToType gives the type itself for type(x), and nothing else.
func (o *object) ConvertToType(t ref.Type) val {
	if t == types.TypeType {
		return o.of
	}
	return types.NewErr("%s is not a %s", o.of, t.TypeName())
}

// Equal compares what objects are of, not what they hold.
func (o *object) Equal(other val) val {
	p, ok := other.(*object)
	return types.Bool(ok && p.self == o.self)
}

// Type gives the type.
func (o *object) Type() ref.Type { return o.of }

// Value gives what the fields are read from.
func (o *object) Value() any { return o.self }

// fields are those of a struct by name.
type fields map[string]*types.FieldType

// field makes one that is read by get.
func field[T any](t *types.Type, get func(T) (val, error)) *types.FieldType {
	return &types.FieldType{
		Type: t,
		IsSet: func(self any) bool {
			v, err := get(self.(T))
			return err == nil && v != nil
		},
		GetFrom: func(self any) (any, error) { return get(self.(T)) },
	}
}

// plain makes a field that is always known.
func plain[T, V any](t *types.Type, get func(T) V) *types.FieldType {
	return field(t, func(self T) (val, error) { return value(get(self)), nil })
}

var subprocessorFields = fields{
	"name":           plain(types.StringType, func(s *Subprocessor) string { return s.Name }),
	"country":        plain(types.StringType, func(s *Subprocessor) string { return s.Country }),
	"parent_country": plain(types.StringType, func(s *Subprocessor) string { return s.ParentCountry }),
	"touches_data":   plain(types.BoolType, func(s *Subprocessor) bool { return s.TouchesData }),
	"controls_iam":   plain(types.BoolType, func(s *Subprocessor) bool { return s.ControlsIAM }),
}

var certificateFields = fields{
	"scheme":          plain(types.StringType, func(c *held) string { return c.Scheme }),
	"version":         plain(types.StringType, func(c *held) string { return c.Version }),
	"level":           plain(types.StringType, func(c *held) string { return c.Level }),
	"assurance":       plain(types.StringType, func(c *held) string { return string(c.how.Level) }),
	"issuer":          plain(types.StringType, func(c *held) string { return c.how.Issuer }),
	"valid_from":      plain(types.TimestampType, func(c *held) any { return c.how.From }),
	"valid_until":     plain(types.TimestampType, func(c *held) any { return c.end() }),
	"period_end":      field(types.TimestampType, (*held).periodEnd),
	"regions":         plain(kinds[texts].cel, func(c *held) []string { return c.Regions }),
	"services":        plain(kinds[texts].cel, func(c *held) []string { return c.Services }),
	"activities":      plain(kinds[texts].cel, func(c *held) []string { return c.Activities }),
	"evidence_sha256": plain(types.StringType, func(c *held) string { return c.how.Proof }),
}

// A provider of types tells CEL about ours beside its own.
type typeProvider struct {
	*types.Registry
	structs map[string]fields
}

// FindStructType says whether a type is known.
func (p *typeProvider) FindStructType(name string) (*types.Type, bool) {
	if _, ok := p.structs[name]; ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Registry.FindStructType(name)
}

// FindStructFieldNames lists the fields of a type.
func (p *typeProvider) FindStructFieldNames(name string) ([]string, bool) {
	if s, ok := p.structs[name]; ok {
		return s.names(), true
	}
	return p.Registry.FindStructFieldNames(name)
}

// FindStructFieldType gives the type of a field and how to read it.
func (p *typeProvider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if s, ok := p.structs[name]; ok {
		f, ok := s[field]
		return f, ok
	}
	return p.Registry.FindStructFieldType(name, field)
}

// NewValue refuses to make objects: a policy finds facts, it makes none.
func (p *typeProvider) NewValue(name string, given map[string]val) val {
	if _, ok := p.structs[name]; ok {
		return types.WrapErr(fmt.Errorf("a policy cannot make a %s", name))
	}
	return p.Registry.NewValue(name, given)
}

func (f fields) names() []string {
	all := make([]string, 0, len(f))
	for n := range f {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

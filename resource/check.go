package resource

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
)

var nameRule = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// CheckName reports what is wrong with a name: at most max characters, lower
// case letters, digits, "-" and "." inside.
func CheckName(name string, max int) error {
	switch {
	case strings.HasPrefix(name, "seca.") && strings.Contains(name, "/"):
		return fault.Invalid.Errorf("%q is a reference; give the plain name, which is its last segment: %q", name, name[strings.LastIndex(name, "/")+1:])
	case len(name) == 0 || len(name) > max:
		return fault.Invalid.Errorf("name must have 1 to %d characters, not %d", max, len(name))
	case !nameRule.MatchString(name):
		return fault.Invalid.Errorf("name %q must be lower case letters, digits, '-' and '.', starting and ending with a letter or digit", name)
	}
	return nil
}

var labelKey = regexp.MustCompile(`^[A-Za-z0-9_./:-]{1,128}$`)

const maxMap = 64 // entries in labels, annotations or extensions

func checkMaps(labels, annotations map[string]string, l *fault.List) {
	for _, m := range []struct {
		at     string
		values map[string]string
		max    int
	}{{"/labels", labels, 63}, {"/annotations", annotations, 1024}} {
		if count(l, m.at, len(m.values), 0, maxMap); len(m.values) > maxMap {
			continue // there may be a hundred thousand
		}
		for k, v := range m.values {
			if !labelKey.MatchString(k) {
				l.Add(m.at+"/"+escape(k), "key must be 1 to 128 letters, digits or _ . / : -")
			}
			length(l, m.at+"/"+escape(k), v, 0, m.max)
		}
	}
}

// CheckExtensions reports what is wrong with the extensions of a resource.
func CheckExtensions(k *Kind, extensions map[string]string, e Env) error {
	var l fault.List
	checkExtensions(k, extensions, e, &l)
	return l.Err()
}

// checkExtensions refuses what the region does not know.
func checkExtensions(k *Kind, extensions map[string]string, e Env, l *fault.List) {
	if count(l, "/extensions", len(extensions), 0, maxMap); len(extensions) > maxMap {
		return
	}
	for key, value := range extensions {
		switch at := "/extensions/" + escape(key); {
		case e.Extension == nil || k != workspaces:
			l.Add(at, "is not an extension that this region knows")
		default:
			if err := e.Extension(key, value); err != nil {
				l.Add(at, "%s", err)
			}
		}
	}
}

var escaper = strings.NewReplacer("~", "~0", "/", "~1")

// escape makes a key fit for a JSON pointer (RFC 6901).
func escape(key string) string { return escaper.Replace(key) }

func length(l *fault.List, at, s string, low, high int) {
	if n := utf8.RuneCountInString(s); n < low || n > high {
		l.Add(at, "must have %d to %d characters, not %d", low, high, n)
	}
}

func count(l *fault.List, at string, n, low, high int) {
	if n < low || n > high {
		l.Add(at, "must have %d to %d items, not %d", low, high, n)
	}
}

func between(l *fault.List, at string, n, low, high int) {
	if n < low || n > high {
		l.Add(at, "must be between %d and %d, not %d", low, high, n)
	}
}

func oneOf(l *fault.List, at, s string, allowed ...string) {
	if !slices.Contains(allowed, s) {
		l.Add(at, "must be one of %s, not %q", strings.Join(allowed, ", "), s)
	}
}

// texts checks the number of items and the length of each.
func texts(l *fault.List, at string, items []string, low, high, shortest, longest int) {
	count(l, at, len(items), low, high)
	for i, s := range items {
		length(l, fmt.Sprintf("%s/%d", at, i), s, shortest, longest)
	}
}

func same(l *fault.List, at string, unchanged bool) {
	if !unchanged {
		l.Add(at, "cannot change after creation; delete and create anew")
	}
}

func zone(l *fault.List, at, z string, e Env) {
	length(l, at, z, 1, 32)
	if e.Inventory != nil && len(z) > 0 && len(z) <= 32 && !slices.Contains(e.Inventory.Zones, z) {
		l.Add(at, "must be a zone of region %s (%s), not %q", e.host(), strings.Join(e.Inventory.Zones, ", "), z)
	}
}

// resolve gives the full name that a reference has in the context of base.
func resolve(k link, base urn.URN, region string) (urn.URN, error) {
	r := k.ref
	for _, f := range []struct {
		name, value string
		max         int
	}{{"provider", r.Provider, 64}, {"tenant", r.Tenant, 64}, {"workspace", r.Workspace, 64}, {"region", r.Region, 64}, {"resource", r.Resource, 256}} {
		if len(f.value) > f.max {
			return urn.URN{}, fault.Invalid.Errorf("%s must have at most %d characters", f.name, f.max)
		}
	}
	u, err := urn.Parse(strings.TrimPrefix(r.Resource, "/"))
	if err != nil {
		return urn.URN{}, err
	}
	for _, f := range []struct {
		name     string
		in       *string
		explicit string
	}{{"provider", &u.Provider, r.Provider}, {"tenant", &u.Tenant, r.Tenant}, {"workspace", &u.Workspace, r.Workspace}} {
		if f.explicit != "" && *f.in != "" && f.explicit != *f.in {
			return urn.URN{}, fault.Invalid.Errorf("names %s %q and, in resource, %q", f.name, f.explicit, *f.in)
		}
		if f.explicit != "" {
			*f.in = f.explicit
		}
	}
	if r.Region != "" && r.Region != region {
		return urn.URN{}, fault.Invalid.Errorf("names region %q; only things of region %q can be used here", r.Region, region)
	}
	return place(k, u, base)
}

// place completes u by what its collection needs and refuses another collection
// than the field takes.
func place(k link, u, base urn.URN) (urn.URN, error) {
	if k.to != "" && u.Collection != k.to {
		return urn.URN{}, fault.Invalid.Errorf("must name one of %s, not of %s", k.to, u.Collection)
	}
	if u.Provider == "" {
		u.Provider = k.in + "/v1"
	}
	scope := Tenant
	if kind, ok := collectionNamed(u.Collection); !ok && (u.Collection != "skus" || k.in == "") {
		return urn.URN{}, fault.Invalid.Errorf("names one of %q, which cannot stand here", u.Collection)
	} else if ok {
		scope = kind.Scope
		if k.in == "" || u.Provider == "/v1" {
			u.Provider = kind.Provider + "/v1"
		}
		if u.Provider != kind.Provider+"/v1" {
			return urn.URN{}, fault.Invalid.Errorf("%s belong to %s/v1, not to %s", u.Collection, kind.Provider, u.Provider)
		}
	}
	u = u.Under(urn.URN{Tenant: base.Tenant})
	if scope >= Workspace {
		u = u.Under(urn.URN{Workspace: base.Workspace})
	} else {
		u.Workspace = ""
	}
	if scope == Network {
		u = u.Under(urn.URN{Network: base.Network})
	} else {
		u.Network = ""
	}
	return u, nil
}

// isAddress reports whether a reference holds an IP address or a range.
func isAddress(r *seca.Reference) bool {
	if _, err := netip.ParseAddr(r.Resource); err == nil {
		return true
	}
	_, err := netip.ParsePrefix(r.Resource)
	return err == nil
}

package urn

import (
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/fault"
)

// FuzzParse: what can be read is written so that it reads the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"instances/vm1", "networks/n1/subnets/s1", "networks/n", "seca.compute/v1/tenants/t/workspaces/w/instances/vm",
		"seca.network/v1/tenants/t/workspaces/w/networks/n/route-tables/r", "tenants/networks/x/y", "a.b/v1", "/x/y", "tenants//x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := Parse(s)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid || !u.IsZero() {
				t.Errorf("Parse(%q) = %+v, %v", s, u, err)
			}
			return
		}
		if u.Collection == "" || u.Name == "" {
			t.Errorf("Parse(%q) = %+v, which names nothing", s, u)
		}
		again, err := Parse(strings.TrimPrefix(u.String(), "/"))
		if err != nil || again != u {
			t.Errorf("%q is read as %+v, written as %q and read as %+v, %v", s, u, u, again, err)
		}
	})
}

package issuer

import (
	"context"
	"encoding/base64"
	"strings"
	"sync"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/tenant"
)

// store is a tenant store on d that takes the tokens of s.
func store(t testing.TB, d *db.DB, s *Set) *tenant.Store {
	t.Helper()
	st, err := tenant.Open(context.Background(), d, envelopetest.Box(t, d), "kontor:test")
	if err != nil {
		t.Fatal(err)
	}
	st.Others = s
	return st
}

func TestLoginMakesAnAccountThatMayNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, f := newSet(t, func(c *Config) { c.GroupsClaim, c.TenantPrefix = "groups", "kontor-" })
		st, ctx := store(t, d, s), t.Context()
		raw := f.token(t, nil)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if p, err := st.Verify(ctx, raw); err != nil || p.Subject != "home:alice" || p.Operator || len(p.Tenants) != 0 || p.Issuer != home {
					t.Errorf("%+v, %v", p, err)
				}
			})
		}
		wg.Wait()
		for _, n := range []string{"acme", "beta"} {
			if err := st.CreateTenant(ctx, tenant.Tenant{Name: n}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := st.AddMember(ctx, "beta", "home:alice"); err != nil {
			t.Fatal(err)
		}
		p, err := st.Verify(ctx, f.token(t, set("groups", []string{"kontor-acme", "kontor-nowhere"})))
		if err != nil || strings.Join(p.Tenants, " ") != "acme beta" {
			t.Errorf("%+v, %v", p, err)
		}
		if err := st.PutAccount(ctx, tenant.Account{ID: "home:alice", Disabled: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Verify(ctx, raw); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("a disabled account: %v", err)
		}
	})
}

// A claim that anybody can set to the name of somebody else's account gives nothing.
func TestAnAccountIsTakenByALinkAlone(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, f := newSet(t, func(c *Config) { c.AccountClaim = "preferred_username" })
		st, ctx := store(t, d, s), t.Context()
		if err := st.PutAccount(ctx, tenant.Account{ID: "admin", Operator: true}); err != nil {
			t.Fatal(err)
		}
		raw := f.token(t, set("preferred_username", "admin"))
		if p, err := st.Verify(ctx, raw); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%+v, %v", p, err)
		}
		if p, err := st.Verify(ctx, f.token(t, set("preferred_username", "service:acme:ci"))); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("the name of a tenant's program: %+v, %v", p, err)
		}
		if err := st.Link(ctx, home, "alice", "nobody"); fault.KindOf(err) != fault.Conflict {
			t.Errorf("link to no account: %v", err)
		}
		if err := st.Link(ctx, home, "alice", "admin"); err != nil {
			t.Fatal(err)
		}
		if p, err := st.Verify(ctx, raw); err != nil || p.Subject != "admin" || !p.Operator {
			t.Errorf("%+v, %v", p, err)
		}
		// Without createAccounts, nothing is made.
		s.by[home].CreateAccounts = false
		if _, err := st.Verify(ctx, f.token(t, set("sub", "mallory"))); fault.KindOf(err) != fault.Unauthenticated {
			t.Error(err)
		}
		if all, err := st.Accounts(ctx); err != nil || len(all) != 1 {
			t.Errorf("%v, %v", all, err)
		}
	})
}

// FuzzVerify: whatever comes is refused, unless it is a token that was signed,
// to the bit.
func FuzzVerify(f *testing.F) {
	s, home := newSet(f, nil)
	st := store(f, dbtest.SQLite(f), s)
	good := home.token(f, nil)
	f.Add(good)
	for _, raw := range attacks(f, home) {
		f.Add(raw[:min(len(raw), 9<<10)])
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := st.Verify(t.Context(), raw)
		if err == nil && decoded(raw) != decoded(good) {
			t.Errorf("%q stands for %+v", raw, p)
		}
		if err != nil && fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%q: %v", raw, err)
		}
	})
}

// decoded tells tokens apart by what they say: base64 has many spellings.
func decoded(raw string) string {
	var all []byte
	for part := range strings.SplitSeq(raw, ".") {
		b, _ := base64.RawURLEncoding.DecodeString(part)
		all = append(append(all, b...), '.')
	}
	return string(all)
}

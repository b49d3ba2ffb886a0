package tenant

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
	"github.com/kontor-cloud/kontor/fault"
)

const issuer = "https://exchange.example"

// each runs a test with a store in which alice and bob are members of acme,
// and alice of beta, too.
func each(t *testing.T, test func(t *testing.T, s *Store)) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) { test(t, populated(t, d)) })
}

func populated(tb testing.TB, d *db.DB) *Store {
	tb.Helper()
	ctx := context.Background()
	s, err := Open(ctx, d, envelopetest.Box(tb, d), issuer)
	no(tb, err)
	for _, name := range []string{"beta", "acme"} {
		no(tb, s.CreateTenant(ctx, Tenant{Name: name, Display: "The " + name}, nil))
	}
	for _, id := range []string{"alice@acme.example", "bob@acme.example"} {
		no(tb, s.PutAccount(ctx, Account{ID: id}))
		no(tb, s.AddMember(ctx, "acme", id))
	}
	no(tb, s.AddMember(ctx, "beta", "alice@acme.example"))
	return s
}

func no(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func kind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	if fault.KindOf(err) != want {
		t.Errorf("error %v has kind %q, want %q", err, fault.KindOf(err), want)
	}
}

func TestTenantsAndMembers(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		all, err := s.Tenants(ctx)
		no(t, err)
		if len(all) != 2 || all[0].Name != "acme" || all[1].Display != "The beta" || all[0].CreatedAt.IsZero() {
			t.Errorf("tenants %+v", all)
		}
		no(t, s.AddMember(ctx, "acme", "bob@acme.example")) // again
		members, err := s.Members(ctx, "acme")
		no(t, err)
		if diff := cmp.Diff([]string{"alice@acme.example", "bob@acme.example"}, members); diff != "" {
			t.Error(diff)
		}
		kind(t, s.CreateTenant(ctx, Tenant{Name: "acme"}, nil), fault.Conflict)
		kind(t, s.AddMember(ctx, "nobody", "bob@acme.example"), fault.Conflict)
		kind(t, s.RemoveMember(ctx, "beta", "bob@acme.example"), fault.Missing)
		kind(t, s.DeleteTenant(ctx, "nobody", nil), fault.Missing)
		no(t, s.DeleteTenant(ctx, "beta", nil))
		mine, err := s.Memberships(ctx, "alice@acme.example")
		no(t, err)
		if diff := cmp.Diff([]string{"acme"}, mine); diff != "" {
			t.Error(diff)
		}
		_, err = s.Tenant(ctx, "beta")
		kind(t, err, fault.Missing)
	})
}

func TestTenantComesAndGoesWithWhatBelongsToIt(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		stop := errors.New("stop")
		refuse := func(context.Context, *db.Tx) error { return stop }
		if err := s.CreateTenant(t.Context(), Tenant{Name: "gamma"}, refuse); !errors.Is(err, stop) {
			t.Errorf("error %v", err)
		}
		_, err := s.Tenant(t.Context(), "gamma")
		kind(t, err, fault.Missing)
		if err := s.DeleteTenant(t.Context(), "acme", refuse); !errors.Is(err, stop) {
			t.Errorf("error %v", err)
		}
		_, err = s.Tenant(t.Context(), "acme")
		no(t, err)
	})
}

func TestAccountsAreChangedInPlace(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		before, err := s.Account(t.Context(), "bob@acme.example")
		no(t, err)
		no(t, s.PutAccount(t.Context(), Account{ID: before.ID, Display: "Bob", Operator: true}))
		all, err := s.Accounts(t.Context())
		no(t, err)
		want := Account{ID: before.ID, Display: "Bob", Operator: true, CreatedAt: before.CreatedAt}
		if len(all) != 2 || all[1] != want {
			t.Errorf("accounts %+v, want the second to be %+v", all, want)
		}
		_, err = s.Account(t.Context(), "nobody")
		kind(t, err, fault.Missing)
	})
}

func TestNamesAreChecked(t *testing.T) {
	long := strings.Repeat("a", 65)
	for name, good := range map[string]bool{
		"a": true, "acme": true, "a-b.c9": true, long[:64]: true, long: false, "": false, "A": false,
		"-a": false, "a-": false, "a..b": false, "a.": false, "a_b": false, "a/b": false, "*": false, "ä": false, "a\n": false,
	} {
		err := Tenant{Name: name}.Validate()
		if (err == nil) != good {
			t.Errorf("tenant %q: %v", name, err)
		}
		if !good && (fault.KindOf(err) != fault.Invalid || fault.SourcesOf(err)[0].Pointer != "/name") {
			t.Errorf("tenant %q: kind %q, sources %v", name, fault.KindOf(err), fault.SourcesOf(err))
		}
	}
	for id, good := range map[string]bool{
		"alice@acme.example": true, "ci-1": true, "Alice": true, "*": false, "": false, "a b": false, "a\x00": false, "a,b": false, "a/b": false,
		strings.Repeat("a", 128): true, strings.Repeat("a", 129): false,
	} {
		if err := (Account{ID: id}).Validate(); (err == nil) != good {
			t.Errorf("account %q: %v", id, err)
		}
	}
}

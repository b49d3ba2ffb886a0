package tenant

import (
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/envelope/envelopetest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

func TestRotatedTokenGoesOnForAWhile(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		old, first := newToken(t, s, seca.Scope{Regions: []string{"r1"}})
		_, second, err := s.RotateToken(ctx, alice, old.ID, time.Hour, time.Hour)
		no(t, err)
		for _, raw := range []string{first, second} {
			p, err := s.Verify(ctx, raw)
			no(t, err)
			if len(p.Scope.Regions) != 1 {
				t.Error("the limits are lost")
			}
		}
		_, _, err = s.RotateToken(ctx, alice, old.ID, time.Hour, time.Hour)
		kind(t, err, fault.Conflict) // it has a successor
		no(t, s.RevokeToken(ctx, old.ID))
		_, err = s.Verify(ctx, first)
		kind(t, err, fault.Unauthenticated)
		_, _, err = s.RotateToken(ctx, "bob@acme.example", old.ID, time.Hour, 0)
		kind(t, err, fault.Missing)
	})
}

func TestPruneForgetsWhatEndedLongAgo(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx, now := t.Context(), time.Now()
		_, secret := newToken(t, s, seca.Scope{})
		left := func() int {
			all, err := s.Tokens(ctx, alice)
			no(t, err)
			return len(all)
		}
		no(t, s.Prune(ctx, now.Add(kept)))
		if left() != 1 {
			t.Fatal("it is forgotten too early")
		}
		_, err := s.RotateKey(ctx)
		no(t, err)
		no(t, s.Prune(ctx, now.Add(MaxTTL)))
		other, err := Open(ctx, s.DB, envelopetest.Box(t, s.DB), issuer)
		no(t, err)
		if left() != 0 || len(other.keys.Load().public) != 2 {
			t.Errorf("%d tokens, %d keys", left(), len(other.keys.Load().public))
		}
		no(t, s.Prune(ctx, now.Add(MaxTTL+kept+time.Minute)))
		other, err = Open(ctx, s.DB, envelopetest.Box(t, s.DB), issuer)
		no(t, err)
		if len(other.keys.Load().public) != 1 {
			t.Error("the old key is kept")
		}
		_, err = other.Verify(ctx, secret)
		kind(t, err, fault.Unauthenticated)
	})
}

// Two processes agree, whichever of them has rotated.
func TestRotatedKeyIsKnownElsewhere(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		other, err := Open(ctx, s.DB, envelopetest.Box(t, s.DB), issuer)
		no(t, err)
		_, before := newToken(t, s, seca.Scope{})
		_, err = s.RotateKey(ctx)
		no(t, err)
		_, after := newToken(t, s, seca.Scope{})
		ring := *other.keys.Load()
		ring.read = time.Time{} // a second ago and more
		other.keys.Store(&ring)
		for _, raw := range []string{before, after} {
			if _, err := other.Verify(ctx, raw); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestServiceAccountsBelongToOneTenant(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		a, err := s.PutService(ctx, "acme", "ci", "Builds", false)
		no(t, err)
		if a.Owner != "acme" || a.ServiceName() != "ci" || a.Operator {
			t.Errorf("%+v", a)
		}
		of, err := s.Memberships(ctx, a.ID)
		no(t, err)
		if len(of) != 1 || of[0] != "acme" {
			t.Errorf("member of %v", of)
		}
		no(t, s.PutAccount(ctx, Account{ID: ServiceID("beta", "x")}))
		_, err = s.PutService(ctx, "beta", "x", "", false)
		kind(t, err, fault.Conflict)
		_, err = s.PutService(ctx, "nowhere", "ci", "", false)
		kind(t, err, fault.Conflict)
		_, err = s.PutService(ctx, "acme", "a:b", "", false)
		kind(t, err, fault.Invalid)
		no(t, s.DeleteTenant(ctx, "acme", nil))
		_, err = s.Account(ctx, a.ID)
		kind(t, err, fault.Missing)
	})
}

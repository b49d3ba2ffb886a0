package tenant

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

func TestAChallengeIsMetOnce(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		text, expires, err := s.Challenge("participant:rhone")
		if err != nil || time.Until(expires) > ChallengeTTL {
			t.Fatalf("until %s, %v", expires, err)
		}
		if _, err := s.Verify(ctx, text); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("a challenge as a token: %v", err)
		}
		_, token := newToken(t, s, seca.Scope{})
		for _, wrong := range []struct{ text, subject string }{{text, "participant:spree"}, {text + "x", "participant:rhone"}, {token, "participant:rhone"}, {"", "x"}} {
			if _, err := s.ReadChallenge(ctx, wrong.text, wrong.subject); fault.KindOf(err) != fault.Unauthenticated {
				t.Errorf("%q for %s: %v", wrong.text, wrong.subject, err)
			}
		}
		c, err := s.ReadChallenge(ctx, text, "participant:rhone")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Spend(ctx, c); err != nil {
			t.Error(err)
		}
		if err := s.Prune(ctx, time.Now()); err != nil {
			t.Error(err)
		}
		if err := s.Spend(ctx, c); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("met twice: %v", err)
		}
	})
}

func TestAChallengeEnds(t *testing.T) {
	s := populated(t, dbtest.SQLite(t))
	synctest.Test(t, func(t *testing.T) {
		text, _, err := s.Challenge("x")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(ChallengeTTL + time.Second)
		if _, err := s.ReadChallenge(t.Context(), text, "x"); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("a challenge of before: %v", err)
		}
	})
}

package offer_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/participant"
)

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, ed25519.SeedSize))
}

// A shop is a store in which rhone sells by key 1 and spree by key 2.
type shop struct {
	offer.Store
	participants *participant.Store
	log          strings.Builder
}

func eachShop(t *testing.T, test func(t *testing.T, s *shop)) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := &shop{participants: &participant.Store{DB: d}}
		s.Store = offer.Store{
			DB: d, Sellers: s.participants, Log: slog.New(slog.NewTextHandler(&s.log, nil)),
			Stock: func(region string) (offer.Stock, error) {
				if region == "fr-nowhere" {
					return offer.Stock{}, fault.Missing.Errorf("no such region")
				}
				return offer.Stock{Provider: region[strings.LastIndex(region, "-")+1:], Instances: []string{"rhone.small", "rhone.large"}, Volumes: []string{"rhone.ssd"}}, nil
			},
		}
		for n, p := range []participant.Profile{
			{Name: "rhone", LegalName: "Rhône Cloud SAS", Country: "FR", VAT: "FR40303265045", Contact: participant.Contact{Email: "a@rhone.example"}},
			{Name: "spree", LegalName: "Spree Cloud GmbH", Country: "DE", VAT: "DE136695976", Contact: participant.Contact{Email: "a@spree.example"}},
		} {
			fine(t, s.participants.Apply(t.Context(), participant.Apply(p, key(byte(n+1)), "x"), "x"))
			fine(t, s.participants.Approve(t.Context(), p.Name))
		}
		test(t, s)
	})
}

func fine(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fails(t testing.TB, err error, want fault.Kind) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func signed(t testing.TB, version int, by byte, changes ...string) *offer.Sheet {
	t.Helper()
	s := parsed(t, strings.NewReplacer(append(changes, "version: 3", fmt.Sprint("version: ", version))...).Replace(sheet))
	s.Sign(key(by))
	return s
}

func TestPublishing(t *testing.T) {
	eachShop(t, func(t *testing.T, s *shop) {
		ctx := t.Context()
		fails(t, s.Publish(ctx, signed(t, 2, 1)), fault.Conflict) // 1 comes first
		fine(t, s.Publish(ctx, signed(t, 1, 1)))
		fine(t, s.Publish(ctx, signed(t, 1, 1))) // again, after an answer was lost
		fails(t, s.Publish(ctx, signed(t, 1, 1, "0.0432", "0.05")), fault.Conflict)
		fails(t, s.Publish(ctx, signed(t, 2, 2)), fault.Denied)
		unsigned := signed(t, 2, 1)
		unsigned.Signature = nil
		fails(t, s.Publish(ctx, unsigned), fault.Denied)
		changed := signed(t, 2, 1)
		changed.NoticeDays = 0
		fails(t, s.Publish(ctx, changed), fault.Denied)
		for pointer, change := range map[string][2]string{
			"/regions/fr-lyon-spree":                       {"fr-lyon-rhone", "fr-lyon-spree"},
			"/regions/fr-nowhere":                          {"fr-lyon-rhone", "fr-nowhere"},
			"/regions/fr-lyon-rhone/instances/rhone.smal":  {"rhone.small", "rhone.smal"},
			"/regions/fr-lyon-rhone/volumes/rhone.nothing": {"rhone.ssd", "rhone.nothing"},
		} {
			err := s.Publish(ctx, signed(t, 2, 1, change[0], change[1]))
			if at := fault.SourcesOf(err); len(at) != 1 || at[0].Pointer != pointer {
				t.Errorf("%v at %v, want %s", err, at, pointer)
			}
		}
		fine(t, s.Publish(ctx, signed(t, 2, 1, "0.0432", "0.05")))
		all, err := s.Published(ctx)
		fine(t, err)
		if len(all) != 1 || len(all["rhone"]) != 2 || all["rhone"][1].Sheet.Version != 2 || all["rhone"][1].At.IsZero() {
			t.Errorf("published %+v", all)
		}
		if n, err := s.participants.Changes(ctx); err != nil || n != 5 { // 2 approvals, 2 sheets, 1 repetition
			t.Errorf("%d changes, %v", n, err)
		}
		fine(t, s.participants.Suspend(ctx, "rhone"))
		fails(t, s.Publish(ctx, signed(t, 3, 1)), fault.Denied)
	})
}

// A key that ends signs nothing new; what it has signed stays on sale.
func TestSheetsOutliveTheirKey(t *testing.T) {
	eachShop(t, func(t *testing.T, s *shop) {
		ctx := t.Context()
		fine(t, s.Publish(ctx, signed(t, 1, 1)))
		_, err := s.participants.AddKey(ctx, "rhone", key(3).Public().(ed25519.PublicKey))
		fine(t, err)
		fine(t, s.participants.RevokeKey(ctx, "rhone", offer.KeyID(key(1).Public().(ed25519.PublicKey))))
		fails(t, s.Publish(ctx, signed(t, 2, 1)), fault.Denied)
		fine(t, s.Publish(ctx, signed(t, 2, 3)))
		if all, err := s.Published(ctx); err != nil || len(all["rhone"]) != 2 {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

// Who owns the database can change a row, and cannot make it good again.
func TestAnAlteredSheetIsFoundOut(t *testing.T) {
	tampers := []string{
		`UPDATE price_sheet SET body = REPLACE(body, '0.0432', '0.0532')`,
		fmt.Sprintf(`UPDATE price_sheet SET body = REPLACE(body, '0.0432', '0.0532'), digest = '%s'`, signed(t, 1, 1, "0.0432", "0.0532").HexDigest()),
		`UPDATE price_sheet SET body = REPLACE(body, '"noticeDays":30', '"noticeDays":0')`,
		`UPDATE price_sheet SET body = 'rubbish'`,
		`UPDATE price_sheet SET version = 7`,
		`UPDATE price_sheet SET provider = 'spree'`,
		`UPDATE price_sheet SET body = REPLACE(body, '"signature"', '"signatura"')`,
		`UPDATE participant_key SET participant = 'spree'`,
	}
	eachShop(t, func(t *testing.T, s *shop) {
		ctx := t.Context()
		for _, tamper := range tampers {
			for _, undo := range []string{`DELETE FROM price_sheet`, `UPDATE participant_key SET participant = 'rhone' WHERE id = '` + offer.KeyID(key(1).Public().(ed25519.PublicKey)) + `'`} {
				_, err := db.Exec(ctx, s.DB, undo)
				fine(t, err)
			}
			fine(t, s.Publish(ctx, signed(t, 1, 1)))
			s.log.Reset()
			_, err := db.Exec(ctx, s.DB, tamper)
			fine(t, err)
			all, err := s.Published(ctx)
			if err != nil || len(all) != 0 || !strings.Contains(s.log.String(), "price sheet altered") {
				t.Errorf("after %s, on sale: %+v, %v; log: %s", tamper, all, err, s.log.String())
			}
			for _, p := range []string{"rhone", "spree"} {
				records, err := s.Sheets(ctx, p)
				fine(t, err)
				for _, r := range records {
					fails(t, r.Altered, fault.Denied)
				}
			}
		}
	})
}

func TestOneOfManySheetsOfAVersion(t *testing.T) {
	eachShop(t, func(t *testing.T, s *shop) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for i := range 8 {
			wg.Go(func() {
				err := s.Publish(context.Background(), signed(t, 1, 1, "0.0432", fmt.Sprintf("0.0%d", i+1)))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else if !errors.Is(err, fault.Conflict) && !errors.Is(err, fault.Stale) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won != 1 {
			t.Errorf("%d were published", won)
		}
	})
}

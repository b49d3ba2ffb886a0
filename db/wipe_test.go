package db_test

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
)

// A backup that began before would still see what is to be wiped, so that is not
// said to be gone. (Package envelope looks into the files.)
func TestWipeWaitsForReadersFromBefore(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		d, err := db.Open(t.Context(), url, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		reader, err := db.OpenToRead(t.Context(), url, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		err = reader.Snapshot(t.Context(), func(s *db.Snapshot) error {
			if _, err := db.Exec(t.Context(), d, `INSERT INTO tenant (name, display, created_at) VALUES ('a', '', 0)`); err != nil {
				return err
			}
			return d.Wipe(t.Context(), "tenant")
		})
		if !errors.Is(err, fault.Unavailable) {
			t.Errorf("while somebody reads: %v", err)
		}
		if err := d.Wipe(t.Context(), "tenant"); err != nil {
			t.Error(err)
		}
	})
}

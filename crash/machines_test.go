package crash

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kontor-cloud/kontor/failpoint"
)

// TestLabCrucibleOnQEMU is the crucible with real machines: the same points,
// and the faults that need no made-up platform. Through the partition the
// guests are asked themselves how long they have been up.
func TestLabCrucibleOnQEMU(t *testing.T) {
	needQEMU(t) // or skip
	t.Run("sqlite", func(t *testing.T) { visitQEMU(t, "", nil) })
	t.Run("postgres", func(t *testing.T) {
		pg := ownPostgres(t)
		visitQEMU(t, pg.url, pg.restart)
	})
}

func visitQEMU(t *testing.T, postgres string, restart func()) {
	t.Helper()
	on, rng := needQEMU(t), seeded(t)
	s := newStage(t, "", postgres, on)
	s.patience = 3 * time.Minute
	s.beginAtPoints()
	t.Cleanup(func() { s.endGuests() })
	tr := &tour{stage: s, customer: s.aCustomer(4 * time.Minute), restart: restart, least: 5, storage: "seca.le100", stray: s.strayOfQEMU}
	tr.slots = s.slots(tr.customer, rng, 3, 3*time.Second) // more do not fit on a small machine
	tr.visitEach(rng, slices.Concat(failpoint.Exchange(), failpoint.Agent()))
	tr.unreliable()
	tr.partitioned(tr.guestsAge())
	s.wait(s.patience, "an agent that has looked at everything", s.agrees) // it was away for the audit
	s.resync()
	s.clear(tr.customer, tr.slots)
	s.nothingLeft()
}

// agrees asks the agent for differences; one that has just started has some.
func (s *stage) agrees() error {
	var answer struct {
		Differences []json.RawMessage `json:"differences"`
	}
	err := s.client.Post(s.t.Context(), s.client.Exchange("regions", region, "resync"), map[string]bool{}, &answer)
	if err == nil && len(answer.Differences) > 0 {
		err = fmt.Errorf("%d differences: %s", len(answer.Differences), answer.Differences[0])
	}
	return err
}

// guestsAge returns what looks whether all guests are in the same boot as when
// it was asked last, and older.
func (tr *tour) guestsAge() func() {
	var last []sight
	return func() {
		tr.t.Helper()
		if last == nil {
			last = tr.visitGuests(tr.slots, nil)
			return
		}
		var work errgroup.Group
		for n, s := range tr.slots {
			work.Go(func() error {
				return poll(tr.t.Context(), s.patient, func() error {
					now, err := s.see(tr.t.Context())
					switch before := last[n]; {
					case err != nil:
						return err
					case now.BootID != before.BootID:
						return broken("guest %d has booted anew: it is up for %.0f s, and was for %.0f s", n, now.UptimeSeconds, before.UptimeSeconds)
					case now.UptimeSeconds <= before.UptimeSeconds:
						return broken("guest %d is up for %.2f s, and was for %.2f s", n, now.UptimeSeconds, before.UptimeSeconds)
					}
					last[n] = now
					return nil
				})
			})
		}
		if err := work.Wait(); err != nil {
			tr.t.Fatal(err)
		}
		tr.t.Logf("the guests are up for %s", ages(last))
	}
}

func ages(all []sight) string {
	var text []string
	for _, s := range all {
		text = append(text, fmt.Sprintf("%.1f s", s.UptimeSeconds))
	}
	return strings.Join(text, ", ")
}

// strayOfQEMU copies the directory of a thing. The function returned puts it
// back.
func (s *stage) strayOfQEMU(urn string) (putBack func() error, err error) {
	records, err := filepath.Glob(filepath.Join(s.agentDir, "*@*", "*", "*", "record.json"))
	if err != nil {
		return nil, err
	}
	for _, path := range records {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // others come and go
		}
		if strings.Contains(string(b), urn+`"`) {
			dir, copied := filepath.Dir(path), filepath.Join(s.t.TempDir(), "thing")
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				return nil, err
			}
			return func() error { return os.CopyFS(dir, os.DirFS(copied)) }, nil
		}
	}
	return nil, fmt.Errorf("nothing on the platform is %s", urn)
}

package crash

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/failpoint"
)

// aroundCalls are the points at which a death could cost a platform most.
var aroundCalls = []failpoint.Point{
	failpoint.CallIntended, failpoint.CreateWritten, failpoint.CreateCalled, failpoint.UpdateCalled, failpoint.EnsuredUnsaid,
	failpoint.DeleteWrittenOut, failpoint.DeleteCalled, failpoint.GoneUnsaid, failpoint.OrphanCondemned, failpoint.ObserveWritten,
}

// TestLabCrucibleOnOpenStack is the crucible on a real OpenStack, whose project
// is in the end what it was before. It visits the beginning of both sides and the
// points around calls to the platform; KONTOR_CRUCIBLE=1 asks for all.
func TestLabCrucibleOnOpenStack(t *testing.T) {
	o := needOpenStack(t)
	before, rng, points := o.census(t), seeded(t), slices.Clone(aroundCalls)
	if os.Getenv("KONTOR_CRUCIBLE") != "" {
		points = slices.Concat(failpoint.Exchange(), failpoint.Agent())
	}
	s := newStage(t, "", "", o)
	s.patience = 5 * time.Minute
	s.beginAtPoints()
	tr := &tour{stage: s, customer: s.aCustomer(10 * time.Minute), least: 1, storage: "default", stray: o.stray(t)}
	tr.slots = s.slots(tr.customer, rng, 2, 0)
	tr.visitEach(rng, points)
	tr.unreliable()
	tr.partitioned(tr.guestsAge())
	s.wait(s.patience, "an agent that has looked at everything", s.agrees)
	s.resync()
	o.only(t, before, tr.customer)
	s.clear(tr.customer, tr.slots)
	o.only(t, before, tr.customer)
}

// stray keeps what Cinder has of a volume. The function returned makes another
// that carries the same marks.
func (o *openstackCloud) stray(t *testing.T) func(urn string) (putBack func() error, err error) {
	return func(urn string) (func() error, error) {
		for _, d := range o.documents(t) {
			if d["collection"] != "volumes" || d["description"] != urn {
				continue
			}
			again := map[string]any{}
			for _, key := range []string{"name", "description", "size", "metadata", "volume_type"} {
				again[key] = d[key]
			}
			return func() error {
				made, _ := o.call(t, http.MethodPost, "cinder", "volumes", map[string]any{"volume": again})["volume"].(map[string]any)
				o.await(t, fmt.Sprint(made["id"]), "available")
				return nil
			}, nil
		}
		return nil, fmt.Errorf("no volume is %s", urn)
	}
}

package agent

import (
	"slices"
	"testing"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/wire"
)

func TestTheExchangeForgetsOrphansThatAreGone(t *testing.T) {
	s := newStage(t, fake.Config{})
	cloud, _ := s.platform.Open(t.Context(), owner, "", nil, nil)
	for _, id := range []string{"stray", "condemned"} {
		if _, err := cloud.Volumes.Ensure(t.Context(), driver.Volume{Meta: driver.Meta{ID: id, Name: id}, SizeGB: 1}); err != nil {
			t.Fatal(err)
		}
	}
	s.remove = []string{"condemned"}
	s.start()
	s.await("one is left", s.reported("stray"))
	if !s.platform.Vanish("stray") {
		t.Fatal("the orphan was removed without a verdict")
	}
	s.await("none is left", s.reported())
}

func TestAnAgentThatFindsNoOrphansSaysSo(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.orphans = []wire.Orphan{{ID: "of an earlier life"}}
	s.start()
	s.await("nothing is left of an earlier report", s.reported())
}

// reported tells whether the last report has these orphans and no others.
func (s *stage) reported(ids ...string) func() bool {
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.EqualFunc(s.orphans, ids, func(o wire.Orphan, id string) bool { return o.ID == id })
	}
}

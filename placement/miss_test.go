package placement_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/placement"
)

// TestMissWithoutDemand is refused wherever one is read, rather than to be fallen over later.
func TestMissWithoutDemand(t *testing.T) {
	bare := `{"had":"3","over":2}`
	for name, in := range map[string]struct {
		text string
		into any
	}{
		"a miss":      {bare, new(placement.Miss)},
		"a problem":   {`{"problem":` + bare + `}`, new(placement.Decision)},
		"an excluded": {`{"excluded":[{"group":"g","region":"r","provider":"p","misses":[` + bare + `]}]}`, new(placement.Decision)},
	} {
		if err := json.Unmarshal([]byte(in.text), in.into); !errors.Is(err, fault.Malformed) {
			t.Errorf("%s: got %v, want Malformed", name, err)
		}
	}
	var m placement.Miss
	if err := json.Unmarshal([]byte(`{"dimension":"zones","subject":"zones","needed":"at least 2","had":"1"}`), &m); err != nil || m.String() != "zones zones: needed at least 2, had 1" {
		t.Errorf("got %v, %v", m, err)
	}
}

package crash

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestOrdinaryBuildRefusesToBeTroubled: what users have cannot be made to die,
// or to do without a safeguard, and says so.
func TestOrdinaryBuildRefusesToBeTroubled(t *testing.T) {
	c := exec.CommandContext(t.Context(), build(t), "version")
	c.Env = append(os.Environ(), "KONTOR_FAILPOINT=off durable")
	out, err := c.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "build tag crucible") {
		t.Errorf("it says %q, %v; want that it refuses", out, err)
	}
}

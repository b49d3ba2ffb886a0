package lab

import (
	"os"
	"os/exec"
	"testing"
)

// TestLabRelease tries what a release consists of: see hack/release-test.
func TestLabRelease(t *testing.T) {
	if os.Getenv("KONTOR_LAB") != "1" {
		t.Skip("set KONTOR_LAB=1, as \"make lab\" does, to build and install a release")
	}
	if os.Getuid() != 0 {
		t.Skip("only root can install a package in a copy of this machine")
	}
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("not a Debian or Ubuntu")
	}
	out, err := exec.CommandContext(t.Context(), "../hack/release-test").CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

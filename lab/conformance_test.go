package lab

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/db/dbtest"
)

// impossible are the scenarios of the suite that an exchange fails because it
// passes others: each wants a missing thing refused that another scenario
// refers to before it makes it. RoleAssignmentLifeCycle, Network.ProviderLifeCycle
// and Usage.FoundationProviders are these others.
var impossible = []string{
	"Authorization.V1.RoleAssignmentError",
	"Network.V1.NicError",
	"Storage.V1.ImageError",
}

// scenarios is how many the suite has.
const scenarios = 55

// TestLabConformance promises that the public conformance suite passes but for
// the three scenarios that contradict others, on both databases.
func TestLabConformance(t *testing.T) {
	suite := need(t, "KONTOR_LAB_CONFORMANCE", "conformance")
	kontor := build(t)
	t.Run("sqlite", func(t *testing.T) {
		conform(t, suite, up(t, kontor, nil, "--fake", "1", "--profile", "suite"))
	})
	t.Run("postgres", func(t *testing.T) {
		url := dbtest.PostgresURL(t)
		conform(t, suite, up(t, kontor, nil, "--fake", "1", "--profile", "suite", "--db", url))
	})
}

func conform(t *testing.T, suite string, x *exchange) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	results := t.TempDir()
	c := exec.CommandContext(ctx, suite, "run",
		"--provider.region.v1="+x.url+"/providers/seca.region",
		"--provider.authorization.v1="+x.url+"/providers/seca.authorization",
		"--client.auth.token="+x.token, "--client.region="+x.region, "--client.tenant="+tenant,
		"--scenarios.users=alice@demo.example,bob@demo.example",
		"--scenarios.cidr=10.1.0.0/16", "--scenarios.public.ips=52.93.126.1/26",
		"--report.results.path="+results,
		"--retry.base.delay=0", "--retry.base.interval=0", "--retry.max.attempts=5000")
	c.Dir = t.TempDir()
	out, err := c.CombinedOutput() // it ends with 1 as soon as one scenario fails
	ran, failed := read(t, results)
	t.Logf("%d of %d scenarios pass", ran-len(failed), ran)
	if ran != scenarios {
		t.Errorf("the suite ran %d scenarios, want %d (%v):\n%s", ran, scenarios, err, tail(out))
	}
	var names []string
	for name, why := range failed {
		names = append(names, name)
		if !slices.Contains(impossible, name) {
			t.Errorf("%s: %s", name, why)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff(impossible, names); diff != "" {
		t.Errorf("scenarios that fail (-want +got):\n%s", diff)
	}
}

// tail is the end of what a program said.
func tail(out []byte) []byte { return out[max(0, len(out)-4000):] }

// A step is a part of a result in the format of Allure 2; the suite keeps the
// reason of a failure in the innermost.
type step struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Detail struct {
		Message string `json:"message"`
	} `json:"statusDetails"`
	Steps []step `json:"steps"`
}

func (s step) why() string {
	for _, inner := range s.Steps {
		if inner.Status != "passed" {
			return inner.Name + ": " + inner.why()
		}
	}
	return s.Detail.Message
}

// read counts the scenarios with a result, and tells which failed, and why.
func read(t *testing.T, dir string) (ran int, failed map[string]string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*-result.json"))
	if err != nil {
		t.Fatal(err)
	}
	failed = map[string]string{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s step
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatalf("read %s: %v", file, err)
		}
		if s.Status != "passed" {
			failed[s.Name] = s.why()
		}
	}
	return len(files), failed
}

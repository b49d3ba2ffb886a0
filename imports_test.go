package kontor_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/kontor-cloud/kontor/"

// may says which of our own packages each package may import. Arrows point
// from commands over edges and nouns to the base, never back or sideways.
var may = map[string]string{
	// base
	"fault": "", "money": "fault", "failpoint": "", "urn": "fault", "seca": "", "driver": "fault", "wire": "driver fault seca", "db": "failpoint fault", "db/dbtest": "db",
	"backup": "db fault", "certificate": "db envelope fault", "certificate/certificatetest": "", "envelope": "db failpoint fault", "job": "db fault", "telemetry": "", "envelope/envelopetest": "db envelope",
	"document": "fault", "policy": "document fault", "offer": "audit db document fault money", "placement": "fault money offer policy", "blueprint": "document fault placement policy", "policy/policytest": "document fault offer placement policy",
	"audit": "db fault", "openapi": "",
	// drivers know nothing of the exchange
	"driver/drivertest": "driver fault", "driver/fake": "driver fault",
	"driver/openstack": "driver fault",
	"driver/qemu":      "driver fault driver/qemu/vnet", "driver/qemu/vnet": "driver fault",
	// nouns, each importing only what stands before it
	"tenant":                "audit db envelope fault seca urn",
	"participant":           "audit db fault offer policy tenant",
	"provider":              "audit db driver envelope failpoint fault seca urn wire tenant",
	"resource":              "audit db driver failpoint fault seca urn wire tenant provider",
	"market":                "audit db driver envelope fault money offer participant placement policy provider",
	"resource/resourcetest": "db",
	// edges
	"issuer": "fault tenant",
	"api":    "audit blueprint db doctor driver failpoint fault job market money offer openapi participant placement policy seca urn wire telemetry tenant provider resource",
	"agent":  "driver failpoint fault seca urn wire telemetry",
	"client": "fault seca urn resource",
	"doctor": "document driver fault",
	// trials against programs of others
	"lab": "client fault resource seca",
	// tests of whole processes
	"crash": "client db/dbtest driver driver/fake driver/openstack driver/qemu failpoint fault resource seca wire",
	// the binary wires everything
	"cmd/kontor": "*",
}

// TestImportArrows holds the architecture.
func TestImportArrows(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}}: {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		name, imports, _ := strings.Cut(line, ":")
		name = strings.TrimPrefix(name, module)
		allowed, known := may[name]
		if !known {
			if name+"/" != module {
				t.Errorf("package %s has no row in this test: say what it may import", name)
			}
			continue
		}
		for i := range strings.FieldsSeq(imports) {
			own, isOwn := strings.CutPrefix(i, module)
			if isOwn && allowed != "*" && !slices.Contains(strings.Fields(allowed), own) {
				t.Errorf("%s must not import %s", name, own)
			}
			if i == "net/http" && slices.Contains([]string{"tenant", "participant", "offer", "provider", "resource", "db", "urn", "seca", "wire"}, name) {
				t.Errorf("%s must not know HTTP", name)
			}
		}
	}
}

package api

import (
	"context"
	"testing"

	"github.com/kontor-cloud/kontor/wire"
)

// TestAgentsHearInWhichTraceTheyAct: of the last wish, and only those who
// know what that is.
func TestAgentsHearInWhichTraceTheyAct(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		trace := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		w.Resources.Trace = func(context.Context) string { return trace }
		disk := region + "seca.storage" + shop + "/block-storages/disk"
		w.ok("acme-admin", "PUT", region+"seca.workspace"+shop, `{"spec":null}`)
		w.ok("acme-admin", "PUT", disk, aVolume)
		agent := w.intruder(w.agents())
		agent.join("r1")
		heard := func(capability int) string {
			t.Helper()
			for _, r := range agent.follow(capability, 0, 0).Resources {
				if r.Kind == "block-storage" {
					return r.Trace
				}
			}
			t.Fatal("nothing is wanted")
			return ""
		}
		if got := heard(wire.Tracing); got != trace {
			t.Errorf("heard %q, want %q", got, trace)
		}
		if got := heard(wire.Tracing - 1); got != "" {
			t.Errorf("an old agent hears %q", got)
		}
		trace = ""
		w.ok("acme-admin", "DELETE", disk, "")
		if got := heard(wire.Tracing); got != "" {
			t.Errorf("heard %q of a wish before", got)
		}
	})
}

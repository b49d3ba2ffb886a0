package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/wire"
)

const (
	straysPath = "/providers/kontor.exchange/v1/regions/r1/strays"
	importPath = "/providers/kontor.exchange/v1/regions/r1/import"
)

// follow is a poll by an agent of a certain age.
func (i *intruder) follow(capability int, since int64, wait time.Duration) (c wire.Changes) {
	i.w.t.Helper()
	b, err := json.Marshal(wire.Follow{Since: since, Wait: wait})
	check(i.w.t, err)
	r, err := http.NewRequestWithContext(i.w.t.Context(), http.MethodPost, i.url+wire.PathChanges, bytes.NewReader(b))
	check(i.w.t, err)
	r.Header.Set(wire.HeaderCapability, strconv.Itoa(capability))
	resp, err := i.http.Do(r)
	check(i.w.t, err)
	defer resp.Body.Close()
	check(i.w.t, json.NewDecoder(resp.Body).Decode(&c))
	return c
}

// asked sends a request, and answers as the agent what the exchange wants to
// know of it.
func (w *world) asked(agent *intruder, as, method, path, body string, known any) (int, string) {
	w.t.Helper()
	type answer struct {
		status int
		body   string
	}
	done := make(chan answer, 1)
	go func() {
		status, b := w.do(as, method, path, body)
		done <- answer{status, b}
	}()
	for {
		select {
		case a := <-done:
			return a.status, a.body
		default:
		}
		for _, q := range agent.follow(wire.Capability, 1<<40, 100*time.Millisecond).Requests {
			b, err := json.Marshal(known)
			check(w.t, err)
			agent.post(wire.PathAnswers, wire.Answer{ID: q.ID, Body: b}, nil)
		}
	}
}

var found = []wire.Stray{
	{Kind: "block-storage", Native: "d1", Spec: json.RawMessage(`{"sizeGB":7,"skuRef":{"resource":"skus/seca.rd100"}}`)},
	{Kind: "block-storage", Native: "d2", Spec: json.RawMessage(`{"sizeGB":0,"skuRef":{"resource":"skus/seca.rd100"}}`)},
	{Kind: "instance", Native: "v1", Power: "on", Spec: json.RawMessage(`{"skuRef":{"resource":"skus/seca.d2xs"},"zone":"a","bootVolume":{"deviceRef":{"resource":"foreign:d1"}}}`)},
	{Kind: "network", Native: "n1", Spec: json.RawMessage(`null`), Problems: []string{"it has no address range"}},
}

func TestImportIsForOperatorsAlone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for _, who := range []string{"acme-admin", "zeta-admin"} {
			if status, _ := w.do(who, "GET", straysPath, ""); status != 403 {
				t.Errorf("%s sees strays: %d", who, status)
			}
			if status, _ := w.do(who, "POST", importPath, `{}`); status != 403 {
				t.Errorf("%s imports: %d", who, status)
			}
		}
		if status, _ := w.do("", "GET", straysPath, ""); status != 401 {
			t.Errorf("nobody sees strays: %d", status)
		}
	})
}

func TestImportIsAllOrNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.ok("acme-admin", "PUT", region+"seca.workspace"+shop, `{"spec":null}`)
		agent := w.intruder(w.agents())
		agent.join("r1")
		try := func(apply bool, items string) (int, string) {
			body := `{"tenant":"acme","workspace":"shop","apply":` + strconv.FormatBool(apply) + `,"items":[` + items + `]}`
			return w.asked(agent, "op", "POST", importPath, body, found)
		}
		const both = `{"native":"v1","name":"vm"},{"native":"d1","name":"disk"}`
		for _, refused := range []struct {
			items  string
			status int
		}{
			{`{"native":"d1","name":"disk"},{"native":"n1","name":"net"}`, 409},  // no words for one
			{`{"native":"d1","name":"disk"},{"native":"d2","name":"none"}`, 422}, // breaks a rule
			{`{"native":"d1","name":"disk"},{"native":"d3","name":"gone"}`, 409},
			{`{"native":"v1","name":"vm"}`, 409}, // its disk is not chosen
			{``, 422},
		} {
			if status, b := try(true, refused.items); status != refused.status {
				t.Errorf("%s: %d %s", refused.items, status, b)
			}
		}
		if status, b := try(false, both); status != 200 || !strings.Contains(b, `"applied":false`) || !strings.Contains(b, `"block-storages/disk"`) {
			t.Errorf("the difference: %d %s", status, b)
		}
		if n, err := w.Resources.Count(t.Context(), "r1", "acme", "shop"); err != nil || n != 0 {
			t.Fatalf("%d resources after nothing was done, %v", n, err)
		}
		for _, action := range []string{`"action":"adopt"`, `"action":"none"`} { // once more is nothing more
			if status, b := try(true, both); status != 200 || strings.Count(b, action) != 2 {
				t.Errorf("%d %s", status, b)
			}
		}
		if n, err := w.Resources.Count(t.Context(), "r1", "acme", "shop"); err != nil || n != 2 {
			t.Errorf("%d resources, %v", n, err)
		}
		adopts := map[string]string{}
		for _, r := range agent.follow(wire.Adopting, 0, 0).Resources {
			adopts[r.Adopt] = string(r.Power)
		}
		if len(adopts) != 2 || adopts["v1"] != "on" {
			t.Errorf("the agent is told to adopt %v", adopts)
		}
		if old := agent.follow(wire.Adopting-1, 0, 0).Resources; len(old) != 0 {
			t.Errorf("an agent that would make them is told of %+v", old)
		}
	})
}

// TestThingIsImportedOnce has two who read the same list and do not know of
// each other.
func TestThingIsImportedOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.ok("acme-admin", "PUT", region+"seca.workspace"+shop, `{"spec":null}`)
		r, err := w.Providers.Snapshot().Region("r1")
		check(t, err)
		k, _ := resource.KindNamed("block-storage")
		env := resource.Env{Region: "r1", Kinds: r.Kinds, Inventory: &r.Inventory}
		one := func(name string) error {
			return w.Resources.Import(t.Context(), []resource.Import{{Kind: k, URN: k.URN("acme", "shop", "", name), Native: "d1", Spec: found[0].Spec}}, env)
		}
		check(t, one("a"))
		if err := one("b"); fault.KindOf(err) != fault.Conflict {
			t.Errorf("the same thing twice: %v", err)
		}
		if err := one("a"); fault.KindOf(err) != fault.Conflict {
			t.Errorf("the same name twice: %v", err)
		}
	})
}

package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

const (
	quotesPath = "/providers/kontor.exchange/v1" + "/tenants/acme/quotes"
	ordersPath = "/providers/kontor.exchange/v1" + "/tenants/acme/orders"

	// shopFiles are a machine with its volume.
	shopFiles = `
		{"kind":"block-storage","metadata":{"name":"disk","workspace":"web"},"spec":{"skuRef":{"resource":"skus/seca.rd100"},"sizeGB":10}},
		{"kind":"instance","metadata":{"name":"vm","workspace":"web"},"spec":{"zone":"a","skuRef":{"resource":"skus/seca.ds"},"bootVolume":{"deviceRef":{"resource":"block-storages/disk"}}}}`
)

// bought is what the tests look at of quotes and orders.
type boughtView struct {
	Metadata struct{ Name string }
	Status   struct {
		State, Decision, Region, Product string
		Chosen                           []struct{ Group, Region string }
		Made                             []partView
	}
}

// buys quotes and orders.
func (w *world) buys(spec string) (q, o boughtView) {
	w.t.Helper()
	q = decoded[boughtView](w.t, w.ok("acme-admin", "POST", quotesPath, `{"spec":{`+spec+`}}`))
	o = decoded[boughtView](w.t, w.ok("acme-admin", "POST", quotesPath+"/"+q.Metadata.Name+"/order", ""))
	return q, o
}

func (w *world) order(o boughtView) boughtView {
	w.t.Helper()
	return decoded[boughtView](w.t, w.ok("acme-admin", "GET", ordersPath+"/"+o.Metadata.Name, ""))
}

// TestAnOrderMakesWhatItsQuoteDescribes also has it ended, as one.
func TestAnOrderMakesWhatItsQuoteDescribes(t *testing.T) {
	eachTraded(t, func(t *testing.T, w *world) {
		q, o := w.buys(`"documents":[` + shopFiles + `]`)
		if o.Status.Region != "eu" || len(q.Status.Chosen) != 1 || q.Status.Chosen[0].Region != "rhone" {
			t.Errorf("quoted %+v", q)
		}
		wanted := w.follows("rhone")
		if len(wanted) != 2 || !slices.ContainsFunc(wanted, func(r wire.Resource) bool { return strings.Contains(string(r.Spec), "skus/rhone.small") }) {
			t.Errorf("rhone is to make %+v", wanted)
		}
		made := w.order(o).Status.Made
		if kinds := partKinds(made); !slices.Equal(kinds, []string{"workspace", "instance", "block-storage"}) || made[2].Region != "rhone" {
			t.Errorf("the order has made %+v", made)
		}
		again := decoded[boughtView](t, w.ok("acme-admin", "POST", quotesPath+"/"+q.Metadata.Name+"/order", ""))
		if again.Metadata.Name != o.Metadata.Name || len(w.follows("rhone")) != 2 {
			t.Errorf("ordered again: %+v", again)
		}
		w.ok("acme-admin", "PUT", inEU+"seca.storage/v1/tenants/acme/workspaces/web/block-storages/mine", aVolume)
		if status, b := w.do("acme-admin", "DELETE", ordersPath+"/"+o.Metadata.Name, ""); status != http.StatusConflict || !strings.Contains(b, "block-storages/mine") {
			t.Errorf("something of the customer's is in it: %d %s", status, b)
		}
		if status, b := w.do("zeta-admin", "DELETE", ordersPath+"/"+o.Metadata.Name+"?all=true", ""); status != http.StatusForbidden {
			t.Errorf("by a stranger: %d %s", status, b)
		}
		for range 2 {
			if status, b := w.do("acme-admin", "DELETE", ordersPath+"/"+o.Metadata.Name+"?all=true", ""); status != http.StatusAccepted {
				t.Errorf("%d %s", status, b)
			}
		}
		for _, p := range w.order(o).Status.Made {
			if p.State != seca.Deleting {
				t.Errorf("%s is %s", p.Ref, p.State)
			}
		}
	})
}

func partKinds(all []partView) (kinds []string) {
	for _, p := range all {
		kinds = append(kinds, p.Kind)
	}
	return kinds
}

// TestWhatCannotBeMadeIsNotQuoted has nothing promised for it, either.
func TestWhatCannotBeMadeIsNotQuoted(t *testing.T) {
	eachTraded(t, func(t *testing.T, w *world) {
		doc := func(change ...string) string {
			return `"documents":[` + strings.NewReplacer(change...).Replace(shopFiles) + `]`
		}
		for _, x := range []struct{ spec, says string }{
			{doc(`"zone":"a"`, `"zone":"lyon-1"`), "/spec/documents/1/spec/zone"},
			{doc(`"name":"vm"`, `"name":"V M"`), "/spec/documents/1/metadata/name"},
			{doc(`"kind":"instance"`, `"kind":"role"`), "/spec/documents/1/kind"},
			{doc(`"sizeGB":10`, `"sizeGB":-1`), "/spec/documents/0/spec/gib"},
			{doc(`"workspace":"web"},"spec":{"zone"`, `"workspace":"web"},"annotations":{"kontor.exchange/group":"b"},"spec":{"zone"`), "one place only"},
			{doc() + `,"region":"de"`, "/spec/region"},
			{doc() + `,"region":"german.zeta"`, "/spec/region"},
			{doc() + `,"away":["nobody"]`, "/spec/away/0"},
			{doc() + `,"away":["rhone","elbe"]`, "no region fits"},
			{doc() + `,"blueprint":{"name":"server"}`, "/spec/documents"},
			{`"blueprint":{"name":"servr"}`, "did you mean server"},
			{`"blueprint":{"name":"server","parameters":{"name":"x"}}`, "/spec/blueprint/parameters/image"},
		} {
			if status, b := w.do("acme-admin", "POST", quotesPath, `{"spec":{`+x.spec+`}}`); status != http.StatusUnprocessableEntity || !strings.Contains(b, x.says) {
				t.Errorf("%s: %d %s", x.spec, status, b)
			}
		}
		if all := decoded[seca.List[json.RawMessage]](t, w.ok("acme-admin", "GET", quotesPath, "")); len(all.Items) > 0 {
			t.Errorf("quoted %s", all.Items)
		}
	})
}

// TestANameThatIsTakenStopsTheOrder has all of it stopped, as nothing is ordered by halves.
func TestANameThatIsTakenStopsTheOrder(t *testing.T) {
	eachTraded(t, func(t *testing.T, w *world) {
		lost := decoded[boughtView](t, w.ok("acme-admin", "POST", quotesPath, `{"spec":{"documents":[`+strings.Replace(shopFiles, "block-storages/disk", "block-storages/lost", 1)+`]}}`))
		if status, b := w.do("acme-admin", "POST", quotesPath+"/"+lost.Metadata.Name+"/order", ""); status != http.StatusUnprocessableEntity || !strings.Contains(b, "/documents/1/spec/bootVolume") {
			t.Errorf("a volume that is not there: %d %s", status, b)
		}
		q := decoded[boughtView](t, w.ok("acme-admin", "POST", quotesPath, `{"spec":{"documents":[`+shopFiles+`]}}`))
		w.ok("acme-admin", "PUT", inEU+"seca.workspace"+acme+"/workspaces/web", `{"spec":null}`)
		if status, b := w.do("acme-admin", "POST", quotesPath+"/"+q.Metadata.Name+"/order", ""); status != http.StatusConflict || !strings.Contains(b, "workspaces/web") {
			t.Errorf("%d %s", status, b)
		}
		if all := w.follows("rhone"); len(all) > 0 {
			t.Errorf("made %+v", all)
		}
		if q := decoded[boughtView](t, w.ok("acme-admin", "GET", quotesPath+"/"+q.Metadata.Name, "")); q.Status.State != "open" {
			t.Errorf("the quote is %s", q.Status.State)
		}
	})
}

// TestABlueprintIsOneThing has a backup at another owner than what it is a backup of.
func TestABlueprintIsOneThing(t *testing.T) {
	eachTraded(t, func(t *testing.T, w *world) {
		status, b := w.do("acme-admin", "POST", quotesPath, `{"spec":{"blueprint":{"name":"offsite-backup","parameters":{"name":"b","from":"rhone","key":"ssh-ed25519 AAAA","image":"tiny"}}}}`)
		if status != http.StatusUnprocessableEntity || !strings.Contains(b, "no region fits") { // nobody here is controlled from the Union
			t.Errorf("%d %s", status, b)
		}
	})
}

// says has the agent of a region report one state of all that it is to make, as present or gone.
func (w *world) says(region string, state seca.State, presence wire.Presence) {
	w.t.Helper()
	var all []wire.Observation
	for _, r := range w.follows(region) {
		all = append(all, wire.Observation{ID: r.ID, Generation: r.Generation, State: state, Presence: presence, Reason: "Test", Message: "as the test says"})
	}
	_, err := w.Resources.Observe(w.t.Context(), region, all)
	check(w.t, err)
}

func (w *world) looksAfterOrders(later time.Duration) {
	w.t.Helper()
	check(w.t, w.FollowOrders(w.t.Context(), time.Now().Add(later)))
}

func TestAnOrderEndsWhenNothingIsLeft(t *testing.T) {
	eachTraded(t, func(t *testing.T, w *world) {
		_, o := w.buys(`"documents":[` + shopFiles + `]`)
		w.looksAfterOrders(0)
		if got := w.order(o).Status.State; got != "creating" {
			t.Errorf("new, it is %s", got)
		}
		w.says("rhone", seca.Active, wire.Present)
		if got := w.order(o).Status.State; got != "active" {
			t.Errorf("made, it is %s", got)
		}
		if all := decoded[seca.List[boughtView]](t, w.ok("acme-admin", "GET", ordersPath, "")).Items; len(all) != 1 || all[0].Status.State != "active" {
			t.Errorf("listed is %+v", all)
		}
		w.looksAfterOrders(time.Hour)
		w.says("rhone", seca.Error, wire.Present)
		w.looksAfterOrders(time.Hour)
		if got := w.order(o).Status.State; got != "error" {
			t.Errorf("what stood once is not taken back, but it is %s", got)
		}
		if status, b := w.do("acme-admin", "DELETE", ordersPath+"/"+o.Metadata.Name, ""); status != http.StatusAccepted {
			t.Fatalf("%d %s", status, b)
		}
		w.looksAfterOrders(0)
		if got := w.order(o).Status.State; got != "deleting" {
			t.Errorf("as long as something is there it is %s", got)
		}
		w.says("rhone", seca.Deleting, wire.Absent)
		w.looksAfterOrders(0)
		if got := w.order(o).Status; got.State != "ended" || len(got.Made) > 0 {
			t.Errorf("at the end it is %+v", got)
		}
	})
}

// TestWhatCannotBeMadeIsTakenBack as a whole, and not before its platform had time.
func TestWhatCannotBeMadeIsTakenBack(t *testing.T) {
	eachTraded(t, func(t *testing.T, w *world) {
		_, o := w.buys(`"documents":[` + shopFiles + `]`)
		w.says("rhone", seca.Error, wire.Absent)
		w.looksAfterOrders(time.Minute)
		if got := w.order(o).Status.State; got != "error" {
			t.Errorf("after a minute it is %s", got)
		}
		w.looksAfterOrders(3 * time.Minute)
		got := decoded[struct{ Status orderStatus }](t, w.ok("acme-admin", "GET", ordersPath+"/"+o.Metadata.Name, "")).Status
		if got.State != "failed" || !strings.Contains(got.Problem, "region rhone: Test: as the test says") {
			t.Errorf("after three it is %s, %s", got.State, got.Problem)
		}
		for _, p := range got.Made {
			if p.State != seca.Deleting {
				t.Errorf("%s is %s", p.Ref, p.State)
			}
		}
		w.says("rhone", seca.Deleting, wire.Absent)
		w.looksAfterOrders(3 * time.Minute)
		if got := w.order(o).Status; len(got.Made) > 0 {
			t.Errorf("left is %+v", got.Made)
		}
	})
}

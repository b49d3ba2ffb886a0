package crash

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"
)

// TestLabImportOnOpenStack has Kontor list and take over what somebody made in
// the project with the platform's own tools. Until it is told to, it writes
// nothing at all; then, its mark and nothing else.
func TestLabImportOnOpenStack(t *testing.T) {
	o := needOpenStack(t)
	hand := o.byHand(t)
	w := newWorld(t, seeded(t), "", o)
	before := o.documents(t)

	strays := w.kontor("region", "strays", region)
	for _, kind := range []string{"network", "subnet", "security-group", "public-ip", "nic", "block-storage", "instance"} {
		if !strings.Contains(strays, hand[kind]) {
			t.Errorf("the %s %s is no stray:\n%s", kind, hand[kind], strays)
		}
	}
	choice := []string{"region", "import", region}
	for _, kind := range slices.Sorted(maps.Keys(hand)) {
		if kind != "router" {
			choice = append(choice, kind+"/"+hand[kind]+"=old")
		}
	}
	if said := w.kontor(choice...); !strings.Contains(said, "block-storages/old") || strings.Contains(said, "refuse") {
		t.Errorf("what an import would do:\n%s", said)
	}
	if d := cmp.Diff(before, o.documents(t)); d != "" {
		t.Fatalf("looking at it has changed the project:\n%s", d)
	}

	w.kontor(append(choice, "--yes")...)
	for _, kind := range []string{"network", "security-group", "public-ip", "nic", "block-storage", "instance"} {
		w.kontor("wait", kind, "old", "--for", "state=active")
	}
	if d := cmp.Diff(untagged(before), untagged(o.documents(t))); d != "" {
		t.Errorf("the import has changed more than its tags:\n%s", d)
	}
	if said, at := w.kontor("describe", "public-ip", "old"), fmt.Sprint(before[hand["public-ip"]]["floating_ip_address"]); !strings.Contains(said, at) {
		t.Errorf("the public address is %s, and shown as:\n%s", at, said)
	}
	w.resync()
	if left := w.kontor("region", "strays", region); strings.Contains(left, hand["instance"]) || strings.Contains(left, hand["network"]) {
		t.Errorf("still strays:\n%s", left)
	}

	// From now on it is a resource like others; what is not ours stays.
	w.kontor("delete", "instance", "old", "--yes", "--wait")
	now := o.documents(t)
	if now[hand["instance"]] != nil || now[hand["block-storage"]] == nil || now[hand["router"]] == nil {
		t.Errorf("after the deletion of the machine: machine %v, volume %v, router %v", now[hand["instance"]], now[hand["block-storage"]], now[hand["router"]])
	}
}

// untagged is a project without what an adoption writes, and without the times
// and counts that platforms keep of writing.
func untagged(all map[string]map[string]any) map[string]map[string]any {
	out := map[string]map[string]any{}
	for id, d := range all {
		d = maps.Clone(d)
		for _, key := range []string{"tags", "description", "metadata", "updated_at", "updated", "revision_number"} {
			delete(d, key)
		}
		out[id] = d
	}
	return out
}

// kontor runs the command line and returns what it says.
func (w *world) kontor(args ...string) string {
	w.t.Helper()
	exchange := w.exchange.args
	c := exec.CommandContext(w.t.Context(), exchange[0], args...)
	c.Env = append(os.Environ(),
		"KONTOR_URL=http://"+exchange[slices.Index(exchange, "--listen")+1], "KONTOR_TOKEN_FILE="+filepath.Join(w.dir, "exchange", "admin.token"),
		"KONTOR_TENANT="+tenant, "KONTOR_REGION="+region, "KONTOR_WORKSPACE="+workspace, "HOME="+w.dir)
	out, err := c.CombinedOutput()
	if err != nil {
		w.t.Fatalf("kontor %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// byHand makes a machine in a network of its own behind a router, with a public
// address, and removes all of it with the test. It gives their ids, by SECA's
// kinds.
func (o *openstackCloud) byHand(t *testing.T) map[string]string {
	t.Helper()
	external := o.first(t, "neutron", "networks?router:external=true", "networks", "")
	image := o.first(t, "glance", "images?name="+o.image, "images", "")
	flavor := o.first(t, "nova", "flavors", "flavors", o.sku)
	ids := map[string]string{}
	ids["network"] = o.create(t, "neutron", "networks", "network", map[string]any{"name": "old", "description": "made by hand"})
	ids["subnet"] = o.create(t, "neutron", "subnets", "subnet", map[string]any{"name": "old", "network_id": ids["network"], "cidr": "10.66.1.0/24", "ip_version": 4})
	ids["router"] = o.create(t, "neutron", "routers", "router", map[string]any{"name": "old", "external_gateway_info": map[string]any{"network_id": external}})
	o.call(t, http.MethodPut, "neutron", "routers/"+ids["router"]+"/add_router_interface", map[string]any{"subnet_id": ids["subnet"]})
	t.Cleanup(func() {
		o.call(t, http.MethodPut, "neutron", "routers/"+ids["router"]+"/remove_router_interface", map[string]any{"subnet_id": ids["subnet"]})
	})
	ids["security-group"] = o.create(t, "neutron", "security-groups", "security_group", map[string]any{"name": "old", "description": "web"})
	o.call(t, http.MethodPost, "neutron", "security-group-rules", map[string]any{"security_group_rule": map[string]any{
		"security_group_id": ids["security-group"], "direction": "ingress", "protocol": "tcp", "port_range_min": 80, "port_range_max": 80, "remote_ip_prefix": "0.0.0.0/0",
	}})
	ids["nic"] = o.create(t, "neutron", "ports", "port", map[string]any{"name": "old", "network_id": ids["network"], "security_groups": []string{ids["security-group"]}})
	ids["public-ip"] = o.create(t, "neutron", "floatingips", "floatingip", map[string]any{"floating_network_id": external, "port_id": ids["nic"]})
	ids["block-storage"] = o.create(t, "cinder", "volumes", "volume", map[string]any{"name": "old", "size": 1, "imageRef": image, "metadata": map[string]string{"made": "by hand"}})
	o.await(t, ids["block-storage"], "available")
	ids["instance"] = o.create(t, "nova", "servers", "server", map[string]any{
		"name": "old", "flavorRef": flavor, "networks": []any{map[string]string{"port": ids["nic"]}},
		"block_device_mapping_v2": []any{map[string]any{"boot_index": 0, "uuid": ids["block-storage"], "source_type": "volume", "destination_type": "volume"}},
	})
	o.await(t, ids["instance"], "ACTIVE")
	o.await(t, ids["nic"], "ACTIVE")
	o.await(t, ids["public-ip"], "ACTIVE")
	return ids
}

// create makes a thing, and removes it with the test unless it is gone by then.
func (o *openstackCloud) create(t *testing.T, service, path, key string, body map[string]any) string {
	t.Helper()
	made, _ := o.call(t, http.MethodPost, service, path, map[string]any{key: body})[key].(map[string]any)
	id := fmt.Sprint(made["id"])
	t.Cleanup(func() {
		o.call(t, http.MethodDelete, service, path+"/"+id, nil)
		o.await(t, id, "")
	})
	return id
}

// await polls until a thing has a status; "" is that of what is gone.
func (o *openstackCloud) await(t *testing.T, id, status string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(2 * time.Second) {
		d := o.documents(t)[id]
		have, _ := d["status"].(string)
		if have == status && (status != "" || d == nil) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %q, want %q: %v", id, have, status, d)
		}
	}
}

// first finds a thing by name, or takes the first of a list.
func (o *openstackCloud) first(t *testing.T, service, path, key, name string) string {
	t.Helper()
	list, _ := o.call(t, http.MethodGet, service, path, nil)[key].([]any)
	for _, x := range list {
		if d, _ := x.(map[string]any); name == "" || d["name"] == name {
			return fmt.Sprint(d["id"])
		}
	}
	t.Fatalf("no %s %q", path, name)
	return ""
}

// call asks a service. What is to be removed may be gone.
func (o *openstackCloud) call(t *testing.T, method, service, path string, body map[string]any) map[string]any {
	t.Helper()
	var answer map[string]any
	s := o.services[service]
	opts := &gophercloud.RequestOpts{OkCodes: []int{200, 201, 202, 204}}
	if body != nil {
		opts.JSONBody = body
	}
	if method == http.MethodDelete {
		opts.OkCodes = append(opts.OkCodes, 404)
	} else {
		opts.JSONResponse = &answer
	}
	resp, err := s.Request(context.WithoutCancel(t.Context()), method, s.ServiceURL(path), opts)
	if _, _, err = gophercloud.ParseResponse(resp, err); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer
}

package crash

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"
	stack "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/openstack"
	"github.com/kontor-cloud/kontor/seca"
)

// An openstackCloud is a project of a real OpenStack.
type openstackCloud struct {
	clouds, cloud, image, sku string
	services                  map[string]*gophercloud.ServiceClient // Nova and its like, asked without Kontor
}

// needOpenStack reads where the cloud is from the environment, as the tests of
// the driver do.
func needOpenStack(t *testing.T) *openstackCloud {
	t.Helper()
	o := &openstackCloud{clouds: os.Getenv("KONTOR_LAB_OPENSTACK_CLOUDS"), cloud: "demo", image: "testbed", sku: "t1.nano"}
	if os.Getenv("KONTOR_LAB") == "" {
		t.Skip("slow: set KONTOR_LAB=1")
	}
	if o.clouds == "" {
		t.Skip("set KONTOR_LAB_OPENSTACK_CLOUDS to the path of a clouds.yaml")
	}
	for name, field := range map[string]*string{"CLOUD": &o.cloud, "IMAGE": &o.image, "SKU": &o.sku} {
		if v := os.Getenv("KONTOR_LAB_OPENSTACK_" + name); v != "" {
			*field = v
		}
	}
	if err := o.login(t.Context()); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *openstackCloud) login(ctx context.Context) error {
	auth, where, tls, err := clouds.Parse(clouds.WithCloudName(o.cloud), clouds.WithLocations(o.clouds))
	if err != nil {
		return err
	}
	auth.AllowReauth = true
	p, err := config.NewProviderClient(ctx, auth, config.WithTLSConfig(tls))
	if err != nil {
		return err
	}
	o.services = map[string]*gophercloud.ServiceClient{}
	for name, find := range map[string]func(*gophercloud.ProviderClient, gophercloud.EndpointOpts) (*gophercloud.ServiceClient, error){
		"nova": stack.NewComputeV2, "cinder": stack.NewBlockStorageV3, "neutron": stack.NewNetworkV2, "glance": stack.NewImageV2,
	} {
		if o.services[name], err = find(p, where); err != nil {
			return err
		}
	}
	return nil
}

func (o *openstackCloud) driver() (name, config string) {
	return "openstack", fmt.Sprintf(`{"cloud": %q, "clouds": %q, "configDrive": false}`, o.cloud, o.clouds)
}

// look asks beside the agent: many may have the platform.
func (o *openstackCloud) look(w *world, do func(*driver.Cloud)) {
	_, config := o.driver()
	do(w.cloud(openstack.Open, w.agentDir, config))
}

// items are a machine that serves a page, in a network of its own, with a public
// address and a second volume.
func (o *openstackCloud) items(w *world, n int) []item {
	name := fmt.Sprintf("s%d", n)
	spec := func(text string) string {
		return strings.NewReplacer("NAME", name, "NET", strconv.Itoa(40+n), "IMAGE", o.image, "SIZE", o.sku).Replace(text)
	}
	return []item{
		w.item("network", "", name, spec(`{"cidr": {"ipv4": "10.NET.0.0/16"}, "skuRef": {"resource": "skus/seca.n1k"}}`)),
		w.item("internet-gateway", "", name, `{}`),
		w.item("routing-table", name, name, spec(`{"routes": [{"destinationCidrBlock": "0.0.0.0/0", "targetRef": {"resource": "internet-gateways/NAME"}}]}`)),
		w.item("subnet", name, name, spec(`{"cidr": {"ipv4": "10.NET.1.0/24"}, "routeTableRef": {"resource": "route-tables/NAME"}}`)),
		w.item("security-group", "", name, `{"rules": [{"direction": "ingress", "protocol": "tcp", "ports": {"from": 80}}, {"direction": "egress"}]}`),
		w.item("public-ip", "", name, `{"version": "IPv4"}`),
		w.item("nic", "", name, spec(`{"subnetRef": {"resource": "networks/NAME/subnets/NAME"}, "addresses": ["0.0.0.0"],
			"publicIpRefs": [{"resource": "public-ips/NAME"}], "securityGroupRefs": [{"resource": "security-groups/NAME"}]}`)),
		w.item("block-storage", "", name, spec(`{"sizeGB": 1, "skuRef": {"resource": "skus/default"}, "sourceImageRef": {"resource": "tenants/public/images/IMAGE"}}`)),
		w.item("block-storage", "", name+"-data", `{"sizeGB": 1, "skuRef": {"resource": "skus/default"}}`),
		w.item("instance", "", name, spec(`{"skuRef": {"resource": "skus/SIZE"}, "antiAffinityGroup": "NAME", "primaryNicRef": {"resource": "nics/NAME"},
			"bootVolume": {"deviceRef": {"resource": "block-storages/NAME"}}, "dataVolumes": [{"deviceRef": {"resource": "block-storages/NAME-data"}}],
			"userData": "#!/bin/sh\necho NAME was here > /www/index.html\n"}`)),
	}
}

// documents lists what a project has, as Nova, Cinder, Neutron and Glance tell,
// by native id. What Neutron makes by itself for a network is left out.
func (o *openstackCloud) documents(t *testing.T) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, c := range []struct{ service, path, key string }{
		{"nova", "servers/detail", "servers"},
		{"nova", "os-server-groups", "server_groups"},
		{"cinder", "volumes/detail", "volumes"},
		{"cinder", "snapshots", "snapshots"},
		{"glance", "images", "images"},
		{"neutron", "networks", "networks"},
		{"neutron", "subnets", "subnets"},
		{"neutron", "routers", "routers"},
		{"neutron", "ports", "ports"},
		{"neutron", "floatingips", "floatingips"},
		{"neutron", "security-groups", "security_groups"},
	} {
		var body map[string]any
		s := o.services[c.service]
		resp, err := s.Get(context.WithoutCancel(t.Context()), s.ServiceURL(strings.Split(c.path, "/")...), &body, nil)
		if _, _, err = gophercloud.ParseResponse(resp, err); err != nil {
			t.Fatalf("list %s: %v", c.path, err)
		}
		list, _ := body[c.key].([]any)
		for _, x := range list {
			thing, _ := x.(map[string]any)
			if owner, _ := thing["device_owner"].(string); strings.HasPrefix(owner, "network:") {
				continue
			}
			thing["collection"] = c.key
			all[fmt.Sprint(thing["id"])] = thing
		}
	}
	return all
}

// census says in short what a project has, by native id.
func (o *openstackCloud) census(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for id, d := range o.documents(t) {
		all[id] = fmt.Sprintf("%s %v (%v)", d["collection"], d["name"], d["status"])
	}
	return all
}

// only compares what has come to a project with what was promised: nothing is
// there that was not, nothing twice, and nothing is missing. A group of machines
// on different hosts is no promise of its own, and there as long as the machines.
func (o *openstackCloud) only(t *testing.T, before map[string]string, c *customer) {
	t.Helper()
	var want, have []string
	for _, r := range c.promised() {
		want = append(want, r.Native)
	}
	now := o.census(t)
	for id, what := range now {
		if before[id] == "" && (len(want) == 0 || !strings.HasPrefix(what, "server_groups ")) {
			have = append(have, id)
		}
	}
	for id, what := range before {
		if now[id] == "" {
			t.Errorf("%s %s was there before and is not", what, id)
		}
	}
	slices.Sort(want)
	slices.Sort(have)
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("promised (-), in the project (+):\n%s\n%v", d, now)
	}
	t.Logf("the project has %d things more than before, %d were promised", len(have), len(want))
}

// TestLabDemoOnOpenStack is the demonstration's order on a real OpenStack: a
// machine with volumes, a security group and a public address serves its page,
// and leaves an empty project.
func TestLabDemoOnOpenStack(t *testing.T) {
	o := needOpenStack(t)
	before := o.census(t)
	w := newWorld(t, seeded(t), "", o)
	c := w.aCustomer(10 * time.Minute)
	all := w.slots(c, seeded(t), 1, 0)
	w.switchOn(all)
	w.compare(c, all)
	w.wait(c.patient, "the page of the machine", func() error { return w.page(all[0]) })
	w.resync()
	w.platform(c)
	o.only(t, before, c)
	w.clear(c, all)
	o.only(t, before, c)
}

// page fetches what the machine of a slot serves.
func (w *world) page(s *slot) error {
	var at string
	for _, i := range s.items {
		if i.kind.Name == "public-ip" {
			have, err := s.get(w.t.Context(), i)
			if err != nil {
				return err
			}
			at = web(have)
		}
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	if err == nil && !strings.Contains(string(b), "was here") {
		err = fmt.Errorf("%s serves %q", at, b)
	}
	return err
}

// TestLabKillsAtRandomMomentsOnOpenStack is the promise of the fake cloud kept by
// a cloud that others wrote.
func TestLabKillsAtRandomMomentsOnOpenStack(t *testing.T) {
	o := needOpenStack(t)
	before := o.census(t)
	rng := seeded(t)
	w := newWorld(t, rng, "", o)
	c := w.aCustomer(10 * time.Minute)
	all := w.slots(c, rng, 2, 20*time.Second)
	k := &killer{rng: rng, longest: time.Minute, log: t.Logf, victims: []victim{
		again(w.agent), again(w.exchange), again(w.agent), both(w.exchange, w.agent),
	}}
	w.endure(c, all, k, 10)

	w.compare(c, all)
	w.resync()
	w.platform(c)
	o.only(t, before, c)
	for _, s := range all {
		if vm := s.items[len(s.items)-1]; s.promiseOf(vm).power == seca.On {
			w.wait(c.patient, "the page of "+vm.urn, func() error { return w.page(s) })
		}
	}
	w.clear(c, all)
	o.only(t, before, c)
}

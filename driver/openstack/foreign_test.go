package openstack_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// byHand puts a network and a group into a made up cloud that no exchange made.
func (s *stack) byHand() {
	common := func(id string) row {
		return row{"id": id, "name": "old", "description": "of the shop", "project_id": theProject, "tags": []string{"theirs"}, "created_at": "2024-01-02T03:04:05Z"}
	}
	group := common("g-1")
	group["security_group_rules"] = []row{
		{"id": "r-1", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 80, "port_range_max": 81, "remote_ip_prefix": "10.0.0.0/8"},
		{"id": "r-2", "direction": "egress", "ethertype": "IPv6"},
	}
	s.rows["networks"] = append(s.rows["networks"], common("n-1"))
	for i, cidr := range []string{"10.9.1.0/24", "10.9.4.0/24", "10.9.0.0/24", "fd00::/64"} {
		s.rows["subnets"] = append(s.rows["subnets"], row{"id": fmt.Sprint("s-", i), "project_id": theProject, "network_id": "n-1", "cidr": cidr, "description": "kontor/somebody/else/subnet/1"})
	}
	s.rows["security-groups"] = append(s.rows["security-groups"], group)
}

func strays(t *testing.T, c *driver.Cloud) map[string]driver.Stray {
	t.Helper()
	all := map[string]driver.Stray{}
	for s, err := range c.Foreign.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all[s.Native] = s
	}
	return all
}

func TestWhatOthersMadeIsAdoptedAsItIs(t *testing.T) {
	s := newStack(t)
	c := s.open(t, us)
	settle(t, c.Networks, driver.Network{Meta: meta("ours")})
	s.byHand()
	all := strays(t, c)
	if len(all) != 2 || all["n-1"].Name != "old" {
		t.Fatalf("strays are %v, want the network and the group", all)
	}
	if got := fmt.Sprint(all["n-1"].Thing.(driver.Network).CIDRs); got != "[10.9.0.0/23 10.9.4.0/23]" {
		t.Errorf("the network has ranges %s, want one for each of its subnets, or two neighbours, to be a part of", got)
	}
	for native, id := range map[string]string{"n-1": "net", "g-1": "web"} {
		for range 2 { // the second time is no error
			if err := c.Foreign.Adopt(t.Context(), all[native].Kind, native, meta(id)); err != nil {
				t.Errorf("adopt %s: %v", native, err)
			}
		}
		if err := c.Foreign.Adopt(t.Context(), all[native].Kind, native, meta("other")); !errors.Is(err, fault.Conflict) {
			t.Errorf("adopt %s by another name: %v", native, err)
		}
		if err := s.open(t, them).Foreign.Adopt(t.Context(), all[native].Kind, native, meta(id)); !errors.Is(err, fault.Conflict) {
			t.Errorf("adopt %s, which has an owner: %v", native, err)
		}
	}
	if left := strays(t, c); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
	if err := c.Foreign.Adopt(t.Context(), driver.NetworkKind, "n-2", meta("n2")); !errors.Is(err, fault.Missing) {
		t.Errorf("adopt what is not there: %v", err)
	}
	for g, err := range c.SecurityGroups.List(t.Context()) {
		if err != nil || g.State != driver.Ready || !g.Satisfies(all["g-1"].Thing.(driver.SecurityGroup)) {
			t.Errorf("the group is listed as %+v, %v; it was %+v", g, err, all["g-1"].Thing)
		}
		settle(t, c.SecurityGroups, g) // which needs no other rules
	}
	tags, _ := s.rows["networks"][1]["tags"].([]any)
	if !slices.Contains(tags, any("theirs")) || !slices.Contains(tags, any(`d00="of the shop"`)) {
		t.Errorf("the tags are %v; want those of others, and the description", tags)
	}
	if n := s.posts["security-group-rules"]; n != 0 {
		t.Errorf("%d calls have made rules", n)
	}
}

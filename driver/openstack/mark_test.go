package openstack

import (
	"maps"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kontor-cloud/kontor/driver"
)

func TestNotesComeBackWhateverTheirLength(t *testing.T) {
	a := &account{owner: driver.Owner{Exchange: "x", Region: "r"}}
	for _, n := range []int{0, 1, 100} {
		want := driver.SecurityGroup{Meta: driver.Meta{ID: "g", Name: "größe"}}
		for i := range n {
			want.Rules = append(want.Rules, driver.Rule{Ingress: true, Ports: []driver.PortRange{{From: uint16(i), To: 9}}, Peers: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		}
		var byTags, byMetadata driver.SecurityGroup
		tags := tagsOf(want)
		readTags(append([]string{"somebody's own"}, tags...), &byTags)
		readMetadata(a.metadataOf("security-group", "g", want), &byMetadata)
		for _, got := range []driver.SecurityGroup{byTags, byMetadata} {
			if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
				t.Errorf("%d rules: %s", n, diff)
			}
		}
		for _, tag := range tags {
			if len([]rune(tag)) > 60 {
				t.Errorf("tag %q is longer than Neutron allows", tag)
			}
		}
		if len(tags) > 50 {
			t.Errorf("%d rules need %d tags; newer releases allow 50", n, len(tags))
		}
	}
}

func TestShorterNoteHidesALongerOne(t *testing.T) {
	a := &account{}
	have := a.metadataOf("volume", "v", driver.Volume{Meta: driver.Meta{ID: "v", URN: strings.Repeat("long", 200)}})
	want := driver.Volume{Meta: driver.Meta{ID: "v"}, SizeGB: 2}
	maps.Copy(have, a.metadataOf("volume", "v", want))
	var got driver.Volume
	readMetadata(have, &got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMarksOfOthersAreNotOurs(t *testing.T) {
	a := &account{owner: driver.Owner{Exchange: "x", Region: "r"}}
	for mark, want := range map[string]string{
		"kontor/x/r/nic/1": "1", "kontor/x/r/network/1": "", "kontor/x/other/nic/1": "", "kontor/y/r/nic/1": "", "": "", "web": "",
	} {
		if got := a.idIn(mark, "nic"); got != want {
			t.Errorf("mark %q is of %q, want %q", mark, got, want)
		}
	}
}

func TestRulesBecomeNeutronsOwn(t *testing.T) {
	rules := []driver.Rule{
		{Ingress: true, Family: 4, Protocol: driver.TCP, Ports: []driver.PortRange{{From: 80, To: 80}}, Peers: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}},
		{Protocol: driver.ICMPAny, ICMP: &driver.ICMP{}},
		{Ingress: true, Family: 6, PeerGroups: []string{"g"}},
	}
	got, err := expand(rules, map[string]string{"g": "native"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]rule{
		"kontor: ingress IPv4 tcp 80-80 10.0.0.0/8": {"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 80, "port_range_max": 80, "remote_ip_prefix": "10.0.0.0/8"},
		"kontor: egress IPv4 icmp 0-0":              {"direction": "egress", "ethertype": "IPv4", "protocol": "icmp", "port_range_min": 0, "port_range_max": 0},
		"kontor: egress IPv6 ipv6-icmp 0-0":         {"direction": "egress", "ethertype": "IPv6", "protocol": "ipv6-icmp", "port_range_min": 0, "port_range_max": 0},
		"kontor: ingress IPv6 group native":         {"direction": "ingress", "ethertype": "IPv6", "remote_group_id": "native"},
	}
	for key, r := range want {
		r["description"] = key
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := expand(rules, nil); err == nil {
		t.Error("a rule for a group that is not there lets something through")
	}
}

func TestKeysAndUserDataBothReachTheGuest(t *testing.T) {
	i := driver.Instance{SSHKeys: []string{`ssh-ed25519 AAAA "me": x`}, UserData: "#!/bin/sh\ntrue\n"}
	both, err := userData(i)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"MIME-Version: 1.0", "text/cloud-config", "ssh_authorized_keys:", "text/x-shellscript", "#!/bin/sh\ntrue"} {
		if !strings.Contains(string(both), part) {
			t.Errorf("no %q in\n%s", part, both)
		}
	}
	i.SSHKeys = nil
	if plain, err := userData(i); err != nil || string(plain) != i.UserData {
		t.Errorf("without keys the guest gets %q, %v", plain, err)
	}
}

func TestOfSeveralPatternsTheLongestCounts(t *testing.T) {
	table := map[string]int{"*": 1, "ssd*": 2, "ssd-fast": 3, "ssd-*": 4, "s*d-fas": 5}
	for range 20 { // maps have no order
		for name, want := range map[string]int{"hdd": 1, "ssd": 2, "ssd-fast": 3, "ssd-slow": 4} {
			if have, ok := known(table, name); have != want || !ok {
				t.Errorf("%s is %d, want %d", name, have, want)
			}
		}
	}
	if _, ok := known(map[string]int{"ssd*": 2}, "hdd"); ok {
		t.Error("what no pattern matches is known")
	}
}

func TestNamesAreSpelledAsSKUs(t *testing.T) {
	for name, want := range map[string]string{
		"__DEFAULT__": "default", "t1.nano": "t1.nano", "Ubuntu 24.04 LTS": "ubuntu-24.04-lts", "a-.-b..c_": "a.b.c", "é": "",
	} {
		if got := skuName(name); got != want {
			t.Errorf("%q is spelled %q, want %q", name, got, want)
		}
	}
}

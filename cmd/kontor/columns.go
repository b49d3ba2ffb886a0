package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/client"
)

// A column is one title and how its cell is found in a document. Wide ones are
// for --output wide.
type column struct {
	title string
	cell  func(doc any) string
	wide  bool
}

// columnsOf says what else than name, state and age people want to see of a kind.
var columnsOf = map[string][]column{
	"instance": {
		{"SKU", ref("spec.skuRef"), false},
		{"ZONE", text("spec.zone"), false},
		{"POWER", text("status.powerState"), false},
		{"BOOT VOLUME", ref("spec.bootVolume.deviceRef"), true},
		{"NIC", ref("spec.primaryNicRef"), true},
	},
	"block-storage": {
		{"SIZE", unit("spec.sizeGB", "GB"), false},
		{"SKU", ref("spec.skuRef"), false},
		{"IMAGE", ref("spec.sourceImageRef"), true},
		{"ATTACHED TO", ref("status.attachedTo"), false},
	},
	"image": {
		{"ARCH", text("spec.cpuArchitecture"), false},
		{"BOOT", text("spec.boot"), false},
		{"INITIALIZER", text("spec.initializer"), true},
		{"SIZE", unit("status.sizeMB", "MB"), false},
	},
	"network": {{"IPV4", text("status.cidr.ipv4"), false}, {"IPV6", text("status.cidr.ipv6"), false}, {"SKU", ref("spec.skuRef"), false}},
	"subnet": {
		{"IPV4", text("spec.cidr.ipv4"), false},
		{"IPV6", text("spec.cidr.ipv6"), false},
		{"ZONE", text("spec.zone"), false},
		{"ROUTE TABLE", ref("spec.routeTableRef"), false},
	},
	"routing-table":       {{"ROUTES", routes, false}},
	"internet-gateway":    {{"EGRESS ONLY", text("spec.egressOnly"), false}},
	"security-group":      {{"RULES", count("spec.rules", "spec.ruleRefs"), false}},
	"security-group-rule": {{"DIRECTION", text("spec.direction"), false}, {"PROTOCOL", text("spec.protocol"), false}, {"PORTS", ports, false}},
	"public-ip": {
		{"ADDRESS", text("status.ipAddress"), false}, {"ATTACHED TO", ref("status.attachedTo"), false}, {"FORWARDS", forwards, false},
	},
	"nic": {
		{"ADDRESSES", text("status.addresses"), false},
		{"SUBNET", ref("spec.subnetRef"), false},
		{"PUBLIC IPS", refs("spec.publicIpRefs"), false},
		{"MAC", text("status.macAddress"), true},
	},
	"workspace":       {{"RESOURCES", text("status.resourceCount"), false}},
	"role":            {{"PERMISSIONS", count("spec.permissions"), false}},
	"role-assignment": {{"SUBJECTS", text("spec.subs"), false}, {"ROLES", text("spec.roles"), false}},
	"instance-sku":    {{"VCPU", text("spec.vCPU"), false}, {"RAM", unit("spec.ram", "GB"), false}, {"LABELS", labels, false}},
	"storage-sku": {
		{"TYPE", text("spec.type"), false},
		{"IOPS", text("spec.iops"), false},
		{"MINIMUM", unit("spec.minVolumeSize", "GB"), false},
		{"LABELS", labels, false},
	},
	"network-sku": {{"BANDWIDTH", unit("spec.bandwidth", "Mbit/s"), false}, {"PACKETS/S", text("spec.packets"), false}, {"LABELS", labels, false}},
	"key":         {{"USE", text("status.use"), false}, {"SEALED BY", text("status.sealedBy"), false}},
	"job":         {{"ENDED", text("status.endedAt"), false}, {"FAILURES", text("status.failures"), false}, {"ERROR", text("status.error"), false}},
	"region": {
		{"LIVENESS", first(text("status.liveness"), text("kontor.agent.liveness")), false},
		{"ZONES", first(text("spec.availableZones"), text("status.zones")), false},
		{"DRIVER", first(text("status.driver"), text("spec.driver"), text("kontor.driver")), false},
		{"PLACE", whereabouts, false},
		{"PLATFORM", first(text("status.platform"), text("kontor.platform")), true},
		{"LABELS", labels, true},
	},
	"tenant": {{"DISPLAY NAME", text("spec.displayName"), false}, {"ADMINS", text("spec.admins"), false}},
	"token": {
		{"TITLE", text("spec.name"), false},
		{"EXPIRES", text("spec.expiresAt"), false},
		{"REVOKED", text("spec.revokedAt"), false},
		{"USED", text("spec.usedAt"), true},
		{"TENANTS", text("spec.scope.tenants"), false},
	},
	"orphan": {
		{"KIND", text("spec.kind"), false},
		{"THING", text("spec.name"), false},
		{"NATIVE", text("spec.native"), false},
		{"APPROVED", text("spec.approvedAt"), false},
	},
	"quota": {{"LIMIT", first(text("spec.limit"), func(any) string { return "none" }), false}, {"USED", text("status.used"), false}},
	"quote": {
		{"STATE", text("status.state"), false}, {"UNTIL", text("status.validUntil"), false}, {"AN HOUR", text("status.hourly"), false}, {"ORDER", text("status.order"), false},
	},
	"order": {
		{"STATE", text("status.state"), false}, {"AN HOUR", text("status.price.hourly"), false}, {"DRIFT", text("status.drift.summary"), false}, {"DECISION", text("status.decision"), true},
	},
	"drift":     driftColumns,
	"blueprint": {{"VERSION", text("spec.version"), false}, {"TITLE", text("spec.title"), false}},
	"policy":    {{"VERSION", text("spec.version"), false}, {"TITLE", text("spec.title"), false}},
	"participant": {
		{"STATE", text("status.state"), false},
		{"COUNTRY", text("spec.country"), false},
		{"LEGAL NAME", text("spec.legalName"), false},
		{"REGISTER", text("spec.register"), true},
		{"CLAIMS", text("status.claims"), false},
		{"KEYS", text("status.keys"), true},
	},
	"service-account": {{"ACCOUNT", text("status.account"), false}, {"DISABLED", text("spec.disabled"), false}},
	"account":         {{"OPERATOR", text("spec.operator"), false}, {"DISABLED", text("spec.disabled"), false}, {"TENANTS", text("spec.tenants"), false}},
}

// find walks a decoded document: "spec.cidr.ipv4".
func find(doc any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		m, _ := doc.(map[string]any)
		doc = m[name]
	}
	return doc
}

// text shows what is there, lists with commas.
func text(path string) func(any) string {
	return func(doc any) string { return plain(find(doc, path)) }
}

func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = plain(v[i])
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(v)
}

func unit(path, unit string) func(any) string {
	return func(doc any) string {
		if s := plain(find(doc, path)); s != "" {
			return s + " " + unit
		}
		return ""
	}
}

// ref shows the last segment of a reference in either spelling.
func ref(path string) func(any) string {
	return func(doc any) string { return refName(find(doc, path)) }
}

func refName(v any) string {
	if m, ok := v.(map[string]any); ok {
		v = m["resource"]
	}
	s, _ := v.(string)
	return s[strings.LastIndex(s, "/")+1:]
}

func refs(path string) func(any) string {
	return func(doc any) string {
		list, _ := find(doc, path).([]any)
		names := make([]string, len(list))
		for i := range list {
			names[i] = refName(list[i])
		}
		return strings.Join(names, ",")
	}
}

func count(paths ...string) func(any) string {
	return func(doc any) string {
		n := 0
		for _, p := range paths {
			list, _ := find(doc, p).([]any)
			n += len(list)
		}
		return strconv.Itoa(n)
	}
}

// first shows the first of several that is there.
func first(cells ...func(any) string) func(any) string {
	return func(doc any) string {
		for _, cell := range cells {
			if s := cell(doc); s != "" {
				return s
			}
		}
		return ""
	}
}

func routes(doc any) string {
	list, _ := find(doc, "spec.routes").([]any)
	parts := make([]string, len(list))
	for i, r := range list {
		parts[i] = plain(find(r, "destinationCidrBlock")) + "→" + refName(find(r, "targetRef"))
	}
	return strings.Join(parts, ",")
}

func ports(doc any) string {
	from, to, list := plain(find(doc, "spec.ports.from")), plain(find(doc, "spec.ports.to")), plain(find(doc, "spec.ports.list"))
	return strings.Trim(strings.Trim(from+"-"+to, "-")+","+list, ",")
}

func forwards(doc any) string {
	list, _ := find(doc, "kontor.forwards").([]any)
	parts := make([]string, len(list))
	for i, f := range list {
		parts[i] = plain(find(f, "outside")) + "→" + plain(find(f, "port")) + "/" + plain(find(f, "protocol"))
	}
	return strings.Join(parts, ",")
}

func whereabouts(doc any) string {
	city, country := plain(find(doc, "spec.city")), plain(find(doc, "spec.country"))
	if city == "" && country == "" {
		city, country = plain(find(doc, "kontor.city")), plain(find(doc, "kontor.country"))
	}
	return strings.Trim(city+", "+country, ", ")
}

func labels(doc any) string {
	m, _ := find(doc, "labels").(map[string]any)
	return pairs(m)
}

// state shows how far a thing is, and whether that is known from its agent.
func state(doc any) string {
	s := plain(find(doc, "status.state"))
	if liveness := plain(find(doc, "kontor.agent.liveness")); s != "" && liveness != "" && liveness != "alive" {
		s += " (agent " + liveness + ")"
	}
	return s
}

// decoded gives a document in the form that cells are found in.
func decoded(i client.Item) any {
	var doc any
	_ = json.Unmarshal(i.Raw, &doc) // it has been decoded once before
	return doc
}

func created(i client.Item, now time.Time) string {
	if i.Metadata.CreatedAt == nil {
		return ""
	}
	return age(*i.Metadata.CreatedAt, now)
}

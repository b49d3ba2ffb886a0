package resource

import (
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

type instance struct {
	none
	seca.InstanceSpec
}

func (i *instance) fill(e Env) {
	if i.Zone == "" && !e.Suite && e.Inventory != nil && len(e.Inventory.Zones) > 0 {
		i.Zone = e.Inventory.Zones[0]
	}
}

func (i *instance) check(e Env, l *fault.List) {
	zone(l, "/spec/zone", i.Zone, e)
	count(l, "/spec/dataVolumes", len(i.DataVolumes), 0, 64)
	count(l, "/spec/additionalNicRefs", len(i.AdditionalNICRefs), 0, 16)
	length(l, "/spec/antiAffinityGroup", i.AntiAffinityGroup, 0, 64)
	texts(l, "/spec/sshKeys", i.SSHKeys, 0, 32, 1, 4096)
	length(l, "/spec/userData", i.UserData, 0, 65536)
	for n, v := range i.DataVolumes {
		oneOf(l, index("/spec/dataVolumes", n)+"/type", v.Type, "", "virtio")
	}
	oneOf(l, "/spec/bootVolume/type", i.BootVolume.Type, "", "virtio")
	if len(i.AdditionalNICRefs) > 0 && i.PrimaryNICRef == nil {
		l.Add("/spec/additionalNicRefs", "needs a primaryNicRef beside it")
	}
	if e.Inventory == nil {
		return
	}
	if i.AntiAffinityGroup != "" && !e.Has(driver.AntiAffinity) {
		l.Add("/spec/antiAffinityGroup", "cannot be honoured: region %s cannot place instances on different hosts", e.host())
	}
	if len(i.AdditionalNICRefs) > 0 && !e.Has(driver.MoreThanOneNIC) {
		l.Add("/spec/additionalNicRefs", "region %s gives an instance one NIC", e.host())
	}
}

func (i *instance) keep(was spec, l *fault.List) {
	old := was.(*instance)
	same(l, "/spec/skuRef", i.SKURef == old.SKURef)
	same(l, "/spec/zone", i.Zone == old.Zone)
}

func (i *instance) links() []link {
	ls := []link{
		skuLink("/spec/skuRef", &i.SKURef, "seca.compute"),
		{at: "/spec/bootVolume/deviceRef", ref: &i.BootVolume.DeviceRef, to: "block-storages", in: "seca.storage"},
	}
	for n := range i.DataVolumes {
		ls = append(ls, link{at: index("/spec/dataVolumes", n) + "/deviceRef", ref: &i.DataVolumes[n].DeviceRef, to: "block-storages", in: "seca.storage"})
	}
	if i.PrimaryNICRef != nil {
		ls = append(ls, link{at: "/spec/primaryNicRef", ref: i.PrimaryNICRef, to: "nics", in: "seca.network", when: later})
	}
	for n := range i.AdditionalNICRefs {
		ls = append(ls, link{at: index("/spec/additionalNicRefs", n), ref: &i.AdditionalNICRefs[n], to: "nics", in: "seca.network", when: later})
	}
	if i.SecurityGroupRef != nil {
		ls = append(ls, link{at: "/spec/securityGroupRef", ref: i.SecurityGroupRef, to: "security-groups", in: "seca.network", when: later})
	}
	return ls
}

func (i *instance) zone() *string { return &i.Zone }

func (i *instance) status() any { return seca.InstanceStatus{PowerState: seca.Off} }

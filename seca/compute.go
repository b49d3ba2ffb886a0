package seca

import "time"

// InstanceSKUSpec is a size of instance. RAM is in GB.
type InstanceSKUSpec struct {
	VCPU int  `json:"vCPU"`
	RAM  int  `json:"ram"`
	GPU  *GPU `json:"gpu,omitempty"`
}

// A GPU is an accelerator of a SKU (a draft after v1.7). RAM is in GB.
type GPU struct {
	Count  int    `json:"count"`
	Vendor string `json:"vendor"`
	Model  string `json:"model"`
	RAM    int    `json:"ram"`
}

// InstanceSpec is a virtual machine.
type InstanceSpec struct {
	SKURef            Reference         `json:"skuRef" schema:"required" doc:"Cannot change."`
	Zone              string            `json:"zone" schema:"max=32" doc:"One of the region; the first of them unless given. Cannot change."`
	BootVolume        VolumeReference   `json:"bootVolume" schema:"required"`
	DataVolumes       []VolumeReference `json:"dataVolumes,omitempty" schema:"max=64"`
	PrimaryNICRef     *Reference        `json:"primaryNicRef,omitempty"`
	AdditionalNICRefs []Reference       `json:"additionalNicRefs,omitempty" schema:"max=16"`
	SecurityGroupRef  *Reference        `json:"securityGroupRef,omitempty"`
	AntiAffinityGroup string            `json:"antiAffinityGroup,omitempty" schema:"max=64"`
	SSHKeys           []string          `json:"sshKeys,omitempty"`
	UserData          string            `json:"userData,omitempty" schema:"max=65536"`
}

// A VolumeReference attaches a block storage.
type VolumeReference struct {
	DeviceRef Reference `json:"deviceRef" schema:"required"`
	Type      string    `json:"type,omitempty" schema:"enum=|virtio"`
}

// A Power is whether a machine runs.
type Power string

// The two power states.
const (
	On  Power = "on"
	Off Power = "off"
)

// Schema lists the states, for package openapi.
func (Power) Schema() map[string]any {
	return map[string]any{"type": "string", "enum": []any{On, Off}}
}

// InstanceStatus is what is known of a machine.
type InstanceStatus struct {
	PowerState      Power      `json:"powerState"`
	PowerStateSince *time.Time `json:"powerStateSince,omitempty"`
}

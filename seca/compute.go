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
	SKURef            Reference         `json:"skuRef"`
	Zone              string            `json:"zone"`
	BootVolume        VolumeReference   `json:"bootVolume"`
	DataVolumes       []VolumeReference `json:"dataVolumes,omitempty"`
	PrimaryNICRef     *Reference        `json:"primaryNicRef,omitempty"`
	AdditionalNICRefs []Reference       `json:"additionalNicRefs,omitempty"`
	SecurityGroupRef  *Reference        `json:"securityGroupRef,omitempty"`
	AntiAffinityGroup string            `json:"antiAffinityGroup,omitempty"`
	SSHKeys           []string          `json:"sshKeys,omitempty"`
	UserData          string            `json:"userData,omitempty"`
}

// A VolumeReference attaches a block storage.
type VolumeReference struct {
	DeviceRef Reference `json:"deviceRef"`
	Type      string    `json:"type,omitempty"`
}

// A Power is whether a machine runs.
type Power string

// The two power states.
const (
	On  Power = "on"
	Off Power = "off"
)

// InstanceStatus is what is known of a machine.
type InstanceStatus struct {
	PowerState      Power      `json:"powerState"`
	PowerStateSince *time.Time `json:"powerStateSince,omitempty"`
}

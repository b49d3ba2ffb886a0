package seca

// StorageSKUSpec is a class of block storage. MinVolumeSize is in GB.
type StorageSKUSpec struct {
	IOPS          int    `json:"iops"`
	MinVolumeSize int    `json:"minVolumeSize"`
	Type          string `json:"type"` // local-ephemeral, local-durable, remote-durable
}

// BlockStorageSpec is a volume.
type BlockStorageSpec struct {
	SizeGB         int        `json:"sizeGB" schema:"required,min=1,max=1000000" doc:"Cannot shrink."`
	SKURef         Reference  `json:"skuRef" schema:"required" doc:"Cannot change."`
	SourceImageRef *Reference `json:"sourceImageRef,omitempty"`
}

// BlockStorageStatus is what is known of a volume.
type BlockStorageStatus struct {
	SizeGB     int        `json:"sizeGB"`
	AttachedTo *Reference `json:"attachedTo,omitempty"`
}

// ImageSpec is a copy of a volume to start others from.
type ImageSpec struct {
	BlockStorageRef Reference `json:"blockStorageRef" schema:"required"`
	CPUArchitecture string    `json:"cpuArchitecture" schema:"required,enum=amd64|arm64"`
	Boot            string    `json:"boot,omitempty" schema:"enum=|UEFI|BIOS"`
	Initializer     string    `json:"initializer,omitempty" schema:"enum=|none|cloudinit-22"`
}

// ImageStatus is what is known of an image.
type ImageStatus struct {
	SizeMB int `json:"sizeMB,omitempty"`
}

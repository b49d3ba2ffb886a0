package seca

// StorageSKUSpec is a class of block storage. MinVolumeSize is in GB.
type StorageSKUSpec struct {
	IOPS          int    `json:"iops"`
	MinVolumeSize int    `json:"minVolumeSize"`
	Type          string `json:"type"` // local-ephemeral, local-durable, remote-durable
}

// BlockStorageSpec is a volume.
type BlockStorageSpec struct {
	SizeGB         int        `json:"sizeGB"`
	SKURef         Reference  `json:"skuRef"`
	SourceImageRef *Reference `json:"sourceImageRef,omitempty"`
}

// BlockStorageStatus is what is known of a volume.
type BlockStorageStatus struct {
	SizeGB     int        `json:"sizeGB"`
	AttachedTo *Reference `json:"attachedTo,omitempty"`
}

// ImageSpec is a copy of a volume to start others from.
type ImageSpec struct {
	BlockStorageRef Reference `json:"blockStorageRef"`
	CPUArchitecture string    `json:"cpuArchitecture"`
	Boot            string    `json:"boot,omitempty"`
	Initializer     string    `json:"initializer,omitempty"`
}

// ImageStatus is what is known of an image.
type ImageStatus struct {
	SizeMB int `json:"sizeMB,omitempty"`
}

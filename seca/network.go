package seca

// NetworkSKUSpec is a class of network: Mbit/s and packets per second.
type NetworkSKUSpec struct {
	Bandwidth int   `json:"bandwidth"`
	Packets   int64 `json:"packets"`
}

// NetworkSpec is an isolated network.
type NetworkSpec struct {
	CIDR            CIDR      `json:"cidr"`
	AdditionalCIDRs []CIDR    `json:"additionalCidrs,omitempty"`
	SKURef          Reference `json:"skuRef"`
}

// NetworkStatus tells the ranges that were chosen.
type NetworkStatus struct {
	CIDR            CIDR   `json:"cidr"`
	AdditionalCIDRs []CIDR `json:"additionalCidrs,omitempty"`
}

// SubnetSpec is a part of a network in one zone.
type SubnetSpec struct {
	CIDR          CIDR       `json:"cidr"`
	Zone          string     `json:"zone"`
	RouteTableRef Reference  `json:"routeTableRef"`
	SKURef        *Reference `json:"skuRef,omitempty"`
}

// SubnetStatus tells the range that was chosen.
type SubnetStatus struct {
	CIDR          CIDR       `json:"cidr"`
	RouteTableRef *Reference `json:"routeTableRef,omitempty"`
}

// RouteTableSpec says where packets go that leave a subnet.
type RouteTableSpec struct {
	Routes []Route `json:"routes"`
}

// A Route sends a destination to an instance, a gateway or an address.
type Route struct {
	DestinationCIDRBlock string    `json:"destinationCidrBlock"`
	TargetRef            Reference `json:"targetRef"`
}

// RouteTableStatus has an entry for each route, in the order of the spec.
type RouteTableStatus struct {
	Routes []RouteStatus `json:"routes"`
}

// A RouteStatus is the state of one route.
type RouteStatus = Status

// InternetGatewaySpec leads to the internet.
type InternetGatewaySpec struct {
	EgressOnly bool `json:"egressOnly,omitempty"`
}

// PublicIPSpec is an address that the internet can reach.
type PublicIPSpec struct {
	Version string `json:"version"` // IPv4, IPv6
	Address string `json:"address,omitempty"`
}

// PublicIPStatus is what is known of a public address.
type PublicIPStatus struct {
	IPAddress  string     `json:"ipAddress,omitempty"`
	AttachedTo *Reference `json:"attachedTo,omitempty"`
}

// NICSpec is a network card.
type NICSpec struct {
	SubnetRef         Reference   `json:"subnetRef"`
	Addresses         []string    `json:"addresses"`
	PublicIPRefs      []Reference `json:"publicIpRefs,omitempty"`
	SecurityGroupRefs []Reference `json:"securityGroupRefs,omitempty"`
	SKURef            *Reference  `json:"skuRef,omitempty"`
}

// NICStatus is what is known of a network card.
type NICStatus struct {
	Addresses    []string    `json:"addresses,omitempty"`
	MACAddress   string      `json:"macAddress,omitempty"`
	PublicIPRefs []Reference `json:"publicIpRefs,omitempty"`
}

// SecurityGroupSpec allows traffic; what it does not allow is refused.
type SecurityGroupSpec struct {
	Rules    []SecurityGroupRuleSpec `json:"rules,omitempty"`
	RuleRefs []Reference             `json:"ruleRefs,omitempty"`
}

// SecurityGroupStatus has an entry for each inline rule.
type SecurityGroupStatus struct {
	Rules []Status `json:"rules,omitempty"`
}

// SecurityGroupRuleSpec allows one kind of traffic. Annotations are for inline
// rules alone.
type SecurityGroupRuleSpec struct {
	Annotations map[string]string `json:"annotations,omitempty"`
	Direction   string            `json:"direction"` // ingress, egress
	Version     string            `json:"version,omitempty"`
	Protocol    string            `json:"protocol,omitempty"` // tcp, udp, tcp+udp, icmp
	Ports       *Ports            `json:"ports,omitempty"`
	ICMP        *ICMP             `json:"icmp,omitempty"`
	SourceRef   []Reference       `json:"sourceRef,omitempty"`
}

// Ports are a range, a list, or both. Zero means not given.
type Ports struct {
	From int   `json:"from,omitempty"`
	To   int   `json:"to,omitempty"`
	List []int `json:"list,omitempty"`
}

// ICMP is a kind of control message.
type ICMP struct {
	Type int `json:"type"`
	Code int `json:"code"`
}

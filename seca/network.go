package seca

// NetworkSKUSpec is a class of network: Mbit/s and packets per second.
type NetworkSKUSpec struct {
	Bandwidth int   `json:"bandwidth"`
	Packets   int64 `json:"packets"`
}

// NetworkSpec is an isolated network.
type NetworkSpec struct {
	CIDR            CIDR      `json:"cidr" schema:"required"`
	AdditionalCIDRs []CIDR    `json:"additionalCidrs,omitempty" schema:"max=32"`
	SKURef          Reference `json:"skuRef" schema:"required"`
}

// NetworkStatus tells the ranges that were chosen.
type NetworkStatus struct {
	CIDR            CIDR   `json:"cidr"`
	AdditionalCIDRs []CIDR `json:"additionalCidrs,omitempty"`
}

// SubnetSpec is a part of a network in one zone.
type SubnetSpec struct {
	CIDR          CIDR       `json:"cidr" schema:"required"`
	Zone          string     `json:"zone" schema:"max=32"`
	RouteTableRef Reference  `json:"routeTableRef" schema:"required"`
	SKURef        *Reference `json:"skuRef,omitempty"`
}

// SubnetStatus tells the range that was chosen.
type SubnetStatus struct {
	CIDR          CIDR       `json:"cidr"`
	RouteTableRef *Reference `json:"routeTableRef,omitempty"`
}

// RouteTableSpec says where packets go that leave a subnet.
type RouteTableSpec struct {
	Routes []Route `json:"routes" schema:"required,min=1,max=1000"`
}

// A Route sends a destination to an instance, a gateway or an address.
type Route struct {
	DestinationCIDRBlock string    `json:"destinationCidrBlock" schema:"required,min=1,max=43"`
	TargetRef            Reference `json:"targetRef" schema:"required"`
}

// RouteTableStatus has an entry for each route, in the order of the spec.
type RouteTableStatus struct {
	Routes []RouteStatus `json:"routes,omitempty"`
}

// A RouteStatus is the state of one route.
type RouteStatus = Status

// InternetGatewaySpec leads to the internet.
type InternetGatewaySpec struct {
	EgressOnly bool `json:"egressOnly,omitempty"`
}

// PublicIPSpec is an address that the internet can reach.
type PublicIPSpec struct {
	Version string `json:"version" schema:"required,enum=IPv4|IPv6"` // IPv4, IPv6
	Address string `json:"address,omitempty" schema:"max=39"`
}

// PublicIPStatus is what is known of a public address.
type PublicIPStatus struct {
	IPAddress  string     `json:"ipAddress,omitempty"`
	AttachedTo *Reference `json:"attachedTo,omitempty"`
}

// NICSpec is a network card.
type NICSpec struct {
	SubnetRef         Reference   `json:"subnetRef" schema:"required"`
	Addresses         []string    `json:"addresses" schema:"required,min=1,max=32"`
	PublicIPRefs      []Reference `json:"publicIpRefs,omitempty" schema:"max=16"`
	SecurityGroupRefs []Reference `json:"securityGroupRefs,omitempty" schema:"max=16"`
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
	Rules    []SecurityGroupRuleSpec `json:"rules,omitempty" schema:"max=500"`
	RuleRefs []Reference             `json:"ruleRefs,omitempty" schema:"max=500"`
}

// SecurityGroupStatus has an entry for each inline rule.
type SecurityGroupStatus struct {
	Rules []Status `json:"rules,omitempty"`
}

// SecurityGroupRuleSpec allows one kind of traffic. Annotations are for inline
// rules alone.
type SecurityGroupRuleSpec struct {
	Annotations map[string]string `json:"annotations,omitempty"`
	Direction   string            `json:"direction" schema:"required,enum=ingress|egress"` // ingress, egress
	Version     string            `json:"version,omitempty" schema:"enum=|IPv4|IPv6"`
	Protocol    string            `json:"protocol,omitempty" schema:"enum=|tcp|udp|tcp+udp|icmp"` // tcp, udp, tcp+udp, icmp
	Ports       *Ports            `json:"ports,omitempty"`
	ICMP        *ICMP             `json:"icmp,omitempty"`
	SourceRef   []Reference       `json:"sourceRef,omitempty" schema:"max=32"`
}

// Ports are a range, a list, or both. Zero means not given.
type Ports struct {
	From int   `json:"from,omitempty" schema:"min=0,max=65535"`
	To   int   `json:"to,omitempty" schema:"min=0,max=65535"`
	List []int `json:"list,omitempty" schema:"max=100"`
}

// ICMP is a kind of control message.
type ICMP struct {
	Type int `json:"type" schema:"min=0,max=8"`
	Code int `json:"code" schema:"min=0,max=5"`
}

package vnet

import (
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const leaseTime = time.Hour

// answerDHCP leases the guest its address, and takes the frame for it. The
// answer goes straight to the guest: nobody else can give it one.
func (s *seat) answerDHCP(p *packet, f *frame) bool {
	addr, ok := s.address()
	if !ok {
		return false
	}
	m, err := dhcpv4.FromBytes(p.payload[8:])
	if err != nil || macOf(m) != s.mac {
		return false
	}
	reply := s.lease(m, addr)
	if reply == nil {
		return false
	}
	f.release()
	to := addr
	if m.IsBroadcast() || reply.MessageType() == dhcpv4.MessageTypeNak {
		to = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	}
	gw := Gateway(s.subnet.rangeOf(addr))
	out := udpFrame(netip.AddrPortFrom(gw, 67), netip.AddrPortFrom(to, 68), reply.ToBytes())
	out.address(s.mac, gatewayMAC, etherIPv4)
	s.port.enqueue(out)
	return true
}

// lease makes the answer to a message, or nil where it needs none.
func (s *seat) lease(m *dhcpv4.DHCPv4, addr netip.Addr) *dhcpv4.DHCPv4 {
	gw := Gateway(s.subnet.rangeOf(addr))
	kind := dhcpv4.MessageTypeOffer
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
	case dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeInform:
		kind = dhcpv4.MessageTypeAck
		if id := m.ServerIdentifier(); id != nil && !id.Equal(gw.AsSlice()) {
			return nil
		}
		if asked := asks(m); asked.IsValid() && asked != addr {
			kind = dhcpv4.MessageTypeNak
		}
	default:
		return nil
	}
	reply, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind), dhcpv4.WithServerIP(gw.AsSlice()),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(gw.AsSlice())))
	if err != nil || kind == dhcpv4.MessageTypeNak {
		return reply
	}
	if m.MessageType() != dhcpv4.MessageTypeInform {
		reply.YourIPAddr = addr.AsSlice()
		reply.UpdateOption(dhcpv4.OptIPAddressLeaseTime(leaseTime))
	}
	s.configure(reply, addr, gw)
	return reply
}

// configure adds what a guest needs to know beside its address.
func (s *seat) configure(reply *dhcpv4.DHCPv4, addr, gw netip.Addr) {
	reply.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(s.subnet.rangeOf(addr).Bits(), 32)))
	reply.UpdateOption(dhcpv4.OptDNS(gw.AsSlice()))
	reply.UpdateOption(dhcpv4.OptDomainName(s.table.domain))
	reply.UpdateOption(dhcpv4.Option{Code: dhcpv4.OptionInterfaceMTU, Value: dhcpv4.Uint16(s.table.mtu)})
	if s.Hostname != "" {
		reply.UpdateOption(dhcpv4.OptHostName(s.Hostname))
	}
	routes := s.routes(addr, gw)
	for _, r := range routes {
		if ones, _ := r.Dest.Mask.Size(); ones == 0 {
			reply.UpdateOption(dhcpv4.OptRouter(gw.AsSlice()))
		}
	}
	if len(routes) > 0 {
		reply.UpdateOption(dhcpv4.OptClasslessStaticRoute(routes...))
	}
}

// routes lists what is reached through the gateway: the rest of the network
// and what the subnet's route table says. Clients that read this option
// ignore the default router, so it is here as well.
func (s *seat) routes(addr netip.Addr, gw netip.Addr) (routes []*dhcpv4.Route) {
	add := func(p netip.Prefix) {
		dest := &net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
		routes = append(routes, &dhcpv4.Route{Dest: dest, Router: gw.AsSlice()})
	}
	for _, sub := range s.table.subnets {
		for _, p := range sub.ranges {
			if !p.Contains(addr) {
				add(p)
			}
		}
	}
	for _, r := range s.subnet.routes {
		if r.Destination.Addr().Is4() && (r.Internet || r.Via.IsValid()) {
			add(r.Destination)
		}
	}
	return routes
}

// asks returns the address that the guest believes it has.
func asks(m *dhcpv4.DHCPv4) netip.Addr {
	if a, ok := netip.AddrFromSlice(m.RequestedIPAddress().To4()); ok {
		return a
	}
	if a, ok := netip.AddrFromSlice(m.ClientIPAddr.To4()); ok && !a.IsUnspecified() {
		return a
	}
	return netip.Addr{}
}

func macOf(m *dhcpv4.DHCPv4) (mac macAddr) {
	copy(mac[:], m.ClientHWAddr)
	return mac
}

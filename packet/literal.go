// Package packet has packets in their three forms: a line of text for tests and people ("tcp 10.0.0.1:31245 -> 10.0.0.2:80 syn in eth0"),
// a ruleset.Packet as the rules see it, and the bytes on the wire.
package packet

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Literal is a packet and the hook it is judged on.
type Literal struct {
	ruleset.Packet
	Hook ruleset.Hook
}

// Protocol numbers (IANA).
const (
	protoICMP    = 1
	protoTCP     = 6
	protoUDP     = 17
	protoDCCP    = 33
	protoICMPv6  = 58
	protoSCTP    = 132
	protoUDPLite = 136
)

// hasPorts: the protocols whose header starts with source and destination port.
func hasPorts(proto uint8) bool {
	switch proto {
	case protoTCP, protoUDP, protoUDPLite, protoSCTP, protoDCCP:
		return true
	}
	return false
}

// isICMP: ICMP belongs to IPv4 and ICMPv6 to IPv6; in the other family they are protocols like any other.
func isICMP(proto uint8, f ruleset.Family) bool {
	return proto == protoICMP && f == ruleset.FamilyIPv4 || proto == protoICMPv6 && f == ruleset.FamilyIPv6
}

// Defaults for what a literal leaves out: documentation addresses (RFC 5737, RFC 3849), a port of the range for clients.
var (
	defaultSrc = map[ruleset.Family]netip.Addr{
		ruleset.FamilyIPv4: netip.MustParseAddr("192.0.2.1"), ruleset.FamilyIPv6: netip.MustParseAddr("2001:db8:1::1"),
	}
	defaultDst = map[ruleset.Family]netip.Addr{
		ruleset.FamilyIPv4: netip.MustParseAddr("198.51.100.2"), ruleset.FamilyIPv6: netip.MustParseAddr("2001:db8:2::2"),
	}
)

const (
	defaultSrcPort = 40000
	defaultDstPort = 80
	defaultMAC     = 0x020000000001
	defaultTTL     = 64
)

// absent forgets what is read from transport headers.
func (l *Literal) absent() {
	l.SrcPort, l.DstPort, l.TCPFlags, l.TCPMSS = ruleset.Absent, ruleset.Absent, ruleset.Absent, ruleset.Absent
	l.ICMPType, l.ICMPCode, l.TCPOptions = ruleset.Absent, ruleset.Absent, nil
}

// fill sets everything that follows from the head of a literal (protocol, addresses, interfaces, hook, state, and whether the
// transport header can be read) to what such a packet usually has.
func (l *Literal) fill() {
	l.absent()
	l.TTL, l.PktType = defaultTTL, ruleset.PktUnicast
	if l.readable() {
		l.fillTransport()
	}
	l.SrcType, l.DstType = addrType(l.Src), addrType(l.Dst)
	switch l.Hook {
	case ruleset.HookInput, ruleset.HookPrerouting:
		l.DstType = local(l.DstType)
	case ruleset.HookOutput, ruleset.HookRawOutput:
		l.SrcType = local(l.SrcType)
	}
	switch l.DstType {
	case ruleset.AddrBroadcast:
		l.PktType = ruleset.PktBroadcast
	case ruleset.AddrMulticast:
		l.PktType = ruleset.PktMulticast
	}
	if ruleset.FieldSrcMAC.On(l.Hook) && l.In != "lo" {
		l.HasMAC, l.SrcMAC = true, defaultMAC
	}
}

// readable reports whether the packet has a transport header that rules can look into.
func (l *Literal) readable() bool { return !l.Fragment && !l.Malformed }

func (l *Literal) fillTransport() {
	if hasPorts(l.Proto) {
		l.SrcPort, l.DstPort = defaultSrcPort, defaultDstPort
	}
	switch {
	case l.Proto == protoTCP && l.State&(ruleset.StateEstablished|ruleset.StateRelated) != 0:
		l.TCPFlags = 0x10 // ACK
	case l.Proto == protoTCP:
		l.TCPFlags = 0x02 // SYN
	case isICMP(l.Proto, l.Family):
		l.ICMPType, l.ICMPCode = int(echoRequest[l.Family]), 0
	}
}

func addrType(a netip.Addr) uint64 {
	switch {
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}), a == netip.AddrFrom4([4]byte{}): // inet_addr_type of the kernel
		return ruleset.AddrBroadcast
	case a.IsMulticast():
		return ruleset.AddrMulticast
	}
	return ruleset.AddrUnicast
}

// local makes a unicast address one of the host's own.
func local(t uint64) uint64 {
	if t == ruleset.AddrUnicast {
		return ruleset.AddrLocal
	}
	return t
}

// String is the literal in its shortest form: what Parse would fill in by itself is left out.
func (l *Literal) String() string {
	usual := &Literal{Hook: l.Hook}
	usual.In, usual.Out, usual.Family, usual.Src, usual.Dst, usual.Proto = l.In, l.Out, l.Family, l.Src, l.Dst, l.Proto
	usual.State, usual.Fragment, usual.Malformed = l.State, l.Fragment, l.Malformed
	usual.Routing, usual.HasRouting = l.Routing, l.HasRouting
	usual.fill()
	parts := []string{protoText(l.Proto), endpoint(l.Src, l.SrcPort), "->", endpoint(l.Dst, l.DstPort)}
	for _, o := range options {
		if text := o.get(l); text != "" && (o.head || text != o.get(usual)) {
			parts = append(parts, text)
		}
	}
	usual.TCPOptions, usual.TCPMSS = l.TCPOptions, l.TCPMSS
	if l.Length != usual.headers() {
		parts = append(parts, fmt.Sprintf("len %d", l.Length))
	}
	return strings.Join(parts, " ")
}

func protoText(p uint8) string {
	if name, ok := ruleset.ProtoNames[p]; ok {
		return name
	}
	return fmt.Sprintf("proto %d", p)
}

func endpoint(a netip.Addr, port int) string {
	if port == ruleset.Absent {
		return a.String()
	}
	return netip.AddrPortFrom(a, uint16(port)).String()
}

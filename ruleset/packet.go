package ruleset

import "net/netip"

// Packet is what the evaluator sees of a packet: the Go twin of struct fw_pkt (bpf/fw.h). Numbers are in host order.
// Fields that the packet does not have are Absent.
type Packet struct {
	In, Out          string // interface names, "" where there is none
	Family           Family
	Src, Dst         netip.Addr
	Proto            uint8
	SrcPort, DstPort int    // Absent without ports
	TCPFlags         int    // Absent unless TCP
	TCPOptions       []byte // kinds present
	TCPMSS           int    // Absent without the option
	ICMPType         int    // Absent unless ICMP or ICMPv6
	ICMPCode         int
	State            uint64 // one of the State bits
	DNAT             bool   // the kernel's NAT changes the destination of its flow
	Mark             uint32
	Length           uint32
	TTL              uint8
	TOS              uint8
	Fragment         bool  // not the first fragment
	Routing          uint8 // type of the first routing header, if HasRouting
	HasRouting       bool
	SrcMAC           uint64
	HasMAC           bool
	PktType          uint64 // one of the Pkt bits
	SrcType, DstType uint64 // one of the Addr bits
	Socket           bool   // a socket that is still open sent it, or will get it
	Connected        bool   // the socket that will get it is connected to the sender
	UID, GID         int    // of Socket; Absent for those of the kernel
	Cgroup           string // path of the socket's control group; "" without one
	// Malformed: the transport header is cut short, or lengths lie. A ruleset that reads transport headers drops it.
	Malformed bool
}

// Absent is the value of a numeric field that the packet does not have.
const Absent = -1

// has reports whether the packet has a value for a field. Without one no match of it holds, negated or not.
func (p *Packet) has(f FieldID) bool {
	switch f {
	case FieldSrcPort:
		return p.SrcPort != Absent
	case FieldDstPort:
		return p.DstPort != Absent
	case FieldTCPFlags, FieldTCPOption, FieldTCPMSS: // options are looked for in every TCP packet, as xt_tcpudp and xt_tcpmss do
		return p.TCPFlags != Absent
	case FieldICMPType:
		return p.ICMPType != Absent
	case FieldICMPCode:
		return p.ICMPCode != Absent
	case FieldSrcMAC:
		return p.HasMAC
	case FieldCgroup:
		return p.Cgroup != ""
	case FieldRouting:
		return p.HasRouting
	}
	return true
}

// number is the value of a numeric field that the packet has.
func (p *Packet) number(f FieldID) uint64 {
	switch f {
	case FieldFamily:
		return uint64(p.Family)
	case FieldProto:
		return uint64(p.Proto)
	case FieldSrcPort:
		return uint64(p.SrcPort)
	case FieldDstPort:
		return uint64(p.DstPort)
	case FieldTCPFlags:
		return uint64(p.TCPFlags)
	case FieldICMPType:
		return uint64(p.ICMPType)
	case FieldICMPCode:
		return uint64(p.ICMPCode)
	case FieldState:
		return p.State
	case FieldDNAT:
		if p.DNAT {
			return 1
		}
	case FieldMark:
		return uint64(p.Mark)
	case FieldLength:
		return uint64(p.Length)
	case FieldTTL:
		return uint64(p.TTL)
	case FieldTOS:
		return uint64(p.TOS)
	case FieldFragment:
		if p.Fragment {
			return 1
		}
	case FieldRouting:
		return uint64(p.Routing)
	case FieldSrcMAC:
		return p.SrcMAC
	case FieldSocket:
		if p.Socket {
			return 1
		}
	case FieldConnected:
		if p.Connected {
			return 1
		}
	case FieldUID:
		return p.owner(p.UID)
	case FieldGID:
		return p.owner(p.GID)
	case FieldPktType:
		return p.PktType
	case FieldSrcType:
		return p.SrcType
	case FieldDstType:
		return p.DstType
	}
	return 0
}

// NoOwner is what a packet has that nobody owns: above all numbers of users and groups.
const NoOwner = 1 << 32

func (p *Packet) owner(id int) uint64 {
	if !p.Socket || id == Absent {
		return NoOwner
	}
	return uint64(id)
}

// iface is the interface name that a field of KindIface looks at.
func (p *Packet) iface(f FieldID) string {
	if f == FieldInIface {
		return p.In
	}
	return p.Out
}

// addr is the address that a field of KindAddr looks at.
func (p *Packet) addr(f FieldID) netip.Addr {
	if f == FieldSrcAddr {
		return p.Src
	}
	return p.Dst
}

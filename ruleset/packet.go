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
	Mark             uint32
	Length           uint32
	TTL              uint8
	TOS              uint8
	Fragment         bool // not the first fragment
	SrcMAC           uint64
	HasMAC           bool
	PktType          uint64 // one of the Pkt bits
	SrcType, DstType uint64 // one of the Addr bits
	// Malformed: the transport header is cut short, or lengths lie. A ruleset that reads transport headers drops it.
	Malformed bool
}

// Absent is the value of a numeric field that the packet does not have.
const Absent = -1

package ruleset

// FieldID names something a rule can match; it indexes Fields.
type FieldID uint8

// Everything a rule can look at.
const (
	FieldInIface FieldID = iota
	FieldOutIface
	FieldFamily
	FieldSrcAddr
	FieldDstAddr
	FieldProto
	FieldSrcPort
	FieldDstPort
	FieldTCPFlags
	FieldTCPOption
	FieldTCPMSS
	FieldICMPType
	FieldICMPCode
	FieldState
	FieldMark
	FieldLength
	FieldTTL
	FieldTOS
	FieldFragment
	FieldSrcMAC
	FieldPktType
	FieldSrcType
	FieldDstType
	FieldSocket
	FieldUID
	FieldGID
	FieldConnected
	FieldCgroup
	FieldLimit
	FieldSample
	FieldQuota
	FieldRecent
	FieldElement
	FieldFlows
	FieldRouting
	FieldDNAT
	fieldCount
)

// Kind is the shape of a field's operands.
type Kind uint8

// The kinds.
const (
	KindNumber  Kind = iota // Ranges or Masked
	KindBits                // Masked with Value == Mask bits: any of these bits; the packet has exactly one set (state, types)
	KindFlags               // Masked: (value & Mask) == Value
	KindAddr                // Addrs or Set
	KindIface               // Names
	KindCgroup              // Names
	KindElement             // Set and Parts
	KindLimit               // Limit; from here on kinds that remember packets
	KindSample              // Sample
	KindQuota               // Quota
	KindRecent              // Recent
	KindFlows               // Flows
)

// Layer is where in the packet a field is found; it decides when a packet has no value for it.
type Layer uint8

// The layers.
const (
	LayerMeta  Layer = iota // always there
	LayerIP                 // every IP packet
	LayerPorts              // TCP, UDP, UDP-Lite, SCTP, DCCP: not in a non-first fragment without tracking
	LayerTCP
	LayerICMP      // ICMP and ICMPv6
	LayerEth       // interfaces with an Ethernet header
	LayerSocket    // packets of a socket
	LayerExtension // IPv6 packets with the extension header
)

// FieldInfo is one row of the table.
type FieldInfo struct {
	Name   string // in listings, traces and errors
	Kind   Kind
	Layer  Layer
	Bits   int    // width of the value; addresses 128 (32 for IPv4)
	Member string // the member of struct fw_pkt that holds it (bpf/fw.h)
	Hooks  uint32 // bit per Hook: where it has a meaning
	Doc    string
}

const (
	everywhere = 1<<HookPrerouting | 1<<HookRawOutput | 1<<HookInput | 1<<HookForward | 1<<HookOutput
	received   = 1<<HookPrerouting | 1<<HookInput | 1<<HookForward
	sent       = 1<<HookRawOutput | 1<<HookForward | 1<<HookOutput
	tracked    = 1<<HookInput | 1<<HookForward | 1<<HookOutput
	socketed   = 1<<HookRawOutput | 1<<HookOutput | 1<<HookInput | 1<<HookListen
	bound      = everywhere | 1<<HookListen
)

// Fields is the table of everything matchable, by FieldID. Parsers, checker, evaluator, compiler, documentation and the
// completeness test read it; there is no other list.
var Fields = [fieldCount]FieldInfo{
	FieldInIface:   {"in", KindIface, LayerMeta, 128, "in_name", received, "interface the packet came in by"},
	FieldOutIface:  {"out", KindIface, LayerMeta, 128, "out_name", sent, "interface the packet leaves by"},
	FieldFamily:    {"family", KindNumber, LayerMeta, 8, "family", bound, "4 or 6"},
	FieldSrcAddr:   {"source", KindAddr, LayerIP, 128, "saddr", everywhere, "source address"},
	FieldDstAddr:   {"destination", KindAddr, LayerIP, 128, "daddr", bound, "destination address"},
	FieldProto:     {"protocol", KindNumber, LayerIP, 8, "proto", bound, "the last header of an IPv6 chain, as ip6tables -p"},
	FieldSrcPort:   {"source port", KindNumber, LayerPorts, 16, "sport", everywhere, ""},
	FieldDstPort:   {"destination port", KindNumber, LayerPorts, 16, "dport", bound, ""},
	FieldTCPFlags:  {"tcp flags", KindFlags, LayerTCP, 8, "tcp_flags", everywhere, "byte 13 of the TCP header: FIN 1 SYN 2 RST 4 PSH 8 ACK 16 URG 32"},
	FieldTCPOption: {"tcp option", KindNumber, LayerTCP, 8, "tcp_options", everywhere, "kind of an option that is present"},
	FieldTCPMSS:    {"tcp mss", KindNumber, LayerTCP, 16, "tcp_mss", everywhere, "value of the MSS option; a TCP packet without the option has none of the values"},
	FieldICMPType:  {"icmp type", KindNumber, LayerICMP, 8, "icmp_type", everywhere, ""},
	FieldICMPCode:  {"icmp code", KindNumber, LayerICMP, 8, "icmp_code", everywhere, ""},
	FieldState:     {"state", KindBits, LayerMeta, 8, "ct_state", tracked, "conntrack state"},
	FieldMark:      {"mark", KindFlags, LayerMeta, 32, "mark", everywhere, "packet mark (skb->mark)"},
	FieldLength:    {"length", KindNumber, LayerIP, 32, "length", everywhere, "bytes from the IP header on (xt_length)"},
	FieldTTL:       {"ttl", KindNumber, LayerIP, 8, "ttl", everywhere, "TTL or hop limit"},
	FieldTOS:       {"tos", KindFlags, LayerIP, 8, "tos", everywhere, "TOS or traffic class; DSCP is its upper six bits"},
	FieldFragment:  {"fragment", KindNumber, LayerIP, 1, "frag", everywhere, "1 for a fragment other than the first (iptables -f)"},
	FieldSrcMAC:    {"source mac", KindNumber, LayerEth, 48, "smac", received, "source MAC address, first byte most significant"},
	FieldPktType:   {"packet type", KindBits, LayerMeta, 8, "pkt_type", everywhere, "unicast, broadcast or multicast at the link layer"},
	FieldSrcType:   {"source type", KindBits, LayerIP, 16, "src_type", everywhere, "what the routing table says of the source address"},
	FieldDstType:   {"destination type", KindBits, LayerIP, 16, "dst_type", everywhere, "what the routing table says of the destination address"},
	FieldSocket:    {"socket", KindNumber, LayerMeta, 1, "socket", socketed, "1 for a packet of a socket that is still open (xt_owner --socket-exists), or one that a socket will get"},
	FieldUID:       {"user", KindNumber, LayerMeta, 32, "uid", socketed, "user who opened the socket; packets without one have none of the values"},
	FieldGID:       {"group", KindNumber, LayerMeta, 32, "gid", socketed, "group with which the socket was opened; packets without one have none of the values"},
	FieldConnected: {"connected", KindNumber, LayerMeta, 1, "connected", 1 << HookInput, "1 if the socket that will get the packet is connected to its sender"},
	FieldCgroup:    {"cgroup", KindCgroup, LayerSocket, MaxCgroups, "cgroups", socketed, "control group (v2) of the socket: a path, or a systemd unit, and all below it"},
	FieldLimit:     {"limit", KindLimit, LayerMeta, 0, "", everywhere, "token bucket"},
	FieldSample:    {"sample", KindSample, LayerMeta, 0, "", everywhere, "one of so many packets, or some by chance (xt_statistic)"},
	FieldQuota:     {"quota", KindQuota, LayerMeta, 0, "", everywhere, "so many bytes of packets, then no more (xt_quota)"},
	FieldRecent:    {"recent", KindRecent, LayerMeta, 0, "", everywhere, "list of addresses with the times of their packets (xt_recent)"},
	FieldElement:   {"element", KindElement, LayerMeta, 0, "", everywhere, "several fields together, as elements of a set of several parts"},
	FieldRouting:   {"routing header", KindNumber, LayerExtension, 8, "routing", everywhere, "type of the first IPv6 routing header (ip6t_rt)"},
	FieldDNAT:      {"dnat", KindNumber, LayerMeta, 1, "dnat", tracked, "1 for packets of a flow whose destination the kernel's NAT changes (the state DNAT of xt_conntrack)"},
	FieldFlows:     {"flows", KindFlows, LayerMeta, 0, "", tracked, "so many flows of one source at a time (xt_connlimit)"},
}

func (f FieldID) String() string {
	if f >= fieldCount {
		return nth(f)
	}
	return Fields[f].Name
}

// Remembers reports whether matches of the field remember packets, so that it matters which of them they are asked about.
func (f FieldID) Remembers() bool { return Fields[f].Kind >= KindLimit }

// On reports whether the field has a meaning on hook h.
func (f FieldID) On(h Hook) bool { return Fields[f].Hooks&(1<<h) != 0 }

// The conntrack states, as bits of FieldState.
const (
	StateInvalid     = 1 << 0
	StateEstablished = 1 << 1
	StateRelated     = 1 << 2
	StateNew         = 1 << 3
	StateUntracked   = 1 << 4
)

// The link-layer packet types, as bits of FieldPktType.
const (
	PktUnicast   = 1 << 0 // PACKET_HOST
	PktBroadcast = 1 << 1
	PktMulticast = 1 << 2
)

// The address types, as bits of FieldSrcType and FieldDstType: 1 << RTN_* of linux/rtnetlink.h.
const (
	AddrUnspec      = 1 << 0
	AddrUnicast     = 1 << 1
	AddrLocal       = 1 << 2
	AddrBroadcast   = 1 << 3
	AddrAnycast     = 1 << 4
	AddrMulticast   = 1 << 5
	AddrBlackhole   = 1 << 6
	AddrUnreachable = 1 << 7
	AddrProhibit    = 1 << 8
)

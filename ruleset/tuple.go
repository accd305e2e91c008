package ruleset

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Part is what one part of an element is, in a set whose elements have several.
type Part string

// The parts. An element has at most two addresses, and one of each of the others; they cannot have all of them.
const (
	PartAddress   Part = "address"   // the only one, or the second, may be a network
	PartPort      Part = "port"      // and the protocol, as in tcp/80; of ICMP its type and code; of what has no ports, 0
	PartProtocol  Part = "protocol"  // alone
	PartMark      Part = "mark"      // of the packet
	PartMAC       Part = "mac"       // the sender's
	PartInterface Part = "interface" // the whole name
)

// partInfo is a row of what is to be known of a part.
type partInfo struct {
	words  int // of 16 bits, in an element
	fields []FieldID
}

var partTable = map[Part]partInfo{
	PartAddress:   {8, []FieldID{FieldSrcAddr, FieldDstAddr}},
	PartPort:      {2, []FieldID{FieldSrcPort, FieldDstPort}},
	PartProtocol:  {1, []FieldID{FieldProto}},
	PartMark:      {2, []FieldID{FieldMark}},
	PartMAC:       {3, []FieldID{FieldSrcMAC}},
	PartInterface: {8, []FieldID{FieldInIface, FieldOutIface}},
}

// PartNames are all parts, in order.
var PartNames = []Part{PartAddress, PartPort, PartProtocol, PartMark, PartMAC, PartInterface}

// MaxPartWords is how many words of 16 bits the parts of an element may take.
const MaxPartWords = 18

// Fields are those of a packet that can be compared with a part: its source's and its destination's, or the only one.
func (p Part) Fields() []FieldID { return partTable[p].fields }

// Tuple is an element of a set: of a set of addresses Net alone, of a set of several parts what they are.
type Tuple struct {
	Net   netip.Prefix `json:"net,omitzero"`   // the only address or the second one
	First netip.Addr   `json:"first,omitzero"` // the first of two addresses
	Proto uint8        `json:"proto,omitempty"`
	Port  uint16       `json:"port,omitempty"` // of ICMP: type << 8 | code
	Mark  uint32       `json:"mark,omitempty"`
	MAC   uint64       `json:"mac,omitempty"`
	Iface string       `json:"iface,omitempty"`
}

// Family is the family of the element's addresses.
func (t Tuple) Family() Family {
	switch {
	case !t.Net.IsValid():
		return FamilyAny
	case t.Net.Addr().Is4():
		return FamilyIPv4
	}
	return FamilyIPv6
}

// Single reports whether no address of the element is a network.
func (t Tuple) Single() bool { return !t.Net.IsValid() || t.Net.IsSingleIP() }

// TwoAddresses reports whether elements with these parts have two.
func TwoAddresses(list []Part) bool {
	return slices.Index(list, PartAddress) != lastAddress(list)
}

// lastAddress is the place of the last address among parts; -1 if there is none.
func lastAddress(list []Part) int {
	for i, p := range slices.Backward(list) {
		if p == PartAddress {
			return i
		}
	}
	return -1
}

// ParseTuple reads an element: its parts with commas between them, as in "192.0.2.7,tcp/80". A set without parts is one of addresses.
func ParseTuple(list []Part, text string) (t Tuple, problem string) {
	if len(list) == 0 {
		list = []Part{PartAddress}
	}
	words := strings.Split(text, ",")
	if len(words) != len(list) {
		return t, fmt.Sprintf("not %s, with commas between them", joinParts(list))
	}
	last := lastAddress(list)
	for i, p := range list {
		w := strings.TrimSpace(words[i])
		if p == PartAddress {
			problem = t.parseAddress(w, i == last)
		} else {
			problem = t.parsePart(p, w)
		}
		if problem != "" {
			return Tuple{}, problem
		}
	}
	if t.First.IsValid() && t.First.Is4() != t.Net.Addr().Is4() {
		return Tuple{}, "addresses of two families"
	}
	return t, ""
}

func joinParts(list []Part) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = string(p)
	}
	return strings.Join(words, ",")
}

func (t *Tuple) parseAddress(w string, last bool) (problem string) {
	p, err := netip.ParsePrefix(w)
	if a, aErr := netip.ParseAddr(w); aErr == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case err != nil || p.Addr().Zone() != "" || p.Addr().Is4In6():
		return fmt.Sprintf("%q is no address or network", w)
	case p != p.Masked():
		return fmt.Sprintf("%q has bits set after its length", w)
	case last:
		t.Net = p
	case !p.IsSingleIP():
		return fmt.Sprintf("%q: of two addresses, only the second may be a network", w)
	default:
		t.First = p.Addr()
	}
	return ""
}

func (t *Tuple) parsePart(p Part, w string) (problem string) {
	var err error
	switch p {
	case PartPort:
		return t.parsePort(w)
	case PartProtocol:
		n, ok := protocolNumber(w)
		t.Proto = n
		if !ok {
			return fmt.Sprintf("%q is no protocol", w)
		}
	case PartMark:
		var n uint64
		n, err = strconv.ParseUint(w, 0, 32)
		t.Mark = uint32(n)
	case PartMAC:
		var mac net.HardwareAddr
		if mac, err = net.ParseMAC(w); err == nil && len(mac) == 6 {
			for _, b := range mac {
				t.MAC = t.MAC<<8 | uint64(b)
			}
		}
	case PartInterface:
		t.Iface = w
		return ifaceProblem(w)
	}
	if err != nil || p == PartMAC && t.MAC == 0 {
		return fmt.Sprintf("%q is no %s", w, p)
	}
	return ""
}

func protocolNumber(w string) (uint8, bool) {
	if n, ok := ProtoByName(w); ok {
		return n, true
	}
	n, err := strconv.ParseUint(w, 10, 8)
	return uint8(n), err == nil && n != 0
}

// The protocols with ports, and those that have a type and a code instead, as sets of the kernel see them (ip_set_getport.c).
func hasPorts(proto uint8) bool { return proto == 6 || proto == 17 || proto == 132 || proto == 136 }
func hasType(proto uint8) bool  { return proto == 1 || proto == 58 }

// parsePort reads "tcp/80", "icmp/8/0", or "gre" of what has no ports.
func (t *Tuple) parsePort(w string) (problem string) {
	name, rest, _ := strings.Cut(strings.Replace(w, ":", "/", 1), "/")
	proto, ok := protocolNumber(name)
	if !ok {
		return fmt.Sprintf("%q is no protocol; write tcp/80, icmp/8/0 or gre", name)
	}
	t.Proto = proto
	kind, code, _ := strings.Cut(rest, "/")
	switch {
	case hasPorts(proto):
		n, err := strconv.ParseUint(rest, 10, 16)
		t.Port, ok = uint16(n), err == nil
	case hasType(proto):
		a, err1 := strconv.ParseUint(kind, 10, 8)
		b, err2 := strconv.ParseUint(code, 10, 8)
		t.Port, ok = uint16(a<<8|b), err1 == nil && err2 == nil
	default:
		ok = rest == "" || rest == "0"
	}
	if !ok {
		return fmt.Sprintf("%q is no port; write tcp/80, icmp/8/0 or gre", w)
	}
	return ""
}

// Text is the element as ParseTuple reads it.
func (t Tuple) Text(list []Part) string {
	if len(list) == 0 {
		list = []Part{PartAddress}
	}
	words := make([]string, len(list))
	last := lastAddress(list)
	for i, p := range list {
		words[i] = t.partText(p, i == last)
	}
	return strings.Join(words, ",")
}

func (t Tuple) partText(p Part, last bool) string {
	switch p {
	case PartAddress:
		if !last {
			return t.First.String()
		}
		if t.Net.IsSingleIP() {
			return t.Net.Addr().String()
		}
		return t.Net.String()
	case PartPort:
		name := protocolText(t.Proto)
		switch {
		case hasPorts(t.Proto):
			return fmt.Sprintf("%s/%d", name, t.Port)
		case hasType(t.Proto):
			return fmt.Sprintf("%s/%d/%d", name, t.Port>>8, t.Port&0xff)
		}
		return name
	case PartProtocol:
		return protocolText(t.Proto)
	case PartMark:
		return fmt.Sprintf("%#x", t.Mark)
	case PartMAC:
		return MAC(t.MAC)
	}
	return t.Iface
}

func protocolText(n uint8) string {
	if name := ProtoNames[n]; name != "" {
		return name
	}
	return strconv.Itoa(int(n))
}

// Tuple is what a packet has of an element's parts, which are in these of its fields; not ok if it lacks one, and is in no set then.
func (p *Packet) Tuple(list []Part, fields []FieldID) (t Tuple, ok bool) {
	last := lastAddress(list)
	for i, part := range list {
		f := fields[i]
		switch part {
		case PartAddress:
			a := p.addr(f)
			if !a.IsValid() {
				return t, false
			}
			if i == last {
				t.Net = netip.PrefixFrom(a, a.BitLen())
			} else {
				t.First = a
			}
		case PartPort:
			if t.Proto = p.Proto; !p.portOf(f, &t) {
				return t, false
			}
		case PartProtocol:
			t.Proto = p.Proto
		case PartMark:
			t.Mark = p.Mark
		case PartMAC:
			t.MAC = p.SrcMAC
		case PartInterface:
			t.Iface = p.iface(f)
		}
		if part == PartMAC && !p.HasMAC || part == PartInterface && t.Iface == "" {
			return t, false
		}
	}
	return t, true
}

// portOf finds the port that sets compare; not ok for fragments and the like, which have none where they should.
func (p *Packet) portOf(f FieldID, t *Tuple) bool {
	switch {
	case hasPorts(p.Proto):
		n := p.SrcPort
		if f == FieldDstPort {
			n = p.DstPort
		}
		t.Port = uint16(n)
		return n != Absent
	case hasType(p.Proto):
		t.Port = uint16(p.ICMPType)<<8 | uint16(p.ICMPCode)&0xff
		return p.ICMPType != Absent
	}
	return true
}

// changed is the element that a packet makes of a change of a set.
func (p *Packet) changed(s *Set, c *SetChange) (t Tuple, ok bool) {
	switch {
	case s == nil:
		return t, false
	case c.Field == FieldElement:
		return p.Tuple(s.Parts, c.Parts)
	}
	return p.Tuple([]Part{PartAddress}, []FieldID{c.Field})
}

// has reports whether a set lists an element that holds a packet's.
func (s *Set) has(t Tuple) bool {
	_, ok := s.Member(t)
	return ok
}

// Member is the first element that a set lists and that holds a packet's.
func (s *Set) Member(t Tuple) (Tuple, bool) {
	i := slices.IndexFunc(s.Tuples, func(m Tuple) bool { return m.holds(t) })
	if i < 0 {
		return Tuple{}, false
	}
	return s.Tuples[i], true
}

// holds reports whether a packet's element is the same but for being inside the network.
func (t Tuple) holds(packet Tuple) bool {
	if t.Net.IsValid() != packet.Net.IsValid() || t.Net.IsValid() && !t.Net.Contains(packet.Net.Addr()) {
		return false
	}
	packet.Net = t.Net
	return t == packet
}

// Within calls fn with a packet's element in every network that holds its address, itself first, until fn says that it is found.
func (t Tuple) Within(fn func(Tuple) (found bool)) bool {
	if !t.Net.IsValid() {
		return fn(t)
	}
	a := t.Net.Addr()
	for n := t.Net.Bits(); n >= 0; n-- {
		t.Net, _ = a.Prefix(n)
		if fn(t) {
			return true
		}
	}
	return false
}

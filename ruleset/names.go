package ruleset

import (
	"fmt"
	"math/bits"
	"strings"
)

// BitNames are the names of single bits, lowest first, of the fields whose values are sets of bits.
var BitNames = map[FieldID][]string{
	FieldState:    {"invalid", "established", "related", "new", "untracked"},
	FieldPktType:  {"unicast", "broadcast", "multicast"},
	FieldSrcType:  addrTypeNames,
	FieldDstType:  addrTypeNames,
	FieldTCPFlags: {"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"},
}

var addrTypeNames = []string{"unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit"}

// Bits is the value of a comma list of bit names of a field; "none" is 0.
func Bits(f FieldID, list string) (uint64, bool) {
	if list == "none" {
		return 0, true
	}
	var v uint64
	for name := range strings.SplitSeq(list, ",") {
		i := indexFold(BitNames[f], name)
		if i < 0 {
			return 0, false
		}
		v |= 1 << i
	}
	return v, true
}

// BitList is the names of the bits of v, comma separated; "none" for 0, and ok is false if v has a bit without a name.
func BitList(f FieldID, v uint64) (list string, ok bool) {
	if v == 0 {
		return "none", true
	}
	if i := bits.TrailingZeros64(v); v == 1<<i && i < len(BitNames[f]) {
		return BitNames[f][i], true
	}
	var names []string
	for i, name := range BitNames[f] {
		if v&(1<<i) != 0 {
			names = append(names, name)
			v &^= 1 << i
		}
	}
	return strings.Join(names, ","), v == 0
}

func indexFold(names []string, name string) int {
	for i, n := range names {
		if strings.EqualFold(n, name) {
			return i
		}
	}
	return -1
}

// ProtoNames are the names of protocols that rules and packets are written with, by IP protocol number.
var ProtoNames = map[uint8]string{
	0: "hopopt", 1: "icmp", 2: "igmp", 4: "ipencap", 6: "tcp", 17: "udp", 33: "dccp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah",
	58: "icmpv6", 89: "ospf", 103: "pim", 108: "ipcomp", 112: "vrrp", 115: "l2tp", 132: "sctp", 136: "udplite",
}

// ProtoByName is the number of a protocol of ProtoNames.
func ProtoByName(name string) (uint8, bool) {
	n, ok := protoNumbers[name]
	return n, ok
}

var protoNumbers = func() map[string]uint8 {
	numbers := map[string]uint8{}
	for n, name := range ProtoNames {
		numbers[name] = n
	}
	return numbers
}()

// nth is the name of a value of a closed list, or its number: rulesets may come from files, and be printed before they are checked.
func nth[T ~uint8](i T, names ...string) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("#%d", uint8(i))
}

package iptables

import (
	"strconv"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

const second = 1_000_000_000 // ns

// maxPorts is how many ports -m multiport holds; a range takes two.
const maxPorts = 15

var tcpFlags = map[string]uint64{"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ALL": 63, "NONE": 0}

// readSyn is the meaning of --syn.
func readSyn(*context, string) (value, string) {
	return value{num: tcpFlags["SYN"], mask: tcpFlags["FIN"] | tcpFlags["SYN"] | tcpFlags["RST"] | tcpFlags["ACK"]}, ""
}

// readTCPFlags reads "mask comp", two lists of flags.
func readTCPFlags(_ *context, s string) (value, string) {
	first, second, _ := strings.Cut(s, " ")
	mask, bad := flagList(first)
	comp, bad2 := flagList(second)
	return value{num: comp, mask: mask}, bad + bad2
}

func flagList(s string) (sum uint64, bad string) {
	for _, name := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		n, ok := tcpFlags[strings.ToUpper(name)]
		if !ok {
			return 0, quote(name) + " is not one of SYN, ACK, FIN, RST, URG, PSH, ALL, NONE"
		}
		sum |= n
	}
	return sum, ""
}

// readPortList reads the ports of -m multiport.
func readPortList(c *context, s string) (value, string) {
	var v value
	slots := 0
	for _, part := range strings.Split(s, ",") {
		first, last, isRange := strings.Cut(part, ":")
		from, ok := parsePort(first, c.proto)
		to := from
		slots++
		if isRange {
			var ok2 bool
			to, ok2 = parsePort(last, c.proto)
			ok = ok && ok2
			slots++
		}
		switch {
		case !ok:
			return v, quote(part) + " is " + notAPort(c)
		case isRange && from >= to:
			return v, quote(part) + " ends before it starts"
		case slots > maxPorts:
			return v, "more than 15 ports (a range counts as two)"
		}
		v.parts = append(v.parts, ruleset.Range{From: from, To: to})
	}
	return v, ""
}

var stateNames = []string{"INVALID", "NEW", "ESTABLISHED", "RELATED", "UNTRACKED", "SNAT", "DNAT"}

var stateBits = []uint64{ruleset.StateInvalid, ruleset.StateNew, ruleset.StateEstablished, ruleset.StateRelated, ruleset.StateUntracked, 0, dnatBit}

// dnatBit stands for the state DNAT, which a packet may have besides one of the others.
const dnatBit = 1 << 32

// readStates reads a list of states, which may be abbreviated.
func readStates(_ *context, s string) (value, string) {
	var v value
	for _, name := range strings.Split(s, ",") {
		i := lookupPrefix(name, stateNames)
		if name == "" || i < 0 {
			return v, quote(name) + " is not one of INVALID, NEW, ESTABLISHED, RELATED, UNTRACKED, SNAT, DNAT"
		}
		if stateBits[i] == 0 {
			v.todo = "the state " + stateNames[i] + " is not known: sources are translated after the rules have judged"
		}
		v.num |= stateBits[i]
	}
	return v, ""
}

var statusNames = []string{"NONE", "EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED"}

func readStatus(_ *context, s string) (value, string) {
	for _, name := range strings.Split(s, ",") {
		if name == "" || lookupPrefix(name, statusNames) < 0 {
			return value{}, quote(name) + " is not one of " + join(statusNames)
		}
	}
	return value{text: s}, ""
}

var rateUnits = []string{"second", "minute", "hour", "day"}

// readRate reads the rate of -m limit: num packets in mask nanoseconds. Faster than 10000 a second is refused, as by iptables.
func readRate(_ *context, s string) (value, string) {
	n, seconds, bad := parseRate(s)
	if bad == "" {
		bad = unless(n/seconds <= 10000, "faster than 10000 a second")
	}
	return value{num: n, mask: seconds * second}, bad
}

// parseRate reads "rate" or "rate/unit": n in so many seconds.
func parseRate(s string) (n, seconds uint64, bad string) {
	first, unit, hasUnit := strings.Cut(s, "/")
	i := 0
	if hasUnit {
		i = lookupPrefix(unit, rateUnits)
	}
	digits := first[:len(first)-len(strings.TrimLeft(first, "0123456789"))] // as atoi: what follows the digits does not count
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || n == 0 || i < 0 || hasUnit && unit == "" {
		return 0, 1, "not a rate such as 5/minute (second, minute, hour or day)"
	}
	return n, []uint64{1, 60, 3600, 86400}[i], ""
}

// maxComment is the room that the kernel has for a comment; iptables cuts what is longer.
const maxComment = 255

func readComment(_ *context, s string) (value, string) {
	return value{text: s[:min(len(s), maxComment)]}, ""
}

var tosNames = []string{"Minimize-Delay", "Maximize-Throughput", "Maximize-Reliability", "Minimize-Cost", "Normal-Service"}

// readTOS reads value[/mask] or a name, which stands for the four bits of RFC 1349.
func readTOS(_ *context, s string) (value, string) {
	for i, name := range tosNames {
		if strings.EqualFold(s, name) {
			return value{num: []uint64{0x10, 0x08, 0x04, 0x02, 0}[i], mask: 0x3f}, ""
		}
	}
	v, m, ok := parseMasked(s, 0xff)
	return value{num: v, mask: m}, unless(ok, "not value/mask up to 0xff, nor one of "+strings.Join(tosNames, ", "))
}

// dscpMask is where the DSCP is in the TOS byte.
const dscpMask, dscpShift = 0xfc, 2

func readDSCP(_ *context, s string) (value, string) {
	n, ok := parseNumber(s, 0, 63)
	return value{num: n << dscpShift, mask: dscpMask}, unless(ok, "not a number from 0 to 63")
}

var dscpClasses = map[string]uint64{
	"CS0": 0, "CS1": 8, "CS2": 16, "CS3": 24, "CS4": 32, "CS5": 40, "CS6": 48, "CS7": 56, "BE": 0, "EF": 46,
	"AF11": 10, "AF12": 12, "AF13": 14, "AF21": 18, "AF22": 20, "AF23": 22,
	"AF31": 26, "AF32": 28, "AF33": 30, "AF41": 34, "AF42": 36, "AF43": 38,
}

func readDSCPClass(_ *context, s string) (value, string) {
	n, ok := dscpClasses[strings.ToUpper(s)]
	return value{num: n << dscpShift, mask: dscpMask}, unless(ok, "not a DSCP class: CS0 to CS7, BE, EF or AFxx")
}

var (
	pktTypes   = []string{"unicast", "broadcast", "multicast", "otherhost", "bcast", "mcast", "host"}
	pktBits    = []uint64{ruleset.PktUnicast, ruleset.PktBroadcast, ruleset.PktMulticast, 0, ruleset.PktBroadcast, ruleset.PktMulticast, ruleset.PktUnicast}
	addrTypes  = []string{"UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT", "THROW", "NAT", "XRESOLVE"}
	addrTypeNo = ruleset.AddrProhibit << 1 // the types from here on are never results of a lookup
)

// readPktType reads a packet type. No rule ever sees a packet for another host, so that one is no bit at all.
func readPktType(_ *context, s string) (value, string) {
	i := lookupPrefix(s, pktTypes)
	if i < 0 || len(s) != len(pktTypes[i]) {
		return value{}, "not one of unicast, broadcast, multicast"
	}
	return value{num: pktBits[i]}, ""
}

func readAddrTypes(c *context, s string) (value, string) {
	var v value
	for _, name := range strings.Split(s, ",") {
		i := lookupPrefix(name, addrTypes)
		if name == "" || i < 0 {
			return v, quote(name) + " is not one of " + strings.Join(addrTypes, ", ")
		}
		if v.num |= 1 << i; 1<<i >= addrTypeNo {
			v.todo = "the address type " + addrTypes[i] + " is not looked at"
		}
	}
	if c.family == ruleset.FamilyIPv6 {
		v.num = addrTypes6(v.num)
	}
	return v, ""
}

// addrTypes6 are the types that xt_addrtype takes for these in IPv6 (match_type6): UNICAST, MULTICAST and UNSPEC say what the address looks
// like, and all that are given have to hold; of LOCAL, ANYCAST and UNREACHABLE, which ask the routing table, one has to hold besides.
func addrTypes6(types uint64) uint64 {
	const asked = ruleset.AddrLocal | ruleset.AddrAnycast | ruleset.AddrUnreachable
	switch looks := types & (ruleset.AddrUnicast | ruleset.AddrMulticast | ruleset.AddrUnspec); {
	case looks&(looks-1) != 0, looks&^ruleset.AddrUnicast != 0 && types&asked != 0:
		return 0 // no address is both
	case types&asked != 0:
		return types & asked
	case looks != ruleset.AddrUnicast:
		return types
	}
	return asked | ruleset.AddrUnicast | ruleset.AddrBlackhole | ruleset.AddrProhibit
}

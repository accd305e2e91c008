package packet

import (
	"fmt"
	"strconv"

	"github.com/bpfwall/bpfwall/ruleset"
)

var echoRequest = map[ruleset.Family]uint8{ruleset.FamilyIPv4: 8, ruleset.FamilyIPv6: 128}

// icmpTypes are the names of message types (IANA).
var icmpTypes = map[ruleset.Family]map[string]uint8{
	ruleset.FamilyIPv4: {
		"echo-reply": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8, "router-advertisement": 9,
		"router-solicitation": 10, "time-exceeded": 11, "parameter-problem": 12, "timestamp-request": 13, "timestamp-reply": 14,
	},
	ruleset.FamilyIPv6: {
		"destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4, "echo-request": 128, "echo-reply": 129,
		"router-solicitation": 133, "router-advertisement": 134, "neighbour-solicitation": 135, "neighbour-advertisement": 136, "redirect": 137,
	},
}

func setType(l *Literal, arg string) error {
	v, ok := icmpTypes[l.Family][arg]
	if !ok {
		n, err := strconv.ParseUint(arg, 0, 8)
		if err != nil {
			return fmt.Errorf("%q is not an ICMP type", arg)
		}
		v = uint8(n)
	}
	err := l.only(l.ICMPType != ruleset.Absent, "ICMP")
	l.ICMPType = int(v)
	return err
}

func getType(l *Literal) string {
	for name, t := range icmpTypes[l.Family] {
		if int(t) == l.ICMPType {
			return name
		}
	}
	return present("type", l.ICMPType)
}

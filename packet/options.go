package packet

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/bpfwall/bpfwall/accounts"
	"github.com/bpfwall/bpfwall/ruleset"
)

// option is something that a literal may say after protocol and addresses.
type option struct {
	words string // the first is the one that String prints; alternatives after "|"
	takes string // what stands behind it, in words; "" for nothing
	head  bool   // the defaults depend on it: set before them
	set   func(l *Literal, arg string) error
	get   func(l *Literal) string // as it is written; "" if the packet has nothing of it
}

// options are all of them, in the order in which String prints them.
var options = []option{
	{words: "hook", takes: "a hook", head: true, set: setHook, get: func(l *Literal) string {
		if l.Hook == hookOf(l.In, l.Out) {
			return ""
		}
		return "hook " + l.Hook.String()
	}},
	{words: "malformed", head: true,
		set: func(l *Literal, _ string) error { l.Malformed = true; return nil },
		get: func(l *Literal) string { return word("malformed", l.Malformed) }},
	{words: "frag|fragment", head: true,
		set: func(l *Literal, _ string) error { l.Fragment = true; return nil },
		get: func(l *Literal) string { return word("frag", l.Fragment) }},
	{words: "routing", takes: "the type of a routing header", head: true, set: number(8, func(l *Literal, v uint64) error {
		l.Routing, l.HasRouting = uint8(v), true
		if l.Family != ruleset.FamilyIPv6 {
			return errors.New("only IPv6 packets have it")
		}
		return nil
	}), get: func(l *Literal) string { return word(fmt.Sprintf("routing %d", l.Routing), l.HasRouting) }},
	{words: "flags", takes: "TCP flags such as syn,ack", set: setFlags, get: func(l *Literal) string {
		if l.TCPFlags == ruleset.Absent {
			return ""
		}
		names, _ := ruleset.BitList(ruleset.FieldTCPFlags, uint64(l.TCPFlags))
		return names
	}},
	{words: "type", takes: "an ICMP type", set: setType, get: getType},
	{words: "code", takes: "an ICMP code", set: number(8, func(l *Literal, v uint64) error {
		l.ICMPCode = int(v)
		return l.only(l.ICMPType != ruleset.Absent, "ICMP")
	}), get: func(l *Literal) string { return positive("code", l.ICMPCode) }},
	{words: "mss", takes: "a number", set: number(16, func(l *Literal, v uint64) error {
		l.TCPMSS = int(v)
		l.addOption(optMSS)
		return l.only(l.TCPFlags != ruleset.Absent, "TCP")
	}), get: func(l *Literal) string { return present("mss", l.TCPMSS) }},
	{words: "option", takes: "the number of a TCP option", set: number(8, func(l *Literal, v uint64) error {
		l.addOption(byte(v))
		return l.only(l.TCPFlags != ruleset.Absent, "TCP")
	}), get: getOptions},
	{words: "in", takes: "an interface", head: true, set: func(l *Literal, arg string) error { l.In = arg; return iface(arg) },
		get: func(l *Literal) string { return word("in "+l.In, l.In != "") }},
	{words: "out", takes: "an interface", head: true, set: func(l *Literal, arg string) error { l.Out = arg; return iface(arg) },
		get: func(l *Literal) string { return word("out "+l.Out, l.Out != "") }},
	{words: "state", takes: "a conntrack state", head: true,
		set: bit(ruleset.FieldState, func(l *Literal) *uint64 { return &l.State }),
		get: func(l *Literal) string {
			return word("state "+bitName(ruleset.FieldState, l.State), l.State != ruleset.StateNew && l.State != 0)
		}},
	{words: "dnat", set: func(l *Literal, _ string) error { l.DNAT = true; return nil },
		get: func(l *Literal) string { return word("dnat", l.DNAT) }},
	{words: "mark", takes: "a number", set: number(32, func(l *Literal, v uint64) error { l.Mark = uint32(v); return nil }),
		get: func(l *Literal) string { return fmt.Sprintf("mark %#x", l.Mark) }},
	{words: "ttl|hoplimit", takes: "a number", set: number(8, func(l *Literal, v uint64) error { l.TTL = uint8(v); return nil }),
		get: func(l *Literal) string { return fmt.Sprintf("ttl %d", l.TTL) }},
	{words: "tos", takes: "a number", set: number(8, func(l *Literal, v uint64) error { l.TOS = uint8(v); return nil }),
		get: func(l *Literal) string { return fmt.Sprintf("tos %#x", l.TOS) }},
	{words: "dscp", takes: "a number", set: number(6, func(l *Literal, v uint64) error { l.TOS = l.TOS&3 | uint8(v)<<2; return nil }), get: nothing},
	{words: "mac", takes: "a MAC address or none", set: setMAC, get: func(l *Literal) string {
		if !l.HasMAC {
			return "mac none"
		}
		return "mac " + ruleset.MAC(l.SrcMAC)
	}},
	{words: "unicast", set: pktType(ruleset.PktUnicast), get: func(l *Literal) string { return word("unicast", l.PktType == ruleset.PktUnicast) }},
	{words: "broadcast", set: pktType(ruleset.PktBroadcast), get: func(l *Literal) string { return word("broadcast", l.PktType == ruleset.PktBroadcast) }},
	{words: "multicast", set: pktType(ruleset.PktMulticast), get: func(l *Literal) string { return word("multicast", l.PktType == ruleset.PktMulticast) }},
	{words: "srctype", takes: "an address type", set: bit(ruleset.FieldSrcType, func(l *Literal) *uint64 { return &l.SrcType }),
		get: func(l *Literal) string {
			return word("srctype "+bitName(ruleset.FieldSrcType, l.SrcType), l.SrcType != 0)
		}},
	{words: "dsttype", takes: "an address type", set: bit(ruleset.FieldDstType, func(l *Literal) *uint64 { return &l.DstType }),
		get: func(l *Literal) string {
			return word("dsttype "+bitName(ruleset.FieldDstType, l.DstType), l.DstType != 0)
		}},
	{words: "socket", set: func(l *Literal, _ string) error { l.open(); return nil },
		get: func(l *Literal) string { return word("socket", l.Socket) }},
	{words: "connected", set: func(l *Literal, _ string) error { l.open(); l.Connected = true; return nil },
		get: func(l *Literal) string { return word("connected", l.Connected) }},
	{words: "uid|user", takes: "a user's name or number", set: setOwner(accounts.User, func(l *Literal) *int { return &l.UID }),
		get: func(l *Literal) string { return l.ownerText("uid", l.UID) }},
	{words: "gid|group", takes: "a group's name or number", set: setOwner(accounts.Group, func(l *Literal) *int { return &l.GID }),
		get: func(l *Literal) string { return l.ownerText("gid", l.GID) }},
	{words: "cgroup", takes: "the path of a control group", set: setCgroup,
		get: func(l *Literal) string {
			return word("cgroup "+l.Cgroup, l.Cgroup != "" && (l.Cgroup != "/" || !l.Socket))
		}},
	{words: "unit", takes: "a systemd unit", set: func(l *Literal, arg string) error { return setCgroup(l, "/system.slice/"+arg) }, get: nothing},
	{words: "len|length", takes: "a number of bytes", set: number(17, func(l *Literal, v uint64) error { l.Length = uint32(v); return nil }), get: nothing},
}

// findOption finds an option by any of its words; nil if there is none.
func findOption(word string) *option {
	for i := range options {
		if slices.Contains(strings.Split(options[i].words, "|"), word) {
			return &options[i]
		}
	}
	return nil
}

func nothing(*Literal) string { return "" }

func word(s string, present bool) string {
	if present {
		return s
	}
	return ""
}

func present(name string, v int) string {
	return word(fmt.Sprintf("%s %d", name, v), v != ruleset.Absent)
}

func positive(name string, v int) string { return word(fmt.Sprintf("%s %d", name, v), v > 0) }

// number makes a setter of a number of so many bits, decimal or 0x….
func number(bits int, set func(*Literal, uint64) error) func(*Literal, string) error {
	return func(l *Literal, arg string) error {
		v, err := strconv.ParseUint(arg, 0, bits)
		if err != nil {
			return fmt.Errorf("%q is not a number from 0 to %d", arg, uint64(1)<<bits-1)
		}
		return set(l, v)
	}
}

// bit makes a setter of one bit by its name.
func bit(f ruleset.FieldID, at func(*Literal) *uint64) func(*Literal, string) error {
	return func(l *Literal, arg string) error {
		v, ok := ruleset.Bits(f, arg)
		if !ok || v == 0 || v&(v-1) != 0 {
			return fmt.Errorf("%q is none of %s", arg, strings.Join(ruleset.BitNames[f], ", "))
		}
		*at(l) = v
		return nil
	}
}

func bitName(f ruleset.FieldID, v uint64) string {
	s, _ := ruleset.BitList(f, v)
	return s
}

func pktType(t uint64) func(*Literal, string) error {
	return func(l *Literal, _ string) error { l.PktType = t; return nil }
}

// only is an error unless the packet has a header that can hold what was said.
func (l *Literal) only(has bool, proto string) error {
	switch {
	case has:
		return nil
	case !l.readable():
		return errors.New("the packet has no transport header that can be read")
	}
	return fmt.Errorf("only %s packets have it", proto)
}

// hookOf is the hook that a packet with these interfaces is on.
func hookOf(in, out string) ruleset.Hook {
	switch {
	case in != "" && out != "":
		return ruleset.HookForward
	case out != "":
		return ruleset.HookOutput
	}
	return ruleset.HookInput
}

func setHook(l *Literal, arg string) error {
	for _, h := range ruleset.Hooks {
		if h.String() == arg {
			l.Hook = h
			return nil
		}
	}
	return fmt.Errorf("%q is none of prerouting, raw-output, input, forward, output, listen", arg)
}

func iface(name string) error {
	if len(name) > 15 || strings.Contains(name, "/") {
		return fmt.Errorf("%q cannot be an interface name", name)
	}
	return nil
}

func setFlags(l *Literal, arg string) error {
	v, ok := ruleset.Bits(ruleset.FieldTCPFlags, arg)
	if !ok {
		return fmt.Errorf("%q is not a list of fin, syn, rst, psh, ack, urg, ece, cwr", arg)
	}
	err := l.only(l.TCPFlags != ruleset.Absent, "TCP")
	l.TCPFlags = int(v)
	return err
}

func setMAC(l *Literal, arg string) error {
	if arg == "none" {
		l.HasMAC, l.SrcMAC = false, 0
		return nil
	}
	m, err := net.ParseMAC(arg)
	if err != nil || len(m) != 6 {
		return errors.New("a MAC address looks like 02:00:00:00:00:01")
	}
	l.HasMAC, l.SrcMAC = true, 0
	for _, b := range m {
		l.SrcMAC = l.SrcMAC<<8 | uint64(b)
	}
	return nil
}

func (l *Literal) addOption(kind byte) {
	if !slices.Contains(l.TCPOptions, kind) {
		l.TCPOptions = append(l.TCPOptions, kind)
	}
}

// getOptions writes the TCP options, but for MSS, which says so itself.
func getOptions(l *Literal) string {
	var out []string
	for _, kind := range l.TCPOptions {
		if kind != optMSS || l.TCPMSS == ruleset.Absent {
			out = append(out, fmt.Sprintf("option %d", kind))
		}
	}
	return strings.Join(out, " ")
}

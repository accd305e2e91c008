package packet_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/services"
)

var compareAddrs = cmpopts.EquateComparable(netip.Addr{})

func TestParse(t *testing.T) {
	const absent = ruleset.Absent
	a4, b4 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	a6, b6 := netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
	for _, test := range []struct {
		text string
		want packet.Literal
	}{
		{"tcp 10.0.0.1:31245 -> 10.0.0.2:80 syn in eth0", packet.Literal{Hook: ruleset.HookInput, Packet: ruleset.Packet{
			In: "eth0", Family: 4, Src: a4, Dst: b4, Proto: 6, SrcPort: 31245, DstPort: 80, TCPFlags: 2, TCPMSS: absent, ICMPType: absent, ICMPCode: absent,
			State: ruleset.StateNew, Length: 40, TTL: 64, HasMAC: true, SrcMAC: 0x020000000001, PktType: 1, SrcType: ruleset.AddrUnicast, DstType: ruleset.AddrLocal}}},
		{"udp [fd00::1]:53 -> [fd00::2]:5353 out eth1 state established mark 0x10", packet.Literal{Hook: ruleset.HookOutput, Packet: ruleset.Packet{
			Out: "eth1", Family: 6, Src: a6, Dst: b6, Proto: 17, SrcPort: 53, DstPort: 5353, TCPFlags: absent, TCPMSS: absent, ICMPType: absent, ICMPCode: absent,
			State: ruleset.StateEstablished, Mark: 16, Length: 48, TTL: 64, PktType: 1, SrcType: ruleset.AddrLocal, DstType: ruleset.AddrUnicast}}},
		{"icmp 10.0.0.1 -> 10.0.0.2 type 3 code 4 in eth0 out eth1 ttl 9 dscp 46", packet.Literal{Hook: ruleset.HookForward, Packet: ruleset.Packet{
			In: "eth0", Out: "eth1", Family: 4, Src: a4, Dst: b4, Proto: 1, SrcPort: absent, DstPort: absent, TCPFlags: absent, TCPMSS: absent, ICMPType: 3, ICMPCode: 4,
			State: ruleset.StateNew, Length: 28, TTL: 9, TOS: 184, HasMAC: true, SrcMAC: 0x020000000001, PktType: 1, SrcType: ruleset.AddrUnicast, DstType: ruleset.AddrUnicast}}},
		{"udp 10.0.0.1 -> 10.0.0.2 frag hook prerouting in lo", packet.Literal{Hook: ruleset.HookPrerouting, Packet: ruleset.Packet{
			In: "lo", Family: 4, Src: a4, Dst: b4, Proto: 17, SrcPort: absent, DstPort: absent, TCPFlags: absent, TCPMSS: absent, ICMPType: absent, ICMPCode: absent,
			State: ruleset.StateNew, Length: 28, TTL: 64, Fragment: true, PktType: 1, SrcType: ruleset.AddrUnicast, DstType: ruleset.AddrLocal}}},
	} {
		got, err := packet.Parse(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if diff := cmp.Diff(&test.want, got, compareAddrs); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.text, diff)
		}
	}
}

// Every literal's shortest form, which is what String makes of it.
func TestString(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"tcp", "tcp 192.0.2.1:40000 -> 198.51.100.2:80"},
		{"tcp -> :5432 in eth0", "tcp 192.0.2.1:40000 -> 198.51.100.2:5432 in eth0"},
		{"tcp 203.0.113.9 -> :5432 in eth0", "tcp 203.0.113.9:40000 -> 198.51.100.2:5432 in eth0"},
		{"tcp syn,ack mss 1460 option 8 out eth1", "tcp 192.0.2.1:40000 -> 198.51.100.2:80 syn,ack mss 1460 option 8 option 1 out eth1"},
		{"tcp state established", "tcp 192.0.2.1:40000 -> 198.51.100.2:80 state established"},
		{"tcp none", "tcp 192.0.2.1:40000 -> 198.51.100.2:80 none"},
		{"icmpv6 neighbour-solicitation", "icmpv6 2001:db8:1::1 -> 2001:db8:2::2 neighbour-solicitation"},
		{"icmp -> 10.0.0.2 echo-reply", "icmp 192.0.2.1 -> 10.0.0.2 echo-reply"},
		{"tcp -> :ssh", "tcp 192.0.2.1:40000 -> 198.51.100.2:22"},
		{"udp 10.0.0.1:domain -> 10.0.0.2:ntp", "udp 10.0.0.1:53 -> 10.0.0.2:123"},
		{"ipv6-icmp", "icmpv6 2001:db8:1::1 -> 2001:db8:2::2"},
		{"proto 47 10.0.0.1 -> 10.0.0.2", "gre 10.0.0.1 -> 10.0.0.2"},
		{"proto 253", "proto 253 192.0.2.1 -> 198.51.100.2"},
		{"udp -> 224.0.0.251:5353 in eth0", "udp 192.0.2.1:40000 -> 224.0.0.251:5353 in eth0"},
		{"udp -> [ff02::fb]:5353", "udp [2001:db8:1::1]:40000 -> [ff02::fb]:5353"},
		{"tcp malformed in eth0 len 22", "tcp 192.0.2.1 -> 198.51.100.2 malformed in eth0 len 22"},
		{"udp mac aa:bb:cc:dd:ee:ff broadcast srctype local dsttype broadcast tos 0x10 mark 0xff len 1500",
			"udp 192.0.2.1:40000 -> 198.51.100.2:80 mark 0xff tos 0x10 mac aa:bb:cc:dd:ee:ff broadcast srctype local dsttype broadcast len 1500"},
	} {
		l, err := packet.Parse(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		again, err := packet.Parse(l.String())
		if err != nil {
			t.Errorf("%s: its string %q: %v", test.text, l, err)
			continue
		}
		if diff := cmp.Diff(l, again, compareAddrs); diff != "" {
			t.Errorf("%s: %q read back (-want +got):\n%s", test.text, l, diff)
		}
		if got := l.String(); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.text, got, test.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, test := range []struct {
		text string
		col  int
		msg  string
	}{
		{"", 1, `protocol: "" is not one`},
		{"all", 1, `protocol: "all" is not one`},
		{"tpc 10.0.0.1", 1, `protocol: "tpc" is not one`},
		{"tcp 10.0.0.300:1 -> :2", 5, `address: "10.0.0.300" is not one`},
		{"tcp fd00::1:x", 5, `port: "x" is neither a number from 0 to 65535 nor the name of a tcp service`},
		{"tcp 10.0.0.1:99999", 5, `port: "99999" is neither a number from 0 to 65535 nor the name of a tcp service`},
		{"tcp 10.0.0.1 -> [::1]:2", 17, `destination: not of the source's address family`},
		{"tcp 10.0.0.1 ->", 16, `destination: missing after "->"`},
		{"icmp 10.0.0.1:5", 6, `port: icmp packets have none here`},
		{"udp frag -> :5", 10, `"->": not an option of packets`},
		{"udp syn", 5, `syn: only TCP packets have it`},
		{"tcp in", 5, `in: needs an interface`},
		{"tcp state fresh", 11, `state: "fresh" is none of invalid, established, related, new, untracked`},
		{"tcp len 3", 10, `len: 3 is less than the 40 bytes of its headers`},
		{"tcp malformed type 3", 20, `type: the packet has no transport header that can be read`},
	} {
		_, err := packet.Parse(test.text)
		var e *ruleset.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: got %v, want an error at column %d", test.text, err, test.col)
			continue
		}
		if e.Pos.Col != test.col || e.Msg != test.msg {
			t.Errorf("%q:\n got %d: %s\nwant %d: %s", test.text, e.Pos.Col, e.Msg, test.col, test.msg)
		}
	}
}

// The names that listings print are those that parsers read.
func TestProtocolNames(t *testing.T) {
	for n, name := range ruleset.ProtoNames {
		if got, ok := services.Protocol(name); !ok || got != n {
			t.Errorf("%s: protocol %d is printed so, but it is read as %d", name, n, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"tcp 10.0.0.1:31245 -> 10.0.0.2:80 syn in eth0", "udp [fd00::1]:53 -> [fd00::2]:5353 out eth1 state established", "tcp mss 9 option 3 frag"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := packet.Parse(s)
		if err != nil {
			return
		}
		again, err := packet.Parse(l.String())
		if err != nil {
			t.Fatalf("%q printed as %q: %v", s, l, err)
		}
		if diff := cmp.Diff(l, again, compareAddrs); diff != "" {
			t.Fatalf("%q printed as %q (-want +got):\n%s", s, l, diff)
		}
	})
}

package packet_test

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bpfwall/bpfwall/internal/cases"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// wire is what of a packet is on the wire.
func wire(p ruleset.Packet) ruleset.Packet {
	p.In, p.Out, p.Mark, p.State, p.DNAT, p.SrcType, p.DstType = "", "", 0, 0, false, 0, 0
	p.HasMAC = true
	p.Socket, p.Connected, p.UID, p.GID, p.Cgroup = false, false, 0, 0, ""
	return p
}

// encodings are ways to send a packet that look alike to rules, and what they add to its length.
var encodings = []struct {
	packet.Encoding
	family ruleset.Family
	adds   uint32
}{
	{packet.Encoding{}, 4, 0},
	{packet.Encoding{}, 6, 0},
	{packet.Encoding{PriorityTags: 1}, 4, 0},
	{packet.Encoding{PriorityTags: 3}, 6, 0},
	{packet.Encoding{IPv4Options: []byte{1, 1, 1}}, 4, 4},
	{packet.Encoding{IPv4Options: slices.Repeat([]byte{1}, 40), PriorityTags: 2}, 4, 40},
	{packet.Encoding{Extensions: []uint8{60}}, 6, 8},
	{packet.Encoding{Extensions: []uint8{0, 60, 43, 44, 60, 44}}, 6, 48},
	{packet.Encoding{Extensions: slices.Repeat([]uint8{60}, 32)}, 6, 256},
}

// Every packet of every case survives the wire, however it is encoded.
func TestFrameDecode(t *testing.T) {
	for _, c := range cases.All() {
		for _, e := range append(c.Expects(), c.Sequence...) {
			l, err := packet.Parse(e.Packet)
			if err != nil {
				t.Fatal(err)
			}
			for _, enc := range encodings {
				if l.HasRouting && len(enc.Extensions) == 32 { // one more is too many
					continue
				}
				if enc.family == l.Family && l.Length+enc.adds <= 65535 {
					roundTrip(t, l, enc.Encoding, enc.adds)
				}
			}
		}
	}
}

func roundTrip(t *testing.T, l *packet.Literal, enc packet.Encoding, adds uint32) {
	t.Helper()
	frame, err := enc.Frame(&l.Packet)
	if err != nil {
		t.Fatalf("%s: %v", l, err)
	}
	got, err := packet.Decode(append(frame, "padding of Ethernet"...))
	if err != nil {
		t.Fatalf("%s as %+v: %v", l, enc, err)
	}
	want := wire(l.Packet)
	want.Length += adds
	want.HasRouting = want.HasRouting || slices.Contains(enc.Extensions, 43) // of type 0
	if !l.HasMAC {
		want.SrcMAC = got.SrcMAC
	}
	if diff := cmp.Diff(want, wire(*got), compareAddrs); diff != "" {
		t.Errorf("%s as %+v (-want +got):\n%s", l, enc, diff)
	}
}

// Frames by hand: what Frame does not build.
func TestDecode(t *testing.T) {
	const (
		eth4 = "020000000002 020000000001 0800 "
		eth6 = "020000000002 020000000001 86dd "
		ip6  = "20010db8000000000000000000000001 20010db8000000000000000000000002 "
	)
	ip4 := func(total, frag, proto string) string {
		return "4500" + total + "0000" + frag + "40" + proto + "0000 0a000001 0a000002 "
	}
	tcp := "1111 0016 00000000 00000000 5002 ffff 0000 0000 "
	for _, test := range []struct {
		name, frame string
		err         error
		want        func(p *ruleset.Packet) bool
	}{
		{"empty", "", packet.ErrNotIP, nil},
		{"ARP", "ffffffffffff 020000000001 0806 0001", packet.ErrNotIP, nil},
		{"LLC", "0180c2000000 020000000001 0026 4242", packet.ErrNotIP, nil},
		{"VLAN 5", "020000000002 020000000001 8100 0005 0800" + ip4("0028", "0000", "06") + tcp, packet.ErrNotIP, nil},
		{"priority tag with priority", "020000000002 020000000001 88a8 e000 0800" + ip4("0028", "0000", "06") + tcp, nil, func(p *ruleset.Packet) bool { return p.DstPort == 22 }},
		{"four tags", "020000000002 020000000001 8100 0000 8100 0000 8100 0000 8100 0000 0800" + ip4("0028", "0000", "06") + tcp, packet.ErrTooLong, nil},
		{"tag cut short", "020000000002 020000000001 8100 0000", packet.ErrNotIP, nil},
		{"IPv4 cut short", eth4 + "45000028", packet.ErrBadHeader, nil},
		{"IPv4 header of 16 bytes", eth4 + strings.Replace(ip4("0028", "0000", "06"), "45", "44", 1) + tcp, packet.ErrBadHeader, nil},
		{"IPv4 version 6", eth4 + strings.Replace(ip4("0028", "0000", "06"), "45", "65", 1) + tcp, packet.ErrBadHeader, nil},
		{"IPv4 longer than the frame", eth4 + ip4("0029", "0000", "06") + tcp, packet.ErrBadHeader, nil},
		{"IPv4 shorter than its header", eth4 + ip4("0013", "0000", "06") + tcp, packet.ErrBadHeader, nil},
		{"TCP header behind the IP length", eth4 + ip4("0027", "0000", "06") + tcp, nil, malformed},
		{"TCP without a header", eth4 + ip4("0014", "0000", "06"), nil, malformed},
		{"TCP data offset 4", eth4 + ip4("0028", "0000", "06") + strings.Replace(tcp, "5002", "4002", 1), nil, malformed},
		{"TCP data offset past the end", eth4 + ip4("0028", "0000", "06") + strings.Replace(tcp, "5002", "6002", 1), nil, malformed},
		{"TCP options: end, then more", eth4 + ip4("0030", "0000", "06") + strings.Replace(tcp, "5002", "7002", 1) + "00 0204 05b4 01 00 08", nil,
			func(p *ruleset.Packet) bool {
				return p.TCPMSS == 1460 && slices.Equal(p.TCPOptions, []byte{0, 2, 1, 8})
			}},
		{"TCP options: length 0", eth4 + ip4("002c", "0000", "06") + strings.Replace(tcp, "5002", "6002", 1) + "1e00 0501", nil,
			func(p *ruleset.Packet) bool { return p.TCPMSS < 0 && slices.Equal(p.TCPOptions, []byte{30, 0, 5, 1}) }},
		{"TCP options: MSS cut short", eth4 + ip4("002c", "0000", "06") + strings.Replace(tcp, "5002", "6002", 1) + "01 0204 05", nil,
			func(p *ruleset.Packet) bool { return p.TCPMSS < 0 && slices.Equal(p.TCPOptions, []byte{1, 2}) }},
		{"first fragment", eth4 + ip4("0028", "2000", "06") + tcp, nil, func(p *ruleset.Packet) bool { return !p.Fragment && p.DstPort == 22 }},
		{"fragment at offset 1", eth4 + ip4("0028", "0001", "06") + tcp, nil, func(p *ruleset.Packet) bool { return p.Fragment && p.DstPort < 0 }},
		{"don't fragment", eth4 + ip4("0028", "4000", "06") + tcp, nil, func(p *ruleset.Packet) bool { return !p.Fragment && p.DstPort == 22 }},
		{"UDP length 7", eth4 + ip4("001c", "0000", "11") + "0035 0035 0007 0000", nil, malformed},
		{"UDP length 9 of 8", eth4 + ip4("001c", "0000", "11") + "0035 0035 0009 0000", nil, malformed},
		{"UDP length 9 of 8 in the first fragment", eth4 + ip4("001c", "2000", "11") + "0035 0035 0009 0000", nil, func(p *ruleset.Packet) bool { return p.DstPort == 53 }},
		{"UDP length 8 of 9", eth4 + ip4("001d", "0000", "11") + "0035 0035 0008 0000 00", nil, func(p *ruleset.Packet) bool { return p.DstPort == 53 }},
		{"UDP-Lite covers all", eth4 + ip4("001c", "0000", "88") + "0035 0035 0000 0000", nil, func(p *ruleset.Packet) bool { return p.DstPort == 53 }},
		{"UDP-Lite covers 7", eth4 + ip4("001c", "0000", "88") + "0035 0035 0007 0000", nil, malformed},
		{"ICMP of 4 bytes", eth4 + ip4("0018", "0000", "01") + "08000000", nil, malformed},
		{"AH stays AH in IPv4", eth4 + ip4("0034", "0000", "33") + "0604 0000 00000000 00000000" + tcp, nil, func(p *ruleset.Packet) bool { return p.Proto == 51 && p.DstPort < 0 }},

		{"IPv6 longer than the frame", eth6 + "60000000 0015 06 40" + ip6 + tcp, packet.ErrBadHeader, nil},
		{"IPv6 version 4", eth6 + "40000000 0014 06 40" + ip6 + tcp, packet.ErrBadHeader, nil},
		{"IPv6 traffic class", eth6 + "6b8abcde 0014 06 40" + ip6 + tcp, nil, func(p *ruleset.Packet) bool { return p.TOS == 0xb8 && p.DstPort == 22 }},
		{"IPv6 extension cut short", eth6 + "60000000 0007 3c 40" + ip6 + "06000104000000", nil, malformed},
		{"IPv6 extension longer than the packet", eth6 + "60000000 0008 3c 40" + ip6 + "0601010400000000" + tcp, nil, malformed},
		{"IPv6 extension longer than the packet before GRE", eth6 + "60000000 0008 3c 40" + ip6 + "2f01010400000000" + tcp, nil, malformed},
		{"IPv6 extension of 16 bytes", eth6 + "60000000 0024 3c 40" + ip6 + "0601010c00000000 0000000000000000" + tcp, nil, func(p *ruleset.Packet) bool { return p.Proto == 6 && p.DstPort == 22 }},
		{"IPv6 hop by hop out of order", eth6 + "60000000 0024 3c 40" + ip6 + "0000010400000000 0600010400000000" + tcp, nil, func(p *ruleset.Packet) bool { return p.DstPort == 22 }},
		{"IPv6 first fragment", eth6 + "60000000 001c 2c 40" + ip6 + "0600000100000000" + tcp, nil, func(p *ruleset.Packet) bool { return !p.Fragment && p.DstPort == 22 }},
		{"IPv6 fragment", eth6 + "60000000 001c 2c 40" + ip6 + "0600000800000000" + tcp, nil, func(p *ruleset.Packet) bool { return p.Fragment && p.Proto == 6 && p.DstPort < 0 }},
		{"IPv6 two routing headers", eth6 + "60000000 0024 2b 40" + ip6 + "2b00040000000000 0600000000000000" + tcp, nil, func(p *ruleset.Packet) bool { return p.HasRouting && p.Routing == 4 && p.DstPort == 22 }},
		{"IPv6 routing header longer than the packet", eth6 + "60000000 0008 2b 40" + ip6 + "0601000000000000" + tcp, nil, func(p *ruleset.Packet) bool { return p.Malformed && !p.HasRouting }},
		{"IPv6 fragment of an extension header", eth6 + "60000000 001c 2c 40" + ip6 + "3c00000800000000" + tcp, nil, func(p *ruleset.Packet) bool { return p.Fragment && p.Proto == 60 }},
		{"AH stays AH in IPv6", eth6 + "60000000 0020 33 40" + ip6 + "0601000000000000 00000000" + tcp, nil, func(p *ruleset.Packet) bool { return p.Proto == 51 && p.DstPort < 0 }},
		{"IPv6 no next header", eth6 + "60000000 0000 3b 40" + ip6, nil, func(p *ruleset.Packet) bool { return p.Proto == 59 && !p.Malformed }},
		{"IPv6 33 extension headers", eth6 + "60000000 0108 3c 40" + ip6 + strings.Repeat("3c00010400000000", 33), packet.ErrTooLong, nil},
	} {
		frame, err := hex.DecodeString(strings.ReplaceAll(test.frame, " ", ""))
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		p, err := packet.Decode(frame)
		if !errors.Is(err, test.err) || err == nil && !test.want(p) {
			t.Errorf("%s: got %+v, %v", test.name, p, err)
		}
	}
}

func malformed(p *ruleset.Packet) bool {
	return p.Malformed && p.SrcPort < 0 && p.DstPort < 0 && p.TCPFlags < 0 && p.ICMPType < 0 && p.TCPOptions == nil
}

func TestMalformedFrames(t *testing.T) {
	for _, text := range []string{"tcp malformed", "tcp malformed len 39", "tcp malformed len 60", "udp malformed len 40", "udplite malformed len 40",
		"icmp malformed len 27", "sctp 2001:db8::1 malformed len 51"} {
		l, err := packet.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, l, packet.Encoding{}, 0)
	}
	l, err := packet.Parse("icmp malformed len 28")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := packet.Frame(&l.Packet); err == nil {
		t.Errorf("%s: made a frame, want an error", l)
	}
}

func TestFrameErrors(t *testing.T) {
	for name, change := range map[string]func(*ruleset.Packet){
		"nothing":          func(p *ruleset.Packet) { *p = ruleset.Packet{} },
		"two families":     func(p *ruleset.Packet) { p.Dst = netip.IPv6Loopback() },
		"too short":        func(p *ruleset.Packet) { p.Length = 39 },
		"too long":         func(p *ruleset.Packet) { p.Length = 65536 },
		"too many options": func(p *ruleset.Packet) { p.TCPOptions, p.Length = slices.Repeat([]byte{9}, 21), 100 },
	} {
		l, err := packet.Parse("tcp")
		if err != nil {
			t.Fatal(err)
		}
		change(&l.Packet)
		if _, err := packet.Frame(&l.Packet); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzDecode: what was read can be sent and read again, and means the same.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{"tcp mss 1460", "udp 2001:db8::1 -> :53", "icmp frag", "sctp", "udp 2001:db8::1 frag"} {
		l, err := packet.Parse(text)
		if err != nil {
			f.Fatal(err)
		}
		frame, err := packet.Encoding{PriorityTags: 1, Extensions: []uint8{0, 60}}.Frame(&l.Packet)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		p, err := packet.Decode(frame)
		if err != nil {
			return
		}
		again, err := packet.Frame(p)
		if err != nil {
			return // options or lengths that Frame does not make
		}
		q, err := packet.Decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(facts(p), facts(q), compareAddrs); diff != "" {
			t.Fatalf("(-read +read again):\n%s", diff)
		}
	})
}

// facts is a packet without what encodings are free to change: padding options of TCP.
func facts(p *ruleset.Packet) ruleset.Packet {
	out := *p
	out.TCPOptions = nil
	return out
}

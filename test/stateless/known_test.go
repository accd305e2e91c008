package stateless

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// known are disagreements that were found once.
var known = []struct {
	engine string
	six    bool
	at     place
	frames []string // in hex, as in probe
	rules  string   // of the table filter, or a whole file
	want   string
}{
	// In IPv6, --dst-type LOCAL,MULTICAST asks for both.
	{"nft", true, atLAN, []string{"02000000010102000000090786dd600000890018114d20010db809990000000000000000000720010db80001000000000000000000010001000100189aa800000000000000000000000000000000"},
		"-A INPUT -p udp -m addrtype --dst-type LOCAL,MULTICAST -j DROP\n", "1 at dut"},
	// A reset in place of a segment with long IP options, where the transport header's place is known to the kernel.
	{"legacy", false, atDUT, []string{"4d000058005000004d067509c00002010a0114350101010101010101010101010101010101010101010101010101010101010101000137b10000003f00000050500203e89372000000000000000000000000000000000000"},
		"-A OUTPUT -m ttl --ttl-eq 64 -j ACCEPT\n-A OUTPUT -p tcp -j REJECT --reject-with tcp-reset\n", "answered tcp RST,ACK"},
	// The same with IPv6 extension headers, received.
	{"legacy", true, atLAN, []string{"02000000010102000000090286dd60000077004c3c4d" + "20010db8001000030000000000000004" + "20010db8000100000000000000000001" +
		"3c00010400000000" + "3c00010400000000" + "3c00010400000000" + "3c00010400000000" + "3c00010400000000" + "0600010400000000" + "4e20873a" + "0000000000000077501003e8" + "7a880000" + "0000000000000000"},
		"-A INPUT -p tcp -j REJECT --reject-with tcp-reset\n", "answered tcp RST at lan0 from 2001:db8:1::1"},
}

// TestKnown plays them again.
func TestKnown(t *testing.T) {
	engines := map[string]lab.Engine{"nft": lab.Nft, "legacy": lab.Legacy}
	rigs := [2]*rig{newRig(t, 0, nil), newRig(t, 1, loadBpfwall)}
	for i, k := range known {
		rigs[0].load = loadKernel(engines[k.engine])
		which := map[bool]int{false: 0, true: 1}[k.six]
		files := nothing
		files[which] = k.rules
		if !strings.HasPrefix(k.rules, "#") {
			files[which] = strings.TrimSuffix(nothing[which], "COMMIT\n") + "-A INPUT -i lo -j ACCEPT\n" + k.rules + "COMMIT\n"
		}
		if err := both(func(i int) error { return rigs[i].load(rigs[i], files, "") }); err != nil {
			t.Fatal(err)
		}
		p, err := parseProbe(k.frames, k.at)
		if err != nil {
			t.Fatal(err)
		}
		results, err := playBoth(rigs, newRound([]*probe{p}))
		if err != nil {
			t.Fatal(err)
		}
		if a, b := results[0].of(p), results[1].of(p); a != b || a.String() != k.want {
			t.Errorf("row %d: want %s; %s: %s; bpfwall: %s\n%s", i, k.want, k.engine, a, b, k.rules)
		}
	}
}

// parseProbe reads as much of a packet as tells it from others.
func parseProbe(frames []string, at place) (*probe, error) {
	p := &probe{at: at, aim: &rule{}}
	for _, text := range frames {
		f, err := hex.DecodeString(text)
		if err != nil {
			return nil, err
		}
		p.frames = append(p.frames, f)
	}
	ip := p.frames[0]
	if at != atDUT {
		ip = ip[14:]
	}
	var l4 []byte
	switch ip[0] >> 4 {
	case 4:
		p.pkt.ID, p.pkt.Proto = uint32(binary.BigEndian.Uint16(ip[4:])), ip[9]
		p.pkt.Src, p.pkt.Dst = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
		l4 = ip[int(ip[0]&15)*4:]
	case 6:
		p.pkt.ID, p.pkt.Proto = uint32(binary.BigEndian.Uint16(ip[2:])), ip[6]
		p.pkt.Src, p.pkt.Dst = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
		for l4 = ip[40:]; p.pkt.Proto == 60 || p.pkt.Proto == 43; l4 = l4[8+8*int(l4[1]):] {
			p.pkt.Proto = l4[0]
		}
	default:
		return nil, fmt.Errorf("no IP packet: %x", ip)
	}
	if len(l4) >= 4 {
		p.pkt.SrcPort, p.pkt.DstPort = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	}
	return p, nil
}

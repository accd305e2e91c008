package volume

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// addrTypes is the routing table that both sides are told.
var addrTypes = []addrType{
	{netip.MustParsePrefix("10.0.0.0/28"), ruleset.AddrLocal},
	{netip.MustParsePrefix("10.0.0.4/31"), ruleset.AddrBroadcast},
	{netip.MustParsePrefix("fd00::/124"), ruleset.AddrLocal},
	{netip.MustParsePrefix("fd00::4/127"), ruleset.AddrUnicast},
}

type addrType struct {
	prefix netip.Prefix
	is     uint64
}

// routed is the type of an address: Decode's if it says more than unicast, else the table's.
func routed(a netip.Addr, said uint64) uint64 {
	if said != ruleset.AddrUnicast {
		return said
	}
	best := -1
	for _, t := range addrTypes {
		if t.prefix.Contains(a) && t.prefix.Bits() > best {
			best, said = t.prefix.Bits(), t.is
		}
	}
	return said
}

// fate is what becomes of a frame.
type fate struct {
	verdict ruleset.VerdictKind
	judged  bool   // rules or policies were asked
	rule    string // ID of what decided, if judged; "" if nothing did
	mark    uint32 // of a judged packet that was accepted
}

func (f fate) String() string {
	return fmt.Sprintf("%v, judged %t, rule %q, mark %#x", ruleset.Verdict{Kind: f.verdict}, f.judged, f.rule, f.mark)
}

var (
	untouched = fate{verdict: ruleset.Accept}
	refused   = fate{verdict: ruleset.Drop}
)

// expected is what should become of a frame. What a frame cannot tell, of conntrack, is what the program saw.
func (m *machine) expected(rs *ruleset.Ruleset, f *frame) fate {
	saw := m.pkt()
	if !f.egress && string(f.data[:6]) != string(ourMAC) && f.data[0]&1 == 0 {
		return untouched // for another host
	}
	p, err := packet.Decode(f.data)
	switch {
	case errors.Is(err, packet.ErrNotIP):
		return untouched
	case err != nil:
		return refused
	}
	p.Mark = f.mark
	p.SrcType, p.DstType = routed(p.Src, p.SrcType), routed(p.Dst, p.DstType)
	if p.Fragment && p.Proto == 6 && saw.FragEdge < 20 {
		return refused // RFC 1858
	}
	if rs.UsesConntrack() && f.egress && p.Fragment && saw.Hook == 0 {
		return m.following(saw)
	}
	if rs.UsesConntrack() && !tracked(p, saw) {
		return refused
	}
	v, last := m.walk(rs, f, p)
	if f.egress && saw.MoreFrags == 1 && saw.Hook >= uint8(ruleset.HookForward) {
		m.firsts[datagramOf(saw)] = v.Kind
	}
	out := fate{verdict: v.Kind, judged: last.Reason == "", rule: last.DecidedBy()}
	switch {
	case v.Kind == ruleset.Accept:
		out.mark = last.Packet.Mark
	case last.Hook == ruleset.HookInput && dhcpAnswer(p):
		return untouched // no socket waits for it here
	}
	return out
}

// datagram is what the fragments of one have in common.
type datagram struct {
	saddr, daddr [4]uint32
	id           uint32
	family       uint8
	proto        uint8 // IPv4 only (RFC 791); of IPv6 fragments the first one's counts
}

func datagramOf(saw *bpf.Pkt) datagram {
	d := datagram{saddr: saw.Saddr, daddr: saw.Daddr, id: saw.FragId, family: saw.Family}
	if saw.Family == 4 {
		d.proto = saw.Proto
	}
	return d
}

// following is the fate of a later fragment that was not judged: it passes only if its first one was accepted. It may be dropped all
// the same, because it overlaps the first one or that is forgotten.
func (m *machine) following(saw *bpf.Pkt) fate {
	if m.run.ret == tcPass && m.firsts[datagramOf(saw)] == ruleset.Accept {
		return untouched
	}
	return refused
}

// walk judges the packet on the hooks that the program runs. It returns the last one's trace.
func (m *machine) walk(rs *ruleset.Ruleset, f *frame, p *ruleset.Packet) (ruleset.Verdict, *ruleset.Trace) {
	switch {
	case !f.egress:
		p.In = names[f.dev]
		return m.walkInput(rs, p)
	case f.forwarded: // prerouting ran at ingress
		p.In, p.Out = names[f.from], names[f.dev]
		p.SrcMAC = m.pkt().Smac // of the last packet that passed through from that address
		p.HasMAC = p.SrcMAC != 1<<48
		v, trace := rs.Eval(ruleset.HookForward, p, nil)
		return v, &trace
	}
	p.Out, p.HasMAC = names[f.dev], false
	if m.pkt().Cgroups>>63 == 0 { // a test run has a socket of the kernel's, in no group that a rule names but the root
		p.Cgroup = "/test-run"
	}
	v, traces := rs.Walk(ruleset.HookOutput, p, nil)
	return v, &traces[len(traces)-1]
}

// walkInput is Walk, but that a later fragment of IPv4 is put together with its first one before INPUT.
func (m *machine) walkInput(rs *ruleset.Ruleset, p *ruleset.Packet) (ruleset.Verdict, *ruleset.Trace) {
	if m.router && m.passesThrough(p) {
		v, trace := rs.Eval(ruleset.HookPrerouting, p, nil)
		return v, &trace
	}
	if !p.Fragment || rs.UsesConntrack() || p.Family != ruleset.FamilyIPv4 || !rs.ReadsTransport() {
		v, traces := rs.Walk(ruleset.HookInput, p, nil)
		return v, &traces[len(traces)-1]
	}
	v, trace := rs.Eval(ruleset.HookPrerouting, p, nil)
	if v.Kind != ruleset.Accept {
		return v, &trace
	}
	p.Mark = trace.Packet.Mark
	completed(p, m.pkt())
	v, trace = rs.Eval(ruleset.HookInput, p, nil)
	return v, &trace
}

// passesThrough reports whether a router passes a received packet on.
func (m *machine) passesThrough(p *ruleset.Packet) bool {
	if p.Src.IsMulticast() || p.Dst.IsLoopback() {
		return m.pkt().Hook != uint8(ruleset.HookInput) // the stack drops it in either place
	}
	if p.PktType != ruleset.PktUnicast || p.Dst.IsMulticast() || p.Dst.IsLinkLocalUnicast() && p.Dst.Is6() {
		return false
	}
	if p.Dst == netip.IPv4Unspecified() || p.Dst == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return false
	}
	return !slices.ContainsFunc(addrTypes, func(a addrType) bool { return a.is == ruleset.AddrLocal && a.prefix.Contains(p.Dst) })
}

// tracked takes over what conntrack said. It reports false for a fragment that comes without its first, or overlaps it.
func tracked(p *ruleset.Packet, saw *bpf.Pkt) bool {
	p.State = uint64(saw.CtState)
	if !p.Fragment {
		return true
	}
	if saw.Hook == 0 {
		return false
	}
	completed(p, saw)
	return true
}

// completed gives a later fragment what the program knew from the first one.
func completed(p *ruleset.Packet, saw *bpf.Pkt) {
	p.Proto = saw.Proto
	for to, v := range map[*int]uint32{&p.SrcPort: saw.Sport, &p.DstPort: saw.Dport, &p.TCPMSS: saw.TcpMss} {
		*to = absentOr(v, 0x10000)
	}
	for to, v := range map[*int]uint16{&p.TCPFlags: saw.TcpFlags, &p.ICMPType: saw.IcmpType, &p.ICMPCode: saw.IcmpCode} {
		*to = absentOr(uint32(v), 0x100)
	}
}

func absentOr(v, limit uint32) int {
	if v >= limit {
		return ruleset.Absent
	}
	return int(v)
}

// dhcpAnswer reports whether a packet is a DHCP server's to a client, which gets it whatever the rules say.
func dhcpAnswer(p *ruleset.Packet) bool {
	if p.Proto != 17 || p.Malformed {
		return false
	}
	if p.Family == ruleset.FamilyIPv4 {
		return p.SrcPort == 67 && p.DstPort == 68
	}
	return p.SrcPort == 547 && p.DstPort == 546
}

// agrees compares a fate with what the programs did.
func (m *machine) agrees(want fate, ret uint32) string {
	got := fate{verdict: kindOf(ret, want.verdict), judged: want.judged}
	if want.judged {
		got.rule = m.ids[m.pkt().Rule]
	}
	if want.judged && got.verdict == ruleset.Accept {
		got.mark = m.back.Mark
	}
	if got != want {
		return fmt.Sprintf("program: %s (%#x)\nGo:      %s", got, ret, want)
	}
	return ""
}

// kindOf is a program's answer as a verdict. A rejected packet is dropped without an answer where none is due.
func kindOf(ret uint32, want ruleset.VerdictKind) ruleset.VerdictKind {
	switch {
	case ret == tcPass:
		return ruleset.Accept
	case ret == tcRedirect, ret == tcDrop && want == ruleset.Reject:
		return ruleset.Reject
	case ret == tcDrop:
		return ruleset.Drop
	}
	return ruleset.Continue
}

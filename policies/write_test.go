package policies_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/policies"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/google/go-cmp/cmp"
)

// dice makes random rulesets and packets from small pools, so that they meet.
type dice struct{ *rand.Rand }

func pick[T any](d dice, list ...T) T { return list[d.IntN(len(list))] }

func (d dice) one(n int) bool { return d.IntN(n) == 0 }

var (
	ifacePool = []string{"eth0", "eth1", "wg0", "lo"}
	addrPool  = map[ruleset.Family][]string{
		ruleset.FamilyIPv4: {"10.0.0.1", "10.0.0.2", "10.1.0.1", "192.0.2.9", "198.51.100.7"},
		ruleset.FamilyIPv6: {"2001:db8::1", "2001:db8::2", "2001:db8:1::1", "fd00::9"},
	}
	prefixPool = map[ruleset.Family][]string{
		ruleset.FamilyIPv4: {"10.0.0.0/8", "10.0.0.0/31", "192.0.2.9/32", "0.0.0.0/0"},
		ruleset.FamilyIPv6: {"2001:db8::/32", "2001:db8::/126", "fd00::9/128", "::/0"},
	}
)

// packetHooks are the hooks that packets meet. (What listen can ask is little, and other tools have nothing like it.)
var packetHooks = ruleset.Hooks[:len(ruleset.Hooks)-1]

// ruleset makes chains for one or both families on every hook, and user chains that call only later ones.
func (d dice) ruleset() *ruleset.Ruleset {
	rs := &ruleset.Ruleset{Name: "random", Sets: []*ruleset.Set{{Name: "mixed \"set\""}}}
	for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
		for range 3 {
			rs.Sets[0].Members = append(rs.Sets[0].Members, d.addr(f))
		}
	}
	pairs := &ruleset.Set{Name: "pairs", Parts: []ruleset.Part{ruleset.PartAddress, ruleset.PartPort}}
	for range 20 {
		a := d.addr(pick(d, ruleset.FamilyIPv4, ruleset.FamilyIPv6)).From
		t := ruleset.Tuple{Net: netip.PrefixFrom(a, a.BitLen()), Proto: pick[uint8](d, 6, 17), Port: pick[uint16](d, 22, 53, 80)}
		pairs.Tuples = append(pairs.Tuples, t)
	}
	rs.Sets = append(rs.Sets, pairs)
	families := pick(d, []ruleset.Family{0}, []ruleset.Family{4}, []ruleset.Family{4, 6}, []ruleset.Family{4, 6})
	for _, f := range families {
		users := pick(d, 0, 2, 4)
		for _, h := range packetHooks {
			if !d.one(4) {
				rs.Chains = append(rs.Chains, d.chain(f, h, "BASE "+h.String(), 0, users))
			}
		}
		for n := range users {
			rs.Chains = append(rs.Chains, d.chain(f, ruleset.HookNone, userName(n), n+1, users))
		}
	}
	return rs
}

func userName(n int) string { return []string{"inbound", "user chain", "ü-\"1\"", "log#only"}[n] }

func (d dice) chain(f ruleset.Family, h ruleset.Hook, name string, first, users int) *ruleset.Chain {
	c := &ruleset.Chain{Name: name, Family: f, Hook: h}
	if h != ruleset.HookNone {
		c.Policy = pick(d, ruleset.Accept, ruleset.Drop)
	}
	for i := range d.IntN(8) {
		r := &ruleset.Rule{Pos: ruleset.Pos{File: "rules.v4", Line: i + 1}, Text: "-A X -m comment --comment \"a\tb\x01#\"", Note: pick(d, "", "", "why \"so\"\n")}
		if d.one(5) {
			r.Name = fmt.Sprintf("rule %d", i)
		}
		for range d.IntN(4) {
			r.Matches = append(r.Matches, d.match(f, h))
		}
		r.Verdict = d.verdict(h, first, users)
		d.statements(r, h)
		c.Rules = append(c.Rules, r)
	}
	return c
}

func (d dice) verdict(h ruleset.Hook, first, users int) ruleset.Verdict {
	k := pick(d, ruleset.Accept, ruleset.Drop, ruleset.Reject, ruleset.Continue, ruleset.Return, ruleset.Jump, ruleset.Goto)
	v := ruleset.Verdict{Kind: k}
	switch {
	case (k == ruleset.Jump || k == ruleset.Goto) && first < users:
		v.Chain = userName(first + d.IntN(users-first))
	case k == ruleset.Jump || k == ruleset.Goto || k == ruleset.Reject && (h <= ruleset.HookRawOutput):
		v.Kind = ruleset.Drop
	case k == ruleset.Reject:
		v.With = pick(d, ruleset.RejectDefault, ruleset.RejectTCPReset, ruleset.RejectHostProhib)
	}
	return v
}

func (d dice) statements(r *ruleset.Rule, h ruleset.Hook) {
	if d.one(4) {
		r.Statements = append(r.Statements, ruleset.Statement{Log: &ruleset.Log{Prefix: pick(d, "", "x: "), Level: uint8(pick(d, 4, 6)), Group: pick(d, 0, 1)}})
	}
	if d.one(6) {
		r.Statements = append(r.Statements, ruleset.Statement{SetMark: &ruleset.SetMark{Value: pick[uint32](d, 1, 3), Mask: pick[uint32](d, 1, 0xffffffff)}})
	}
	if d.one(4) && (h == ruleset.HookPrerouting || h == ruleset.HookRawOutput) {
		r.Statements = append(r.Statements, ruleset.Statement{NoTrack: &ruleset.NoTrack{}})
	}
	if d.one(4) && h == ruleset.HookPrerouting && r.Verdict.Kind == ruleset.Continue {
		r.Statements = append(r.Statements, ruleset.Statement{SynProxy: &ruleset.SynProxy{}})
	}
}

func (d dice) addr(f ruleset.Family) ruleset.AddrRange {
	if f == ruleset.FamilyAny {
		f = pick(d, ruleset.FamilyIPv4, ruleset.FamilyIPv6)
	}
	switch d.IntN(3) {
	case 0:
		a := netip.MustParseAddr(pick(d, addrPool[f]...))
		return ruleset.AddrRange{From: a, To: a.Next().Next()}
	case 1:
		if f == ruleset.FamilyIPv4 {
			return ruleset.MaskedAddr(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("255.0.0.255"))
		}
	}
	return ruleset.Prefix(netip.MustParsePrefix(pick(d, prefixPool[f]...)))
}

// match makes a condition on any field that the hook has.
func (d dice) match(f ruleset.Family, h ruleset.Hook) ruleset.Match {
	for {
		field := ruleset.FieldID(d.IntN(len(ruleset.Fields)))
		if d.one(3) {
			field = pick(d, ruleset.FieldProto, ruleset.FieldDstPort, ruleset.FieldSrcAddr, ruleset.FieldInIface)
		}
		on := h == ruleset.HookNone && field.On(ruleset.HookForward) && field.On(ruleset.HookInput) && field.On(ruleset.HookPrerouting) && field.On(ruleset.HookRawOutput)
		if !on && (h == ruleset.HookNone || !field.On(h)) {
			continue
		}
		m := ruleset.Match{Field: field, Not: d.one(3)}
		d.operands(&m, f)
		return m
	}
}

func (d dice) operands(m *ruleset.Match, f ruleset.Family) {
	flags := func(values ...uint64) {
		mask := pick(d, values...)
		m.Masked = append(m.Masked, ruleset.Masked{Value: pick(d, values...) & mask, Mask: mask})
	}
	for range 1 + d.IntN(2) {
		switch ruleset.Fields[m.Field].Kind {
		case ruleset.KindIface:
			m.Names = append(m.Names, pick(d, "eth0", "eth+", "wg0", "+", "lo"))
		case ruleset.KindAddr:
			if len(m.Addrs) == 0 && (m.Set != "" || d.one(4)) {
				m.Set = "mixed \"set\""
			} else {
				m.Addrs = append(m.Addrs, d.addr(f))
			}
		case ruleset.KindCgroup:
			m.Names = []string{pick(d, "/a", "/a/b", "x.service")}
		case ruleset.KindElement:
			m.Set, m.Parts = "pairs", []ruleset.FieldID{pick(d, ruleset.FieldSrcAddr, ruleset.FieldDstAddr), pick(d, ruleset.FieldSrcPort, ruleset.FieldDstPort)}
		case ruleset.KindLimit:
			m.Not, m.Limit = false, &ruleset.Limit{Rate: pick[uint64](d, 1, 2), Per: pick[uint64](d, 1e9, 90e9), Burst: pick[uint64](d, 1, 5)}
		case ruleset.KindSample:
			m.Sample = &ruleset.Sample{Every: 3, Skip: pick[uint32](d, 0, 2)}
		case ruleset.KindQuota:
			m.Quota = &ruleset.Quota{Bytes: pick[uint64](d, 100, 1e6)}
		case ruleset.KindRecent:
			m.Recent = &ruleset.Recent{List: pick(d, "a", "b c"), Op: pick(d, ruleset.RecentSet, ruleset.RecentCheck, ruleset.RecentUpdate, ruleset.RecentRemove),
				Dest: d.one(2), Bits: pick(d, ruleset.KeyBits{IPv4: 32, IPv6: 64}, ruleset.KeyBits{IPv4: 24, IPv6: 128})}
			if m.Recent.Op == ruleset.RecentUpdate {
				m.Recent.Within, m.Recent.Hits, m.Recent.TTL, m.Recent.Reap = 60, pick[uint32](d, 0, 3), d.one(2), d.one(2)
			}
		case ruleset.KindFlows:
			m.Flows = &ruleset.Flows{Max: pick[uint32](d, 0, 20), Dest: d.one(2), Bits: pick(d, ruleset.KeyBits{IPv4: 32, IPv6: 64}, ruleset.KeyBits{IPv4: 0, IPv6: 128})}
		case ruleset.KindBits:
			bit := uint64(1) << d.IntN(3)
			m.Masked = []ruleset.Masked{{Value: bit | 2, Mask: bit | 2}}
		case ruleset.KindFlags:
			flags(1, 2, 3, 0x12, 0xfc)
		default:
			d.ranges(m)
		}
	}
}

func (d dice) ranges(m *ruleset.Match) {
	pools := map[ruleset.FieldID][]uint64{
		ruleset.FieldProto: {1, 6, 17, 58, 47}, ruleset.FieldFamily: {4, 6}, ruleset.FieldFragment: {1}, ruleset.FieldSocket: {1}, ruleset.FieldConnected: {1}, ruleset.FieldDNAT: {1},
		ruleset.FieldSrcMAC: {0x020000000001, 0x020000000002}, ruleset.FieldICMPType: {0, 3, 8, 128},
	}
	values := pools[m.Field]
	if values == nil {
		values = []uint64{0, 1, 22, 53, 80, 200}
	}
	from := pick(d, values...)
	r := ruleset.Range{From: from, To: from}
	if pools[m.Field] == nil && d.one(2) {
		r.To += 30
	}
	m.Ranges = append(m.Ranges, r)
}

// packet makes a packet for a hook.
func (d dice) packet(h ruleset.Hook) *ruleset.Packet {
	f := pick(d, ruleset.FamilyIPv4, ruleset.FamilyIPv6)
	p := &ruleset.Packet{Family: f, Src: netip.MustParseAddr(pick(d, addrPool[f]...)), Dst: netip.MustParseAddr(pick(d, addrPool[f]...)),
		Proto: pick[uint8](d, 1, 6, 6, 17, 17, 58, 47), SrcPort: ruleset.Absent, DstPort: ruleset.Absent, TCPFlags: ruleset.Absent,
		TCPMSS: ruleset.Absent, ICMPType: ruleset.Absent, ICMPCode: ruleset.Absent, State: 1 << d.IntN(5), Mark: pick[uint32](d, 0, 1, 3),
		Length: pick[uint32](d, 40, 60, 200), TTL: pick[uint8](d, 1, 64, 80), TOS: pick[uint8](d, 0, 0x10, 0xb8), PktType: 1 << d.IntN(3),
		SrcType: 1 << d.IntN(4), DstType: 1 << d.IntN(4), DNAT: d.one(2)}
	if f == ruleset.FamilyIPv6 {
		p.HasRouting, p.Routing = d.one(2), pick[uint8](d, 0, 22, 80)
	}
	if h != ruleset.HookOutput && h != ruleset.HookRawOutput {
		p.In, p.HasMAC, p.SrcMAC = pick(d, ifacePool...), true, 0x020000000001
	}
	if h >= ruleset.HookForward || h == ruleset.HookRawOutput {
		p.Out = pick(d, ifacePool...)
	}
	switch p.Fragment = d.one(8); {
	case p.Fragment:
	case p.Proto == 6 || p.Proto == 17:
		p.SrcPort, p.DstPort = pick(d, 22, 53, 80, 1000), pick(d, 22, 53, 80, 100)
		if p.Proto == 6 {
			p.TCPFlags, p.TCPMSS, p.TCPOptions = pick(d, 2, 0x12, 0x10, 1), pick(d, ruleset.Absent, 53, 1460), []byte{2, 22}
		}
	case p.Proto == 1 && f == ruleset.FamilyIPv4, p.Proto == 58 && f == ruleset.FamilyIPv6:
		p.ICMPType, p.ICMPCode = pick(d, 0, 3, 8, 128), pick(d, 0, 1)
	}
	return p
}

// TestWriteKeepsVerdicts: a ruleset and the policy written of it give the same verdict, mark and tracking to the same packets in the
// same order, so that rate limits agree too.
func TestWriteKeepsVerdicts(t *testing.T) {
	compared := 0
	for seed := range uint64(500) {
		d := dice{rand.New(rand.NewPCG(seed, 1))}
		rs := d.ruleset()
		if rs.Check() != nil {
			continue
		}
		src, err := policies.Write(rs, "made from\nrules.v4")
		if err != nil {
			if strings.Contains(err.Error(), "cannot be written") {
				continue
			}
			t.Fatalf("seed %d: %v\n%s", seed, err, rs)
		}
		p, err := policies.Parse("p.toml", src, options())
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, src)
		}
		compared++
		compare(t, d, rs, p.Ruleset, fmt.Sprintf("seed %d\n%s\n%s\n%s", seed, rs, src, p.Ruleset))
	}
	if compared < 400 {
		t.Errorf("only %d rulesets could be written", compared)
	}
}

// TestWriteParsed writes what policies become: the same verdicts, and writing it once more changes nothing.
func TestWriteParsed(t *testing.T) {
	for _, file := range []string{"testdata/all.toml", "examples/web.toml", "examples/laptop.toml", "examples/router.toml", "examples/bastion.toml"} {
		t.Run(file, func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			first := mustParse(t, path.Base(file), src)
			written, err := policies.Write(first, "")
			if err != nil {
				t.Fatal(err)
			}
			second := mustParse(t, "written.toml", written)
			compare(t, dice{rand.New(rand.NewPCG(1, 1))}, first, second, string(written))
			again, err := policies.Write(second, "")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(second.String(), mustParse(t, "again.toml", again).String()); diff != "" {
				t.Errorf("written twice (-once +twice):\n%s", diff)
			}
		})
	}
}

func mustParse(t *testing.T, name string, src []byte) *ruleset.Ruleset {
	t.Helper()
	p, err := policies.Parse(name, src, options())
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	return p.Ruleset
}

// compare runs packets through both rulesets.
func compare(t *testing.T, d dice, a, b *ruleset.Ruleset, about string) {
	t.Helper()
	sa, sb := &ruleset.State{}, &ruleset.State{}
	for range 200 {
		h := pick(d, packetHooks...)
		p := d.packet(h)
		va, ta := a.Eval(h, p, sa)
		vb, tb := b.Eval(h, p, sb)
		if va != vb || va.Kind == ruleset.Accept && (ta.Packet.Mark != tb.Packet.Mark || ta.NoTrack != tb.NoTrack || ta.SynProxy != tb.SynProxy) {
			t.Fatalf("%s on %s: %v, written %v\n%+v\n%s\n%s\n%s", p.Family, h, va, vb, p, &ta, &tb, about)
		}
		if d.one(3) {
			sa.Now += 3e8
			sb.Now = sa.Now
		}
	}
}

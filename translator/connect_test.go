package translator

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/internal/random"
	"github.com/bpfwall/bpfwall/ruleset"
)

// TestConnectIsCertain: what the rules for connect() refuse, without having seen most of the packet, all rules refuse that see it whole,
// and the same rule does.
func TestConnectIsCertain(t *testing.T) {
	first, n := *seed, 80
	if first == 0 {
		first = rand.Uint64N(1 << 32)
	}
	if *long {
		n = 3000
	}
	refused := 0
	for i := range n {
		s := first + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) { refused += connectRandom(t, newGen(s)) })
		if t.Failed() {
			return
		}
	}
	if t.Logf("%d refused", refused); refused < n {
		t.Error("hardly anything is refused")
	}
}

// sentRules is a random ruleset for what this host sends, mostly of what connect() knows.
func sentRules(g gen) *ruleset.Ruleset {
	rs := g.Ruleset()
	for _, c := range rs.Chains {
		if c.Hook != ruleset.HookNone && c.Hook != ruleset.HookRawOutput {
			c.Hook = ruleset.HookOutput
		}
		for _, r := range c.Rules {
			if g.IntN(2) == 0 {
				r.Statements = nil
			}
			for i := range r.Matches {
				if m := &r.Matches[i]; g.IntN(3) > 0 && !knownAtConnect(&test{Match: m, rare: noRare}) {
					*m = ruleset.Match{Field: ruleset.FieldUID, Ranges: []ruleset.Range{{From: 0, To: uint64(g.IntN(1200))}}}
				}
			}
		}
	}
	random.Checked(rs)
	return rs
}

func connectRandom(t *testing.T, g gen) (refused int) {
	rs := sentRules(g)
	j := connectJudge(t, rs)
	for range 60 {
		p := firstPacket(g)
		seen := connectView(&p)
		early := j.run(t, &seen, ruleset.HookRawOutput)
		hook := ruleset.HookRawOutput
		if early.Verdict == "accept" {
			early, hook = j.run(t, &seen, ruleset.HookOutput), ruleset.HookOutput
		}
		if early.Verdict == "accept" || early.Verdict == leaveVerdict {
			continue
		}
		refused++
		v, traces := rs.Walk(ruleset.HookOutput, &p, nil)
		last := traces[len(traces)-1]
		if v.String() != early.Verdict || last.DecidedBy() != early.Rule || last.Hook != hook {
			t.Fatalf("%+v\nconnect(): %s by %q on %s; all rules: %s by %q on %s\n%s\n%s", p, early.Verdict, early.Rule, hook, v, last.DecidedBy(), last.Hook, rs, last.String())
		}
	}
	return refused
}

var leaveVerdict = ruleset.Verdict{Kind: ruleset.VerdictKind(leaveToTC & 0xff), With: ruleset.RejectWith(leaveToTC >> 8)}.String()

// connectJudge loads the rules for connect() in place of those for packets.
func connectJudge(t *testing.T, rs *ruleset.Ruleset) *judge {
	t.Helper()
	out, err := Translate(rs, Slots{})
	if err != nil {
		t.Fatal(err)
	}
	spec, err := bpf.LoadClassifier()
	if err != nil {
		t.Fatal(err)
	}
	obj, err := newObject(spec)
	if err != nil {
		t.Fatal(err)
	}
	obj.forget("fw_judge_published")
	p, err := connectPlan(rs, Slots{}, obj.limits(), spec.ByteOrder)
	if err != nil {
		t.Fatal(err)
	}
	code, err := p.compile(obj, out.at)
	if err != nil {
		t.Fatal(err)
	}
	if err := obj.replace(code); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tc_ingress", "tc_egress", "nf_input"} {
		delete(spec.Programs, name)
	}
	for _, s := range out.Sets {
		spec.Maps[s.Name] = out.Spec.Maps[s.Name]
	}
	spec.Maps["counters"].MaxEntries, spec.Maps["limits"].MaxEntries = out.Spec.Maps["counters"].MaxEntries, out.Spec.Maps["limits"].MaxEntries
	out.Spec, out.plan = spec, p
	return load(t, out, 16)
}

// firstPacket is the first packet of a TCP connection or of a flow of UDP that this host makes.
func firstPacket(g gen) ruleset.Packet {
	p := g.Packet()
	p.In, p.Out = "", pick(g, "lo", "eth0", "eth1")
	p.Proto, p.State, p.Fragment, p.Malformed, p.HasMAC, p.SrcMAC = 6, ruleset.StateNew, false, false, false, 0
	p.ICMPType, p.ICMPCode = ruleset.Absent, ruleset.Absent
	p.SrcPort, p.DstPort = 1024+g.IntN(100), pick(g, 22, 53, 80, 443, 8)
	p.TCPFlags = pick(g, 2, 2, 0xc2)
	if g.IntN(3) == 0 {
		p.Proto, p.TCPFlags, p.TCPMSS, p.TCPOptions = 17, ruleset.Absent, ruleset.Absent, nil
	}
	return p
}

// connectView is what connect() or sendmsg() knows of it: see first_packet and set_way in bpf/cgroup_connect.c.
func connectView(p *ruleset.Packet) ruleset.Packet {
	v := ruleset.Packet{
		Family: p.Family, Dst: p.Dst, Proto: p.Proto, SrcPort: ruleset.Absent, DstPort: p.DstPort, TCPFlags: 2, TCPMSS: ruleset.Absent,
		ICMPType: ruleset.Absent, ICMPCode: ruleset.Absent, State: ruleset.StateNew, Socket: p.Socket, UID: p.UID, GID: p.GID, Cgroup: p.Cgroup,
	}
	if p.Proto == protoUDP {
		v.TCPFlags = ruleset.Absent
	}
	if p.Out == loopback {
		v.Out = loopback
	}
	return v
}

package ruleset

import (
	"fmt"
	"net/netip"
)

// Flows matches while the packet's source, or destination, has no more than Max tracked flows, the packet's own included
// (xt_connlimit). Every rule counts the flows whose packets came to it; TCP flows that are closing do not count.
type Flows struct {
	Max  uint32  `json:"max"`
	Dest bool    `json:"dest,omitempty"`
	Bits KeyBits `json:"bits"` // the first bits of an address that make a source
}

// MaxFlowsOfKey is how many flows of one source can be counted.
const MaxFlowsOfKey = 65536

func (f *Flows) problem() string {
	switch {
	case f.Bits.IPv4 > 32 || f.Bits.IPv6 > 128:
		return fmt.Sprintf("an address has no %d or %d bits", f.Bits.IPv4, f.Bits.IPv6)
	case f.Max > MaxFlowsOfKey:
		return fmt.Sprintf("%d is more than the %d that are counted", f.Max, MaxFlowsOfKey)
	}
	return ""
}

// String is how many of whom: `20 per source/32/64`.
func (f *Flows) String() string {
	side := "source"
	if f.Dest {
		side = "destination"
	}
	return fmt.Sprintf("%d per %s/%d/%d", f.Max, side, f.Bits.IPv4, f.Bits.IPv6)
}

// flowEnds tells flows apart, whichever end sends.
type flowEnds struct {
	low, high netip.AddrPort
	proto     uint8
}

func endsOf(p *Packet) flowEnds {
	port := func(n int) uint16 { return uint16(max(n, 0)) }
	a, b := netip.AddrPortFrom(p.Src, port(p.SrcPort)), netip.AddrPortFrom(p.Dst, port(p.DstPort))
	if b.Compare(a) < 0 {
		a, b = b, a
	}
	return flowEnds{a, b, p.Proto}
}

// flows reports whether the key of a rule's i-th match has no more flows than it may. What begins and is not accepted is forgotten: see
// State.accept. Flows do not end.
func (st *State) flows(r *Rule, i int, p *Packet) bool {
	f := r.Matches[i].Flows
	if st == nil {
		return f.Max > 0
	}
	addr := p.Src
	if f.Dest {
		addr = p.Dst
	}
	key := bucketKey{id: r.ID, match: i, value: keyValue{src: f.Bits.of(addr)}}
	if r.ID == "" {
		key.rule = r
	}
	if st.open == nil {
		st.open = map[bucketKey]map[flowEnds]bool{}
	}
	if st.open[key] == nil {
		st.open[key] = map[flowEnds]bool{}
	}
	own := endsOf(p)
	if p.State&(StateNew|StateEstablished) == 0 {
		return len(st.open[key]) < int(f.Max)
	}
	if !st.open[key][own] {
		st.open[key][own] = true
		st.begun = append(st.begun, func() { delete(st.open[key], own) })
	}
	return len(st.open[key]) <= int(f.Max)
}

// settle forgets the flows that a packet would have begun, had it been accepted.
func (st *State) settle(v Verdict) {
	if st == nil {
		return
	}
	for _, forget := range st.begun {
		if v.Kind != Accept {
			forget()
		}
	}
	st.begun = nil
}

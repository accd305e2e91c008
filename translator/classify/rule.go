package classify

import "math"

// Addr is an address as a number of 128 bits. IPv4 addresses are in Hi.
type Addr struct{ Hi, Lo uint64 }

// Less orders addresses.
func (a Addr) Less(b Addr) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

// Span is the addresses From..To, both included.
type Span struct{ From, To Addr }

// Ports is the ports From..To, both included.
type Ports struct{ From, To uint16 }

// Rule is what a packet must be to meet the rule. Rules are in order: their index is their number.
type Rule struct {
	Src, Dst           []Span  // sorted and apart; nil: all
	SrcPorts, DstPorts []Ports // sorted and apart; nil: all. Packets without ports count as having 0: the pattern has to tell
	Pattern            uint8   // bit of Key.Patterns that has to be set

	Slot uint32 // what a lookup that meets the rule answers: all bits set, or less than 1 << 23
	Code uint8
	Pass Pass
}

// Pass says what a packet that meets a rule does, and with it which rules have subsets of their own.
type Pass uint8

// The passes, in the order in which a lookup asks their subsets.
const (
	Ends   Pass = iota // it goes no further: the first of these rules is the answer
	Stops              // it may go on: all in front of the answer are, too
	Counts             // the same, for rules of another kind

	passes = 3
)

// Key is what a packet is.
type Key struct {
	Src, Dst         Addr
	SrcPort, DstPort uint16
	Patterns         uint64
}

// Family is a width of addresses.
type Family int

// The families.
const (
	IPv4 Family = iota // 32 bits, in Addr.Hi
	IPv6
)

// last is the upper half of the last address.
func (f Family) last() uint64 {
	if f == IPv4 {
		return math.MaxUint32
	}
	return math.MaxUint64
}

// next is the address behind a; false if a is the last one.
func (f Family) next(a Addr) (Addr, bool) {
	if f == IPv4 {
		return Addr{Hi: a.Hi + 1}, a.Hi < math.MaxUint32
	}
	b := Addr{a.Hi, a.Lo + 1}
	if b.Lo == 0 {
		b.Hi++
	}
	return b, b != Addr{}
}

// box is a rule with one range of each port.
type box struct {
	src, dst Ports
	rule     int32
	pattern  uint8
}

var anyPort = Ports{To: math.MaxUint16}

// appendBoxes adds a rule's boxes.
func (r *Rule) appendBoxes(out []box, rule int32) []box {
	src, dst := r.SrcPorts, r.DstPorts
	if src == nil {
		src = []Ports{anyPort}
	}
	if dst == nil {
		dst = []Ports{anyPort}
	}
	for _, s := range src {
		for _, d := range dst {
			out = append(out, box{s, d, rule, r.Pattern})
		}
	}
	return out
}

func (p Ports) covers(q Ports) bool { return p.From <= q.From && q.To <= p.To }

func (p Ports) has(v uint16) bool { return p.From <= v && v <= p.To }

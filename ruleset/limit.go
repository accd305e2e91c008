package ruleset

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"
)

// Limit matches while a token bucket has tokens: Rate packets per Per nanoseconds on average, Burst at once (nft_limit, xt_limit).
// Every rule has a bucket of its own, or one for each key (xt_hashlimit). Buckets start full.
type Limit struct {
	Rate  uint64 `json:"rate"`
	Per   uint64 `json:"per"`             // ns
	Burst uint64 `json:"burst"`           // packets; iptables' default is 5
	Bytes bool   `json:"bytes,omitempty"` // Rate and Burst are bytes, as FieldLength counts them
	Each  *Key   `json:"each,omitempty"`  // a bucket for each value; nil: one for all packets
	// Idle is the ns without a packet after which a bucket is full again; 0: once time has filled it.
	Idle uint64 `json:"idle,omitempty"`
	// Table: limits that name the same one share its buckets, and must say the same. "": the match has its own.
	Table string `json:"table,omitempty"`
}

// Key is what tells packets apart that are counted apart. Packets without ports have port 0.
type Key struct {
	Source     *KeyBits `json:"source,omitempty"`
	Dest       *KeyBits `json:"dest,omitempty"`
	SourcePort bool     `json:"source_port,omitempty"`
	DestPort   bool     `json:"dest_port,omitempty"`
}

// KeyBits is how many of the first bits of an address count.
type KeyBits struct {
	IPv4 uint8 `json:"ipv4"`
	IPv6 uint8 `json:"ipv6"`
}

// keyValue is the value of a key for one packet.
type keyValue struct {
	src, dst     netip.Prefix
	sport, dport uint32
}

// Keyed reports whether the limit needs more than a bucket of packets for the rule alone.
func (l *Limit) Keyed() bool { return l.Each != nil || l.Bytes || l.Table != "" }

// Cost is the tokens in ns that a packet of so many bytes takes from a limit's bucket.
func (l *Limit) Cost(length uint64) uint64 {
	switch {
	case l.Rate == 0:
		return 0
	case l.Bytes:
		return l.Per * length / l.Rate
	}
	return l.Per / l.Rate
}

// Max is the tokens in ns that a limit's bucket holds.
func (l *Limit) Max() uint64 {
	if l.Bytes {
		return l.Cost(l.Burst)
	}
	return l.Cost(0) * l.Burst
}

// of is the key's value for a packet.
func (k *Key) of(p *Packet) keyValue {
	var v keyValue
	if k == nil {
		return v
	}
	v.src, v.dst = k.Source.of(p.Src), k.Dest.of(p.Dst)
	if k.SourcePort && p.has(FieldSrcPort) {
		v.sport = uint32(p.number(FieldSrcPort))
	}
	if k.DestPort && p.has(FieldDstPort) {
		v.dport = uint32(p.number(FieldDstPort))
	}
	return v
}

func (b *KeyBits) of(a netip.Addr) (p netip.Prefix) {
	switch {
	case b == nil || !a.IsValid():
		return p
	case a.Is4():
		p, _ = a.Prefix(int(b.IPv4))
	default:
		p, _ = a.Prefix(int(b.IPv6))
	}
	return p
}

// maxIdle is a year in ns.
const maxIdle = 366 * 86400e9

func (l *Limit) problem() string {
	switch {
	case l.Rate == 0 || l.Per == 0:
		return "the rate is 0"
	case l.Burst == 0:
		return "the burst is 0, so that it never matches"
	case l.Idle > maxIdle:
		return "the time without packets is longer than a year"
	case l.Bytes && (l.Rate > math.MaxUint32 || l.Burst > math.MaxInt64/l.Per || l.Per > maxIdle):
		return fmt.Sprintf("%d bytes in %d ns, or so many at once, is more than can be counted", l.Rate, l.Per)
	case l.Bytes:
	case l.Rate > l.Per:
		return fmt.Sprintf("%d in %d ns is more than one packet per nanosecond", l.Rate, l.Per)
	case l.Burst > math.MaxInt64/l.Cost(0):
		return fmt.Sprintf("the burst %d is too large for the rate", l.Burst)
	}
	return l.Each.problem()
}

func (k *Key) problem() string {
	if k == nil {
		return ""
	}
	for _, b := range []*KeyBits{k.Source, k.Dest} {
		if b != nil && (b.IPv4 > 32 || b.IPv6 > 128) {
			return fmt.Sprintf("an address has no %d or %d bits", b.IPv4, b.IPv6)
		}
	}
	return ""
}

// table checks that limits that share a table agree.
func (c *checker) table(m *Match, pos Pos) {
	switch first := c.tables[m.Limit.Table]; {
	case m.Limit.Table == "":
	case first == nil:
		c.tables[m.Limit.Table] = m
	case first.Limit.String() != m.Limit.String():
		c.errs.Add(pos, "limit: the table %q has two rates: %s, and %s", m.Limit.Table, first.Limit, m.Limit).Help = alreadyAt(first.Pos)
	}
}

// units are the times that limits are given per.
var units = []struct {
	name string
	ns   uint64
}{{"second", 1e9}, {"minute", 60e9}, {"hour", 3600e9}, {"day", 86400e9}}

// String is rate, time and burst, and whose: `5/minute per source burst 10`.
func (l *Limit) String() string {
	per, suffix := fmt.Sprintf("%dns", l.Per), ""
	for _, u := range units {
		if u.ns == l.Per {
			per = u.name
		}
	}
	if l.Bytes {
		suffix = "B"
	}
	s := fmt.Sprintf("%d%s/%s", l.Rate, suffix, per)
	if each := l.Each.String(); each != "" {
		s += " per " + each
	}
	s += fmt.Sprintf(" burst %d%s", l.Burst, suffix)
	if l.Idle != 0 {
		s += " idle " + time.Duration(l.Idle).String()
	}
	if l.Table != "" {
		s += " as " + word(l.Table)
	}
	return s
}

// String is the key's parts: `source/24/64 and destination port`; "" if it has none.
func (k *Key) String() string {
	var parts []string
	if k == nil {
		return ""
	}
	if k.Source != nil {
		parts = append(parts, fmt.Sprintf("source/%d/%d", k.Source.IPv4, k.Source.IPv6))
	}
	if k.Dest != nil {
		parts = append(parts, fmt.Sprintf("destination/%d/%d", k.Dest.IPv4, k.Dest.IPv6))
	}
	if k.SourcePort {
		parts = append(parts, FieldSrcPort.String())
	}
	if k.DestPort {
		parts = append(parts, FieldDstPort.String())
	}
	return strings.Join(parts, " and ")
}

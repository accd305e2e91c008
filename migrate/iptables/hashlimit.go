package iptables

import (
	"strconv"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// hashLimit is the row of -m hashlimit.
func hashLimit() extension {
	e := known("hashlimit", 0, 0, "", "?!hashlimit-upto|hashlimit=rate@1 ?!hashlimit-above=rate@1 hashlimit-srcmask=plen hashlimit-dstmask=plen hashlimit-burst=digits hashlimit-htable-size=u32 hashlimit-htable-max=u32 hashlimit-htable-gcinterval=u32 hashlimit-htable-expire=u32 hashlimit-mode=hashmode *hashlimit-name=text hashlimit-rate-match hashlimit-rate-interval=text")
	e.lower = hashlimit
	return e
}

// hashlimit is the token buckets of -m hashlimit. The kernel keeps the buckets by name: what the first rule of a name says of rate, burst
// and key holds for all that have it.
func hashlimit(l *lowering, m *module) ([]alternative, string) {
	name := hashName(m)
	first := l.hashes[name]
	if first == nil {
		first = m
	}
	limit, why := l.hashRate(first)
	if why != "" {
		return nil, "-m hashlimit: " + why
	}
	if first != m && !l.sameHash(first, m) {
		l.notes = append(l.notes, "with the rate and the key of the first rule named "+quote(name)+" (line "+itoa(uint64(first.pos.Line))+"), as the kernel does")
	}
	limit.Table = name + "/" + l.family.String()
	above := m.get("hashlimit-above")
	not := above != nil && !above.not || m.get("hashlimit-upto") != nil && m.get("hashlimit-upto").not
	return one(ruleset.Match{Field: ruleset.FieldLimit, Not: not, Limit: limit, Pos: m.pos}), ""
}

// sameHash reports whether two rules say the same of the buckets.
func (l *lowering) sameHash(a, b *module) bool {
	notes := l.notes
	x, _ := l.hashRate(a)
	y, _ := l.hashRate(b)
	l.notes = notes
	return x != nil && y != nil && x.String() == y.String()
}

const defaultBurst = 5 // packets

// hashRate is what one rule says.
func (l *lowering) hashRate(m *module) (*ruleset.Limit, string) {
	rate := m.get("hashlimit-above")
	if rate == nil {
		rate = m.get("hashlimit-upto")
	}
	limit := &ruleset.Limit{Rate: rate.val.num, Per: rate.val.mask, Burst: defaultBurst, Bytes: rate.val.text == bytesRate, Each: l.hashKey(m)}
	burst := m.get("hashlimit-burst")
	switch {
	case m.get("hashlimit-rate-match") != nil || m.get("hashlimit-rate-interval") != nil:
		return nil, "the rate itself is not measured"
	case limit.Bytes && burst != nil:
		return nil, "bursts of bytes, which the kernel grants once, are not there"
	case limit.Bytes:
		limit.Burst = limit.Rate // the kernel's buckets hold what a second brings
		l.notes = append(l.notes, "bytes are counted one by one, the kernel counts 16 at a time")
	case burst != nil:
		n, err := strconv.ParseUint(burst.val.text, 10, 32)
		if err != nil || n == 0 {
			return nil, "a burst of " + quote(burst.val.text) + " beside a rate of packets"
		}
		limit.Burst = n
	}
	limit.Idle = limit.Per // as iptables does without --hashlimit-htable-expire
	if u := m.get("hashlimit-htable-expire"); u != nil {
		limit.Idle = u.val.num * second / 1000
	} else if limit.Bytes {
		limit.Idle = 15 * second
	}
	if limit.Idle >= limit.Max() {
		limit.Idle = 0 // time has filled the bucket by then
	}
	return limit, ""
}

// hashKey is the key of --hashlimit-mode.
func (l *lowering) hashKey(m *module) *ruleset.Key {
	bits := func(option string) *ruleset.KeyBits {
		b := &ruleset.KeyBits{IPv4: 32, IPv6: 128}
		if u := m.get(option); u != nil && l.family == ruleset.FamilyIPv4 {
			b.IPv4 = uint8(u.val.num)
		} else if u != nil {
			b.IPv6 = uint8(u.val.num)
		}
		return b
	}
	k := &ruleset.Key{}
	u := m.get("hashlimit-mode")
	if u == nil {
		return k
	}
	for _, mode := range strings.Split(u.val.text, ",") {
		switch hashModes[lookupPrefix(mode, hashModes)] {
		case "srcip":
			k.Source = bits("hashlimit-srcmask")
		case "dstip":
			k.Dest = bits("hashlimit-dstmask")
		case "srcport":
			k.SourcePort = true
		case "dstport":
			k.DestPort = true
		}
	}
	return k
}

func hashName(m *module) string { return m.get("hashlimit-name").val.text }

var hashModes = []string{"srcip", "srcport", "dstip", "dstport"}

const bytesRate = "bytes" // value.text of a rate that is of bytes

var byteUnits = map[string]uint64{"b": 1, "kb": 1 << 10, "mb": 1 << 20}

// readHashRate reads a rate of packets, or of bytes such as 512kb/s: num in mask nanoseconds.
func readHashRate(_ *context, s string) (value, string) {
	first, unit, _ := strings.Cut(s, "/")
	suffix := strings.TrimLeft(first, "0123456789")
	if strings.HasSuffix(suffix, "b") && len(suffix) < len(first) && (unit == "" || lookupPrefix(unit, rateUnits) == 0) {
		n, err := strconv.ParseUint(strings.TrimSuffix(first, suffix), 10, 32)
		v := value{text: bytesRate, num: n * byteUnits[suffix], mask: second}
		if err != nil || v.num == 0 {
			v.todo = quote(s) + " is not a rate of bytes"
		}
		return v, ""
	}
	n, seconds, bad := parseRate(s)
	return value{num: n, mask: seconds * second}, bad
}

func readHashMode(_ *context, s string) (value, string) {
	for _, mode := range strings.Split(s, ",") {
		if i := lookupPrefix(mode, hashModes); i < 0 || mode == "" {
			return value{}, quote(mode) + " is not one of srcip, srcport, dstip, dstport"
		}
	}
	return value{text: s}, ""
}

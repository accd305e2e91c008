package policies

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bpfwall/bpfwall/ruleset"
)

// periods are the units of a rate, in nanoseconds.
var periods = []word{
	{"second", uint64(time.Second)}, {"minute", uint64(time.Minute)}, {"hour", uint64(time.Hour)}, {"day", uint64(24 * time.Hour)},
}

const defaultBurst = 5 // packets, as iptables

// The first bits of an address that make a source or destination, if the policy does not say: an IPv6 host has a network of its own.
const sourceIPv4, sourceIPv6 = 32, 64

// limit parses "6/minute per source burst 10".
func (p *parser) limit(v text) *ruleset.Limit {
	l, problem := parseLimit(v.s)
	if problem != "" {
		p.fail(v.pos, "rate %q: %s", v.s, problem).Help = `write for example "10/second" or "6/minute per source burst 10"`
		return nil
	}
	return l
}

func parseLimit(s string) (*ruleset.Limit, string) {
	words := strings.Fields(s)
	if len(words) == 0 {
		return nil, "is empty"
	}
	l := &ruleset.Limit{}
	count, unit, _ := strings.Cut(words[0], "/")
	var problem string
	if l.Rate, l.Bytes, problem = parseAmount(count); problem != "" {
		return nil, "the number of packets is missing"
	}
	if l.Per, problem = parsePeriod(unit); problem != "" {
		return nil, problem
	}
	l.Burst = defaultBurst
	if l.Bytes {
		l.Burst = l.Rate
	}
	for words = words[1:]; len(words) > 0; {
		n, problem := limitPart(l, words)
		if problem != "" {
			return nil, problem
		}
		words = words[n:]
	}
	return l, ""
}

// limitPart reads what follows the rate, one part: n words of it.
func limitPart(l *ruleset.Limit, words []string) (n int, problem string) {
	if len(words) == 1 {
		return 0, fmt.Sprintf("%q is not understood", words[0])
	}
	switch arg := words[1]; words[0] {
	case "per":
		l.Each = &ruleset.Key{}
		return parseKey(l.Each, words)
	case "burst":
		bytes := false
		if l.Burst, bytes, problem = parseAmount(arg); problem != "" || bytes != l.Bytes {
			return 0, "burst is not a number above 0" + map[bool]string{true: " of bytes"}[l.Bytes]
		}
	case "idle":
		d, err := time.ParseDuration(arg)
		if err != nil || d <= 0 {
			return 0, "idle is not a time such as 90s"
		}
		l.Idle = uint64(d)
	case "as":
		name, err := url.PathUnescape(arg)
		if err != nil {
			return 0, fmt.Sprintf("%q is no name", arg)
		}
		l.Table = name
		if l.Each == nil {
			l.Each = &ruleset.Key{}
		}
	default:
		return 0, fmt.Sprintf("%q is not understood", strings.Join(words, " "))
	}
	return 2, ""
}

var byteUnits = []word{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

// parseAmount is a number of packets, or of bytes with a unit.
func parseAmount(s string) (n uint64, bytes bool, problem string) {
	factor := uint64(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			s, factor, bytes = rest, u.value, true
			break
		}
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, bytes, "not a number above 0"
	}
	return n * factor, bytes, ""
}

// parseKey reads "per source/24 and destination port": so many words of it.
func parseKey(k *ruleset.Key, words []string) (n int, problem string) {
	for n = 1; n < len(words); n++ {
		side, bits, _ := strings.Cut(words[n], "/")
		port := n+1 < len(words) && words[n+1] == "port"
		switch {
		case side != "source" && side != "destination" || port && bits != "":
			return 0, fmt.Sprintf("%q is not source, destination, source port or destination port", words[n])
		case port && side == "source":
			k.SourcePort = true
		case port:
			k.DestPort = true
		default:
			b, ok := parseBits(bits)
			if !ok {
				return 0, fmt.Sprintf("%q: the bits of an IPv4 address, and those of an IPv6 address, as in source/24/56", words[n])
			}
			if side == "source" {
				k.Source = b
			} else {
				k.Dest = b
			}
		}
		if port {
			n++
		}
		if n+1 >= len(words) || words[n+1] != "and" {
			return n + 1, ""
		}
		n++
	}
	return 0, "nothing follows per, or and"
}

// parseBits reads "24" or "24/56".
func parseBits(s string) (*ruleset.KeyBits, bool) {
	b := &ruleset.KeyBits{IPv4: sourceIPv4, IPv6: sourceIPv6}
	if s == "" {
		return b, true
	}
	v4, v6, both := strings.Cut(s, "/")
	n, err := strconv.ParseUint(v4, 10, 8)
	b.IPv4 = uint8(n)
	if err == nil && both {
		n, err = strconv.ParseUint(v6, 10, 8)
		b.IPv6 = uint8(n)
	}
	return b, err == nil && b.IPv4 <= 32 && b.IPv6 <= 128
}

// parsePeriod is a unit, or a duration such as 90s.
func parsePeriod(unit string) (ns uint64, problem string) {
	if ns, ok := named(periods, unit); ok {
		return ns, ""
	}
	if d, err := time.ParseDuration(unit); err == nil && d > 0 {
		return uint64(d), ""
	}
	return 0, "the unit is one of second, minute, hour, day"
}

// limitText writes a rate as parseLimit reads it.
func limitText(l *ruleset.Limit) string {
	unit, ok := nameOf(periods, l.Per)
	if !ok {
		unit = time.Duration(l.Per).String()
	}
	s := amountText(l.Rate, l.Bytes) + "/" + unit
	if each := keyText(l.Each); each != "" {
		s += " per " + each
	}
	if l.Bytes && l.Burst != l.Rate || !l.Bytes && l.Burst != defaultBurst {
		s += " burst " + amountText(l.Burst, l.Bytes)
	}
	if l.Idle != 0 {
		s += " idle " + time.Duration(l.Idle).String()
	}
	if l.Table != "" {
		s += " as " + url.PathEscape(l.Table)
	}
	return s
}

func amountText(n uint64, bytes bool) string {
	if !bytes {
		return decimal(n)
	}
	for _, u := range byteUnits {
		if n%u.value == 0 {
			return decimal(n/u.value) + u.name
		}
	}
	return decimal(n)
}

func keyText(k *ruleset.Key) string {
	var parts []string
	if k == nil {
		return ""
	}
	if k.Source != nil {
		parts = append(parts, "source"+bitsText(k.Source))
	}
	if k.Dest != nil {
		parts = append(parts, "destination"+bitsText(k.Dest))
	}
	if k.SourcePort {
		parts = append(parts, "source port")
	}
	if k.DestPort {
		parts = append(parts, "destination port")
	}
	return strings.Join(parts, " and ")
}

func bitsText(b *ruleset.KeyBits) string {
	switch {
	case b.IPv6 != sourceIPv6:
		return fmt.Sprintf("/%d/%d", b.IPv4, b.IPv6)
	case b.IPv4 != sourceIPv4:
		return fmt.Sprintf("/%d", b.IPv4)
	}
	return ""
}

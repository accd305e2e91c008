package policies

import (
	"strconv"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// text is a string of the policy with its place.
type text struct {
	s   string
	pos ruleset.Pos
}

// negated takes off a leading "!".
func (v text) negated() (text, bool) {
	rest, ok := strings.CutPrefix(v.s, "!")
	v.s = strings.TrimSpace(rest)
	return v, ok
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

func startsWithDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

// fail reports a problem at a place.
func (p *parser) fail(pos ruleset.Pos, format string, args ...any) *ruleset.Error {
	return p.errs.Add(pos, format, args...)
}

// unknown reports a name that is not one of the candidates.
func (p *parser) unknown(v text, what, name string, candidates []string) *ruleset.Error {
	e := p.fail(v.pos, "unknown %s %q", what, name)
	e.Hint = suggest(name, candidates)
	if e.Hint == "" && len(candidates) > 0 && len(candidates) <= 16 {
		e.Help = "one of " + strings.Join(candidates, ", ")
	}
	return e
}

// number parses a decimal, or a hexadecimal with 0x, not above limit.
func (p *parser) number(v text, s string, limit uint64) (uint64, bool) {
	n, err := parseNumber(s)
	switch {
	case err != nil:
		p.fail(v.pos, "%q: not a number", v.s)
	case n > limit:
		p.fail(v.pos, "%q: %d is more than %d", v.s, n, limit)
	default:
		return n, true
	}
	return 0, false
}

func parseNumber(s string) (uint64, error) {
	if hex, ok := strings.CutPrefix(strings.TrimSpace(s), "0x"); ok {
		return strconv.ParseUint(hex, 16, 64)
	}
	return strconv.ParseUint(strings.TrimSpace(s), 10, 64)
}

// numbers parses "n" or "n-m".
func (p *parser) numbers(v text, limit uint64) (ruleset.Range, bool) {
	from, to, isRange := strings.Cut(v.s, "-")
	a, ok := p.number(v, from, limit)
	if !ok || !isRange {
		return ruleset.Range{From: a, To: a}, ok
	}
	b, ok := p.number(v, to, limit)
	if ok && b < a {
		p.fail(v.pos, "%q: the range ends before it starts", v.s)
	}
	return ruleset.Range{From: a, To: b}, ok
}

// masked parses "value" or "value/mask".
func (p *parser) masked(v text, limit uint64) (ruleset.Masked, bool) {
	value, mask, hasMask := strings.Cut(v.s, "/")
	n, ok := p.number(v, value, limit)
	if !ok || !hasMask {
		return ruleset.Masked{Value: n, Mask: limit}, ok
	}
	m, ok := p.number(v, mask, limit)
	return ruleset.Masked{Value: n, Mask: m}, ok
}

func parseMAC(s string) (uint64, bool) {
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '-' })
	var n uint64
	for _, part := range parts {
		b, err := strconv.ParseUint(part, 16, 8)
		if err != nil {
			return 0, false
		}
		n = n<<8 | b
	}
	return n, len(parts) == 6
}

package ruleset

import (
	"fmt"
	"strconv"
	"strings"
)

// String is the whole ruleset, chain by chain. Rulesets that read alike mean alike.
func (rs *Ruleset) String() string {
	var b strings.Builder
	if rs.Conntrack != nil {
		fmt.Fprintf(&b, "%s\n", rs.Conntrack)
	}
	if rs.PublishedAsInput {
		b.WriteString("published ports are input\n")
	}
	for _, s := range rs.Sets {
		fmt.Fprintf(&b, "%s\n", s)
	}
	for _, c := range rs.Chains {
		b.WriteString(c.String())
	}
	return b.String()
}

// String is the chain's head and its rules, a line each.
func (c *Chain) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "chain %s", word(c.Name))
	if c.Family != FamilyAny {
		fmt.Fprintf(&b, " %s", c.Family)
	}
	if c.Hook != HookNone {
		fmt.Fprintf(&b, " on %s, policy %s", c.Hook, c.Policy)
	}
	b.WriteByte('\n')
	for _, r := range c.Rules {
		fmt.Fprintf(&b, "  %s%s\n", r, r.remark())
	}
	return b.String()
}

// remark is what a rule's author calls it, as a comment.
func (r *Rule) remark() string {
	s := ""
	if r.Name != "" {
		s = "  # " + word(r.Name)
	}
	if r.Note != "" {
		s += "  # " + strconv.QuoteToASCII(r.Note)
	}
	return s
}

// String is what a rule does, without name and place: `tcp from 10.0.0.0/8 to port 22: log "ssh", accept`.
// Identities are hashes of this text: where it changes, counters start anew.
func (r *Rule) String() string { return string(r.appendTo(nil)) }

// appendTo puts the text behind b: it is made of every rule of a file.
func (r *Rule) appendTo(b []byte) []byte {
	for i := range r.Matches {
		if i > 0 {
			b = append(b, ' ')
		}
		b = r.Matches[i].appendTo(b)
	}
	if len(r.Matches) == 0 {
		b = append(b, "all"...)
	}
	b = append(b, ": "...)
	for i, s := range r.Statements {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, s.String()...)
	}
	if len(r.Statements) > 0 && r.Verdict.Kind != Continue {
		b = append(b, ", "...)
	}
	if len(r.Statements) == 0 || r.Verdict.Kind != Continue {
		b = append(b, r.Verdict.String()...)
	}
	return b
}

// String is the verdict in words.
func (v Verdict) String() string {
	switch {
	case v.Kind == Jump || v.Kind == Goto:
		return v.Kind.String() + " " + word(v.Chain)
	case v.Kind == Reject && v.With != RejectDefault:
		return "reject with " + v.With.String()
	}
	return v.Kind.String()
}

// String is the statement in words.
func (s Statement) String() string {
	switch {
	case s.Change != nil:
		return s.Change.String()
	case s.Log != nil:
		return s.Log.String()
	case s.SetMark != nil:
		return fmt.Sprintf("set mark %#x/%#x", s.SetMark.Value, s.SetMark.Mask)
	case s.NoTrack != nil:
		return "notrack"
	case s.SynProxy != nil:
		return "synproxy"
	}
	return "nothing"
}

// String is the statement in words.
func (l *Log) String() string {
	s := "log " + strconv.QuoteToASCII(l.Prefix)
	if l.Level != 4 {
		s += fmt.Sprintf(" level %d", l.Level)
	}
	if l.Group != 0 {
		s += fmt.Sprintf(" group %d", l.Group-1)
	}
	return s
}

// leads are the words before a match's operands, where they are not the field's name.
var leads = map[FieldID]string{
	FieldSrcAddr: "from", FieldDstAddr: "to", FieldSrcPort: "from port", FieldDstPort: "to port",
	FieldTCPFlags: "flags", FieldTCPOption: "option", FieldTCPMSS: "mss", FieldICMPType: "type", FieldICMPCode: "code",
}

// String is the match in words: `to port 22,80-90`, `from not 10.0.0.0/8`.
func (m *Match) String() string { return string(m.appendTo(nil)) }

func (m *Match) appendTo(b []byte) []byte {
	start := len(b)
	if m.Field == FieldProto && !m.Not {
		b = m.appendOperands(b)
		if _, alone := protoNumbers[string(b[start:])]; alone {
			return b
		}
		b = b[:start]
	}
	switch lead, ok := leads[m.Field]; {
	case len(m.Parts) > 0:
		b = append(b, FieldsText(m.Parts)...)
	case ok:
		b = append(b, lead...)
	default:
		b = append(b, m.Field.String()...)
	}
	if m.Not {
		b = append(b, " not"...)
	}
	if m.Field == FieldElement {
		b = append(b, " in"...)
	}
	return m.appendOperands(append(b, ' '))
}

// appendOperands puts the operands behind b, comma separated, in their order.
func (m *Match) appendOperands(b []byte) []byte {
	start := len(b)
	next := func() {
		if len(b) > start {
			b = append(b, ',')
		}
	}
	for _, r := range m.Ranges {
		next()
		b = m.Field.appendRange(b, r)
	}
	for _, k := range m.Masked {
		next()
		b = append(b, m.Field.maskedText(k)...)
	}
	for _, a := range m.Addrs {
		next()
		b = a.appendTo(b)
	}
	for _, name := range m.sets() {
		next()
		b = append(append(b, '@'), word(name)...)
	}
	for _, n := range m.Names {
		next()
		b = append(b, word(n)...)
	}
	if s := m.rateText(); s != "" {
		next()
		b = append(b, s...)
	}
	return b
}

// rateText is the operand of a field that remembers packets, "" of others.
func (m *Match) rateText() string {
	var out []string
	if m.Limit != nil {
		out = append(out, m.Limit.String())
	}
	if m.Sample != nil {
		out = append(out, m.Sample.String())
	}
	if m.Quota != nil {
		out = append(out, m.Quota.String())
	}
	if m.Recent != nil {
		out = append(out, m.Recent.String())
	}
	if m.Flows != nil {
		out = append(out, m.Flows.String())
	}
	return strings.Join(out, ",")
}

// appendRange puts a number, or the first and last of a range, behind b.
func (f FieldID) appendRange(b []byte, r Range) []byte {
	b = f.appendNumber(b, r.From)
	if r.From != r.To {
		b = f.appendNumber(append(b, '-'), r.To)
	}
	return b
}

func (f FieldID) appendNumber(b []byte, v uint64) []byte {
	switch {
	case f == FieldSrcMAC && v < 1<<48:
		return append(b, MAC(v)...)
	case f == FieldProto && v < 256 && ProtoNames[uint8(v)] != "":
		return append(b, ProtoNames[uint8(v)]...)
	}
	return strconv.AppendUint(b, v, 10)
}

// maskedText is names of bits where they say it all, else value/mask in hexadecimal.
func (f FieldID) maskedText(k Masked) string {
	value, ok := BitList(f, k.Value)
	mask, all := value, ok
	if k.Mask != k.Value {
		mask, all = BitList(f, k.Mask)
	}
	switch {
	case !ok || !all || BitNames[f] == nil:
		return fmt.Sprintf("%#x/%#x", k.Value, k.Mask)
	case Fields[f].Kind == KindBits && k.Value == k.Mask && k.Value != 0:
		return value
	}
	return strings.ReplaceAll(value+"/"+mask, ",", "+")
}

// MAC is a MAC address as text, its first byte most significant in v.
func MAC(v uint64) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// String is an address, a prefix, a range or address/mask.
func (r AddrRange) String() string {
	p, ok := r.Prefix()
	switch {
	case ok && p.Bits() == r.From.BitLen():
		return r.From.String()
	case ok:
		return p.String()
	case r.Mask.IsValid():
		return r.From.String() + "/" + r.Mask.String()
	}
	return r.From.String() + "-" + r.To.String()
}

func (r AddrRange) appendTo(b []byte) []byte {
	switch p, ok := r.Prefix(); {
	case !ok || !p.IsValid():
		return append(b, r.String()...)
	case p.IsSingleIP():
		return r.From.AppendTo(b)
	default:
		return p.AppendTo(b)
	}
}

func list(addrs []AddrRange) string {
	var b []byte
	for i, a := range addrs {
		if i > 0 {
			b = append(b, ',')
		}
		b = a.appendTo(b)
	}
	return string(b)
}

// word is a name as it is, or quoted and escaped if anything in it could be taken for something else: names come from files.
func word(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.+/@", r)
	}
	if s == "" || s == "not" || strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return strconv.QuoteToASCII(s)
	}
	return s
}

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
func (r *Rule) String() string {
	when := make([]string, len(r.Matches))
	for i := range r.Matches {
		when[i] = r.Matches[i].String()
	}
	if len(when) == 0 {
		when = []string{"all"}
	}
	var do []string
	for _, s := range r.Statements {
		do = append(do, s.String())
	}
	if r.Verdict.Kind != Continue || len(do) == 0 {
		do = append(do, r.Verdict.String())
	}
	return strings.Join(when, " ") + ": " + strings.Join(do, ", ")
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
func (m *Match) String() string {
	if m.Field == FieldProto && !m.Not && protoName(m.operands()) {
		return m.operands()
	}
	s, ok := leads[m.Field]
	if !ok {
		s = m.Field.String()
	}
	if len(m.Parts) > 0 {
		s = FieldsText(m.Parts)
	}
	if m.Not {
		s += " not"
	}
	if m.Field == FieldElement {
		s += " in"
	}
	return s + " " + m.operands()
}

// operands is the operands, comma separated, in their order.
func (m *Match) operands() string {
	var out []string
	for _, r := range m.Ranges {
		out = append(out, m.Field.rangeText(r))
	}
	for _, k := range m.Masked {
		out = append(out, m.Field.maskedText(k))
	}
	if len(m.Addrs) > 0 {
		out = append(out, list(m.Addrs))
	}
	for _, name := range m.sets() {
		out = append(out, "@"+word(name))
	}
	for _, n := range m.Names {
		out = append(out, word(n))
	}
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

// protoName reports whether s names one protocol, so that it can stand for a match alone.
func protoName(s string) bool {
	_, ok := ProtoByName(s)
	return ok
}

// rangeText is a number, or the first and last of a range.
func (f FieldID) rangeText(r Range) string {
	if r.From == r.To {
		return f.numberText(r.From)
	}
	return f.numberText(r.From) + "-" + f.numberText(r.To)
}

func (f FieldID) numberText(v uint64) string {
	switch name := ProtoNames[uint8(v)]; {
	case f == FieldSrcMAC && v < 1<<48:
		return MAC(v)
	case f == FieldProto && v < 256 && name != "":
		return name
	}
	return strconv.FormatUint(v, 10)
}

// maskedText is names of bits where they say it all, else value/mask in hexadecimal.
func (f FieldID) maskedText(k Masked) string {
	value, ok := BitList(f, k.Value)
	mask, all := BitList(f, k.Mask)
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

func list(addrs []AddrRange) string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return strings.Join(out, ",")
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

package policies

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// operands writes the operands of a match, and the key that they stand under.
func (x *renderer) operands(m *ruleset.Match) (k string, out []string) {
	k = keyOf(m)
	switch kind := ruleset.Fields[m.Field].Kind; {
	case kind == ruleset.KindIface:
		for _, n := range m.Names {
			out = append(out, x.ifaceText(m, n))
		}
	case kind == ruleset.KindCgroup:
		out = x.cgroupNames(k, m)
	case kind == ruleset.KindElement:
		out = []string{ruleset.FieldsText(m.Parts) + " in @" + m.Set}
	case m.Set != "":
		out = []string{"@" + m.Set}
	case kind == ruleset.KindAddr:
		for _, a := range m.Addrs {
			out = append(out, addrText(a))
		}
		for _, name := range m.Live {
			out = append(out, "@"+name)
		}
	case kind == ruleset.KindBits:
		out = x.bitNames(m)
	case kind == ruleset.KindFlags:
		for _, f := range m.Masked {
			out = append(out, flagText(m.Field, k, f))
		}
	case len(m.Masked) > 0:
		x.fail(m, "masked numbers cannot be written")
	default:
		for _, r := range m.Ranges {
			out = append(out, x.numberText(m, r))
		}
	}
	if len(out) == 0 {
		x.fail(m, "nothing to compare with")
	}
	return k, out
}

// keyOf is the key of a match's field.
func keyOf(m *ruleset.Match) string {
	switch m.Field {
	case ruleset.FieldInIface:
		return "in"
	case ruleset.FieldOutIface:
		return "out"
	case ruleset.FieldTOS:
		if !slices.ContainsFunc(m.Masked, func(f ruleset.Masked) bool { return f.Mask != 0xfc || f.Value&^f.Mask != 0 }) {
			return "dscp"
		}
	}
	if m.Field == ruleset.FieldCgroup && len(m.Names) > 0 && strings.HasPrefix(m.Names[0], "/") {
		return "cgroup"
	}
	for i := range conditions {
		if conditions[i].field == m.Field {
			return conditions[i].key
		}
	}
	return ""
}

func (x *renderer) ifaceText(m *ruleset.Match, name string) string {
	prefix, glob := strings.CutSuffix(name, "+")
	if strings.Contains(name, "*") || strings.HasPrefix(name, "!") {
		x.fail(m, "the name %q would read as something else", name)
	}
	if glob {
		return prefix + "*"
	}
	return name
}

func (x *renderer) bitNames(m *ruleset.Match) []string {
	words := map[ruleset.FieldID][]word{ruleset.FieldState: stateWords[:5], ruleset.FieldPktType: packetWords}[m.Field]
	if words == nil {
		words = typeWords
	}
	var v uint64
	for _, k := range m.Masked {
		v |= k.Value
	}
	var out []string
	for _, w := range words {
		if v&w.value != 0 {
			out = append(out, w.name)
			v &^= w.value
		}
	}
	if v != 0 {
		x.fail(m, "%#x has no name", v)
	}
	return out
}

func (x *renderer) numberText(m *ruleset.Match, r ruleset.Range) string {
	words := map[ruleset.FieldID][]word{ruleset.FieldProto: protoWords, ruleset.FieldFamily: familyWords}[m.Field]
	if name, ok := nameOf(words, r.From); ok && r.From == r.To {
		return name
	}
	if m.Field == ruleset.FieldSrcMAC {
		if r.From != r.To {
			x.fail(m, "a range of MAC addresses cannot be written")
		}
		return ruleset.MAC(r.From)
	}
	if m.Field == ruleset.FieldFamily {
		x.fail(m, "%d is neither IPv4 nor IPv6", r.From)
	}
	return rangeText(r)
}

func rangeText(r ruleset.Range) string {
	if r.From == r.To {
		return decimal(r.From)
	}
	return decimal(r.From) + "-" + decimal(r.To)
}

func flagText(f ruleset.FieldID, k string, m ruleset.Masked) string {
	switch {
	case f == ruleset.FieldTCPFlags:
		return flagNames(m.Value) + "/" + flagNames(m.Mask)
	case k == "dscp":
		if name, ok := nameOf(dscpWords, m.Value>>2); ok {
			return name
		}
		return decimal(m.Value >> 2)
	case bits.OnesCount64(m.Mask) == ruleset.Fields[f].Bits:
		return fmt.Sprintf("%#x", m.Value)
	}
	return fmt.Sprintf("%#x/%#x", m.Value, m.Mask)
}

func flagNames(v uint64) string {
	s, _ := ruleset.BitList(ruleset.FieldTCPFlags, v)
	return s
}

func addrText(a ruleset.AddrRange) string {
	p, ok := a.Prefix()
	switch {
	case ok && p.IsSingleIP():
		return p.Addr().String()
	case ok:
		return p.String()
	case a.Mask.IsValid():
		return a.From.String() + "/" + a.Mask.String()
	}
	return a.From.String() + "-" + a.To.String()
}

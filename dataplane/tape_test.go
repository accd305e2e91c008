package dataplane

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

// fill gives a value, and all in it, random contents that are not zero; of a rule or a match, in one of the fields alone if it is not below 0.
func fill(r *rand.Rand, v reflect.Value, only int) {
	switch v.Interface().(type) {
	case netip.Addr:
		b := [16]byte{0: 0x20, 15: byte(r.IntN(256))}
		a := []netip.Addr{netip.AddrFrom16(b), netip.AddrFrom4([4]byte(b[:4])), netip.AddrFrom16(b).WithZone("eth0")}[r.IntN(3)]
		v.Set(reflect.ValueOf(a))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if only < 0 || i == only {
				fill(r, v.Field(i), -1)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem(), -1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+r.IntN(2), 3))
		for i := range v.Len() {
			fill(r, v.Index(i), -1)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("\xff%d\x00é", r.Uint64()))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64() - r.Int64())
	default:
		v.SetUint(1 + r.Uint64()>>r.IntN(63))
		if v.Uint() == 0 {
			v.SetUint(1)
		}
	}
}

// Each field of rules and matches is read as it was written, alone and with all others.
func TestTapeHasAllFields(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{{Name: "a"}}}
	c := rs.Chains[0]
	for range 20 {
		for only := -1; only < reflect.TypeFor[ruleset.Rule]().NumField(); only++ {
			rule := &ruleset.Rule{}
			fill(r, reflect.ValueOf(rule).Elem(), only)
			c.Rules = append(c.Rules, rule)
		}
		for only := -1; only < reflect.TypeFor[ruleset.Match]().NumField(); only++ {
			rule := &ruleset.Rule{Matches: make([]ruleset.Match, 1+r.IntN(3))}
			fill(r, reflect.ValueOf(&rule.Matches[r.IntN(len(rule.Matches))]).Elem(), only)
			c.Rules = append(c.Rules, rule)
		}
	}
	var file bytes.Buffer
	if err := writeRules(&file, rs); err != nil {
		t.Fatal(err)
	}
	back := &ruleset.Ruleset{}
	err := readRules(bytes.NewReader(file.Bytes()), back)
	if diff := cmp.Diff(rs, back, sameRules); diff != "" || err != nil {
		t.Errorf("%v; read back (+) other than written (-):\n%s", err, diff)
	}
}

// A damaged tape is an error or other rules, and nothing worse.
func TestDamagedTape(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	rs := classbench.Ruleset("acl", classbench.Generate(classbench.ACL, 20, 1))
	rs.AssignIDs()
	written, slots := &tape{}, &tape{}
	tapeOf(written, rs.Chains[0].Rules)
	counters := map[string]uint32{"a": 1, "b": 1 << 30}
	slots.counters(&counters)
	for range 3000 {
		for _, b := range [][]byte{written.to, slots.to} {
			b = bytes.Clone(b)
			switch at := r.IntN(len(b)); r.IntN(3) {
			case 0:
				b = b[:at]
			case 1:
				b[at] = byte(r.Uint32())
			case 2:
				b = append(b[:at], bytes.Repeat([]byte{0xff}, 12)...)
			}
			_, _ = (&savedRules{Tape: b}).rules()
			(&tape{reading: true, from: string(b)}).counters(&counters)
		}
	}
	for n := 1; n < len(written.to); n++ {
		if _, err := (&savedRules{Tape: written.to[:n]}).rules(); err == nil {
			t.Errorf("the first %d of %d bytes were read as if they were all", n, len(written.to))
		}
	}
	if _, err := (&savedRules{Tape: append(written.to, 0)}).rules(); err == nil {
		t.Error("what follows the last rule was not noticed")
	}
}

// BenchmarkSave measures what every apply writes and reads of each rule.
func BenchmarkSave(b *testing.B) {
	rs := classbench.Ruleset("acl", classbench.Generate(classbench.ACL, 10_000, 1))
	out, err := translator.Translate(rs, translator.Slots{})
	if err != nil {
		b.Fatal(err)
	}
	var rules, slots bytes.Buffer
	for name, do := range map[string]func() error{
		"rules/write": func() error { rules.Reset(); return writeRules(&rules, rs) },
		"slots/write": func() error { slots.Reset(); return savedSlots{Slots: out.Slots}.write(&slots) },
		"rules/read":  func() error { return readRules(bytes.NewReader(rules.Bytes()), &ruleset.Ruleset{}) },
		"slots/read":  func() error { return readSlots(bytes.NewReader(slots.Bytes()), &savedSlots{}) },
	} {
		_ = writeRules(&rules, rs)
		_ = savedSlots{Slots: out.Slots}.write(&slots)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if err := do(); err != nil {
					b.Fatal(err)
				}
			}
		})
		rules.Reset()
		slots.Reset()
	}
}

package translator

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/ruleset"
)

// nested is n filters between random prefixes of every length inside one network: whoever writes such rules wants tables to be large.
func nested(r *rand.Rand, n, bits int) (out []classbench.Filter) {
	within := func() netip.Prefix {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 10<<24|r.Uint32()>>bits)
		return netip.PrefixFrom(netip.AddrFrom4(a), bits+r.IntN(33-bits)).Masked()
	}
	for range n {
		f := classbench.Filter{Src: within(), Dst: within(), SrcPort: ruleset.Range{To: 65535}, DstPort: ruleset.Range{To: 65535}}
		if r.IntN(2) == 0 {
			from := r.Uint64N(1 << 16)
			f.Proto, f.ProtoMask, f.DstPort = 6, 255, ruleset.Range{From: from, To: min(65535, from+r.Uint64N(3)*r.Uint64N(1000))}
		}
		out = append(out, f)
	}
	return out
}

// TestAdversarial: rules that overlap as much as rules can become a table, or a few in order.
func TestAdversarial(t *testing.T) {
	sizes := []int{3000}
	if *long {
		sizes = []int{12_000, 50_000}
	}
	for _, n := range sizes {
		for _, bits := range []int{8, 16, 22} {
			t.Run(fmt.Sprintf("%d rules in a slash %d", n, bits), func(t *testing.T) {
				filters := nested(rand.New(rand.NewPCG(uint64(n), uint64(bits))), n, bits)
				rs := classbench.Ruleset("nested", filters)
				o, err := Translate(rs, Slots{})
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range o.plan.classifiers {
					t.Log(c)
				}
				if len(o.plan.classifiers) == 0 {
					t.Fatal(o.plan.refused)
				}
				exact(t, filters, EngineAuto)
			})
		}
	}
}

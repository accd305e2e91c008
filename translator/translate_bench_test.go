package translator

import (
	"fmt"
	"testing"

	"github.com/bpfwall/bpfwall/internal/classbench"
)

// BenchmarkTranslate measures compiling filter sets: one that is new, and one more rule at the end of one that was compiled before.
func BenchmarkTranslate(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000, 100_000} {
		for _, p := range classbench.Profiles {
			filters := classbench.Generate(p, n+1, 1)
			b.Run(fmt.Sprintf("%s/%d/new", p, n), func(b *testing.B) {
				benchTranslate(b, filters[:n], Slots{})
			})
			b.Run(fmt.Sprintf("%s/%d/one-more", p, n), func(b *testing.B) {
				before, err := Translate(classbench.Ruleset("filters", filters[:n]), Slots{})
				if err != nil {
					b.Fatal(err)
				}
				b.ResetTimer()
				benchTranslate(b, filters, before.Slots)
			})
		}
	}
}

// benchTranslate compiles filters again and again; making rules of them does not count.
func benchTranslate(b *testing.B, filters []classbench.Filter, prev Slots) {
	b.ReportAllocs()
	for range b.N {
		b.StopTimer()
		rs := classbench.Ruleset("filters", filters)
		b.StartTimer()
		if _, err := Translate(rs, prev); err != nil {
			b.Fatal(err)
		}
	}
}

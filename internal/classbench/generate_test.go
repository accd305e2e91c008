package classbench

import (
	"slices"
	"testing"
)

// TestGenerate: as many filters as asked for, all different, the same ones again, and few that an earlier one hides.
func TestGenerate(t *testing.T) {
	for _, p := range Profiles {
		for _, n := range []int{10, 1000, 20_000} {
			filters := Generate(p, n, 1)
			if len(filters) != n {
				t.Errorf("%s: %d filters, want %d", p, len(filters), n)
			}
			if !slices.Equal(filters, Generate(p, n, 1)) {
				t.Errorf("%s, %d: another set the second time", p, n)
			}
			met := map[int]bool{}
			headers := Headers(filters, Uniform, 500, 1)
			for _, h := range headers {
				i := Match(filters, h)
				if i < 0 {
					t.Fatalf("%s, %d: a header meets no filter", p, n)
				}
				met[i] = true
			}
			if want := min(n, len(headers)) / 4; len(met) < want {
				t.Errorf("%s, %d: headers end at %d different filters, want %d", p, n, len(met), want)
			}
		}
	}
}

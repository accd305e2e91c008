package translator

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// benchTranslate compiles filters again and again; making rules of them does not count. Processor time tells more than time where others
// run.
func benchTranslate(b *testing.B, filters []classbench.Filter, prev Slots) {
	b.ReportAllocs()
	least, cpu := time.Hour, time.Hour
	for range b.N {
		b.StopTimer()
		rs := classbench.Ruleset("filters", filters)
		runtime.GC()
		begin, used := time.Now(), processorTime()
		b.StartTimer()
		if _, err := Translate(rs, prev); err != nil {
			b.Fatal(err)
		}
		least, cpu = min(least, time.Since(begin)), min(cpu, processorTime()-used)
	}
	b.ReportMetric(float64(least.Microseconds())/1e3, "ms-least")
	b.ReportMetric(float64(cpu.Microseconds())/1e3, "cpu-ms-least")
}

// processorTime is what this process has taken.
func processorTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // of oneself it cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestSameOutput: the same ruleset makes the same instructions and maps, byte for byte, whatever runs beside what.
func TestSameOutput(t *testing.T) {
	for _, p := range classbench.Profiles {
		filters := classbench.Generate(p, 3000, 3)
		var before *Output
		for range 4 {
			out, err := Translate(classbench.Ruleset("filters", filters), Slots{})
			if err != nil {
				t.Fatal(err)
			}
			if before != nil {
				sameOutput(t, before, out)
			}
			before = out
		}
	}
}

func sameOutput(t *testing.T, a, b *Output) {
	t.Helper()
	if a.Listing() != b.Listing() {
		t.Error("the instructions differ")
	}
	x, y := a.Spec.Maps[classifierMap].Contents[0].Value.([]byte), b.Spec.Maps[classifierMap].Contents[0].Value.([]byte)
	if !bytes.Equal(x, y) {
		t.Error("the tables differ")
	}
}

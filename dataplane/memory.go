package dataplane

import (
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
)

// UsualMemory is how much memory the tables of rules and sets may take if Options do not say it, MB. It is more than 500,000 rules of a
// filter take.
const UsualMemory = 256

// MemoryError says that a ruleset is too large to be held. Nothing was changed.
type MemoryError struct {
	Need, May uint64 // bytes
	Largest   string // map
	Of        uint64 // bytes of that
	Free      bool   // May is what the machine has left, not what it was told
}

func (e *MemoryError) Error() string {
	may := "that they may take (--max-memory)"
	if e.Free {
		may = "that this machine has left"
	}
	return fmt.Sprintf("rules: their tables take %s of kernel memory (%q %s of it), more than the %s %s",
		megabytes(e.Need), e.Largest, megabytes(e.Of), megabytes(e.May), may)
}

func megabytes(n uint64) string { return fmt.Sprintf("%.1f MB", float64(n)/(1<<20)) }

// checkMemory refuses tables that are too large, before any is made.
func (t *transaction) checkMemory() error {
	e := &MemoryError{May: uint64(t.opts.MaxMemory) << 20}
	if t.opts.MaxMemory == 0 {
		e.May = UsualMemory << 20
	}
	outlive := map[string]bool{}
	for _, name := range sharedMaps {
		outlive[name] = true
	}
	for name, m := range t.out.Spec.Maps {
		if outlive[name] {
			continue
		}
		n := mapBytes(m)
		if e.Need += n; n > e.Of {
			e.Largest, e.Of = name, n
		}
	}
	if e.Need > e.May {
		return e
	}
	if free, ok := freeMemory(); ok && e.Need > free {
		e.May, e.Free = free, true
		return e
	}
	return nil
}

// mapBytes is about what a map takes.
func mapBytes(m *ebpf.MapSpec) uint64 {
	n := uint64(m.KeySize+m.ValueSize) * uint64(m.MaxEntries)
	switch m.Type {
	case ebpf.PerCPUArray, ebpf.PerCPUHash, ebpf.LRUCPUHash:
		n *= uint64(ebpf.MustPossibleCPU())
	case ebpf.RingBuf:
		n = uint64(m.MaxEntries)
	}
	return n
}

// freeMemory is what the machine has left, bytes.
func freeMemory() (n uint64, ok bool) {
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &n); err == nil {
			return n << 10, true
		}
	}
	return 0, false
}

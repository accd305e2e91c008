package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
)

// What the garbage collector may leave, in percent of what is in use: all until there is largeHeap of both, much as long as what is in use is
// not more, which spares a short run with many rules a third of its time, and then little: 100,000 rules are a quarter of a gigabyte. What lies idle beyond the next
// collection and a reserve goes back to the kernel.
const (
	muchGarbage   = 400
	littleGarbage = 30
	largeHeap     = 64 << 20
	reserve       = 40 << 20
)

// collectLess has the garbage collector run less often, unless the environment says how often.
func collectLess() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(largeHeap)
	runtime.SetFinalizer(&collection{}, (*collection).done)
}

// collection is garbage that notices when it is collected.
type collection struct {
	n int // so far
	_ [56]byte
}

func (c *collection) done() {
	if c.n++; c.n == 1 {
		debug.SetMemoryLimit(math.MaxInt64)
		debug.SetGCPercent(muchGarbage)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	next := m.NextGC
	if next > largeHeap/100*(100+muchGarbage) {
		debug.SetGCPercent(littleGarbage)
	}
	debug.SetMemoryLimit(int64(next + reserve))
	runtime.SetFinalizer(c, (*collection).done)
}

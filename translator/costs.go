package translator

import (
	"math"
	"math/bits"
)

// The cost model: ns of a packet on a processor of 2025 for finding the first of some rules, the same packet again and again (hot) and packets that all
// differ (uniform) taken together, since nobody knows which of them a host gets. It was fitted to BenchmarkEngines (20 to 10,000 rules of
// three kinds, alone and grown in ten ways), which it meets within some 20 %. What rules do beside deciding costs the same in all engines
// and is left out.
//
// In code, a packet's way costs some 3.4 ns each time the code doubles: comparisons foretold wrongly, and code that is not in the cache. Each
// comparison on it costs 0.25 ns, and 0.6 from the hundredth on, where the processor no longer remembers them all.
//
//	every fifth counts  rules   code: hot uniform model   table: hot uniform model
//	acl, fw, ipc           20          1   12-15    14             12   30-36    36
//	fw                    100          2      27    34             15      40    54
//	acl, ipc              100          1      25    23          16-18   35-38    54
//	acl                 1,000          3      47    36             15      54    79
//	fw                  1,000         21      96    98             18      68    79
//	ipc                 1,000          3     111    98             17      58    79
//	all                10,000    not tried                      16-20  83-124   105
const (
	doubledNs   = 3.4
	firstNs     = -4 // what is left if there is nothing but the two others
	compareNs   = 0.25
	forgottenNs = 0.6
	remembered  = 100

	// A table's parts are met later the larger it is, and seldom are in the cache.
	tableDoubledNs = 7.7
	tableFirstNs   = 3
	stopNs         = 60 // for a packet that meets a stop: the bits, and the jump to its code
)

// codeNs is what steps cost in code.
func codeNs(steps []*step) int {
	n, way := wayThrough(steps)
	return int(firstNs + doubledNs*math.Log2(float64(max(n, 2))) + compareNs*min(way, remembered) + forgottenNs*max(way-remembered, 0))
}

// tableNs is what a table of rules costs.
func tableNs(run []*step) int {
	return int(tableFirstNs + tableDoubledNs*math.Log2(float64(len(run))) + stopNs*float64(stops(run))/float64(len(run)))
}

// wayThrough is how many rules are in steps, repetitions included, and the comparisons of a packet's way through them. The more rules are in
// a branch, the more packets take it.
func wayThrough(steps []*step) (rules int, way float64) {
	for _, s := range steps {
		if s.fork == nil {
			rules++
			way++
			continue
		}
		n, sum := 0, 0.0
		for _, b := range s.fork.branches {
			k, w := wayThrough(b.steps)
			n, sum = n+k, sum+float64(k)*w
		}
		rules += n
		way += float64(bits.Len(uint(len(s.fork.branches)))) + 1 + sum/float64(max(n, 1))
	}
	return rules, way
}

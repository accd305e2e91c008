package policies

import (
	"strconv"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// parseFlows reads "20 per source/24/56".
func parseFlows(m *ruleset.Match, s string) bool {
	w := strings.Fields(s)
	if len(w) != 3 || w[1] != "per" {
		return false
	}
	most, err := strconv.ParseUint(w[0], 10, 32)
	side, given, _ := strings.Cut(w[2], "/")
	count, ok := parseBits(given)
	if err != nil || !ok || side != "source" && side != "destination" {
		return false
	}
	m.Flows = &ruleset.Flows{Max: uint32(most), Dest: side == "destination", Bits: *count}
	return true
}

func flowsText(m *ruleset.Match) string {
	side := "source"
	if m.Flows.Dest {
		side = "destination"
	}
	return decimal(uint64(m.Flows.Max)) + " per " + side + bitsText(&m.Flows.Bits)
}

package policies

import (
	"fmt"
	"sort"
	"strings"
)

// suggest is `did you mean "x"?` for the candidate nearest to word, or "" if none is near.
func suggest(word string, candidates []string) string {
	best, limit := "", 2*(1+len(word)/3)-1
	sort.Strings(candidates)
	for _, c := range candidates {
		d := 2 * distance(strings.ToLower(word), strings.ToLower(c))
		if word != "" && c != "" && word[0] == c[0] {
			d-- // slips in the first letter are rare
		}
		if d < limit {
			best, limit = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// distance is the number of letters to add, drop, change or swap with their neighbour to make b of a.
func distance(a, b string) int {
	if abs(len(a)-len(b)) > 8 || len(a) > 64 {
		return 64
	}
	var before, prev []int
	for i := 0; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			if i == 0 {
				row[j] = j
				continue
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+differ(a[i-1], b[j-1]))
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}

func differ(a, b byte) int {
	if a == b {
		return 0
	}
	return 1
}

func abs(n int) int { return max(n, -n) }

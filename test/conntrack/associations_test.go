package conntrack

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// associations are how an SCTP association has gone so far: A wants to see tag 7, and B tag 9.
var associations = []struct {
	name    string
	packets []string
}{
	{"none", nil},
	{"INIT", sctpLife[:1]},
	{"INIT twice", times(2, sctpLife[0])},
	{"INIT from both", []string{sctpLife[0], "B seq 0 chunk 1,0,9"}},
	{"INIT ACK", sctpLife[:2]},
	{"INIT ACK twice", append(sctpLife[:2:2], sctpLife[1])},
	{"COOKIE ECHO", sctpLife[:3]},
	{"established", sctpLife[:4]},
	{"established, INIT again", append(sctpLife[:4:4], sctpLife[0])},
	{"established, INIT of another", append(sctpLife[:4:4], "A seq 0 chunk 1,0,66")},
	{"established, INIT of another from B", append(sctpLife[:4:4], "B seq 0 chunk 1,0,66")},
	{"established, INIT of others from both", append(sctpLife[:4:4], "A seq 0 chunk 1,0,66", "B seq 0 chunk 1,0,77")},
	{"A shuts down", sctpLife[:5]},
	{"B shuts down", append(sctpLife[:4:4], "B seq 7 chunk 7,0,0")},
	{"SHUTDOWN ACK", sctpLife[:6]},
	{"SHUTDOWN ACK from A", append(sctpLife[:4:4], "B seq 7 chunk 7,0,0", "A seq 9 chunk 8,0,0")},
	{"closed", sctpLife[:7]},
	{"HEARTBEAT", []string{"A seq 9 chunk 4,0,0"}},
	{"HEARTBEAT from both", []string{"A seq 9 chunk 4,0,0", "B seq 7 chunk 4,0,0"}},
	{"HEARTBEAT ACK", []string{"A seq 9 chunk 4,0,0", "B seq 7 chunk 5,0,0"}},
	{"SHUTDOWN ACK out of nothing", []string{"A seq 9 chunk 8,0,0"}},
	{"DATA out of nothing", []string{"A seq 9 chunk 0,0,0"}},
	{"HEARTBEAT of another path", append(sctpLife[:4:4], "A seq 66 chunk 4,0,0")},
	{"HEARTBEAT of another path from B", append(sctpLife[:4:4], "B seq 77 chunk 4,0,0")},
	{"HEARTBEAT of another path, then of this", append(sctpLife[:4:4], "A seq 66 chunk 4,0,0", "A seq 9 chunk 4,0,0")},
	{"HEARTBEAT of another path, answered", append(sctpLife[:4:4], "A seq 66 chunk 4,0,0", "B seq 77 chunk 5,0,0")},
	{"HEARTBEAT of another path from B, answered", append(sctpLife[:4:4], "B seq 77 chunk 4,0,0", "A seq 66 chunk 5,0,0")},
	{"HEARTBEAT of another path, answered and again", append(sctpLife[:4:4], "A seq 66 chunk 4,0,0", "B seq 77 chunk 5,0,0", "A seq 66 chunk 4,0,0")},
	{"aborted", append(sctpLife[:4:4], "A seq 9 chunk 6,0,0")},
}

// sctpLife is an association from begin to end.
var sctpLife = []string{"A seq 0 chunk 1,0,7", "B seq 7 chunk 2,0,9", "A seq 9 chunk 10,0,0", "B seq 7 chunk 11,0,0", "A seq 9 chunk 7,0,0", "B seq 7 chunk 8,0,0", "A seq 9 chunk 14,0,0"}

// chunkTypes are those that move states, some that do not, and the first and the last that RFC 9260 does not know.
var chunkTypes = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 192, 255}

// oneChunk is packets of one chunk: any type, flags and tags, right or wrong.
func oneChunk() (lines []string) {
	for _, by := range []string{"A", "B"} {
		for _, typ := range chunkTypes {
			for flags := range 4 {
				for _, tag := range []uint32{0, 7, 9, 66, 77, 5} {
					if flags < 2 || tag == 7 || tag == 9 {
						lines = append(lines, fmt.Sprintf("%s seq %d chunk %d,%d,%d", by, tag, typ, flags, 7+tag%2))
					}
				}
			}
		}
		for _, tag := range []uint32{0, 7, 9, 66, 77} {
			lines = append(lines, fmt.Sprintf("%s seq 0 chunk 1,0,%d", by, tag), fmt.Sprintf("%s seq 7 chunk 2,0,%d", by, tag), fmt.Sprintf("%s seq 9 chunk 2,0,%d", by, tag))
		}
	}
	return lines
}

// bundling are the associations whose packets are of more chunks, too.
var bundling = []string{"none", "INIT ACK", "established", "HEARTBEAT of another path"}

// moreChunks is packets of several chunks, and of none.
func moreChunks() (lines []string) {
	types := []string{"0,0,0", "1,0,66", "2,0,66", "3,0,0", "4,0,0", "5,0,0", "6,0,0", "6,1,0", "7,0,0", "8,0,0", "9,0,0", "10,0,0", "11,0,0", "14,0,0", "14,1,0", "192,1,0"}
	for by, tag := range map[string]int{"A": 9, "B": 7} {
		for _, first := range types {
			for _, second := range types {
				for _, tag := range []int{tag, 66} {
					lines = append(lines, fmt.Sprintf("%s seq %d chunk %s chunk %s", by, tag, first, second))
				}
			}
			for _, cut := range []int{11, 12, 13, 15, 16, 19, 20, 27, 28, 31, 32} {
				lines = append(lines, fmt.Sprintf("%s seq %d cut %d chunk %s", by, tag, cut, first))
			}
		}
		for _, bundle := range []string{"0,0,0 chunk 0,0,0 chunk 7,0,0", "3,0,0 chunk 4,0,0 chunk 7,0,0", "9,0,0 chunk 4,0,0 chunk 7,0,0", "10,0,0 chunk 0,0,0 chunk 7,0,0",
			"9,0,0 chunk 9,0,0 chunk 6,0,0", "9,0,0 chunk 9,0,0 chunk 6,1,0", "9,0,0 chunk 6,1,0 chunk 7,0,0", "4,0,0 chunk 4,0,0 chunk 4,0,0", "4,0,0 chunk 5,0,0 chunk 0,0,0"} {
			lines = append(lines, fmt.Sprintf("%s seq %d chunk %s", by, tag, bundle), fmt.Sprintf("%s seq 66 chunk %s", by, bundle))
		}
		lines = append(lines, fmt.Sprintf("%s seq %d raw x", by, tag))
		for _, length := range []int{0, 1, 3, 4, 5, 19, 20, 21} {
			lines = append(lines, fmt.Sprintf("%s seq %d raw x0900%04x%s07000008%s", by, tag, length, strings.Repeat("00", max(0, (length-1)/4*4)), "00000001"))
		}
	}
	return lines
}

// TestAssociations: in each state of an SCTP association, what its ends may send, right or wrong, has the state that the kernel gives it
// and leaves the same entry, with the same tags.
func TestAssociations(t *testing.T) {
	needRoot(t)
	r := newRig(t, forwarded, setting{})
	for _, a := range associations {
		t.Run(a.name, func(t *testing.T) {
			var scripts []*script
			for _, p := range oneChunk() {
				scripts = append(scripts, associationOf(t, slices.Concat(a.packets, []string{p})))
				scripts = append(scripts, associationOf(t, slices.Concat(a.packets, []string{p, "A seq 9 chunk 0,0,0", "B seq 7 chunk 3,0,0", "B seq 77 chunk 4,0,0"})))
			}
			for _, p := range moreChunks() {
				if slices.Contains(bundling, a.name) {
					scripts = append(scripts, associationOf(t, slices.Concat(a.packets, []string{p})))
				}
			}
			r.same(t, scripts)
		})
	}
}

// associationOf is a script of packets between A's port 1000 and B's port 36412.
func associationOf(t *testing.T, packets []string) *script {
	t.Helper()
	text := "ipv4\n"
	for _, p := range packets {
		by, rest, _ := strings.Cut(p, " ")
		text += by + map[string]string{"A": " sctp 1000>36412 ", "B": " sctp 36412>1000 "}[by] + rest + "\n"
	}
	return scriptOf(t, text)
}

package bpf

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// sent is a packet that an ICMP error may quote.
type sent struct {
	from  int
	proto byte
	ip    []byte
}

// datagram makes a random packet of host i that is not TCP. Ports and ids are few, so that flows are met again.
func datagram(r *rand.Rand, i int, base int, before []sent) (proto byte, payload []byte) {
	switch r.IntN(5) {
	case 0, 1:
		sport, dport := base+r.IntN(2), base+100+r.IntN(2)
		if i == 1 {
			sport, dport = dport, sport
		}
		return protoUDP, udp(sport, dport, r.IntN(20))
	case 2:
		types := []byte{8, 0, 8, 0, 13, 14, 15, 16, 17, 18, 9, 10, 19, 30}
		return protoICMP, icmp(types[r.IntN(len(types))], byte(r.IntN(8)/7), base+r.IntN(2), nil)
	case 3:
		if len(before) == 0 {
			return protoGRE, make([]byte, 8)
		}
		return protoICMP, icmpError(r, before[r.IntN(len(before))].ip)
	}
	return []byte{50, 51, 4, 253}[r.IntN(4)], make([]byte, 24)
}

// icmpError quotes a packet, whole or cut.
func icmpError(r *rand.Rand, quoted []byte) []byte {
	n := []int{len(quoted), 28, 24, 23, 20, 19}[r.IntN(6)]
	types := []byte{3, 3, 4, 5, 11, 12}
	return icmp(types[r.IntN(len(types))], byte(r.IntN(4)), 0, quoted[:min(n, len(quoted))])
}

// UDP, ICMP and the rest have the states that netfilter gives them.
func TestOthersAsNetfilter(t *testing.T) {
	tw := newTwin(t)
	runs := 600
	if testing.Short() {
		runs = 50
	}
	for run := range runs {
		r := rand.New(rand.NewPCG(3, uint64(run)))
		var history []string
		var before []sent
		for range 30 {
			i := r.IntN(2)
			proto, payload := datagram(r, i, 1000+8*run, before)
			ends := [2]netip.Addr{hostA, hostB}
			before = append(before, sent{i, proto, ip4(ends[i], ends[1-i], proto, 0, nil, payload)})
			want, got := tw.states(i, proto, payload)
			history = append(history, fmt.Sprintf("%d proto %d %x: netfilter %d, ours %d", i, proto, payload[:min(len(payload), 52)], want, got))
			if want != got {
				t.Fatalf("run %d:\n%s", run, strings.Join(slices.Clone(history), "\n"))
			}
		}
	}
	t.Logf("%d packets", tw.sent)
}

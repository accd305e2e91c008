package conntrack

import (
	"fmt"
	"testing"
)

// TestQueries: every ICMP type of both families, on its own, after each query, and as an error about a flow, has the state that the kernel
// gives it and leaves the same entries.
func TestQueries(t *testing.T) {
	needRoot(t)
	r := newRig(t, forwarded, setting{})
	for family, queries := range map[string][]int{"ipv4": {8, 13, 15, 17}, "ipv6": {128, 139}} {
		t.Run(family, func(t *testing.T) {
			var scripts []*script
			add := func(format string, args ...any) {
				scripts = append(scripts, scriptOf(t, family+"\n"+fmt.Sprintf(format, args...)))
			}
			for typ := range 256 {
				if !quotes(family == "ipv6", uint8(typ)) {
					add("A icmp %d/0 id 7 len 8", typ)
					add("A icmp %d/0 id 7 badsum len 8", typ)
				}
				add("A udp 1000>53 len 9\nB icmp %d/0 quote A udp 1000>53 len 9", typ)
				for _, q := range queries {
					if typ > 20 && typ < 125 || typ > 155 || quotes(family == "ipv6", uint8(typ)) {
						continue
					}
					add("A icmp %d/0 id 7\nB icmp %d/0 id 7\nA icmp %[1]d/0 id 7", q, typ)
					add("A icmp %d/0 id 7\nA icmp %d/0 id 7", q, typ)
				}
			}
			for _, q := range queries {
				reply := q + 1
				if q == 8 {
					reply = 0
				}
				for _, more := range []string{"/1 id 7", "/0 id 8", "/0 id 263", "/0 id 7 badsum", "/0 id 7 cut 7", "/0 id 7 cut 8", "/255 id 7"} {
					add("A icmp %d/0 id 7 len 4\nB icmp %d%s\nA icmp %[1]d%[3]s", q, reply, more)
					add("A icmp %d%s\nB icmp %d%[2]s", q, more, reply)
				}
				add("A icmp %d/0 id 7 len 4\nB icmp %[1]d/0 id 7\nA icmp %[2]d/0 id 7\nB icmp %[2]d/0 id 7", q, reply)
			}
			r.same(t, scripts)
		})
	}
}

// quotable are flows that an error may quote: what opens one, and its transport, as a script has it.
var quotable = []string{
	"udp 1000>53 len 20", "tcp 1000>80 S seq 1000 win 200", "sctp 1000>36412 seq 0 chunk 1,0,7", "gre raw x0000080001020304", "gre raw x3001880b0004000200000001",
	"gre raw x3001080000040002", "gre raw x0000", "50 raw x0102030405060708", "dccp 1000>80 raw x0000000000000000", "253 raw x01",
}

// TestErrors: an ICMP error about a flow, whatever is left of it in the quote, has the state that the kernel gives it.
func TestErrors(t *testing.T) {
	needRoot(t)
	r := newRig(t, forwarded, setting{})
	for family, types := range map[string][]int{"ipv4": {3, 4, 5, 11, 12, 8}, "ipv6": {1, 2, 3, 4, 127, 128}} {
		t.Run(family, func(t *testing.T) {
			var scripts []*script
			add := func(format string, args ...any) {
				scripts = append(scripts, scriptOf(t, family+"\n"+fmt.Sprintf(format, args...)))
			}
			echo := map[string][2]int{"ipv4": {8, 0}, "ipv6": {128, 129}}[family]
			for _, q := range append([]string{fmt.Sprintf("icmp %d/0 id 7 len 4", echo[0]), fmt.Sprintf("icmp %d/1 id 258", echo[0])}, quotable...) {
				for cut := range 14 {
					add("A %s\nB icmp %d/1 quote A %[1]s cut %[3]d", q, types[0], cut)
				}
				for _, typ := range types {
					add("A %s\nB icmp %d/1 quote A %[1]s", q, typ)
					add("A %s\nrB icmp %d/1 quote A %[1]s words 1", q, typ)
				}
				for words := range 10 {
					add("A %s\nB icmp %d/1 quote A %[1]s words %[3]d", q, types[0], words)
				}
				add("B icmp %[2]d/1 quote A %[1]s", q, types[0])                // about nothing
				add("A %s\nB>rA icmp %d/1 quote A %[1]s", q, types[0])          // to another
				add("A %s\nA icmp %d/1 quote A %[1]s", q, types[0])             // from the sender itself
				add("A %s\nA icmp %d/1 quote B %[1]s", q, types[0])             // of another flow
				add("A %s\nB icmp %d/1 badsum quote A %[1]s", q, types[0])      // damaged
				add("A %s\nB icmp %d/1 cut 7 quote A %[1]s", q, types[0])       // without a quote
				add("A %s\nB icmp %d/1 quote A icmp 3/1", q, types[0])          // about an error
				add("A %s\nB icmp %d/1 quote A udp 1001>53 len 9", q, types[0]) // another port
				add("A %s\nB icmp %d/1 quote rA %[1]s", q, types[0])            // of another sender
			}
			for _, about := range []string{"A icmp %d/0 id 7\nB icmp %d/0 id 7\nA icmp %d/1 quote B icmp %[2]d/0 id 7 cut 8", "A icmp %d/0 id 7\nB icmp %d/0 id 7\nA icmp %d/1 quote B icmp %[2]d/0 id 7 cut 7",
				"A icmp %d/0 id 7\nB icmp %d/0 id 7\nA icmp %d/1 quote B icmp 9/0 id 7"} {
				add(about, echo[0], echo[1], types[0])
			}
			for _, proto := range []string{"udp 0>0 len 20", "tcp 0>0 S seq 1000 win 200", "sctp 0>0 seq 0 chunk 1,0,7"} { // ports as those that cannot be read
				for cut := range 9 {
					add("A %s\nB icmp %d/1 quote A %[1]s cut %[3]d", proto, types[0], cut)
				}
			}
			add("A udp 1000>53\nB udp 53>1000\nA icmp %d/1 quote B udp 53>1000", types[0])
			r.same(t, scripts)
		})
	}
}

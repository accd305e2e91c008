package conntrack

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// place is where the ends of scripts are.
type place uint8

const (
	forwarded place = iota // both beyond the router under test
	hosted                 // B is the host under test
	looped                 // both are: packets pass output and input of lo
)

// ours is the mark of packets that scripts send from the host. What its stack answers has none, and is dropped before conntrack.
const ours = 7

// labels are the rules: forward and input write the state into the TTL, output into the DSCP.
func (at place) labels() string {
	var b strings.Builder
	fmt.Fprintln(&b, "table inet label {")
	chain := func(hook, field4, field6 string) {
		fmt.Fprintf(&b, "chain %s {\ntype filter hook %s priority 0; policy accept;\n", hook, hook)
		for s, name := range states {
			if s != lost {
				fmt.Fprintf(&b, "ct state %s ip %s set %d\nct state %s ip6 %s set %d\n", name, field4, s, name, field6, s)
			}
		}
		fmt.Fprintln(&b, "}")
	}
	if at == forwarded {
		chain("forward", "ttl", "hoplimit")
	} else {
		chain("input", "ttl", "hoplimit")
		chain("output", "dscp", "dscp")
		fmt.Fprintf(&b, "chain quiet {\ntype filter hook output priority -400; policy accept;\nmeta mark != %d drop\n}\n", ours)
	}
	fmt.Fprintln(&b, "}")
	return b.String()
}

// change makes scripts ones of the place: on lo every fourth is of one host, and every eighth of one port.
func (at place) change(scripts []*script) []*script {
	for i, s := range scripts {
		switch {
		case at == looped && i%8 == 0:
			s.toOnePort()
		case at == looped && i%4 == 0:
			s.toSelf()
		}
	}
	return scripts
}

// isLocal reports whether a side of scripts is the host under test.
func (k *kernel) isLocal(side end) bool {
	return k.place == looped || k.place == hosted && side == hostB
}

// openLocal makes the addresses of local sides the host's own.
func (k *kernel) openLocal(t *testing.T) {
	t.Helper()
	if k.place == forwarded {
		return
	}
	prefixes := [2][]string{{"10.1.0.0/16", "2001:db8:10::/48"}, {"20.0.0.0/8", "203.0.113.7/32", "2001:db8:9999::/48", "2001:db8:9998::/48"}}
	for side, list := range prefixes {
		for _, prefix := range list {
			if !k.isLocal(end(side)) {
				continue
			}
			if _, err := k.world.DUT.Run(nil, "ip", "route", "add", "local", prefix, "dev", "lo"); err != nil {
				t.Fatal(err)
			}
		}
	}
	local, err := k.world.DUT.OpenLocal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(local.Close)
	if err := local.Mark(ours); err != nil {
		t.Fatal(err)
	}
	k.local = local
}

// hear takes the labels off what the host's sockets have got, on lo also the marks of bpfwall's rules. One packet has one state, wherever
// it is seen.
func (k *kernel) hear() (err error) {
	drainErr := k.local.Drain(func(d lab.Delivered) {
		k.note(k.got, d.ID, state(d.TTL))
		if k.place != looped {
			return
		}
		sent, got := marked(d.Mark)
		if state(d.TOS>>2) != state(d.TTL) || sent != got {
			err = fmt.Errorf("packet %d: the kernel says %s when it is sent and %s when it comes in, bpfwall %s and %s", d.ID, state(d.TOS>>2), state(d.TTL), sent, got)
		}
		k.note(k.marks, d.ID, got)
	})
	if err != nil {
		return err
	}
	return drainErr
}

// Where one end is the host, or both, random scripts have the same states and leave the same entries. Each packet moves an entry once,
// on lo too, where it passes two hooks: entries count their packets.
func TestStatefulHost(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name  string
		place place
	}{{"input and output", hosted}, {"lo", looped}} {
		t.Run(c.name, func(t *testing.T) { compareRandom(t, newRig(t, c.place, setting{}), *sequences/2, nil) })
	}
}

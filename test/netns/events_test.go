package netns

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// TestWatch: every packet that a LOG rule meets is an event, with where it went and which rule it was.
func TestWatch(t *testing.T) {
	w := newWorld(t, lab.Options{})
	apply := rules(t, ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]",
		"-A INPUT -p udp -m udp --dport 1001 -j LOG --log-prefix \"to us: \"",
		"-A FORWARD -p udp -m udp --dport 1002 -j LOG --log-prefix \"through: \"",
		"-A OUTPUT -p udp -m udp --dport 1003 -j LOG --log-prefix \"from us: \"")
	if err := applyBpfwall(w.DUT, apply); err != nil {
		t.Fatal(err)
	}
	cmd, err := w.DUT.Command("watch", "--json", "--count", "6")
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	time.Sleep(700 * time.Millisecond) // until it listens
	want := map[string]bool{}
	for _, f := range families {
		for _, x := range []struct {
			from            *lab.NS
			to              netip.Addr
			port            uint16
			prefix, in, out string
		}{{w.Client, f.lan, 1001, "to us: ", "lan0", ""}, {w.Client, f.server, 1002, "through: ", "lan0", "wan0"}, {w.DUT, f.server, 1003, "from us: ", "", "wan0"}} {
			c, err := x.from.Dial("udp", netip.AddrPortFrom(x.to, x.port), short)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("hello")); err != nil {
				t.Error(err)
			}
			c.Close()
			want[fmt.Sprintf("%q in %q out %q to %s", x.prefix, x.in, x.out, netip.AddrPortFrom(x.to, x.port))] = true
		}
	}
	for dec := json.NewDecoder(out); len(want) > 0; {
		var e struct{ Prefix, In, Out, Packet string }
		if err := dec.Decode(&e); err != nil {
			t.Fatalf("%v; still waiting for %v", err, want)
		}
		_, to, _ := strings.Cut(e.Packet, "-> ")
		to, _, _ = strings.Cut(to, " ")
		got := fmt.Sprintf("%q in %q out %q to %s", e.Prefix, e.In, e.Out, to)
		if !want[got] {
			t.Errorf("event %s", got)
		}
		delete(want, got)
	}
}

// TestFirstApply: connections that began before there was a firewall go on under one that lets nothing new in.
func TestFirstApply(t *testing.T) {
	forEngines(t, lab.Options{}, func(t *testing.T, w *lab.World, apply func([]string)) {
		for _, f := range families {
			serve(t, w.Server, f.server, 80)
			c, err := w.Client.Dial("tcp", netip.AddrPortFrom(f.server, 80), short)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := say(c); err != nil {
				t.Fatal(err)
			}
			apply(stateful(t))
			if err := say(c); err != nil {
				t.Errorf("%s: %v", f.name, err)
			}
		}
	})
}

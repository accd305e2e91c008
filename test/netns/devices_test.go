package netns

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// devices are interfaces that send by another one, wan0 of the router and eth0 of the server: what ip-link(8) makes them of.
var devices = []struct {
	name, dut, server string
}{
	{"vxlan", "up0 type vxlan id 9 local 198.51.100.1 remote 198.51.100.10 dstport 4789", "up0 type vxlan id 9 local 198.51.100.10 remote 198.51.100.1 dstport 4789"},
	{"vxlan over ipv6", "up0 type vxlan id 9 local 2001:db8:2::1 remote 2001:db8:2::10 dstport 4789", "up0 type vxlan id 9 local 2001:db8:2::10 remote 2001:db8:2::1 dstport 4789"},
	{"macvlan", "link wan0 name up0 type macvlan mode bridge", "link eth0 name up0 type macvlan mode bridge"},
}

// deviceRules count what each interface sees in each chain, and drop some of it.
var deviceRules = []string{":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]",
	"-A INPUT -i wan0 -p tcp", "-A INPUT -i up0 -p tcp", "-A INPUT -i wan0 -p icmp", "-A INPUT -i up0 -p icmp",
	"-A INPUT -i wan0 -p udp -m udp --dport 4789", "-A INPUT -i up0 -p udp -m udp --dport 4789", "-A INPUT -i lan0 -p tcp",
	"-A INPUT -p tcp -m conntrack --ctstate INVALID", "-A INPUT -p udp -m conntrack --ctstate NEW",
	"-A INPUT -i wan0 -p tcp -m tcp --dport 22 -j DROP", "-A INPUT -i up0 -p tcp -m tcp --dport 23 -j DROP",
	"-A FORWARD -i lan0 -o wan0", "-A FORWARD -i lan0 -o up0 -p tcp", "-A FORWARD -i wan0 -o lan0", "-A FORWARD -i up0 -o lan0 -p tcp",
	"-A FORWARD -p udp -m udp --dport 4789", "-A FORWARD -o wan0", "-A FORWARD -i wan0", "-A FORWARD -p tcp -m conntrack --ctstate INVALID",
	"-A FORWARD -o up0 -p tcp -m tcp --dport 81 -j DROP", "-A FORWARD -o wan0 -p tcp -m tcp --dport 82 -j DROP",
	"-A OUTPUT -o wan0 -p tcp", "-A OUTPUT -o up0 -p tcp", "-A OUTPUT -o wan0 -p icmp", "-A OUTPUT -o up0 -p icmp",
	"-A OUTPUT -o wan0 -p udp -m udp --dport 4789", "-A OUTPUT -o up0 -p udp -m udp --dport 4789", "-A OUTPUT -o lan0 -p tcp",
	"-A OUTPUT -p tcp -m conntrack --ctstate INVALID",
	"-A OUTPUT -o wan0 -p tcp -m tcp --dport 83 -j DROP", "-A OUTPUT -o up0 -p tcp -m tcp --dport 84 -j DROP",
}

// TestDevicesSameAsIptables: by VLANs, tunnels and the like, the rules see each packet where iptables sees it: what the tunnel carries by
// the tunnel, and what carries it, as the router's own, by the interface below.
func TestDevicesSameAsIptables(t *testing.T) {
	for _, d := range devices {
		t.Run(strings.ReplaceAll(d.name, " ", "-"), func(t *testing.T) {
			got := map[string]map[string]string{}
			for _, e := range engines {
				w := newWorld(t, lab.Options{})
				upper(t, w.DUT, w.Server, d.dut, d.server)
				if err := e.apply(w.DUT, rules(t, deviceRules...)); err != nil {
					t.Fatal(err)
				}
				got[e.name] = deviceFlows(t, w)
				for rule, matched := range matchedRules(t, w.DUT, e.name) {
					got[e.name]["rule "+rule] = matched
				}
			}
			if diff := cmp.Diff(got["iptables"], got["bpfwall"]); diff != "" {
				t.Errorf("-iptables +bpfwall:\n%s", diff)
			}
		})
	}
}

// upper joins two hosts once more, by interfaces on top of those that join them.
func upper(t *testing.T, dut, server *lab.NS, onDUT, onServer string) {
	t.Helper()
	for _, end := range []struct {
		ns   *lab.NS
		link string
		host int
	}{{dut, onDUT, 1}, {server, onServer, 2}} {
		steps := []string{"link add " + end.link, "link set up0 up",
			fmt.Sprintf("addr add 10.9.0.%d/24 dev up0", end.host), fmt.Sprintf("addr add fd09::%d/64 dev up0 nodad", end.host)}
		if err := end.ns.Sysctl("net.ipv4.conf.all.arp_ignore=1"); err != nil { // or the interface below answers as well
			t.Fatal(err)
		}
		for _, s := range steps {
			if _, err := end.ns.Run(nil, "ip", strings.Fields(s)...); err != nil {
				t.Fatalf("ip %s: %s", s, err)
			}
		}
	}
	for _, route := range []string{"route add " + lab.LAN.DUT4.Masked().String() + " via 10.9.0.1", "-6 route add " + lab.LAN.DUT6.Masked().String() + " via fd09::1"} {
		if _, err := server.Run(nil, "ip", strings.Fields(route)...); err != nil {
			t.Fatalf("ip %s: %s", route, err)
		}
	}
}

// deviceFlows tells how flows through, to and from the router fare.
func deviceFlows(t *testing.T, w *lab.World) map[string]string {
	out := map[string]string{}
	var mu sync.Mutex
	note := func(what, fate string) {
		mu.Lock()
		defer mu.Unlock()
		out[what] = fate
	}
	var wg sync.WaitGroup
	for _, f := range []struct{ client, lan, dut, server netip.Addr }{
		{lab.LAN.Far4.Addr(), lab.LAN.DUT4.Addr(), netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.2")},
		{lab.LAN.Far6.Addr(), lab.LAN.DUT6.Addr(), netip.MustParseAddr("fd09::1"), netip.MustParseAddr("fd09::2")},
	} {
		for port := range uint16(5) {
			serve(t, w.Server, f.server, 80+port)
		}
		for port := range uint16(3) {
			serve(t, w.DUT, f.dut, 22+port)
		}
		serve(t, w.Client, f.client, 80)
		for _, c := range []struct {
			what  string
			from  *lab.NS
			to    netip.Addr
			ports []uint16
		}{
			{"client to server", w.Client, f.server, []uint16{80, 81, 82}}, {"server to client", w.Server, f.client, []uint16{80}},
			{"router to server", w.DUT, f.server, []uint16{80, 83, 84}}, {"server to router", w.Server, f.dut, []uint16{22, 23, 24}},
			{"client to router", w.Client, f.dut, []uint16{24}},
		} {
			for _, port := range c.ports {
				wg.Go(func() {
					note(fmt.Sprintf("%s %s, port %d", f.server, c.what, port), refusalOrEcho(c.from, netip.AddrPortFrom(c.to, port)))
				})
			}
			wg.Go(func() {
				note(fmt.Sprintf("%s %s, ping", f.server, c.what), fmt.Sprint(c.from.Ping(c.to, 56, 5*short) == nil))
			})
		}
	}
	wg.Wait()
	return out
}

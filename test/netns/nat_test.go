package netns

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// natFamily is what the rules of one family are about.
type natFamily struct {
	name                                 string
	client, server, third, lan, wan, dmz netip.Addr
	words                                *strings.Replacer
}

// natFamilies are the ends of the flows.
func natFamilies() []natFamily {
	all := []natFamily{
		{name: "ipv4", client: lab.LAN.Far4.Addr(), server: lab.WAN.Far4.Addr(), third: lab.DMZ.Far4.Addr(), lan: lab.LAN.DUT4.Addr(), wan: lab.WAN.DUT4.Addr(), dmz: lab.DMZ.DUT4.Addr()},
		{name: "ipv6", client: lab.LAN.Far6.Addr(), server: lab.WAN.Far6.Addr(), third: lab.DMZ.Far6.Addr(), lan: lab.LAN.DUT6.Addr(), wan: lab.WAN.DUT6.Addr(), dmz: lab.DMZ.DUT6.Addr()},
	}
	for i, f := range all {
		bracket := func(a netip.Addr) string { return strings.TrimSuffix(netip.AddrPortFrom(a, 1).String(), ":1") }
		all[i].words = strings.NewReplacer("CLIENT", f.client.String(), "SERVER", f.server.String(), "TO-THIRD", bracket(f.third),
			"THIRD", f.third.String(), "LAN", f.lan.String(), "WAN", f.wan.String(), "DMZ", f.dmz.String())
	}
	return all
}

// natRules are the kernel's, in both worlds: a router that hides lan0 and dmz0 behind wan0, publishes ports of a host in the DMZ as Docker
// does (to itself too, and to the router), and turns a port into another one of its own.
var natRules = []string{
	"-A PREROUTING -d WAN -p tcp -m tcp --dport 8080 -j DNAT --to-destination TO-THIRD:80",
	"-A PREROUTING -d WAN -p udp -m udp --dport 5300 -j DNAT --to-destination TO-THIRD:53",
	"-A PREROUTING -d WAN -p tcp -m tcp --dport 8081 -j DNAT --to-destination TO-THIRD:81",
	"-A PREROUTING -d WAN -p tcp -m tcp --dport 8082 -j DNAT --to-destination TO-THIRD:82",
	"-A PREROUTING -i lan0 -p tcp -m tcp --dport 2222 -j REDIRECT --to-ports 22",
	"-A PREROUTING -i lan0 -p tcp -m tcp --dport 2323 -j REDIRECT --to-ports 23",
	"-A PREROUTING -i lan0 -p udp -m udp --dport 5454 -j REDIRECT --to-ports 53",
	"-A OUTPUT -d WAN -p tcp -m tcp --dport 8080 -j DNAT --to-destination TO-THIRD:80",
	"-A POSTROUTING -o wan0 -j MASQUERADE",
	"-A POSTROUTING -s THIRD -d THIRD -j MASQUERADE",
}

// natFilter is judged by iptables in one world and by bpfwall in the other. Rules without a target count what passes them.
var natFilter = []string{":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT DROP [0:0]",
	"-A INPUT -s SERVER -d WAN -i wan0 -p tcp -m tcp --sport 80", "-A INPUT -s SERVER -d WAN -i wan0 -p udp",
	"-A INPUT -d LAN -i lan0 -p tcp -m tcp --dport 22", "-A INPUT -d LAN -i lan0 -p tcp -m tcp --dport 2222",
	"-A INPUT -p tcp -m tcp --dport 8080", "-A INPUT -s SERVER -d CLIENT",
	"-A INPUT -m conntrack --ctstate RELATED", "-A INPUT -m conntrack --ctstate INVALID",
	"-A INPUT -m conntrack --ctstate DNAT", "-A INPUT -p tcp -m conntrack ! --ctstate NEW,DNAT", "-A INPUT -p udp -m conntrack --ctstate ESTABLISHED,DNAT",
	"-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
	"-A INPUT -i lan0 -p tcp -m tcp --dport 22 -j ACCEPT", "-A INPUT -i lan0 -p udp -m udp --dport 53 -j ACCEPT",
	"-A INPUT -p tcp -m tcp --dport 23 -j REJECT --reject-with tcp-reset",
	"v4 -A INPUT -p tcp -m tcp --dport 24 -j REJECT --reject-with icmp-host-prohibited",
	"v6 -A INPUT -p tcp -m tcp --dport 24 -j REJECT --reject-with icmp6-adm-prohibited",
	"v6 -A INPUT -p icmp -m icmp6 --icmpv6-type 135 -j ACCEPT", "v6 -A INPUT -p icmp -m icmp6 --icmpv6-type 136 -j ACCEPT",
	"-A FORWARD -s CLIENT -d SERVER -i lan0 -o wan0 -p tcp", "-A FORWARD -s SERVER -d CLIENT -i wan0 -o lan0 -p tcp",
	"-A FORWARD -s WAN", "-A FORWARD -d WAN",
	"-A FORWARD -s SERVER -d THIRD -p tcp -m tcp --dport 80", "-A FORWARD -s THIRD -d SERVER -p tcp -m tcp --sport 80",
	"-A FORWARD -s THIRD -d THIRD -i dmz0 -o dmz0 -p tcp -m tcp --dport 80", "-A FORWARD -s THIRD -d THIRD -p tcp -m tcp --sport 80",
	"-A FORWARD -s SERVER -d CLIENT -p icmp -m conntrack --ctstate RELATED", "-A FORWARD -s CLIENT -d SERVER -p icmp -m conntrack --ctstate RELATED",
	"-A FORWARD -m conntrack --ctstate INVALID",
	"-A FORWARD -m conntrack --ctstate DNAT", "-A FORWARD -s CLIENT -d SERVER -m conntrack --ctstate DNAT", "-A FORWARD -s SERVER -d CLIENT -m conntrack --ctstate DNAT",
	"-A FORWARD -p icmp -m conntrack --ctstate DNAT", "-A FORWARD -p tcp -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT",
	"-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
	"-A FORWARD -s CLIENT -i lan0 -o wan0 -p tcp -m tcp --dport 80 -j ACCEPT",
	"-A FORWARD -s CLIENT -i lan0 -o wan0 -p udp -j ACCEPT",
	"-A FORWARD -s CLIENT -i lan0 -o wan0 -p icmp -j ACCEPT",
	"-A FORWARD -d THIRD -o dmz0 -p tcp -m tcp --dport 80 -j ACCEPT",
	"-A FORWARD -d THIRD -o dmz0 -p udp -m udp --dport 53 -j ACCEPT",
	"-A FORWARD -p tcp -m tcp --dport 82 -j REJECT --reject-with tcp-reset",
	"-A FORWARD -p tcp -m tcp --dport 83 -j REJECT --reject-with tcp-reset",
	"v4 -A FORWARD -p tcp -m tcp --dport 84 -j REJECT --reject-with icmp-port-unreachable",
	"v6 -A FORWARD -p tcp -m tcp --dport 84 -j REJECT --reject-with icmp6-port-unreachable",
	"v6 -A OUTPUT -p icmp -m icmp6 --icmpv6-type 135 -j ACCEPT", "v6 -A OUTPUT -p icmp -m icmp6 --icmpv6-type 136 -j ACCEPT",
	"-A OUTPUT -d CLIENT -o lan0 -p tcp -m tcp --sport 22", "-A OUTPUT -p tcp -m tcp --sport 2222",
	"-A OUTPUT -d THIRD -p tcp -m tcp --dport 80", "-A OUTPUT -d WAN -p tcp -m tcp --dport 8080",
	"-A OUTPUT -m conntrack --ctstate DNAT", "-A OUTPUT -d SERVER -m conntrack --ctstate DNAT", "-A OUTPUT -p tcp -m conntrack ! --ctstate ESTABLISHED,DNAT",
	"-A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
	"-A OUTPUT -d SERVER -o wan0 -p tcp -m tcp --dport 80 -j ACCEPT",
	"-A OUTPUT -d SERVER -o wan0 -p udp -j ACCEPT",
	"-A OUTPUT -d THIRD -p tcp -m tcp --dport 80 -j ACCEPT",
	"-A OUTPUT -p tcp -m tcp --dport 83 -j REJECT --reject-with tcp-reset",
}

// natTable writes the lines of one family.
func (f natFamily) table(name string, lines []string) string {
	text := "*" + name + "\n"
	for _, l := range lines {
		if only, rest, ok := strings.Cut(l, " "); ok && (only == "v4" || only == "v6") {
			if strings.TrimPrefix(f.name, "ip") != only {
				continue
			}
			l = rest
		}
		if f.name == "ipv6" {
			l = strings.NewReplacer("-p icmp ", "-p ipv6-icmp ").Replace(l)
		}
		text += f.words.Replace(l) + "\n"
	}
	return text + "COMMIT\n"
}

// TestNATSameAsIptables: beside the kernel's NAT, flows of every kind fare as they do under iptables, and the same rules match them.
func TestNATSameAsIptables(t *testing.T) {
	got := map[string]map[string]string{}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) { got[e.name] = natFlows(t, e.apply, e.name) })
	}
	if got["iptables"] == nil || got["bpfwall"] == nil {
		t.Fatal("no results to compare")
	}
	if diff := cmp.Diff(got["iptables"], got["bpfwall"]); diff != "" {
		t.Errorf("-iptables +bpfwall:\n%s", diff)
	}
	for _, what := range slices.Sorted(maps.Keys(got["iptables"])) {
		t.Logf("%-60s %s", what, got["iptables"][what])
	}
}

// natFlows plays all flows in a world and tells how each fared, and which rules matched anything.
func natFlows(t *testing.T, apply func(*lab.NS, []string) error, engine string) map[string]string {
	w := newWorld(t, lab.Options{Third: true})
	var nat, files []string
	for _, f := range natFamilies() {
		nat = append(nat, f.table("nat", natRules))
		path := t.TempDir() + "/rules." + strings.TrimPrefix(f.name, "ip")
		if err := os.WriteFile(path, []byte(f.table("filter", natFilter)), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	if err := lab.Nft.Restore(w.DUT, nat[0], nat[1]); err != nil {
		t.Fatal(err)
	}
	if err := apply(w.DUT, files); err != nil {
		t.Fatal(err)
	}
	results := map[string]string{}
	var mu sync.Mutex
	for _, f := range natFamilies() {
		f.flows(t, w, func(what, how string) {
			mu.Lock()
			defer mu.Unlock()
			results[f.name+" "+what] = how
		})
	}
	for rule, matched := range matchedRules(t, w.DUT, engine) {
		results["rule "+rule] = matched
	}
	return results
}

// flows plays the flows of a family.
func (f natFamily) flows(t *testing.T, w *lab.World, note func(what, how string)) {
	for _, at := range []struct {
		ns    *lab.NS
		addr  netip.Addr
		ports []uint16
	}{
		{w.Server, f.server, []uint16{80, 81, 83, 84}}, {w.Third, f.third, []uint16{80, 81, 82}}, {w.Client, f.client, []uint16{80}},
		{w.DUT, f.lan, []uint16{22, 23, 24, 2222}}, {w.DUT, f.wan, []uint16{22, 23}},
	} {
		for _, port := range at.ports {
			serve(t, at.ns, at.addr, port)
		}
	}
	var wg sync.WaitGroup
	for _, c := range []struct {
		what string
		from *lab.NS
		to   netip.Addr
		port uint16
	}{
		{"client to server", w.Client, f.server, 80}, {"client to a closed port of the firewall", w.Client, f.server, 81},
		{"client is refused", w.Client, f.server, 83}, {"client is refused by icmp", w.Client, f.server, 84},
		{"server to client", w.Server, f.client, 80},
		{"router to server", w.DUT, f.server, 80}, {"router is refused", w.DUT, f.server, 83},
		{"client to router", w.Client, f.lan, 22}, {"client to router, redirected", w.Client, f.lan, 2222},
		{"client to anybody, redirected", w.Client, f.server, 2222},
		{"client to router, refused", w.Client, f.lan, 23}, {"client to router, redirected and refused", w.Client, f.lan, 2323},
		{"client to router, refused by icmp", w.Client, f.lan, 24},
		{"server to router", w.Server, f.wan, 22}, {"server to router, refused", w.Server, f.wan, 23},
		{"published port", w.Server, f.wan, 8080}, {"published port from inside", w.Client, f.wan, 8080},
		{"published port from its own host", w.Third, f.wan, 8080}, {"published port from the router", w.DUT, f.wan, 8080},
		{"published port that the rules drop", w.Server, f.wan, 8081}, {"published port that the rules reject", w.Server, f.wan, 8082},
	} {
		wg.Go(func() { note("tcp: "+c.what, refusalOrEcho(c.from, netip.AddrPortFrom(c.to, c.port))) })
	}
	wg.Wait()
	playPings(note, []pinged{{"client to server", w.Client, f.server}, {"server to client", w.Server, f.client}, {"router to server", w.DUT, f.server}, {"server to router", w.Server, f.wan}})
	f.datagrams(t, w, note)
}

// datagrams plays the UDP flows of a family: echoes, and what ICMP errors make of them.
func (f natFamily) datagrams(t *testing.T, w *lab.World, note func(what, how string)) {
	playEchoes(t, note, []asked{
		{"client to server", w.Client, w.Server, f.server, 53, netip.AddrPortFrom(f.server, 53)},
		{"server to client", w.Server, w.Client, f.client, 53, netip.AddrPortFrom(f.client, 53)},
		{"router to server", w.DUT, w.Server, f.server, 53, netip.AddrPortFrom(f.server, 53)},
		{"client to router, redirected", w.Client, w.DUT, f.lan, 53, netip.AddrPortFrom(f.lan, 5454)},
		{"published port", w.Server, w.Third, f.third, 53, netip.AddrPortFrom(f.wan, 5300)},
	})
	note("udp: client to a port that nobody has", ask(t, w.Client, nil, netip.AddrPort{}, netip.AddrPortFrom(f.server, 9999), 10))
	note("udp: router to a port that nobody has", ask(t, w.DUT, nil, netip.AddrPort{}, netip.AddrPortFrom(f.server, 9999), 10))
	note("udp: server answers a client that is gone", f.lateAnswer(t, w))
}

// lateAnswer lets a server answer a masqueraded client whose socket is closed: the client's ICMP error goes back through NAT.
func (f natFamily) lateAnswer(t *testing.T, w *lab.World) string {
	server, err := w.Server.ListenUDP(netip.AddrPortFrom(f.server, 7777))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c, err := w.Client.Dial("udp", netip.AddrPortFrom(f.server, 7777), short)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Write([]byte("hello"))
	c.Close()
	if err != nil {
		return how(err)
	}
	_ = server.SetReadDeadline(time.Now().Add(short))
	_, from, err := server.ReadFromUDPAddrPort(make([]byte, 10))
	if err != nil {
		return how(err)
	}
	server.Close() // a connected socket with the same ends is told of errors
	var back net.Conn
	err = w.Server.Do(func() error {
		d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.server, 7777))}
		back, err = d.Dial("udp", from.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if _, err := back.Write([]byte("late")); err != nil {
		return how(err)
	}
	_ = back.SetReadDeadline(time.Now().Add(short))
	_, err = back.Read(make([]byte, 10))
	return how(err)
}

func how(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "answered"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "nothing came back"
	}
	return err.Error()
}

// refusalOrEcho connects and exchanges a line, or tells how that fails.
func refusalOrEcho(from *lab.NS, to netip.AddrPort) string {
	c, err := from.Dial("tcp", to, 1500*time.Millisecond)
	if err != nil {
		if errno := syscall.Errno(0); errors.As(err, &errno) {
			return errno.Error()
		}
		return "nothing came back"
	}
	defer c.Close()
	return how(say(c))
}

// matchedRules tells of every rule with a position whether it matched.
func matchedRules(t *testing.T, n *lab.NS, engine string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if engine == "iptables" {
		v4, v6, err := lab.Nft.Save(n)
		if err != nil {
			t.Fatal(err)
		}
		for family, text := range map[string]string{"v4": v4, "v6": v6} {
			_, filter, _ := strings.Cut(text, "*filter")
			filter, _, _ = strings.Cut(filter, "COMMIT")
			for i, m := range regexp.MustCompile(`(?m)^\[(\d+):\d+\] (-A .*)$`).FindAllStringSubmatch(filter, -1) {
				out[fmt.Sprintf("%s %02d", family, i+1)] = fmt.Sprint(m[1] != "0")
			}
		}
		return out
	}
	text, err := n.Bpfwall("show", "rules", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var listing struct {
		Rules []struct {
			Rule    string
			Packets uint64
			Pos     struct {
				File string
				Line int
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &listing); err != nil {
		t.Fatal(err)
	}
	first := map[string]int{}
	for _, r := range listing.Rules {
		if r.Rule != "" && (first[r.Pos.File] == 0 || r.Pos.Line < first[r.Pos.File]) {
			first[r.Pos.File] = r.Pos.Line
		}
	}
	for _, r := range listing.Rules {
		if r.Rule != "" { // else it is a policy

			key := fmt.Sprintf("%s %02d", strings.TrimPrefix(filepath.Ext(r.Pos.File), "."), r.Pos.Line-first[r.Pos.File]+1)
			out[key] = fmt.Sprint(r.Packets != 0)
		}
	}
	return out
}

// TestNATRejectsAtTheSecond: beside NAT, what INPUT rejects is dropped once, and answered when it comes again.
func TestNATRejectsAtTheSecond(t *testing.T) {
	w := newWorld(t, lab.Options{})
	var nat []string
	for _, f := range natFamilies() {
		nat = append(nat, f.table("nat", []string{"-A PREROUTING -i lan0 -p udp -m udp --dport 1009 -j REDIRECT --to-ports 9"}))
	}
	if err := lab.Nft.Restore(w.DUT, nat[0], nat[1]); err != nil {
		t.Fatal(err)
	}
	err := applyBpfwall(w.DUT, rules(t, ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", "-A INPUT -p udp -m udp --dport 9 -j REJECT"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range natFamilies() {
		for _, port := range []uint16{9, 1009} {
			c, err := w.Client.Dial("udp", netip.AddrPortFrom(f.lan, port), short)
			if err != nil {
				t.Fatal(err)
			}
			var answers []string
			for range 4 {
				_, err := c.Write([]byte("hello"))
				if err == nil {
					_ = c.SetReadDeadline(time.Now().Add(short))
					_, err = c.Read(make([]byte, 8))
				}
				answers = append(answers, how(err))
			}
			c.Close()
			want := []string{"nothing came back", "connection refused", "nothing came back", "connection refused"}
			if diff := cmp.Diff(want, answers); diff != "" {
				t.Errorf("%s, port %d: -want +got\n%s", f.name, port, diff)
			}
		}
	}
}

// TestNATForgedRejects: beside NAT, a packet that somebody sends in a client's name and that is rejected does not cost that client its
// connection, nor an answer that it waits for.
func TestNATForgedRejects(t *testing.T) {
	w := newWorld(t, lab.Options{})
	var nat []string
	for _, f := range natFamilies() {
		nat = append(nat, f.table("nat", []string{"-A POSTROUTING -o wan0 -j MASQUERADE"}))
	}
	if err := lab.Nft.Restore(w.DUT, nat[0], nat[1]); err != nil {
		t.Fatal(err)
	}
	err := applyBpfwall(w.DUT, rules(t, ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]",
		"-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A INPUT -p tcp -m tcp --dport 22 --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT",
		"-A INPUT -p tcp -j REJECT --reject-with tcp-reset", "-A INPUT -p udp -j REJECT"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range natFamilies() {
		serve(t, w.DUT, f.lan, 22)
		c, err := w.Client.Dial("tcp", netip.AddrPortFrom(f.lan, 22), 2*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := say(c); err != nil {
			t.Fatal(err)
		}
		own := c.LocalAddr().(*net.TCPAddr).AddrPort()
		forge(t, w, lab.Packet{Src: f.client, Dst: f.lan, Proto: unix.IPPROTO_TCP, SrcPort: own.Port(), DstPort: 22, Flags: lab.ACK, Seq: 1, Ack: 1, Window: 100})
		forge(t, w, lab.Packet{Src: f.client, Dst: f.lan, Proto: unix.IPPROTO_UDP, SrcPort: 53, DstPort: 4000, Payload: []byte("forged answer")})
		if err := say(c); err != nil {
			t.Errorf("%s: a forged segment cost the connection: %v", f.name, err)
		}
		if err := lookup(w, f); err != nil {
			t.Errorf("%s: a forged datagram cost the answer: %v", f.name, err)
		}
	}
}

// forge sends a packet from the client's end of the wire, whoever it claims to be from.
func forge(t *testing.T, w *lab.World, p lab.Packet) {
	t.Helper()
	port, err := w.Client.OpenPort("eth0")
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	p.SrcMAC, p.DstMAC, p.TTL = lab.LAN.FarMAC, lab.LAN.DUTMAC, 64
	if err := port.Send(p.Frame()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(short / 3)
}

// lookup asks a server on the client from port 4000 of the dut, as a resolver does.
func lookup(w *lab.World, f natFamily) error {
	server, err := w.Client.Echo(netip.AddrPortFrom(f.client, 53))
	if err != nil {
		return err
	}
	defer server.Close()
	c, err := w.DUT.ListenUDP(netip.AddrPortFrom(f.lan, 4000))
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.WriteToUDPAddrPort([]byte("a question"), netip.AddrPortFrom(f.client, 53)); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(short))
	_, _, err = c.ReadFromUDPAddrPort(make([]byte, 100))
	return err
}

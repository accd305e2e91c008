package netns

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
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

// containers is a host of containers: a router that hides lan0 behind wan0, and two networks of containers as Docker lays them out.
type containers struct {
	*lab.World
	web, db, other *lab.NS
}

// newContainers builds it. The link to the server is narrower than the others.
func newContainers(t *testing.T) *containers {
	t.Helper()
	w := &containers{World: newWorld(t, lab.Options{MTU: 1400})}
	two, err := w.Bridge(lab.Docker0, 2)
	if err != nil {
		t.Fatal(err)
	}
	one, err := w.Bridge(lab.Private, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.web, w.db, w.other = two[0], two[1], one[0]
	return w
}

// dockerFamily is what Docker's rules of one family are about.
type dockerFamily struct {
	natFamily
	web, db, other, bridge netip.Addr
}

func dockerFamilies() []dockerFamily {
	var all []dockerFamily
	for _, f := range natFamilies() {
		d := dockerFamily{natFamily: f}
		pick := func(b lab.Bridge, n int) netip.Prefix {
			v4, v6 := b.Host(n)
			if f.name == "ipv4" {
				return v4
			}
			return v6
		}
		d.web, d.db, d.other, d.bridge = pick(lab.Docker0, 1).Addr(), pick(lab.Docker0, 2).Addr(), pick(lab.Private, 1).Addr(), pick(lab.Docker0, 0).Addr()
		bracket := func(a netip.Addr) string { return strings.TrimSuffix(netip.AddrPortFrom(a, 1).String(), ":1") }
		d.words = strings.NewReplacer("CLIENT", f.client.String(), "SERVER", f.server.String(), "LAN", f.lan.String(), "WAN", f.wan.String(),
			"TO-WEB", bracket(d.web), "TO-DB", bracket(d.db), "WEB", d.web.String(), "DB", d.db.String(), "OTHER", d.other.String(),
			"DOCKERNET", pick(lab.Docker0, 0).Masked().String(), "PRIVATENET", pick(lab.Private, 0).Masked().String(),
			"LOOPNET", map[string]string{"ipv4": "127.0.0.0/8", "ipv6": "::1/128"}[f.name])
		all = append(all, d)
	}
	return all
}

// dockerNAT is what Docker writes without its proxy, a masquerading router's rule, and a port that a proxy of this host takes.
var dockerNAT = []string{":PREROUTING ACCEPT [0:0]", ":INPUT ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]", ":DOCKER - [0:0]",
	"-A PREROUTING -i lan0 -p tcp -m tcp --dport 2222 -j REDIRECT --to-ports 22",
	"-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
	"-A OUTPUT ! -d LOOPNET -m addrtype --dst-type LOCAL -j DOCKER",
	"-A POSTROUTING -o docker0 -m addrtype --src-type LOCAL -j MASQUERADE",
	"-A POSTROUTING -s DOCKERNET ! -o docker0 -j MASQUERADE",
	"-A POSTROUTING -s PRIVATENET ! -o br-9d4e21 -j MASQUERADE",
	"-A POSTROUTING -s WEB -d WEB -j MASQUERADE",
	"-A POSTROUTING -s CLIENT -o wan0 -j MASQUERADE",
	"-A DOCKER -p tcp -m tcp --dport 8080 -j DNAT --to-destination TO-WEB:80",
	"-A DOCKER -p udp -m udp --dport 5300 -j DNAT --to-destination TO-WEB:53",
	"-A DOCKER -d WAN -p tcp -m tcp --dport 8443 -j DNAT --to-destination TO-WEB:443",
	"-A DOCKER -p tcp -m tcp --dport 8081 -j DNAT --to-destination TO-WEB:81",
	"-A DOCKER -p tcp -m tcp --dport 8082 -j DNAT --to-destination TO-WEB:82",
	"-A DOCKER -p tcp -m tcp --dport 8083 -j DNAT --to-destination TO-WEB:83",
	"-A DOCKER -p tcp -m tcp --dport 5432 -j DNAT --to-destination TO-DB:5432",
	"-A DOCKER -p udp -m udp --dport 5399 -j DNAT --to-destination TO-WEB:99",
}

// dockerFilter is Docker's chains in a firewall that drops by default. Rules without a target count what passes them.
var dockerFilter = []string{":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]",
	":DOCKER - [0:0]", ":DOCKER-ISOLATION-STAGE-1 - [0:0]", ":DOCKER-ISOLATION-STAGE-2 - [0:0]", ":DOCKER-USER - [0:0]",
	"-A INPUT -p tcp -m tcp --dport 8080", "-A INPUT -s SERVER -d WAN -i wan0 -p tcp -m tcp --sport 80",
	"-A INPUT -m conntrack --ctstate RELATED", "-A INPUT -m conntrack --ctstate INVALID",
	"-A INPUT -i lo -j ACCEPT",
	"-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
	"v6 -A INPUT -p icmp -m icmp6 --icmpv6-type 135 -j ACCEPT", "v6 -A INPUT -p icmp -m icmp6 --icmpv6-type 136 -j ACCEPT",
	"-A INPUT -i docker0 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT",
	"-A INPUT -i lan0 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT",
	"-A FORWARD -m conntrack --ctstate INVALID",
	"-A FORWARD -d WAN", "-A FORWARD -s WAN",
	"-A FORWARD -p icmp -m conntrack --ctstate RELATED",
	"-A FORWARD -s WEB -d SERVER -p tcp -m tcp --sport 80", "-A FORWARD -s SERVER -d WEB -p tcp -m tcp --dport 80",
	"-A FORWARD -s WEB -d WEB -i docker0 -o docker0 -p tcp", "-A FORWARD -s DB -d WEB -i docker0 -o docker0 -p tcp -m tcp --dport 80",
	"-A FORWARD -j DOCKER-USER", "-A FORWARD -j DOCKER-ISOLATION-STAGE-1",
	"-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A FORWARD -o docker0 -j DOCKER",
	"-A FORWARD -i docker0 ! -o docker0 -j ACCEPT", "-A FORWARD -i docker0 -o docker0 -j ACCEPT",
	"-A FORWARD -o br-9d4e21 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A FORWARD -o br-9d4e21 -j DOCKER",
	"-A FORWARD -i br-9d4e21 ! -o br-9d4e21 -j ACCEPT", "-A FORWARD -i br-9d4e21 -o br-9d4e21 -j ACCEPT",
	"-A FORWARD -i wan0 -o lan0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
	"-A FORWARD -i lan0 -o wan0 -m conntrack --ctstate NEW,RELATED,ESTABLISHED -j ACCEPT",
	"-A DOCKER -d WEB ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT",
	"-A DOCKER -d WEB ! -i docker0 -o docker0 -p udp -m udp --dport 53 -j ACCEPT",
	"-A DOCKER -d WEB ! -i docker0 -o docker0 -p tcp -m tcp --dport 443 -j ACCEPT",
	"-A DOCKER -d WEB ! -i docker0 -o docker0 -p tcp -m tcp --dport 82 -j ACCEPT",
	"-A DOCKER -d WEB ! -i docker0 -o docker0 -p tcp -m tcp --dport 83 -j ACCEPT",
	"-A DOCKER -d DB ! -i docker0 -o docker0 -p tcp -m tcp --dport 5432 -j ACCEPT",
	"-A DOCKER -d WEB ! -i docker0 -o docker0 -p udp -m udp --dport 99 -j ACCEPT",
	"-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2",
	"-A DOCKER-ISOLATION-STAGE-1 -i br-9d4e21 ! -o br-9d4e21 -j DOCKER-ISOLATION-STAGE-2",
	"-A DOCKER-ISOLATION-STAGE-1 -j RETURN",
	"-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP", "-A DOCKER-ISOLATION-STAGE-2 -o br-9d4e21 -j DROP",
	"-A DOCKER-ISOLATION-STAGE-2 -j RETURN",
	"-A DOCKER-USER -i wan0 -p tcp -m tcp --dport 82 -j DROP",
	"-A DOCKER-USER -i wan0 -p tcp -m tcp --dport 83 -j REJECT --reject-with tcp-reset",
	"-A DOCKER-USER -s SERVER -p tcp -m tcp --dport 5432 -j DROP",
	"-A DOCKER-USER -j RETURN",
}

// natEngines are the ways to give the kernel the same nat rules.
var natEngines = []struct {
	name string
	load func(n *lab.NS, v4, v6 string) error
}{
	{"iptables-nft", lab.Nft.Restore},
	{"iptables-legacy", lab.Legacy.Restore},
	{"nft", translateNAT},
}

// translateNAT makes nft tables of iptables' rules, under names that iptables does not use.
func translateNAT(n *lab.NS, v4, v6 string) error {
	for text, program := range map[string]string{v4: "iptables-restore-translate", v6: "ip6tables-restore-translate"} {
		cmd := exec.Command(program, "-f", "/dev/stdin")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", program, err, out)
		}
		native := strings.NewReplacer(" ip nat", " ip containers", " ip6 nat", " ip6 containers").Replace(string(out))
		if _, err := n.Run(strings.NewReader(native), "nft", "-f", "-"); err != nil {
			return fmt.Errorf("%w in\n%s", err, native)
		}
	}
	return nil
}

// TestDockerSameAsIptables: on a host of containers every flow fares as under the kernel's iptables, and the same rules match, whoever
// wrote the nat rules. -v prints the table.
func TestDockerSameAsIptables(t *testing.T) {
	var want map[string]string
	t.Run("iptables", func(t *testing.T) { want = dockerFlows(t, "0", lab.Nft.Restore, applyIptables, "iptables") })
	if want == nil {
		t.Fatal("nothing to compare with")
	}
	for _, e := range natEngines {
		t.Run(e.name, func(t *testing.T) {
			got := dockerFlows(t, "0", e.load, applyBpfwall, "bpfwall")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-iptables +bpfwall beside %s:\n%s", e.name, diff)
			}
			for _, what := range slices.Sorted(maps.Keys(want)) {
				t.Logf("%-66s %-24s %s", what, want[what], got[what])
			}
		})
	}
}

// TestDockerBesideBridgeNetfilter: with br_netfilter, iptables sees frames of a bridge's ports too, and the kernel's DNAT turns packets
// around inside the bridge. bpfwall judges neither; with Docker's rules, which let containers of a network talk, all flows fare the same.
func TestDockerBesideBridgeNetfilter(t *testing.T) {
	got := map[string]map[string]string{}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			got[e.name] = dockerFlows(t, "1", lab.Nft.Restore, e.apply, e.name)
			maps.DeleteFunc(got[e.name], func(what, _ string) bool { return strings.HasPrefix(what, "rule ") })
		})
	}
	if diff := cmp.Diff(got["iptables"], got["bpfwall"]); diff != "" {
		t.Errorf("-iptables +bpfwall:\n%s", diff)
	}
}

// dockerFlows plays all flows on a host of containers and tells how each fared, and what the rules counted.
func dockerFlows(t *testing.T, bridgeNF string, nat func(*lab.NS, string, string) error, apply func(*lab.NS, []string) error, engine string) map[string]string {
	w := newContainers(t)
	if err := w.DUT.Sysctl("net.bridge.bridge-nf-call-iptables="+bridgeNF, "net.bridge.bridge-nf-call-ip6tables="+bridgeNF); err != nil && bridgeNF == "1" {
		t.Skip(err)
	}
	var rules, files []string
	for _, f := range dockerFamilies() {
		rules = append(rules, f.table("nat", dockerNAT))
		path := t.TempDir() + "/rules." + strings.TrimPrefix(f.name, "ip")
		if err := os.WriteFile(path, []byte(f.table("filter", dockerFilter)), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	if err := nat(w.DUT, rules[0], rules[1]); err != nil {
		t.Fatal(err)
	}
	if err := apply(w.DUT, files); err != nil {
		t.Fatal(err)
	}
	results := map[string]string{}
	var mu sync.Mutex
	for _, f := range dockerFamilies() {
		f.play(t, w, func(what, how string) {
			mu.Lock()
			defer mu.Unlock()
			results[f.name+" "+what] = how
		})
	}
	for rule, matched := range matchedRules(t, w.DUT, engine) {
		results["rule "+rule] = matched
	}
	for _, rule := range discoveryRules(dockerFilter) {
		delete(results, "rule "+rule) // whether a neighbour is asked depends on the time
	}
	return results
}

// discoveryRules are the places of the rules for neighbour discovery, as matchedRules names them.
func discoveryRules(lines []string) (places []string) {
	n := 0
	for _, l := range lines {
		l, six := strings.CutPrefix(l, "v6 ")
		if !strings.HasPrefix(l, "-A") {
			continue
		}
		n++
		if six && strings.Contains(l, "--icmpv6-type 13") {
			places = append(places, fmt.Sprintf("v6 %02d", n))
		}
	}
	return places
}

// play plays the flows of a family.
func (f dockerFamily) play(t *testing.T, w *containers, note func(what, how string)) {
	for _, at := range []struct {
		ns    *lab.NS
		addr  netip.Addr
		ports []uint16
	}{
		{w.Server, f.server, []uint16{80}}, {w.Client, f.client, []uint16{80}}, {w.web, f.web, []uint16{80, 81, 82, 83, 443}},
		{w.db, f.db, []uint16{5432, 80}}, {w.other, f.other, []uint16{80}},
		{w.DUT, f.lan, []uint16{22}}, {w.DUT, f.bridge, []uint16{22}}, {w.DUT, f.wan, []uint16{22}},
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
		{"world to a published port", w.Server, f.wan, 8080}, {"lan to a published port", w.Client, f.lan, 8080},
		{"lan to a published port of another address", w.Client, f.wan, 8080},
		{"world to a port published on one address", w.Server, f.wan, 8443}, {"lan to a port published on one address", w.Client, f.wan, 8443},
		{"lan to that port of another address", w.Client, f.lan, 8443},
		{"world to a port without a rule of DOCKER", w.Server, f.wan, 8081},
		{"world to a port that DOCKER-USER drops", w.Server, f.wan, 8082}, {"lan to a port that DOCKER-USER drops for the world", w.Client, f.lan, 8082},
		{"world to a port that DOCKER-USER rejects", w.Server, f.wan, 8083},
		{"world to a database that DOCKER-USER drops", w.Server, f.wan, 5432}, {"lan to a database", w.Client, f.lan, 5432},
		{"host to a published port", w.DUT, f.wan, 8080}, {"host to a container", w.DUT, f.web, 80},
		{"host to a container's unpublished port", w.DUT, f.db, 80},
		{"container to a published port of its own", w.web, f.wan, 8080}, {"container to one of its own by the bridge's address", w.web, f.bridge, 8080},
		{"container to a published port of another", w.db, f.wan, 8080}, {"container of another network to a published port", w.other, f.wan, 8080},
		{"container to a container", w.web, f.db, 80}, {"container to a container of another network", w.web, f.other, 80},
		{"container to the world", w.web, f.server, 80}, {"container of another network to the world", w.other, f.server, 80},
		{"container to the lan", w.web, f.client, 80},
		{"container to the host", w.web, f.bridge, 22}, {"container to another address of the host", w.web, f.wan, 22},
		{"container of another network to the host", w.other, f.wan, 22},
		{"world to the host", w.Server, f.wan, 22}, {"world to a container", w.Server, f.web, 80}, {"world to a container's unpublished port", w.Server, f.db, 80},
		{"lan to the world", w.Client, f.server, 80}, {"lan to the host, redirected", w.Client, f.server, 2222}, {"world to the lan", w.Server, f.client, 80},
	} {
		wg.Go(func() { note("tcp: "+c.what, refusalOrEcho(c.from, netip.AddrPortFrom(c.to, c.port))) })
	}
	wg.Wait()
	f.datagrams(t, w, note)
}

// datagrams plays pings, UDP and what ICMP errors make of it.
func (f dockerFamily) datagrams(t *testing.T, w *containers, note func(what, how string)) {
	playPings(note, []pinged{{"container to the world", w.web, f.server}, {"container to the host", w.web, f.bridge}, {"world to a container", w.Server, f.web}, {"lan to the world", w.Client, f.server}})
	playEchoes(t, note, []asked{
		{"world to a published port", w.Server, w.web, f.web, 53, netip.AddrPortFrom(f.wan, 5300)},
		{"lan to a published port", w.Client, w.web, f.web, 53, netip.AddrPortFrom(f.lan, 5300)},
		{"container to a published port of its own", w.web, w.web, f.web, 53, netip.AddrPortFrom(f.wan, 5300)},
		{"container to a published port of another", w.db, w.web, f.web, 53, netip.AddrPortFrom(f.wan, 5300)},
		{"host to a published port", w.DUT, w.web, f.web, 53, netip.AddrPortFrom(f.wan, 5300)},
		{"container to the world", w.web, w.Server, f.server, 53, netip.AddrPortFrom(f.server, 53)},
	})
	note("icmp error: container to a port of the world that nobody has", ask(t, w.web, nil, netip.AddrPort{}, netip.AddrPortFrom(f.server, 9999), 10))
	note("icmp error: world to a published port that nobody has", ask(t, w.Server, nil, netip.AddrPort{}, netip.AddrPortFrom(f.wan, 5399), 10))
	note("icmp error: lan to a published port that nobody has", ask(t, w.Client, nil, netip.AddrPort{}, netip.AddrPortFrom(f.lan, 5399), 10))
	note("icmp error: container to a published port of its own that nobody has", ask(t, w.web, nil, netip.AddrPort{}, netip.AddrPortFrom(f.wan, 5399), 10))
	note("path mtu: answers of a published port are too large for the world", f.narrow(t, w.Server, w.web, netip.AddrPortFrom(f.web, 53), netip.AddrPortFrom(f.wan, 5300)))
	note("path mtu: a container sends what is too large for the world", f.tooLarge(w.web))
}

// narrow asks twice for an answer that is larger than the way back, where the first makes the router tell so.
func (f dockerFamily) narrow(t *testing.T, from, to *lab.NS, at, dial netip.AddrPort) string {
	return ask(t, from, to, at, dial, 1350) + ", then " + ask(t, from, to, at, dial, 1350)
}

// tooLarge sends a datagram that may not be cut, twice: the second one fails if the router's error came.
func (f dockerFamily) tooLarge(from *lab.NS) string {
	c, err := from.Dial("udp", netip.AddrPortFrom(f.server, 9), short)
	if err != nil {
		return how(err)
	}
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return how(err)
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1)
	})
	for range 2 {
		_, err = c.Write(make([]byte, 1440))
		time.Sleep(short / 3)
	}
	if err == syscall.EMSGSIZE || strings.Contains(how(err), "message too long") {
		return "told"
	}
	return "not told: " + how(err)
}

// TestRefragmentedIsForwarded: fragments that the kernel makes of a forwarded packet are judged by the forward rules, also where they have
// lost the interface that the packet came in by. The bridge puts a container's large datagrams together, and the way out is narrower.
func TestRefragmentedIsForwarded(t *testing.T) {
	w := newContainers(t)
	if err := w.DUT.Sysctl("net.bridge.bridge-nf-call-iptables=1", "net.bridge.bridge-nf-call-ip6tables=1"); err != nil {
		t.Skip(err)
	}
	var nat []string
	for _, f := range dockerFamilies() {
		nat = append(nat, f.table("nat", dockerNAT))
	}
	if err := lab.Nft.Restore(w.DUT, nat[0], nat[1]); err != nil {
		t.Fatal(err)
	}
	err := applyBpfwall(w.DUT, rules(t, ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]",
		"-A FORWARD -i docker0 -p udp -m udp --dport 7 -j DROP", "-A OUTPUT -p udp -m udp --dport 8 -j DROP", "-A FORWARD -m conntrack --ctstate INVALID -j DROP"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range dockerFamilies() {
		for port, want := range map[uint16]string{7: "nothing came back", 8: "answered"} {
			at := netip.AddrPortFrom(f.server, port)
			if got := ask(t, w.web, w.Server, at, at, 8000); got != want {
				t.Errorf("%s, port %d: %s, want %s", f.name, port, got, want)
			}
		}
	}
}

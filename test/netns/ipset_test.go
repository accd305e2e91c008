package netns

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/internal/lab"
	importer "github.com/bpfwall/bpfwall/migrate/iptables"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

const kernelSets = `create holes hash:net family inet
add holes 10.0.0.0/8
add holes 10.1.0.0/16 nomatch
add holes 10.1.2.0/24
add holes 10.1.2.3 nomatch
add holes 192.168.0.0/30
create pairs hash:ip,port family inet
add pairs 10.0.0.1,tcp:80
add pairs 10.1.2.3,udp:53
add pairs 10.0.0.2,icmp:echo-request
add pairs 10.0.0.3,gre:0
create netport hash:net,port family inet
add netport 10.1.0.0/16,tcp:80
add netport 10.1.2.0/24,udp:53
create triple hash:ip,port,net family inet
add triple 10.0.0.1,tcp:80,192.0.2.0/24
add triple 10.1.2.3,udp:7,192.0.0.0/8
create few hash:ip family inet
add few 10.0.0.2
create banned hash:ip family inet timeout 600
create doors hash:ip,port family inet timeout 600
create ways hash:ip,port,ip family inet
create nets hash:net,port family inet
create both list:set size 8
add both few
add both banned
`

// setRules are INPUT chains, each compared with the kernel's ipset by the same packets in the same order.
var setRules = []string{
	"-A INPUT -m set --match-set holes src -j DROP",
	"-A INPUT -m set ! --match-set holes src,dst -j DROP",
	"-A INPUT -m set --match-set pairs src,dst -j DROP",
	"-A INPUT -p udp -m set ! --match-set pairs src,src -j DROP",
	"-A INPUT -m set --match-set netport src,dst -j DROP",
	"-A INPUT -m set --match-set triple src,dst,dst -j DROP\n-A INPUT -m set --match-set both src -j DROP",
	"-A INPUT -m set --match-set banned src -j DROP\n-A INPUT -p tcp --dport 23 -j SET --add-set banned src\n-A INPUT -p udp --dport 7 -j SET --add-set banned dst --exist --timeout 300",
	"-A INPUT -m set --match-set doors src,dst -j DROP\n-A INPUT -p tcp --sport 53 -j SET --add-set doors src,dst\n-A INPUT -p icmp -j SET --add-set doors src,dst\n-A INPUT -p gre -j SET --add-set doors dst,src --exist",
	"-A INPUT -p udp --sport 80 -j SET --add-set ways src,dst,dst\n-A INPUT -p udp --sport 53 -j SET --del-set ways src,dst,dst\n-A INPUT -m set ! --match-set ways src,dst,dst -m set --match-set pairs src,dst -j DROP\n-A INPUT -m set --match-set ways src,dst,dst -j DROP",
	"-A INPUT -m set --match-set nets dst,dst -j DROP\n-A INPUT -p tcp --sport 80 -j SET --add-set nets dst,dst",
	"-A INPUT -p tcp --dport 23 -j SET --add-set banned src --exist\n-A INPUT -p udp --dport 7 -j SET --del-set banned src\n-A INPUT -m set --match-set both src -j DROP",
}

// setPackets are random packets of a few addresses and ports, so that many of them are in the sets.
func setPackets(r *rand.Rand, n int) (out []string) {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	for range n {
		src := pick("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.1.2.3", "10.1.2.4", "10.1.9.9", "192.168.0.2", "172.16.0.1")
		dst := pick("192.0.2.1", "192.0.9.1", "10.0.0.2")
		switch port := pick("80", "53", "7", "23", "1000"); pick("tcp", "tcp", "udp", "udp", "icmp", "gre") {
		case "icmp":
			out = append(out, fmt.Sprintf("icmp %s -> %s %s", src, dst, pick("echo-request", "echo-reply")))
		case "gre":
			out = append(out, fmt.Sprintf("gre %s -> %s", src, dst))
		case "tcp":
			out = append(out, fmt.Sprintf("tcp %s:%s -> %s:%s", src, pick("53", "80", "4000"), dst, port))
		default:
			out = append(out, fmt.Sprintf("udp %s:%s -> %s:%s", src, pick("53", "80", "4000"), dst, port))
		}
	}
	return out
}

// TestSetsSameAsIPSet: rules that match and change sets judge packets as iptables does with the kernel's ipset.
func TestSetsSameAsIPSet(t *testing.T) {
	w := newWorld(t, lab.Options{Wires: true})
	if err := w.DUT.Sysctl("net.ipv4.conf.all.accept_local=1", "net.ipv4.conf.lan0.accept_local=1"); err != nil {
		t.Fatal(err)
	}
	if err := w.DUT.EverythingLocal("lan0"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.DUT.Run(strings.NewReader(arrivals), "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	port := openPort(t, w.Client.OpenPort, "eth0")
	r := rand.New(rand.NewPCG(11, 12))
	tried, dropped := 0, 0
	for _, rules := range setRules {
		file := "*filter\n:INPUT ACCEPT [0:0]\n" + rules + "\nCOMMIT\n"
		rs, report, err := importer.Import([]importer.Source{{Name: "rules", Text: []byte(file), Family: ruleset.FamilyIPv4}},
			importer.Options{IPSets: []importer.Source{{Name: "sets", Text: []byte(kernelSets)}}})
		if err != nil || report.Lost() > 0 {
			t.Fatalf("%s: %v, %d lost", rules, err, report.Lost())
		}
		if err := rs.Check(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.DUT.Run(strings.NewReader(kernelSets), "ipset", "-exist", "restore"); err != nil {
			t.Skipf("the kernel has no ipset: %v", err)
		}
		if err := lab.Nft.Restore(w.DUT, file, "*filter\nCOMMIT\n"); err != nil {
			t.Fatal(err)
		}
		var st ruleset.State
		for i, text := range setPackets(r, 120) {
			seen, passed, ok := arrive(t, w.DUT, port, text, ruleset.FamilyIPv4)
			if !ok || !seen {
				t.Fatalf("%s: did not come to the rules", text)
			}
			lit, err := packet.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			v, _ := rs.Eval(lit.Hook, &lit.Packet, &st)
			if tried++; !passed {
				dropped++
			}
			if want := v.Kind == ruleset.Accept; passed != want {
				t.Errorf("%s\npacket %d, %s: the kernel accepts it: %v, Eval says %s", rules, i, text, passed, v)
			}
		}
		if err := lab.Nft.Restore(w.DUT, "*filter\nCOMMIT\n", "*filter\nCOMMIT\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.DUT.Run(nil, "ipset", "flush"); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d packets, %d dropped", tried, dropped)
}

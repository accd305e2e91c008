package iptables

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

// acceptedLines are lines of the table filter that iptables-restore accepts. What becomes of each is in testdata/accepted.golden.
var acceptedLines = []string{
	"-A INPUT",
	"-A INPUT -j ACCEPT",
	"-A INPUT -s 10.1.2.3/8 -d 192.0.2.1 -j DROP",
	"-A INPUT -s 1.2.3.4/255.0.255.0 -j DROP",
	"-A INPUT -s 1.2.3.4/0 -d 0.0.0.0/0 -j DROP",
	"-A INPUT ! -s 10.0.0.0/8 -j DROP",
	"-A INPUT -s ! 10.0.0.0/8 -p ! tcp -j DROP",
	"-A INPUT -s 10.1/16 -j DROP",
	"-A INPUT -s 192.0.2.1,198.51.100.0/24 -d 10.0.0.1,10.0.0.2 -j DROP",
	`-A INPUT -s "192.0.2.1, 192.0.2.1" -j DROP`,
	"-A INPUT -s localhost -j DROP",
	"-A INPUT -s www.example.org -j DROP",
	"-A INPUT --src 1.2.3.4 --dst 5.6.7.8 --proto tcp --jump ACCEPT",
	"-A INPUT -i lo -j ACCEPT",
	"-A INPUT -i + -j ACCEPT",
	"-A INPUT ! -i + -j ACCEPT",
	"-A INPUT -i eth+ -j ACCEPT",
	"-A INPUT ! -i et+h -j ACCEPT",
	"-A INPUT -i eth/0 -j ACCEPT",
	"-A FORWARD -i eth0 -o eth1 -j ACCEPT",
	"-A INPUT -p 0 -j ACCEPT",
	"-A INPUT -p TCP -j ACCEPT",
	"-A INPUT -p 47 -j ACCEPT",
	"-A INPUT ! -p icmp -j ACCEPT",
	"-A INPUT -f -j DROP",
	"-A INPUT ! --fragments -j DROP",
	"-A INPUT -p tcp --dport ssh -j ACCEPT",
	"-A INPUT -p 6 --dport 0x50",
	"-A INPUT -p tcp -m tcp ! --sport 1024: --dport :1023 -j DROP",
	"-A INPUT -p tcp --dport=80 -j ACCEPT",
	"-A INPUT -p tcp --destination-po 80 -j ACCEPT",
	"-A INPUT -p tcp -j ACCEPT --dport 22",
	"-A INPUT -p tcp --syn -j DROP",
	"-A INPUT -p tcp ! --syn -m state --state NEW -j DROP",
	"-A INPUT -p tcp --tcp-flags ALL NONE -j DROP",
	"-A INPUT -p tcp --tcp-flags syn,ack SYN -j DROP",
	"-A INPUT -p tcp --tcp-option 8 -j DROP",
	"-A INPUT -p tcp -m tcp --dport 5 -m tcp --dport 6",
	"-A INPUT ! -p tcp -m tcp --dport 5 -j DROP",
	"-A INPUT -p udp --dport domain -j ACCEPT",
	"-A INPUT -p udp --dport ssh -j ACCEPT",
	"-A INPUT -p udp --dport 5:3 -j DROP",
	"-A INPUT -p udp ! --dport 5:3 -j DROP",
	"-A INPUT -p sctp --dport 36412 -j ACCEPT",
	"-A INPUT -p sctp --chunk-types any INIT -j DROP",
	"-A INPUT -p dccp --sport 5 -j ACCEPT",
	"-A INPUT -p tcp -m multiport --dports 22,80,443,8000:8010 -j ACCEPT",
	"-A INPUT -p udp -m multiport ! --sports 53,123 -j DROP",
	"-A INPUT -p tcp -m multiport --ports 80,443 -j ACCEPT",
	"-A INPUT -p tcp -m multiport ! --ports 80,443 -j ACCEPT",
	"-A INPUT -p tcp -m multiport --ports 80,443 -m limit --limit 5/s -j ACCEPT",
	"-A INPUT -p icmp -j ACCEPT",
	"-A INPUT -p icmp --icmp-type echo-request -j ACCEPT",
	"-A INPUT -p icmp --icmp-type any -j ACCEPT",
	"-A INPUT -p icmp ! --icmp-type any -j ACCEPT",
	"-A INPUT -p icmp --icmp-type fragmentation-needed -j ACCEPT",
	"-A INPUT -p icmp --icmp-type 3/4:5 -j ACCEPT",
	"-A INPUT -p icmp ! --icmp-type 8 -j DROP",
	"-A INPUT -p icmp ! --icmp-type 3/4 -j DROP",
	"-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
	"-A INPUT -m conntrack ! --ctstate new -j DROP",
	"-A INPUT -m conntrack --ctstate DNAT -j ACCEPT",
	"-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
	"-A FORWARD -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
	"-A FORWARD -m conntrack ! --ctstate DNAT -j DROP",
	"-A FORWARD -m conntrack --ctstate NEW,DNAT --ctproto tcp -j ACCEPT",
	"-A FORWARD -m conntrack --ctstate ESTABLISHED,SNAT -j ACCEPT",
	"-A INPUT -m conntrack --ctstate NEW --ctproto tcp -j ACCEPT",
	"-A INPUT -m conntrack --ctproto tcp -j ACCEPT",
	"-A INPUT -m conntrack --ctstate NEW --ctdir ORIGINAL -j ACCEPT",
	"-A INPUT -m state --state EST,REL -j ACCEPT",
	"-A INPUT -m limit -j ACCEPT",
	"-A INPUT -m limit --limit 5/m --limit-burst 10 -j ACCEPT",
	"-A INPUT -m limit --limit 100 -j ACCEPT",
	`-A INPUT -m comment --comment "a \"quoted\" word" -j ACCEPT`,
	"-A INPUT -m comment --comment " + strings.Repeat("x", 300) + " -j ACCEPT",
	"-A INPUT -m mark --mark 0x10/0xf0 -j ACCEPT",
	"-A INPUT -m mark ! --mark 1 -j ACCEPT",
	"-A INPUT -m mac --mac-source 00:16:3e:00:00:01 -j ACCEPT",
	"-A INPUT -m iprange --src-range 10.0.0.5-10.0.0.9 ! --dst-range 10.1.0.1 -j ACCEPT",
	"-A INPUT -m iprange --src-range 10.0.0.9-10.0.0.5 -j ACCEPT",
	"-A INPUT -m length --length 1000: -j DROP",
	"-A INPUT -m length --length 5:3 -j DROP",
	"-A INPUT -m ttl --ttl-lt 5 -j DROP",
	"-A INPUT -m ttl --ttl-lt 0 -j DROP",
	"-A INPUT -m ttl --ttl-gt 255 -j DROP",
	"-A INPUT -m ttl ! --ttl-eq 64 -j DROP",
	"-A INPUT -m tos --tos Minimize-Delay -j ACCEPT",
	"-A INPUT -m tos --tos 0x10/0xf0 -j ACCEPT",
	"-A INPUT -m dscp --dscp 46 -j ACCEPT",
	"-A INPUT -m dscp ! --dscp-class AF11 -j ACCEPT",
	"-A INPUT -m pkttype --pkt-type broadcast -j DROP",
	"-A INPUT -m pkttype --pkt-type otherhost -j DROP",
	"-A INPUT -m addrtype --dst-type BROADCAST,MULTICAST -j DROP",
	"-A INPUT -m addrtype ! --src-type LOCAL -j DROP",
	"-A INPUT -m addrtype --dst-type LOCAL --limit-iface-in -j ACCEPT",
	"-A INPUT -p tcp -m tcpmss --mss 1:535 -j DROP",
	"-A INPUT -m set --match-set bad src -j DROP",
	"-A INPUT -m geoip ! --src-cc DE,FR -j DROP",
	"-A INPUT -m geoip --source-country KP -j DROP",
	"-A INPUT -m recent --set --name SSH",
	"-A INPUT -m recent --update --seconds 60 --hitcount 4 --name SSH -j DROP",
	`-A INPUT -p tcp -m string --string "cmd.exe" --algo bm -j DROP`,
	"-A INPUT -m connlimit --connlimit-above 10 -j REJECT",
	"-A INPUT -m hashlimit --hashlimit 5/m --hashlimit-name x -j ACCEPT",
	"-A INPUT -m time --timestart 08:00 --timestop 17:00 -j ACCEPT",
	"-A OUTPUT -m owner --uid-owner root -j ACCEPT",
	"-A INPUT -j REJECT",
	"-A INPUT -p tcp -j REJECT --reject-with tcp-reset",
	"-A INPUT -j REJECT --reject-with host-unreach",
	"-A INPUT -j LOG",
	`-A INPUT -j LOG --log-prefix "dropped: " --log-level info`,
	"-A INPUT -j LOG --log-level debug --log-tcp-options",
	`-A INPUT -j LOG --log-prefix "a prefix that has more than 29 bytes"`,
	"-A INPUT -j NFLOG --nflog-group 2 --nflog-prefix in",
	"-A INPUT -j NFQUEUE --queue-num 1",
	"-A INPUT -j MARK --set-mark 5",
	"-A INPUT -j MARK --set-xmark 0x1/0xff",
	"-A INPUT -j MARK --and-mark 0xf",
	"-A INPUT -j MARK --or-mark 0x10",
	"-A INPUT -j MARK --xor-mark 0x10",
	"-A INPUT -j RETURN",
	"-A INPUT -j ACCEPT -m comment --comment last",
	"-A INPUT -c 5,6 -j DROP",
	"[5:6] -A INPUT -j DROP",
	"\t-A INPUT\t-j\tDROP",
	"-A INPUT -4 -j DROP",
	"-A INPUT -6 -j NOSUCH --nonsense",
	`-A INPUT -j "ACCEPT"`,
	`-A INPUT -m comment --comment "not closed -j DROP`,
}

func TestAccepted(t *testing.T) {
	var out strings.Builder
	for _, text := range acceptedLines {
		rs, report, err := Import([]Source{{Name: "f", Text: []byte(fileOf(text)), Family: ruleset.FamilyIPv4}}, Options{})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if err := rs.Check(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		out.WriteString(strings.ReplaceAll(text, "\t", "\\t") + "\n")
		for _, c := range rs.Chains {
			for _, r := range c.Rules {
				fmt.Fprintf(&out, "    %s\n", r)
			}
		}
		for _, e := range report.Rules {
			if e.Status != Exact {
				fmt.Fprintf(&out, "    = %s: %s %s\n", e.Status, e.Why, e.Effect)
			}
		}
	}
	golden(t, "testdata/accepted.golden", out.String())
}

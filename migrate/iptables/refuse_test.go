package iptables

import (
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

// refusedFiles are files that iptables-restore refuses; lines without a line feed at the end stand for a file of the table filter.
// What is said of each is in testdata/refused.golden.
var refusedFiles = []string{
	"-A INPUT -p tcp --dport 65536",
	"-A INPUT -p tcp --dport 080",
	"-A INPUT -p tcp --dport 5:3",
	"-A INPUT -p tcp --dport nosuch",
	"-A INPUT -p sctp --dport ssh",
	"-A INPUT --dport 22 -p tcp -j DROP",
	"-A INPUT -p tcp --dprot 22 -j DROP",
	"-A INPUT -p tcp --dport",
	"-A INPUT -m tcp --dport 22",
	"-A INPUT -p udp -m tcp --dport 22",
	"-A INPUT -p tcp --dport 1 --dport 2",
	"-A INPUT -p tcp --syn --tcp-flags SYN,ACK SYN",
	"-A INPUT -p tcp --tcp-flags SYN,FOO SYN",
	"-A INPUT -p tcp --tcp-flags SYN",
	"-A INPUT -p tcp --tcp-option 0",
	"-A INPUT ! -p all -j DROP",
	"-A INPUT -p 256",
	"-A INPUT -p nosuch",
	"-A INPUT -s 1.2.3.4/33",
	"-A INPUT -s 256.1.2.3",
	"-A INPUT -s 2001:db8::1",
	"-A INPUT -s x.x.x.x",
	"-A INPUT ! -s 1.2.3.4,5.6.7.8",
	"-A INPUT -i abcdefghijklmnop",
	"-A INPUT -i \"\"",
	"-A INPUT -o eth0",
	"-A OUTPUT -i eth0",
	"-A INPUT -m conntrack --ctstate NEW,FOO",
	"-A INPUT -m conntrack",
	"-A INPUT -m state",
	"-A INPUT -m limit --limit 5/fortnight",
	"-A INPUT -m limit --limit 20000/s",
	"-A INPUT -m limit ! --limit 5/s",
	"-A INPUT -m limit --limit-burst 10001",
	"-A INPUT -m comment --comment " + strings.Repeat("x", 1024),
	"-A INPUT -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
	"-A INPUT -p tcp -m multiport --dports 1:2,3:4,5:6,7:8,9:10,11:12,13:14,15:16",
	"-A INPUT -p tcp -m multiport --dports 80,",
	"-A INPUT -m multiport --dports 80",
	"-A INPUT -p icmp --icmp-type echo",
	"-A INPUT -p icmp --icmp-type 300",
	"-A INPUT -m icmp --icmp-type 8",
	"-A OUTPUT -m mac --mac-source 00:11:22:33:44:55",
	"-A INPUT -m mac --mac-source 00-11-22-33-44-55",
	"-A INPUT -m owner --uid-owner 0",
	"-A INPUT -m ttl --ttl-eq 256",
	"-A INPUT -m ttl --ttl-eq 1 --ttl-gt 2",
	"-A INPUT -m dscp --dscp 64",
	"-A INPUT -m tos --tos Mini",
	"-A INPUT -m pkttype --pkt-type uni",
	"-A INPUT -m addrtype --dst-type LOCAL,FOO",
	"-A INPUT -m recent --name x",
	"-A INPUT -m string --string x",
	"-A INPUT -m nosuch",
	"-A INPUT ! -m tcp",
	"-A INPUT ! -j DROP",
	"-A INPUT ! ! -s 1.2.3.4",
	"-A INPUT -s 1.2.3.4 !",
	"-A INPUT -j DROP -j DROP",
	"-A INPUT -j NOSUCH",
	"-A INPUT -j INPUT",
	"-A INPUT -g ACCEPT",
	"-A INPUT -j \"\"",
	"-A INPUT -j",
	"-A INPUT -j REJECT --reject-with tcp-reset",
	"-A INPUT -j REJECT --reject-with icmp6-no-route",
	"-A INPUT -j LOG --log-level warn",
	"-A INPUT -j LOG --log-prefix \"\"",
	"-A INPUT -j MARK",
	"-A INPUT -j NOTRACK",
	"-A INPUT -j MASQUERADE",
	"-A INPUT -t nat -j DROP",
	"-A INPUT -n -j DROP",
	"-A INPUT -- -j DROP",
	"-A INPUT foo -j DROP",
	"-A INPUT -A INPUT -j DROP",
	"-A NOSUCH -j DROP",
	"-A",
	"-I INPUT 2 -j DROP",
	"-I INPUT 0 -j DROP",
	"-D INPUT -j DROP",
	"-P INPUT REJECT",
	"-N DROP",
	"-N LOG",
	"-F NOSUCH",
	"  ",
	"[5 -A INPUT -j DROP",
	" COMMIT",
	":12345678901234567890123456789 - [0:0]",
	":DROP - [0:0]",
	":-x - [0:0]",
	":INPUT FOO [0:0]",
	":INPUT",
	":A - [0:0]\n-A INPUT -j A\n-A A -j A",
	":A - [0:0]\n:B - [0:0]\n-A FORWARD -g A\n-A A -j B\n-A B -j A",
	":A - [0:0]\n-A INPUT -j A\n-X A",
	":A - [0:0]\n-A OUTPUT -j A\n-A A -m mac --mac-source 00:11:22:33:44:55 -j DROP",
	"*filter\r\n-A INPUT -j DROP\r\nCOMMIT\r\n",
	"*nosuch\nCOMMIT\n",
	"*filter\n-A INPUT -j DROP\n",
	"*nat\n-A PREROUTING -j DROP\nCOMMIT\n",
	"*raw\n-A PREROUTING -j REJECT\nCOMMIT\n",
	"junk\n*filter\nCOMMIT\n",
	"COMMIT\n",
	" *filter\nCOMMIT\n",
}

// fileOf makes a file of the lines of the table filter, unless it is one already.
func fileOf(text string) string {
	if strings.HasSuffix(text, "\n") {
		return text
	}
	return "*filter\n" + text + "\nCOMMIT\n"
}

func TestRefused(t *testing.T) {
	var out strings.Builder
	for _, text := range refusedFiles {
		rs, report, err := Import([]Source{{Name: "f", Text: []byte(fileOf(text)), Family: ruleset.FamilyIPv4}}, Options{})
		list, ok := err.(ruleset.ErrorList)
		if !ok || rs != nil || report != nil {
			t.Errorf("%q: accepted, or the error is %T", text, err)
		}
		out.WriteString(strings.ReplaceAll(text, "\r", "\\r") + "\n")
		for _, e := range list {
			out.WriteString("    " + e.Error() + "\n")
			if e.Hint != "" {
				out.WriteString("        " + e.Hint + "\n")
			}
			if e.Help != "" {
				out.WriteString("        help: " + e.Help + "\n")
			}
			if e.Pos.Line == 0 || e.Pos.Col == 0 || e.Help == "" {
				t.Errorf("%q: without position or help: %v", text, e)
			}
		}
	}
	golden(t, "testdata/refused.golden", out.String())
}

package iptables

import (
	"slices"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

const savedSets = `create nets hash:net family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x8c6e6b2a
add nets 10.0.0.0/8
add nets 192.0.2.1-192.0.2.9
create six hash:ip family inet6 hashsize 1024 maxelem 65536
add six 2001:db8::1
create holes hash:net family inet
add holes 10.0.0.0/8
add holes 10.1.0.0/16 nomatch
add holes 10.1.2.0/24
add holes 10.1.2.3 nomatch
create pairs hash:ip,port family inet
add pairs 10.0.0.1,tcp:80
add pairs 10.0.0.1,udp:53 comment "x y"
add pairs 10.0.0.2,icmp:echo-request
add pairs 10.0.0.3,gre:0
create triple hash:ip,port,net family inet
add triple 10.0.0.1,tcp:80,192.168.0.0/16
create netnet hash:net,net family inet
add netnet 10.0.0.0/8,192.168.0.0/16
add netnet 10.1.0.0/16,192.168.1.0/24
create ports bitmap:port range 0-1024
add ports 22
add ports 80-81
create macs hash:mac
add macs 02:00:00:00:00:01
create marks hash:ip,mark markmask 0x000000ff
add marks 10.0.0.1,0x00000005
create on hash:net,iface family inet
add on 10.0.0.0/8,eth0
create both list:set size 8
add both nets
add both six
add both banned
create banned hash:ip family inet hashsize 1024 maxelem 1000 timeout 600 counters
add banned 10.7.7.7 timeout 590 packets 0 bytes 0
add banned 10.7.7.8 timeout 0
create knocks hash:ip,port family inet timeout 60 counters
create empty hash:ip family inet
create odd hash:ip family inet netmask 24
create none list:set size 8
`

func importSets(t *testing.T, rules string) (*ruleset.Ruleset, *Report) {
	t.Helper()
	text := "*filter\n:INPUT ACCEPT\n" + rules + "\nCOMMIT\n"
	return importText(t, text, Options{IPSets: []Source{{Name: "sets", Text: []byte(savedSets)}}})
}

// TestSetMatches: which packets rules with sets of each kind drop.
func TestSetMatches(t *testing.T) {
	for _, tc := range []struct {
		match      string
		drop, pass []string
	}{
		{"--match-set nets src", []string{"tcp 10.1.2.3", "udp 192.0.2.9"}, []string{"tcp 11.0.0.1", "tcp 192.0.2.10"}},
		{"! --match-set nets dst", []string{"tcp -> 11.0.0.1"}, []string{"tcp -> 10.0.0.1"}},
		{"--match-set nets src,dst", []string{"tcp 10.1.2.3"}, []string{"tcp 11.0.0.1 -> 10.0.0.1"}}, // one is looked at
		{"--match-set holes src", []string{"tcp 10.0.0.1", "tcp 10.1.2.4", "tcp 10.2.0.0"}, []string{"tcp 10.1.0.1", "tcp 10.1.2.3", "tcp 9.255.255.255"}},
		{"--match-set pairs src,dst", []string{"tcp 10.0.0.1 -> :80", "udp 10.0.0.1 -> :53", "icmp 10.0.0.2 echo-request", "gre 10.0.0.3"},
			[]string{"udp 10.0.0.1 -> :80", "tcp 10.0.0.2 -> :80", "tcp 10.0.0.1:80 -> :81", "icmp 10.0.0.2 echo-reply", "gre 10.0.0.1"}},
		{"! --match-set pairs src,dst", []string{"udp 10.0.0.1 -> :80", "gre 10.0.0.1"}, []string{"tcp 10.0.0.1 -> :80", "gre 10.0.0.3"}},
		{"--match-set pairs dst,src", []string{"tcp :80 -> 10.0.0.1:1"}, []string{"tcp 10.0.0.1:1 -> 10.0.0.9:80"}},
		{"--match-set triple src,dst,dst", []string{"tcp 10.0.0.1 -> 192.168.5.5:80"}, []string{"tcp 10.0.0.1 -> 192.169.5.5:80"}},
		{"--match-set netnet src,dst", []string{"tcp 10.1.1.1 -> 192.168.1.1:1"}, []string{"tcp 10.1.1.1 -> 10.1.1.1:1"}},
		{"--match-set ports dst", []string{"tcp -> :22", "udp -> :81"}, []string{"tcp -> :23", "icmp"}},
		{"--match-set macs src", []string{"tcp in eth0 mac 02:00:00:00:00:01"}, []string{"tcp in eth0 mac 02:00:00:00:00:02"}},
		{"--match-set marks src,src", []string{"tcp 10.0.0.1 mark 0x105"}, []string{"tcp 10.0.0.1 mark 6"}},
		{"--match-set on src,src", []string{"tcp 10.0.0.1 in eth0"}, []string{"tcp 10.0.0.1 in eth1", "tcp 11.0.0.1 in eth0"}},
		{"--match-set both src", []string{"tcp 10.0.0.1", "tcp 10.7.7.8"}, []string{"tcp 11.0.0.1"}},
		{"--match-set empty src", nil, []string{"tcp 10.0.0.1"}},
		{"--match-set banned src", []string{"tcp 10.7.7.8"}, []string{"tcp 10.7.7.7"}},
	} {
		rs, report := importSets(t, "-A INPUT -m set "+tc.match+" -j DROP")
		if report.Lost() > 0 {
			t.Errorf("%s: %s", tc.match, report.Rules[0].Why)
			continue
		}
		if err := rs.Check(); err != nil {
			t.Fatalf("%s: %v\n%s", tc.match, err, rs)
		}
		for _, p := range append(slices.Clone(tc.drop), tc.pass...) {
			l, err := packet.Parse(p)
			if err != nil {
				t.Fatal(err)
			}
			v, _ := rs.Eval(l.Hook, &l.Packet, nil)
			if want := slices.Contains(tc.drop, p); (v.Kind == ruleset.Drop) != want {
				t.Errorf("%s: %s: %s\n%s", tc.match, p, v, rs)
			}
		}
	}
}

// TestSetMatchesRefused: what has no equivalent is said.
func TestSetMatchesRefused(t *testing.T) {
	for match, want := range map[string]string{
		"-m set --match-set nets src --packets-gt 5 -j DROP":                     "--packets-gt: of a set only membership is looked at",
		"-m set --match-set six src -j DROP":                                     `set "six": its addresses are ipv6`,
		"-m set --match-set missing src -j DROP":                                 `set "missing" is not given; pass --ipset FILE (written by ipset save)`,
		"-m set --match-set pairs src -j DROP":                                   `set "pairs": it takes 2 of src and dst, and never matches with fewer`,
		"-m set --match-set odd src -j DROP":                                     `set "odd": sets with a netmask compare only a part of the address`,
		"-m set --match-set macs dst -j DROP":                                    `set "macs": destination MAC addresses are not looked at`,
		"-m set --match-set netnet src,dst -m set --match-set ports src -j DROP": `set "ports": the rule asks for two sets of several parts`,
		"-m set --match-set netnet src,dst -m limit --limit 1/s -j DROP":         `set "netnet": a limit beside a set of several parts would count other packets`,
		"-m set --match-set netnet src,dst -j RETURN":                            `set "netnet": RETURN cannot leave the chain that its elements become`,
		"-j SET --add-set pairs src":                                             `set "pairs": it takes 2 of src and dst`,
		"-j SET --add-set netnet src,dst":                                        `set "netnet": rules change no sets of type hash:net,net`,
		"-j SET --add-set triple src,dst,dst":                                    `set "triple": the kernel would add networks as small as the smallest in it, and only single addresses are added`,
		"-m set --match-set none src -j DROP":                                    `set "none": has no members of ipv4`,
		"-j SET --add-set banned src --map-set nets dst":                         "-j SET --map-set: sets map nothing",
		"-j SET --add-set nets src":                                              `set "nets": rules change only sets of single addresses, not hash:net`,
	} {
		_, report := importSets(t, "-A INPUT "+match)
		if got := report.Rules[0].Why; got != want {
			t.Errorf("%s: %q, want %q", match, got, want)
		}
	}
}

// TestSetTarget: rules that change sets, and what becomes of the sets.
func TestSetTarget(t *testing.T) {
	rs, report := importSets(t, `-A INPUT -m set --match-set banned src -j DROP
-A INPUT -p tcp --dport 23 -j SET --add-set banned src --exist --timeout 60
-A INPUT -p tcp --dport 24 -j SET --del-set banned dst
-A INPUT -p tcp --dport 25 -j SET --add-set empty src --timeout 60
-A INPUT -p tcp --dport 26 -j SET --add-set banned src --timeout 0`)
	if report.Lost() > 0 {
		t.Fatal(report)
	}
	if err := rs.Check(); err != nil {
		t.Fatal(err)
	}
	text := rs.String()
	for _, want := range []string{
		"set banned: 10.7.7.8; dynamic, at most 1000, for 10m0s, counted\n", "set empty: empty; dynamic, at most 65536\n",
		"add source to @banned for 1m0s, anew each time\n", "delete destination from @banned\n", "add source to @empty\n", "add source to @banned for good\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("not there: %s\n%s", want, text)
		}
	}
	if want := `sets:34:8: set "banned": 1 elements with a time that is running are not taken over; bpfwall set add adds them`; !slices.Contains(report.Notes, want) {
		t.Errorf("notes: %q", report.Notes)
	}
}

// FuzzIPSets: whatever a file of sets holds, it is refused with a place or imported into rules that pass Check.
func FuzzIPSets(f *testing.F) {
	f.Add([]byte(savedSets))
	f.Add([]byte("create a hash:net\nadd a 0.0.0.0/0\nadd a 255.255.255.255 nomatch\nadd a ::/0"))
	f.Add([]byte("create a hash:ip,port\nadd a 1.2.3.4,tcp:0-65535\n-A a 1.2.3.4,5"))
	f.Fuzz(func(t *testing.T, sets []byte) {
		rules := "*filter\n-A INPUT -m set --match-set a src,dst -j DROP\n-A INPUT -m set ! --match-set pairs src,dst -j DROP\n" +
			"-A INPUT -m set --match-set holes dst -j LOG\n-A INPUT -j SET --add-set banned src\nCOMMIT\n"
		rs, _, err := Import([]Source{{Name: "f", Text: []byte(rules)}}, Options{IPSets: []Source{{Name: "s", Text: sets}}})
		if err != nil {
			return
		}
		if err := rs.Check(); err != nil {
			t.Fatalf("%v\n%s", err, rs)
		}
	})
}

// TestTupleSets: sets of several parts that rules change become sets that change at run time.
func TestTupleSets(t *testing.T) {
	rs, report := importSets(t, "-A INPUT -p tcp --dport 7 -j SET --add-set knocks src,dst --exist --timeout 30\n"+
		"-A INPUT -m set --match-set knocks src,dst -m limit --limit 1/s -j DROP\n-A INPUT -m set --match-set pairs src,dst -m set ! --match-set triple src,dst,dst -j RETURN\n"+
		"-A INPUT -j SET --del-set pairs src,dst")
	if report.Lost() > 0 {
		t.Fatalf("%+v", report.Rules)
	}
	if err := rs.Check(); err != nil {
		t.Fatal(err)
	}
	text := rs.String()
	for _, want := range []string{
		"set knocks: of address,port: empty; dynamic, at most 65536, for 1m0s, counted",
		"set pairs: of address,port: 10.0.0.1,tcp/80 10.0.0.1,udp/53 10.0.0.2,icmp/8/0 10.0.0.3,gre; dynamic",
		"tcp to port 7: add source, destination port to @knocks for 30s, anew each time",
		"source, destination port in @pairs source, destination port, destination not in @triple: return",
		"delete source, destination port from @pairs",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

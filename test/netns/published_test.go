package netns

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// publishedPolicy is of a host whose kernel publishes more ports than the policy allows.
const publishedPolicy = `version = 1
[[inbound]]
name = "site"
allow = ["tcp/8080", "udp/5300", "udp/5399"]

[[inbound]]
name = "database"
allow = "tcp/5432"
in = "lan0"

[[inbound]]
reject = "tcp/8083"

[[forward]]
allow = "any"
in = "docker0"
out = "wan0"
`

// publishing is a host of containers with a policy of its own.
func publishing(t *testing.T, policy string) *containers {
	t.Helper()
	w := newContainers(t)
	var nat []string
	for _, f := range dockerFamilies() {
		nat = append(nat, f.table("nat", dockerNAT))
	}
	if err := w.DUT.Sysctl("net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0"); err != nil && !os.IsNotExist(err) {
		t.Log(err)
	}
	if err := lab.Nft.Restore(w.DUT, nat[0], nat[1]); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.WriteFile(path, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := applyBpfwall(w.DUT, []string{path}); err != nil {
		t.Fatal(err)
	}
	for _, f := range dockerFamilies() {
		for _, port := range []uint16{80, 83, 443} {
			serve(t, w.web, f.web, port)
		}
		serve(t, w.db, f.db, 5432)
		serve(t, w.Server, f.server, 80)
	}
	return w
}

// attempt is a connection, and what comes of it.
type attempt struct {
	what string
	from *lab.NS
	to   netip.Addr
	port uint16
	want string
}

// try makes all attempts at once.
func try(t *testing.T, family string, all []attempt) {
	t.Helper()
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			got := refusalOrEcho(c.from, netip.AddrPortFrom(c.to, c.port))
			if got != c.want {
				t.Errorf("%s: %s: %s, want %s", family, c.what, got, c.want)
			}
			t.Logf("%s: %-50s %s", family, c.what, got)
		})
	}
	wg.Wait()
}

// TestPublishedPortsAreInbound: the inbound rules of a policy decide about ports that the kernel sends on to containers, by the port that
// was asked for, for everyone who asks; and nothing else lets them in.
func TestPublishedPortsAreInbound(t *testing.T) {
	const yes, no, refused = "answered", "nothing came back", "connection refused"
	w := publishing(t, publishedPolicy)
	for _, f := range dockerFamilies() {
		try(t, f.name, []attempt{
			{"world, allowed", w.Server, f.wan, 8080, yes}, {"lan, allowed", w.Client, f.lan, 8080, yes},
			{"world, not allowed", w.Server, f.wan, 8443, no}, {"lan, not allowed", w.Client, f.wan, 8443, no},
			{"world, rejected", w.Server, f.wan, 8083, refused},
			{"world, allowed for the lan", w.Server, f.wan, 5432, no}, {"lan, allowed for the lan", w.Client, f.lan, 5432, yes},
			{"the container itself, allowed", w.web, f.wan, 8080, yes}, {"the container itself, not allowed", w.web, f.wan, 8443, no},
			{"another container, not allowed", w.db, f.wan, 8443, no},
			{"a container of another network, allowed", w.other, f.wan, 8080, yes}, {"a container of another network, not allowed", w.other, f.wan, 8443, no},
			{"the host", w.DUT, f.wan, 8080, yes},
			{"world, by the container's own address", w.Server, f.web, 80, no},
			{"a container to the world", w.web, f.server, 80, yes}, {"lan to the world", w.Client, f.server, 80, no},
		})
		for _, size := range []int{100, 1350, 8000} {
			for from, n := range map[string]*lab.NS{"world": w.Server, "a container of another network": w.other} {
				got := ask(t, n, w.web, netip.AddrPortFrom(f.web, 53), netip.AddrPortFrom(f.wan, 5300), size)
				if size > 1300 && got == no { // the router's error about the answer has told how wide the way is
					got = ask(t, n, w.web, netip.AddrPortFrom(f.web, 53), netip.AddrPortFrom(f.wan, 5300), size)
				}
				if got != yes {
					t.Errorf("%s: UDP of %d bytes from %s: %s", f.name, size, from, got)
				}
			}
		}
		if got := ask(t, w.Server, nil, netip.AddrPort{}, netip.AddrPortFrom(f.wan, 5399), 10); got != refused {
			t.Errorf("%s: the ICMP error of a container: %s", f.name, got)
		}
	}
	publishedAnswers(t, w)
}

// publishedAnswers: what the commands say of published ports.
func publishedAnswers(t *testing.T, w *containers) {
	t.Helper()
	f := dockerFamilies()[0]
	out, err := w.DUT.Bpfwall("explain", fmt.Sprintf("tcp %s to %s:8443 in wan0", f.server, f.wan), "--expect", "drop")
	if err != nil || !strings.Contains(out, "published") {
		t.Errorf("explain of inbound: %v\n%s", err, out)
	}
	out, err = w.DUT.Bpfwall("explain", fmt.Sprintf("tcp %s to %s:80 in wan0 out docker0", f.server, f.web), "--expect", "drop")
	if err != nil || !strings.Contains(out, "published") {
		t.Errorf("explain of forward: %v\n%s", err, out)
	}
	flows, err := w.DUT.Bpfwall("show", "flows")
	if want := f.wan.String() + ":8080"; err != nil || !strings.Contains(flows, want) {
		t.Errorf("show flows: no %s: %v\n%s", want, err, flows)
	}
}

// TestPublishedPortsAreForwarded: with published_ports = "forward" they are what they are to iptables.
func TestPublishedPortsAreForwarded(t *testing.T) {
	w := publishing(t, strings.Replace(publishedPolicy, "version = 1\n", "version = 1\n[defaults]\npublished_ports = \"forward\"\n", 1)+`
[[forward]]
allow = "tcp/443"
out = "docker0"
`)
	for _, f := range dockerFamilies() {
		try(t, f.name, []attempt{
			{"world, allowed by inbound", w.Server, f.wan, 8080, "nothing came back"},
			{"world, allowed by forward", w.Server, f.wan, 8443, "answered"},
		})
	}
}

// TestDNATOfOthersIsForwarded: DNAT from an address that is not this host's is forwarding under a policy, too.
func TestDNATOfOthersIsForwarded(t *testing.T) {
	w := newWorld(t, lab.Options{Third: true})
	var nat []string
	for _, f := range natFamilies() {
		nat = append(nat, f.table("nat", []string{"-A PREROUTING -i lan0 -d SERVER -p tcp -m tcp --dport 3128 -j DNAT --to-destination TO-THIRD:80"}))
	}
	if err := lab.Nft.Restore(w.DUT, nat[0], nat[1]); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, rules := range map[string]string{"inbound": "[[inbound]]\nallow = \"any\"\n", "forward": "[[forward]]\nallow = \"tcp/80\"\nout = \"dmz0\"\n"} {
		path := filepath.Join(t.TempDir(), "policy.toml")
		if err := os.WriteFile(path, []byte("version = 1\n"+rules), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := applyBpfwall(w.DUT, []string{path}); err != nil {
			t.Fatal(err)
		}
		for _, f := range natFamilies() {
			if len(got) < 2 {
				serve(t, w.Third, f.third, 80)
			}
			got[f.name+" "+name] = refusalOrEcho(w.Client, netip.AddrPortFrom(f.server, 3128))
		}
	}
	want := map[string]string{"ipv4 inbound": "nothing came back", "ipv6 inbound": "nothing came back", "ipv4 forward": "answered", "ipv6 forward": "answered"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

package netns

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/internal/lab"
	"github.com/bpfwall/bpfwall/ruleset"
)

const sevenSets = "create few hash:ip family inet\nadd few 192.0.2.3\nadd few 192.0.2.5\ncreate seen hash:ip family inet timeout 600\n"

// sevenRules remember packets in seven ways, each on a port of its own. Of connections only first packets are counted: of later ones the
// kernel still counts refused ones with them.
const sevenRules = `*filter
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p udp --dport 10 -m recent --name seven --set
-A INPUT -p udp --dport 10 -m recent --name seven --update --seconds 600 --hitcount 4 -j DROP
-A INPUT -p udp --dport 11 -m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 3 --hashlimit-mode srcip --hashlimit-name seven --hashlimit-htable-expire 7200000 -j ACCEPT
-A INPUT -p udp --dport 11 -j DROP
-A INPUT -p udp --dport 12 -m conntrack --ctstate NEW -m connlimit --connlimit-above 3 -j DROP
-A INPUT -p udp --dport 13 -m set --match-set few src -j DROP
-A INPUT -p udp --dport 13 -m set --match-set seen src -j DROP
-A INPUT -p udp --dport 13 -j SET --add-set seen src
-A INPUT -p udp --dport 14 -m statistic --mode nth --every 3 --packet 1 -j DROP
-A INPUT -p udp --dport 15 -m quota --quota 3000 -j ACCEPT
-A INPUT -p udp --dport 15 -j DROP
-A INPUT -p udp --dport 18 -m recent --name seven --remove -j DROP
-A INPUT -p udp --dport 19 -m statistic --mode random --probability 0.25 -j DROP
-A OUTPUT -p udp --dport 16 -m owner --uid-owner 4001-4003 -j DROP
-A OUTPUT -p udp --dport 17 -m owner ! --uid-owner 4002 -m statistic --mode nth --every 2 --packet 1 -j DROP
COMMIT
`

// sevenOf is what became of the packets in one world: "pass" or "drop" for each, and how many of those by chance passed.
type sevenOf struct {
	fates  []string
	chance int
}

// TestSevenSameAsIptables: rules with recent, hashlimit, connlimit, set, statistic, quota and owner give each packet the verdict that
// the kernel's iptables gives it. What is by chance passes in the same share.
func TestSevenSameAsIptables(t *testing.T) {
	sets := filepath.Join(t.TempDir(), "sets")
	if err := os.WriteFile(sets, []byte(sevenSets), 0o600); err != nil {
		t.Fatal(err)
	}
	const n, byChance = 500, 400
	kernel := playSeven(t, n, byChance, func(w *lab.World) {
		if _, err := w.DUT.Run(strings.NewReader(sevenSets), "ipset", "-exist", "restore"); err != nil {
			t.Skipf("the kernel has no ipset: %v", err)
		}
		if err := lab.Nft.Restore(w.DUT, sevenRules, "*filter\nCOMMIT\n"); err != nil {
			t.Fatal(err)
		}
	})
	ours := playSeven(t, n, byChance, func(w *lab.World) { applyRules(t, w.DUT, sevenRules, "", []string{"--ipset", sets}) })
	drops := 0
	for i, want := range kernel.fates {
		if ours.fates[i] != want {
			t.Errorf("packet %d: bpfwall: %s, iptables: %s", i, ours.fates[i], want)
		}
		if strings.HasSuffix(want, "drop") {
			drops++
		}
	}
	for name, got := range map[string]int{"iptables": kernel.chance, "bpfwall": ours.chance} {
		if got < byChance*3/4-50 || got > byChance*3/4+50 { // within five standard deviations and more
			t.Errorf("%s: %d of %d packets passed by chance, want some %d", name, got, byChance, byChance*3/4)
		}
	}
	t.Logf("%d packets, of which the kernel drops %d; by chance %d and %d of %d pass", len(kernel.fates), drops, kernel.chance, ours.chance, byChance)
}

// playSeven sends the same packets to rules in a world of their own.
func playSeven(t *testing.T, n, byChance int, apply func(*lab.World)) sevenOf {
	t.Helper()
	w := newWorld(t, lab.Options{Wires: true})
	if err := w.DUT.Sysctl("net.ipv4.conf.all.accept_local=1", "net.ipv4.conf.lan0.accept_local=1"); err != nil {
		t.Fatal(err)
	}
	if err := w.DUT.EverythingLocal("lan0"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.DUT.Run(strings.NewReader(kept), "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	apply(w)
	port := openPort(t, w.Client.OpenPort, "eth0")
	r := rand.New(rand.NewPCG(7, 8))
	var out sevenOf
	send := func(text string) bool {
		_, passed, ok := arrive(t, w.DUT, port, text, ruleset.FamilyIPv4)
		if !ok {
			t.Fatalf("%s: cannot be sent", text)
		}
		return passed
	}
	for i := range n {
		text := fmt.Sprintf("udp 192.0.2.%d:%d -> :%d len %d", 2+r.IntN(5), 2000+i, []int{10, 10, 11, 12, 12, 13, 14, 15, 18}[r.IntN(9)], 40+r.IntN(100))
		out.fates = append(out.fates, text+": "+map[bool]string{true: "pass", false: "drop"}[send(text)])
	}
	for i := range byChance {
		if send(fmt.Sprintf("udp 192.0.2.9:%d -> :19", 2000+i)) {
			out.chance++
		}
	}
	out.fates = append(out.fates, sentByOwners(t, w)...)
	return out
}

// sentByOwners has processes of some users send datagrams, and says which of them arrive.
func sentByOwners(t *testing.T, w *lab.World) (fates []string) {
	t.Helper()
	wire := openPort(t, w.Server.OpenPort, "eth0")
	for _, port := range []byte{16, 17} {
		at := netip.AddrPortFrom(lab.WAN.Far4.Addr(), uint16(port))
		for _, uid := range []int{0, 4001, 4002, 4003, 4004, 4001, 0, 4002} {
			_ = play(t, w.DUT, fmt.Sprintf("uid %d", uid), "udp4", "connect "+at.String(), "send 100") // which may tell the process
			arrived := false
			for tries := 0; tries < 30 && !arrived; tries++ { // what is dropped takes the whole time
				if _, err := wire.Wait(10); err != nil {
					t.Fatal(err)
				}
				if err := wire.Drain(func(f []byte) { arrived = arrived || len(f) >= 142 && f[23] == 17 && f[37] == port }); err != nil {
					t.Fatal(err)
				}
			}
			fates = append(fates, fmt.Sprintf("udp of user %d to port %d: %s", uid, port, map[bool]string{true: "pass", false: "drop"}[arrived]))
		}
	}
	return fates
}

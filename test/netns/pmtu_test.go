package netns

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

// narrow is the MTU of the link that path MTU discovery has to find.
const narrow = 1280

// behind are the addresses of a host behind the server, which is a router for it with a narrow link.
var behind = [2]struct{ router, host netip.Prefix }{
	{netip.MustParsePrefix("203.0.114.1/24"), netip.MustParsePrefix("203.0.114.2/24")},
	{netip.MustParsePrefix("2001:db8:99::1/64"), netip.MustParsePrefix("2001:db8:99::2/64")},
}

// mtuPaths are where the narrow link is, and so by what way the error comes that tells of it.
var mtuPaths = []struct {
	name   string
	link   int // MTU of wan0; hosts have 1500, so that they do not know by their own links
	from   func(w *lab.World) *lab.NS
	beyond bool // to the host behind the server
}{
	{"behind the dut, which says so", narrow, client, false},
	{"behind a router, whose error is forwarded", 1500, client, true},
	{"behind a router, whose error comes in", 1500, dut, true},
}

// TestPathMTU finds a narrow link past a firewall that drops by default: the ICMP errors about connections get through, TCP goes on, and UDP
// learns the size. With -v it prints a table.
func TestPathMTU(t *testing.T) {
	var table bytes.Buffer
	out := tabwriter.NewWriter(&table, 0, 4, 2, ' ', 0)
	fmt.Fprint(out, "narrow link\t\tfirewall\tMTU found\tMbit/s\n")
	for _, path := range mtuPaths {
		for _, e := range engines {
			t.Run(path.name+"/"+e.name, func(t *testing.T) {
				w := newWorld(t, lab.Options{Third: true})
				setMTU(t, w.DUT, "wan0", path.link)
				beyondServer(t, w)
				if err := e.apply(w.DUT, bulkRules(t)); err != nil {
					t.Fatal(err)
				}
				for f := range families {
					to, host := w.Server, families[f].server
					if path.beyond {
						to, host = w.Third, behind[f].host.Addr()
					}
					found, rate := discover(t, path.from(w), to, netip.AddrPortFrom(host, 7000))
					fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%.0f\n", path.name, families[f].name, e.name, found, rate)
					if found != fmt.Sprint(narrow) {
						t.Errorf("%s: found MTU %q, want %d", host, found, narrow)
					}
				}
			})
		}
	}
	out.Flush()
	t.Logf("\n%s", table.String())
}

// beyondServer makes the server a router for the third host.
func beyondServer(t *testing.T, w *lab.World) {
	t.Helper()
	if err := w.Server.Sysctl("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"); err != nil {
		t.Fatal(err)
	}
	run := func(n *lab.NS, args ...string) {
		t.Helper()
		if _, err := n.Run(nil, "ip", args...); err != nil {
			t.Fatal(err)
		}
	}
	run(w.Server, "link", "add", "inner", "mtu", fmt.Sprint(narrow), "type", "veth", "peer", "name", "outer", "netns", w.Third.Name)
	run(w.Server, "link", "set", "inner", "up")
	run(w.Third, "link", "set", "outer", "up")
	for _, b := range behind {
		run(w.Server, "address", "add", b.router.String(), "dev", "inner")
		run(w.Third, "address", "add", b.host.String(), "dev", "outer")
		run(w.Third, "route", "replace", "default", "via", b.router.Addr().String())
	}
}

var routeMTU = regexp.MustCompile(` mtu (\d+)`)

// discover moves 3 MB by TCP, then a datagram that is too long by UDP, and says what MTU the sender has learnt.
func discover(t *testing.T, from, to *lab.NS, at netip.AddrPort) (found string, rate float64) {
	t.Helper()
	row, err := bulk(from, to, at, 3<<20)
	if err != nil {
		t.Fatalf("tcp to %s: %v", at, err)
	}
	found = learnt(t, from, at.Addr())
	if err := forgetMTU(from); err != nil {
		t.Fatal(err)
	}
	if err := tooLong(from, at); err != nil {
		t.Errorf("udp to %s: %v", at, err)
	}
	if again := learnt(t, from, at.Addr()); again != found {
		t.Errorf("tcp found %q, udp %q", found, again)
	}
	return found, row.rate
}

func learnt(t *testing.T, n *lab.NS, to netip.Addr) string {
	t.Helper()
	text, err := n.Run(nil, "ip", "route", "get", to.String())
	if err != nil {
		t.Fatal(err)
	}
	if m := routeMTU.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return "none"
}

func forgetMTU(n *lab.NS) error {
	_, err := n.Run(nil, "ip", "route", "flush", "cache")
	_, err6 := n.Run(nil, "ip", "-6", "route", "flush", "cache")
	return errors.Join(err, err6)
}

// tooLong sends datagrams that must not be fragmented until one is refused for its size.
func tooLong(from *lab.NS, at netip.AddrPort) error {
	c, err := from.Dial("udp", at, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	u := c.(*net.UDPConn)
	if at.Addr().Is4() {
		err = setOption(u, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	} else {
		err = setOption(u, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
	}
	if err != nil {
		return err
	}
	for range 20 {
		if _, err := u.Write(make([]byte, 1400)); errors.Is(err, unix.EMSGSIZE) {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("nothing says that the datagrams are too long")
}

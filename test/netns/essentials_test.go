package netns

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/lab"
	"github.com/bpfwall/bpfwall/policies"
)

// essentialCases are firewalls that keep nearly everything out, and what must work all the same.
var essentialCases = []struct {
	name   string
	files  func(t *testing.T) []string
	iface  string // that the neighbour is on: one that the policy says something of, where there is such a one
	router bool   // the host forwards, and gives out addresses
	needs  string // what must work
}{
	{"bastion", example("bastion"), "eth1", false, "lo arp4 arp6 ra dhcp4 dhcp6"},
	{"laptop", example("laptop"), "wlan0", false, "lo arp4 arp6 ra dhcp4 dhcp6"},
	{"laptop, for virtual machines", example("laptop"), "virbr0", true, "lo arp4 arp6 dhcp4 dhcp6 server"},
	{"router", example("router"), "br-lan", true, "lo arp4 arp6 dhcp4 dhcp6 server"},
	// Not IPv4: its guard drops private senders there, and the neighbour is one.
	{"router, towards the provider", example("router"), "ppp0", true, "lo arp6 ra dhcp6"},
	{"web", example("web"), "eth0", false, "lo arp4 arp6 ra dhcp4 dhcp6"},
	{"imported, drops all", func(t *testing.T) []string {
		return rules(t, ":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT DROP [0:0]", "-A INPUT -i lo -j ACCEPT", "-A OUTPUT -o lo -j ACCEPT",
			"-A OUTPUT -p icmp -j ACCEPT", "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT", "v6 -A INPUT -p icmp -m icmp6 --icmpv6-type 136 -j ACCEPT")
	}, "eth0", false, "lo arp4 arp6 dhcp4-packet"},
}

// example is one of the shipped policies.
func example(name string) func(*testing.T) []string {
	return func(t *testing.T) []string {
		t.Helper()
		text, err := policies.Examples.ReadFile("examples/" + name + ".toml")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), name+".toml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{path}
	}
}

// TestEssentials: what a host needs to have a network at all works under every shipped policy, and under imported rules that drop
// everything as far as under iptables; beside NAT and without it.
func TestEssentials(t *testing.T) {
	for _, c := range essentialCases {
		for _, nat := range []string{"", "--beside-nat"} {
			t.Run(strings.TrimSpace(c.name+" "+nat), func(t *testing.T) {
				w := newWorld(t, lab.Options{})
				net := lab.Docker0
				net.Iface = c.iface
				one, err := w.Bridge(net, 1)
				if err != nil {
					t.Fatal(err)
				}
				forward := map[bool]string{true: "1", false: "0"}[c.router]
				if err := w.DUT.Sysctl("net.ipv4.ip_forward="+forward, "net.ipv6.conf.all.forwarding="+forward, "net.ipv6.conf."+c.iface+".accept_ra=2"); err != nil {
					t.Fatal(err)
				}
				args := append([]string{"apply", "--yes"}, c.files(t)...)
				if nat != "" {
					args = append(args, nat)
				}
				if out, err := w.DUT.Bpfwall(args...); err != nil {
					t.Fatal(err, out)
				}
				h := &neighbours{t: t, dut: w.DUT, peer: one[0], net: net}
				for _, need := range strings.Fields(c.needs) {
					if err := essentialTraffic[need](h); err != nil {
						t.Errorf("%s: %v", need, err)
					}
				}
			})
		}
	}
}

// neighbours is a firewalled host and its neighbour on a link.
type neighbours struct {
	t         *testing.T
	dut, peer *lab.NS
	net       lab.Bridge
}

// essentialTraffic tries one kind each.
var essentialTraffic = map[string]func(*neighbours) error{
	"lo": func(h *neighbours) error {
		for _, a := range []string{"127.0.0.1", "::1"} {
			serve(h.t, h.dut, netip.MustParseAddr(a), 80)
			if err := exchange(h.dut, netip.MustParseAddr(a), 80); err != nil {
				return err
			}
		}
		return nil
	},
	"arp4":         func(h *neighbours) error { v4, _ := h.net.Host(1); return h.dut.Ping(v4.Addr(), 56, 2*time.Second) },
	"arp6":         func(h *neighbours) error { _, v6 := h.net.Host(1); return h.dut.Ping(v6.Addr(), 56, 2*time.Second) },
	"ra":           (*neighbours).advertise,
	"dhcp4":        (*neighbours).addressV4,
	"dhcp4-packet": (*neighbours).offers,
	"dhcp6": func(h *neighbours) error {
		dut, peer := linkLocal(h.t, h.dut, h.net.Iface), linkLocal(h.t, h.peer, "eth0")
		if err := h.sends(h.peer, h.dut, netip.AddrPortFrom(peer, 547).String(), netip.AddrPortFrom(dut.WithZone(peer.Zone()), 546)); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		return h.sends(h.dut, h.peer, netip.AddrPortFrom(dut, 546).String(), netip.AddrPortFrom(peer.WithZone(dut.Zone()), 547))
	},
	"server": func(h *neighbours) error {
		discover := lab.Packet{Src: netip.IPv4Unspecified(), Dst: netip.MustParseAddr("255.255.255.255"), Proto: unix.IPPROTO_UDP, SrcPort: 68, DstPort: 67, Payload: make([]byte, 240)}
		if err := h.datagram(h.dut, "0.0.0.0:67", discover); err != nil {
			return fmt.Errorf("discover: %w", err)
		}
		v4, _ := h.net.Host(1)
		return h.sends(h.dut, h.peer, netip.AddrPortFrom(h.net.DUT4.Addr(), 67).String(), netip.AddrPortFrom(v4.Addr(), 68))
	},
}

// addressV4 plays a DHCP client: on a packet socket, and on a UDP socket as one that renews its address.
func (h *neighbours) addressV4() error {
	if err := h.offers(); err != nil {
		return err
	}
	if err := h.datagram(h.dut, "0.0.0.0:68", offer(netip.MustParseAddr("255.255.255.255"))); err != nil {
		return fmt.Errorf("offer to a socket: %w", err)
	}
	v4, _ := h.net.Host(1)
	return h.sends(h.dut, h.peer, "0.0.0.0:68", netip.AddrPortFrom(v4.Addr(), 67))
}

// offers sends what a client's packet socket gets, to everybody and to an address that the host does not have yet.
func (h *neighbours) offers() error {
	for _, to := range []string{"255.255.255.255", "172.17.0.77"} {
		if err := h.packetSocket(offer(netip.MustParseAddr(to))); err != nil {
			return fmt.Errorf("offer to %s: %w", to, err)
		}
	}
	return nil
}

// offer is what a DHCP server sends.
func offer(to netip.Addr) lab.Packet {
	return lab.Packet{Src: netip.MustParseAddr("172.17.0.2"), Dst: to, Proto: unix.IPPROTO_UDP, SrcPort: 67, DstPort: 68, Payload: make([]byte, 240)}
}

// inject sends a packet from the neighbour's end of the link.
func (h *neighbours) inject(p lab.Packet) error {
	h.t.Helper()
	own, err := h.peer.Link("eth0")
	if err != nil {
		return err
	}
	to, err := h.dut.Link(h.net.Iface)
	if err != nil {
		return err
	}
	p.SrcMAC, p.DstMAC = own.Attrs().HardwareAddr, to.Attrs().HardwareAddr
	if p.TTL == 0 {
		p.TTL = 64
	}
	switch {
	case p.Dst == netip.MustParseAddr("255.255.255.255"):
		p.DstMAC = net.HardwareAddr{255, 255, 255, 255, 255, 255}
	case p.Dst.IsMulticast():
		p.DstMAC = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	}
	port, err := h.peer.OpenPort("eth0")
	if err != nil {
		return err
	}
	defer port.Close()
	return port.Send(p.Frame())
}

// datagram sends a packet to a UDP socket.
func (h *neighbours) datagram(to *lab.NS, at string, p lab.Packet) error {
	c, err := to.ListenUDP(netip.MustParseAddrPort(at))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := h.inject(p); err != nil {
		return err
	}
	return hear(c)
}

// sends sends a datagram from a socket of one host to one of another.
func (h *neighbours) sends(from, to *lab.NS, by string, dial netip.AddrPort) error {
	at, err := to.ListenUDP(netip.AddrPortFrom(netip.IPv6Unspecified(), dial.Port()))
	if err != nil {
		return err
	}
	defer at.Close()
	c, err := from.ListenUDP(netip.MustParseAddrPort(by))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := from.Do(func() error { _, err := c.WriteToUDP(make([]byte, 240), net.UDPAddrFromAddrPort(dial)); return err }); err != nil {
		return err
	}
	return hear(at)
}

func hear(c *net.UDPConn) error {
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, _, err := c.ReadFromUDP(make([]byte, 2048))
	return err
}

// packetSocket waits for a packet as DHCP clients do that have no address yet.
func (h *neighbours) packetSocket(p lab.Packet) error {
	l, err := h.dut.Link(h.net.Iface)
	if err != nil {
		return err
	}
	return h.dut.Do(func() error {
		proto := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP))
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(proto))
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		tv := unix.NsecToTimeval(int64(time.Second))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: l.Attrs().Index}); err != nil {
			return err
		}
		sent := make(chan error)
		go func() { sent <- h.inject(p) }()
		if err := <-sent; err != nil {
			return err
		}
		for buf := make([]byte, 2048); ; {
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if err != nil {
				return err
			}
			if n > 28 && buf[9] == unix.IPPROTO_UDP && binary.BigEndian.Uint16(buf[22:]) == p.DstPort {
				return nil
			}
		}
	})
}

// advertise sends a router advertisement and waits for the route.
func (h *neighbours) advertise() error {
	ra := lab.Packet{Src: linkLocal(h.t, h.peer, "eth0").WithZone(""), Dst: netip.MustParseAddr("ff02::1"), TTL: 255, Proto: unix.IPPROTO_ICMPV6, Type: 134,
		Rest: [4]byte{64, 0, 7, 8}, Payload: make([]byte, 8)}
	if err := h.inject(ra); err != nil {
		return err
	}
	var routes string
	for range 20 {
		var err error
		if routes, err = h.dut.Run(nil, "ip", "-6", "route", "show", "default", "dev", h.net.Iface); err != nil {
			return err
		}
		if strings.Contains(routes, "proto ra") {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("no route from the advertisement: %q", routes)
}

// linkLocal is an interface's address fe80::…, its zone a number: package net keeps names of zones for all namespaces alike.
func linkLocal(t *testing.T, n *lab.NS, iface string) (a netip.Addr) {
	t.Helper()
	l, err := n.Link(iface)
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		out, err := n.Run(nil, "ip", "-6", "-o", "addr", "show", "dev", iface, "scope", "link")
		if err != nil {
			t.Fatal(err)
		}
		if f := strings.Fields(out); len(f) > 3 && !strings.Contains(out, "tentative") {
			return netip.MustParsePrefix(f[3]).Addr().WithZone(fmt.Sprint(l.Attrs().Index))
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s: no link-local address", iface)
	return a
}

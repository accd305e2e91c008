package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Leg is one of the dut's links: its interface there, the addresses of both ends, and what lies behind.
type Leg struct {
	Iface      string // at the dut; the other end is eth0
	DUT4, Far4 netip.Prefix
	DUT6, Far6 netip.Prefix
	Gateway4   netip.Addr     // an address on the link that stands for everything behind it
	Gateway6   netip.Addr     //
	Behind     []netip.Prefix // networks that the dut reaches through the gateway
	DUTMAC     net.HardwareAddr
	FarMAC     net.HardwareAddr
}

// The legs. All addresses are for documentation (RFC 5737, RFC 3849) or private.
var (
	LAN = Leg{Iface: "lan0",
		DUT4: prefix("192.0.2.1/24"), Far4: prefix("192.0.2.10/24"), DUT6: prefix("2001:db8:1::1/64"), Far6: prefix("2001:db8:1::10/64"),
		Gateway4: addr("192.0.2.254"), Gateway6: addr("2001:db8:1::fe"),
		Behind: []netip.Prefix{prefix("10.1.0.0/16"), prefix("2001:db8:10::/48")},
		DUTMAC: net.HardwareAddr{2, 0, 0, 0, 1, 1}, FarMAC: net.HardwareAddr{2, 0, 0, 0, 1, 2}}
	WAN = Leg{Iface: "wan0",
		DUT4: prefix("198.51.100.1/24"), Far4: prefix("198.51.100.10/24"), DUT6: prefix("2001:db8:2::1/64"), Far6: prefix("2001:db8:2::10/64"),
		Gateway4: addr("198.51.100.254"), Gateway6: addr("2001:db8:2::fe"),
		Behind: []netip.Prefix{prefix("0.0.0.0/0"), prefix("::/0")},
		DUTMAC: net.HardwareAddr{2, 0, 0, 0, 2, 1}, FarMAC: net.HardwareAddr{2, 0, 0, 0, 2, 2}}
	DMZ = Leg{Iface: "dmz0",
		DUT4: prefix("203.0.113.1/25"), Far4: prefix("203.0.113.10/25"), DUT6: prefix("2001:db8:3::1/64"), Far6: prefix("2001:db8:3::10/64"),
		Gateway4: addr("203.0.113.126"), Gateway6: addr("2001:db8:3::fe"),
		DUTMAC: net.HardwareAddr{2, 0, 0, 0, 3, 1}, FarMAC: net.HardwareAddr{2, 0, 0, 0, 3, 2}}
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

// wire joins the namespaces.
func (w *World) wire(o Options) error {
	if err := w.tune(o); err != nil {
		return err
	}
	for _, l := range []struct {
		leg Leg
		far *NS
		mtu int
	}{{LAN, w.Client, 0}, {WAN, w.Server, o.MTU}, {DMZ, w.Third, 0}} {
		if l.far == nil {
			continue
		}
		if err := w.join(l.leg, l.far, l.mtu, o); err != nil {
			return fmt.Errorf("%s: %w", l.leg.Iface, err)
		}
	}
	return nil
}

// tune sets what interfaces inherit when they are made, and lets the dut answer with ICMP as often as it is asked.
func (w *World) tune(o Options) error {
	for _, ns := range w.spaces {
		err := ns.Sysctl("net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_ra=0",
			"net.ipv6.conf.default.router_solicitations=0", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
		if err != nil {
			return err
		}
		if o.Wires && ns != w.DUT {
			if err := ns.Sysctl("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"); err != nil {
				return err
			}
		}
	}
	rp := fmt.Sprint(o.RPFilter)
	err := w.DUT.Sysctl("net.ipv4.icmp_msgs_per_sec=1000000", "net.ipv4.icmp_msgs_burst=100000")
	if err != nil && !errors.Is(err, os.ErrNotExist) { // an old kernel has them for all namespaces together
		return err
	}
	return w.DUT.Sysctl("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.default.forwarding=1",
		"net.ipv4.conf.all.rp_filter="+rp, "net.ipv4.conf.default.rp_filter="+rp, "net.ipv4.icmp_ratelimit=0",
		"net.ipv6.icmp.ratelimit=0",
		"net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.default.send_redirects=0", "net.ipv4.icmp_echo_ignore_broadcasts=1")
}

// join makes one link and everything on it.
func (w *World) join(leg Leg, far *NS, mtu int, o Options) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Namespace, attrs.HardwareAddr = leg.Iface, netlink.NsFd(int(w.DUT.handle)), leg.DUTMAC
	if mtu != 0 {
		attrs.MTU = mtu
	}
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(far.handle)), PeerHardwareAddr: leg.FarMAC}
	if err := w.DUT.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("veth: %w", err)
	}
	if mtu != 0 {
		peer, err := far.nl.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := far.nl.LinkSetMTU(peer, mtu); err != nil {
			return err
		}
	}
	if err := far.up("eth0", o); err != nil {
		return err
	}
	if err := w.DUT.up(leg.Iface, o); err != nil {
		return err
	}
	if err := w.DUT.address(leg.Iface, leg.DUT4, leg.DUT6); err != nil {
		return err
	}
	if err := w.DUT.behind(leg); err != nil {
		return err
	}
	if o.Wires { // nobody there answers to ARP: the gateway stands for the link too
		return w.DUT.routes(leg.Iface, leg.Gateway4, leg.Gateway6, append(halves(leg.DUT4), halves(leg.DUT6)...)...)
	}
	if err := far.address("eth0", leg.Far4, leg.Far6); err != nil {
		return err
	}
	if err := far.Neighbour("eth0", leg.DUTMAC, leg.DUT4.Addr(), leg.DUT6.Addr()); err != nil {
		return err
	}
	return far.routes("eth0", leg.DUT4.Addr(), leg.DUT6.Addr(), prefix("0.0.0.0/0"), prefix("::/0"))
}

func (n *NS) up(iface string, o Options) error {
	if !o.Offloads {
		if err := n.Offloads(iface, false); err != nil {
			return err
		}
	}
	l, err := n.nl.LinkByName(iface)
	if err != nil {
		return err
	}
	return n.nl.LinkSetUp(l)
}

// address gives an interface its addresses, usable at once.
func (n *NS) address(iface string, prefixes ...netip.Prefix) error {
	l, err := n.nl.LinkByName(iface)
	if err != nil {
		return err
	}
	for _, p := range prefixes {
		a := &netlink.Addr{IPNet: ipnet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := n.nl.AddrAdd(l, a); err != nil {
			return fmt.Errorf("address %s: %w", p, err)
		}
		if err := n.local(p.Addr()); err != nil {
			return err
		}
	}
	return nil
}

// local waits until the namespace takes packets to an address: IPv6 addresses come into use a little after they are added.
func (n *NS) local(a netip.Addr) error {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		routes, err := n.nl.RouteGet(a.AsSlice())
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return nil
		}
	}
	return fmt.Errorf("address %s: not in use after 5 s", a)
}

// behind tells the dut its neighbours on a leg, and what it reaches through them.
func (n *NS) behind(leg Leg) error {
	hosts := []netip.Addr{leg.Gateway4, leg.Gateway6}
	for a, b, i := leg.Far4.Addr(), leg.Far6.Addr(), 0; i < 8; a, b, i = a.Next(), b.Next(), i+1 {
		hosts = append(hosts, a, b)
	}
	if err := n.Neighbour(leg.Iface, leg.FarMAC, hosts...); err != nil {
		return err
	}
	return n.routes(leg.Iface, leg.Gateway4, leg.Gateway6, leg.Behind...)
}

// Neighbour adds permanent neighbour entries.
func (n *NS) Neighbour(iface string, mac net.HardwareAddr, hosts ...netip.Addr) error {
	l, err := n.nl.LinkByName(iface)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		e := &netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: h.AsSlice(), HardwareAddr: mac}
		if err := n.nl.NeighSet(e); err != nil {
			return fmt.Errorf("neighbour %s: %w", h, err)
		}
	}
	return nil
}

// routes adds routes through the gateway of the prefix's family.
func (n *NS) routes(iface string, gw4, gw6 netip.Addr, to ...netip.Prefix) error {
	l, err := n.nl.LinkByName(iface)
	if err != nil {
		return err
	}
	for _, p := range to {
		gw := gw4
		if p.Addr().Is6() {
			gw = gw6
		}
		if err := n.nl.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipnet(p), Gw: gw.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}); err != nil {
			return fmt.Errorf("route %s: %w", p, err)
		}
	}
	return nil
}

// halves are the two more specific prefixes of a prefix.
func halves(p netip.Prefix) []netip.Prefix {
	upper := p.Masked().Addr().AsSlice()
	upper[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	a, _ := netip.AddrFromSlice(upper)
	return []netip.Prefix{netip.PrefixFrom(p.Masked().Addr(), p.Bits()+1), netip.PrefixFrom(a, p.Bits()+1)}
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Offloads switches checksum offload, scatter-gather, TSO, GSO and GRO of an interface (linux/ethtool.h).
func (n *NS) Offloads(iface string, on bool) error {
	value := uint32(0)
	if on {
		value = 1
	}
	return n.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, cmd := range []uint32{unix.ETHTOOL_SRXCSUM, unix.ETHTOOL_STXCSUM, unix.ETHTOOL_SSG, unix.ETHTOOL_STSO, unix.ETHTOOL_SGSO, unix.ETHTOOL_SGRO} {
			arg := struct{ cmd, data uint32 }{cmd, value}
			var req struct {
				name [unix.IFNAMSIZ]byte
				data unsafe.Pointer
				_    [16]byte
			}
			copy(req.name[:unix.IFNAMSIZ-1], iface)
			req.data = unsafe.Pointer(&arg)
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
				return fmt.Errorf("%s: ethtool command %#x: %w", iface, cmd, errno)
			}
		}
		return nil
	})
}

// Link finds an interface of the namespace.
func (n *NS) Link(iface string) (netlink.Link, error) { return n.nl.LinkByName(iface) }

// AddAddress gives an interface more addresses.
func (n *NS) AddAddress(iface string, prefixes ...netip.Prefix) error {
	return n.address(iface, prefixes...)
}

// EverythingLocal makes every address one of the namespace's own for what comes in by an interface.
func (n *NS) EverythingLocal(iface string) error {
	lo, err := n.nl.LinkByName("lo")
	if err != nil {
		return err
	}
	const table = 100
	for family, all := range map[int]netip.Prefix{unix.AF_INET: prefix("0.0.0.0/0"), unix.AF_INET6: prefix("::/0")} {
		r := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipnet(all), Type: unix.RTN_LOCAL, Table: table, Scope: netlink.SCOPE_HOST}
		if err := n.nl.RouteAdd(r); err != nil {
			return fmt.Errorf("local route %s: %w", all, err)
		}
		rule := netlink.NewRule()
		rule.Family, rule.IifName, rule.Table, rule.Priority = family, iface, table, 1
		if err := n.nl.RuleAdd(rule); err != nil {
			return fmt.Errorf("routing rule: %w", err)
		}
	}
	return nil
}

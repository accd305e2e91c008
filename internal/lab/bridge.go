package lab

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Bridge is a network of containers as container engines make them: a bridge of the dut, which is the containers' router.
type Bridge struct {
	Iface      string
	DUT4, DUT6 netip.Prefix
}

// The bridges: the one that every container joins by default, and one of somebody's own.
var (
	Docker0 = Bridge{Iface: "docker0", DUT4: prefix("172.17.0.1/16"), DUT6: prefix("fd00:17::1/64")}
	Private = Bridge{Iface: "br-9d4e21", DUT4: prefix("172.18.0.1/16"), DUT6: prefix("fd00:18::1/64")}
)

// Host is the n-th container's addresses.
func (b Bridge) Host(n int) (v4, v6 netip.Prefix) {
	nth := func(p netip.Prefix) netip.Prefix {
		a := p.Addr()
		for range n {
			a = a.Next()
		}
		return netip.PrefixFrom(a, p.Bits())
	}
	return nth(b.DUT4), nth(b.DUT6)
}

// Bridge makes a bridge at the dut and containers on its ports.
func (w *World) Bridge(b Bridge, containers int) ([]*NS, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = b.Iface
	br := &netlink.Bridge{LinkAttrs: attrs}
	if err := w.DUT.nl.LinkAdd(br); err != nil {
		return nil, fmt.Errorf("bridge %s: %w", b.Iface, err)
	}
	if err := w.DUT.nl.LinkSetUp(br); err != nil {
		return nil, fmt.Errorf("bridge %s: %w", b.Iface, err)
	}
	var all []*NS
	for n := range containers {
		c, err := w.container(b, br, n+1)
		if err != nil {
			return nil, fmt.Errorf("bridge %s: container %d: %w", b.Iface, n+1, err)
		}
		all = append(all, c)
	}
	return all, w.DUT.address(b.Iface, b.DUT4, b.DUT6)
}

// container is a namespace on a port of a bridge, which it has for a router.
func (w *World) container(b Bridge, br netlink.Link, n int) (*NS, error) {
	w.ports++
	c, err := newNS(fmt.Sprintf("%sc%d", w.prefix, w.ports))
	if err != nil {
		return nil, err
	}
	w.spaces = append(w.spaces, c)
	err = c.Sysctl("net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.router_solicitations=0", "net.ipv6.conf.default.accept_ra=0")
	if err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Namespace, attrs.MasterIndex = fmt.Sprintf("veth%d", w.ports), netlink.NsFd(int(w.DUT.handle)), br.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(c.handle))}
	if err := w.DUT.nl.LinkAdd(veth); err != nil {
		return nil, err
	}
	for _, end := range []struct {
		ns    *NS
		iface string
	}{{w.DUT, attrs.Name}, {c, "eth0"}} {
		if err := end.ns.up(end.iface, Options{}); err != nil {
			return nil, err
		}
	}
	if err := w.DUT.nl.LinkSetHairpin(veth, true); err != nil {
		return nil, err
	}
	v4, v6 := b.Host(n)
	if err := c.address("eth0", v4, v6); err != nil {
		return nil, err
	}
	return c, c.routes("eth0", b.DUT4.Addr(), b.DUT6.Addr(), prefix("0.0.0.0/0"), prefix("::/0"))
}

package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"net"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// describeHost tells the programs what this host's interfaces are called and, if the rules ask, what its addresses are. The live
// generation reads these maps too; it only sees newer facts.
func (t *transaction) describeHost() error {
	if err := nameInterfaces(t.shared["ifaces"]); err != nil {
		return err
	}
	if m := t.shared["cgroups"]; m != nil {
		missing, err := t.fillCgroups(m)
		if err != nil {
			return err
		}
		for _, name := range missing {
			t.warn("control group %q: not there; rules that name it match nothing until there is one", name)
		}
	}
	if !t.uses().Has(ruleset.FieldSrcType, ruleset.FieldDstType) {
		return nil
	}
	return typeAddresses(t.shared["addr_types"])
}

// staleHost reports whether the rules of a generation ask for names or addresses that are not what the programs were told (Refresh does).
// XDP asks for the interfaces' MACs, the SYN proxy for their MTUs.
func (d *Dataplane) staleHost(g *Generation) (bool, error) {
	rs, err := d.at.readRuleset(g.Number)
	if err != nil {
		return false, err
	}
	if rs.Uses(ruleset.FieldInIface, ruleset.FieldOutIface) || g.judgesInXDP() || g.TCP != nil {
		if stale, err := d.staleNames(); stale || err != nil {
			return stale, err
		}
	}
	if rs.Uses(ruleset.FieldSrcType, ruleset.FieldDstType) {
		return d.staleAddresses()
	}
	return false, nil
}

func (d *Dataplane) staleNames() (bool, error) {
	m, err := d.openPinned("ifaces")
	if err != nil {
		return false, err
	}
	defer m.Close()
	all, err := interfaces()
	for _, i := range all {
		var v bpf.Iface
		if err := m.Lookup(uint32(i.index)&0xffff, &v); err != nil || v != ifaceEntry(i) {
			return true, err
		}
	}
	return false, err
}

func (d *Dataplane) staleAddresses() (bool, error) {
	m, err := d.openPinned("addr_types")
	if err != nil {
		return false, err
	}
	defer m.Close()
	want, err := localAddresses()
	if err != nil {
		return false, err
	}
	told := map[bpf.AddrKey]uint16{}
	var key bpf.AddrKey
	var types uint16
	all := m.Iterate()
	for all.Next(&key, &types) {
		told[key] = types
	}
	return !maps.Equal(told, want), all.Err()
}

// nameInterfaces fills the map of interfaces. Entries of interfaces that are gone may stay: they name an index that nothing has.
func nameInterfaces(m *ebpf.Map) error {
	all, err := interfaces()
	if err != nil {
		return err
	}
	for _, i := range all {
		if err := m.Put(uint32(i.index)&0xffff, ifaceEntry(i)); err != nil {
			return fmt.Errorf("interface %q: %w", i.name, errKernel(err))
		}
	}
	return nil
}

func ifaceEntry(i iface) bpf.Iface {
	v := bpf.Iface{Ifindex: uint32(i.index), Bond: uint32(i.bond), Mac: i.mac, Mtu: uint16(min(i.mtu, 1<<16-1))}
	for n := range min(len(i.name), len(v.Name)-1) {
		v.Name[n] = int8(i.name[n])
	}
	return v
}

// typeAddresses makes the map of address types a copy of the kernel's table "local".
func typeAddresses(m *ebpf.Map) error {
	want, err := localAddresses()
	if err != nil {
		return err
	}
	for key, types := range want {
		if err := m.Put(key, types); err != nil {
			return fmt.Errorf("address types: %w", errKernel(err))
		}
	}
	var key bpf.AddrKey
	var types uint16
	var stale []bpf.AddrKey
	for all := m.Iterate(); all.Next(&key, &types); {
		if _, ok := want[key]; !ok {
			stale = append(stale, key)
		}
	}
	for _, key := range stale {
		_ = m.Delete(key)
	}
	return nil
}

// tooManyAddresses ends the list of own addresses if it has no room for all (OWN_TOO_MANY in bpf/fw.h).
const tooManyAddresses = 255

// listAddresses lists the addresses that packets of this host may have.
func listAddresses(m *ebpf.Map) error {
	all, err := localAddresses()
	if err != nil {
		return err
	}
	list := make([]bpf.OwnAddr, m.MaxEntries())
	n := 0
	for key, types := range all {
		whole := key.Family == 4 && key.Prefixlen == 64 || key.Prefixlen == 160
		if !whole || types != 1<<unix.RTN_LOCAL {
			continue
		}
		if n == len(list) {
			list[0].Family = tooManyAddresses
			break
		}
		list[n] = bpf.OwnAddr{Addr: key.Addr, Family: key.Family}
		n++
	}
	for i, a := range list {
		if err := m.Put(uint32(i), a); err != nil {
			return fmt.Errorf("own addresses: %w", errKernel(err))
		}
	}
	return nil
}

// localAddresses reads the table "local": its routes have the types RTN_LOCAL, _BROADCAST, _ANYCAST and _MULTICAST.
func localAddresses() (map[bpf.AddrKey]uint16, error) {
	all := map[bpf.AddrKey]uint16{}
	for family, version := range map[int]uint32{unix.AF_INET: 4, unix.AF_INET6: 6} {
		routes, err := dump(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_LOCAL}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("routes: %w", errKernel(err))
		}
		for _, r := range routes {
			if r.Dst != nil {
				all[addrKey(version, r.Dst)] = 1 << r.Type
			}
		}
	}
	return all, nil
}

// dump takes a list from the kernel again if it changed while it was being read.
func dump[T any](list func() ([]T, error)) (all []T, err error) {
	for range 10 {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

func addrKey(version uint32, n *net.IPNet) bpf.AddrKey {
	ones, _ := n.Mask.Size()
	key := bpf.AddrKey{Prefixlen: 32 + uint32(ones), Family: version}
	ip := n.IP.To16()
	if version == 4 {
		ip = n.IP.To4()
	}
	putAddr(&key.Addr, ip)
	return key
}

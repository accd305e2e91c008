package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Conn is an entry of the kernel's conntrack. Index 0 is the original direction, 1 the reply's.
type Conn struct {
	Proto    uint8
	Src, Dst netip.AddrPort // ICMP: the ports are the id, and type << 8 | code of the request
	State    uint8          // of TCP and SCTP, as the kernel numbers them
	Status   uint32         // StatusSeenReply, StatusAssured and others
	Left     uint32         // seconds
	Packets  [2]uint64      // 0 unless nf_conntrack_acct is on
	Tags     [2]uint32      // SCTP: verification tags
}

// Bits of Conn.Status: enum ip_conntrack_status of linux/netfilter/nf_conntrack_common.h.
const (
	StatusSeenReply = 1 << 1
	StatusAssured   = 1 << 2
)

// FlushConntrack makes the namespace's kernel forget all connections.
func (n *NS) FlushConntrack() error {
	if err := n.nl.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		return fmt.Errorf("flushing conntrack: %w", err)
	}
	return nil
}

// Conntrack lists the connections that the namespace's kernel knows.
func (n *NS) Conntrack() (all []Conn, err error) {
	err = n.Do(func() error {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP)
			req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
			messages, err := req.Execute(unix.NETLINK_NETFILTER, 0)
			if err != nil {
				return fmt.Errorf("listing conntrack: %w", err)
			}
			for _, m := range messages {
				if len(m) < nl.SizeofNfgenmsg {
					return fmt.Errorf("listing conntrack: a message of %d bytes", len(m))
				}
				all = append(all, readConn(m[nl.SizeofNfgenmsg:]))
			}
		}
		return nil
	})
	return all, err
}

// attributes are those of a message by number, without what the top bits say of their kind.
func attributes(b []byte) map[uint16][]byte {
	out := map[uint16][]byte{}
	for len(b) >= 4 {
		size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if size < 4 || size > len(b) {
			break
		}
		out[kind&0x3fff] = b[4:size]
		b = b[min(len(b), (size+3)&^3):]
	}
	return out
}

// readConn reads the attributes of enum ctattr_type (linux/netfilter/nfnetlink_conntrack.h).
func readConn(message []byte) (c Conn) {
	top := attributes(message)
	c.readTuple(attributes(top[1]))
	c.Status, c.Left = number32(top[3]), number32(top[7])
	info := attributes(top[4])
	for _, kind := range []uint16{1, 3} { // TCP, SCTP
		if state := attributes(info[kind])[1]; len(state) > 0 {
			c.State = state[0]
		}
	}
	for dir := range 2 {
		c.Tags[dir] = number32(attributes(info[3])[uint16(2+dir)])
		if b := attributes(top[uint16(9+dir)])[1]; len(b) == 8 {
			c.Packets[dir] = binary.BigEndian.Uint64(b)
		}
	}
	return c
}

func (c *Conn) readTuple(tuple map[uint16][]byte) {
	ip, proto := attributes(tuple[1]), attributes(tuple[2])
	var ends [2]netip.Addr
	for i := range ends {
		for _, kind := range []uint16{1, 3} { // IPv4, IPv6
			if a, ok := netip.AddrFromSlice(ip[kind+uint16(i)]); ok {
				ends[i] = a
			}
		}
	}
	if len(proto[1]) > 0 {
		c.Proto = proto[1][0]
	}
	src, dst := number16(proto[2]), number16(proto[3])
	for _, kind := range []uint16{4, 7} { // ICMP, ICMPv6: id, type, code
		if len(proto[kind]) > 0 && len(proto[kind+1]) > 0 && len(proto[kind+2]) > 0 {
			src, dst = number16(proto[kind]), uint16(proto[kind+1][0])<<8|uint16(proto[kind+2][0])
		}
	}
	c.Src, c.Dst = netip.AddrPortFrom(ends[0], src), netip.AddrPortFrom(ends[1], dst)
}

func number16(b []byte) uint16 {
	if len(b) != 2 {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

func number32(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Local is the raw IP sockets of a namespace: they see what its input hook let through, and send packets through its output hook.
type Local struct {
	out4, out6 int
	listen     []listener
	buf, oob   []byte
}

type listener struct {
	fd, proto int
	six       bool
}

// Protocols are the IP protocols that Local listens for.
var Protocols = struct{ V4, V6 []int }{
	V4: []int{unix.IPPROTO_ICMP, unix.IPPROTO_IGMP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_GRE, unix.IPPROTO_ESP, unix.IPPROTO_SCTP, unix.IPPROTO_UDPLITE, 253},
	V6: []int{unix.IPPROTO_ICMPV6, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_GRE, unix.IPPROTO_ESP, unix.IPPROTO_SCTP, unix.IPPROTO_UDPLITE, 253},
}

// OpenLocal opens the sockets.
func (n *NS) OpenLocal() (*Local, error) {
	l := &Local{out4: -1, out6: -1, buf: make([]byte, 1<<17), oob: make([]byte, 512)}
	err := n.Do(func() error {
		var err error
		if l.out4, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
			return err
		}
		if err = unix.SetsockoptInt(l.out4, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
			return err
		}
		if l.out6, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
			return err
		}
		if err = unix.SetsockoptInt(l.out6, unix.IPPROTO_IPV6, unix.IPV6_HDRINCL, 1); err != nil {
			return err
		}
		for _, proto := range Protocols.V4 {
			if err := l.open(unix.AF_INET, proto); err != nil {
				return fmt.Errorf("protocol %d: %w", proto, err)
			}
		}
		for _, proto := range Protocols.V6 {
			if err := l.open(unix.AF_INET6, proto); err != nil {
				return fmt.Errorf("protocol %d over IPv6: %w", proto, err)
			}
		}
		return nil
	})
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("raw sockets in %s: %w", n.Name, err)
	}
	return l, nil
}

func (l *Local) open(family, proto int) error {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return err
	}
	l.listen = append(l.listen, listener{fd, proto, family == unix.AF_INET6})
	if family == unix.AF_INET6 {
		for _, option := range []int{ipv6FlowInfo, unix.IPV6_RECVPKTINFO, unix.IPV6_RECVHOPLIMIT} {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, option, 1); err != nil {
				return err
			}
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVMARK, 1); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
}

// ipv6FlowInfo is IPV6_FLOWINFO of linux/in6.h: the flow label as a control message.
const ipv6FlowInfo = 11

// Join makes the namespace a member of a multicast group on an interface.
func (l *Local) Join(n *NS, iface string, group netip.Addr) error {
	link, err := n.nl.LinkByName(iface)
	if err != nil {
		return err
	}
	index := link.Attrs().Index
	if group.Is4() {
		return unix.SetsockoptIPMreqn(l.out4, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(index)})
	}
	return unix.SetsockoptIPv6Mreq(l.out6, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(index)})
}

// Mark gives what is sent from now on a mark.
func (l *Local) Mark(mark int) error {
	return errors.Join(unix.SetsockoptInt(l.out4, unix.SOL_SOCKET, unix.SO_MARK, mark), unix.SetsockoptInt(l.out6, unix.SOL_SOCKET, unix.SO_MARK, mark))
}

// Send sends an IP packet, header included, as a program of the namespace would.
func (l *Local) Send(packet []byte) error {
	if packet[0]>>4 == 4 {
		return unix.Sendto(l.out4, packet, 0, &unix.SockaddrInet4{Addr: [4]byte(packet[16:20])})
	}
	return unix.Sendto(l.out6, packet, 0, &unix.SockaddrInet6{Addr: [16]byte(packet[24:40])})
}

// Delivered is a packet that was handed to the transport layer.
type Delivered struct {
	Family  int    // 4 or 6
	Proto   int    //
	ID      uint32 // IPv4 identification, IPv6 flow label
	TTL     uint8  // or hop limit
	TOS     uint8  // or traffic class
	Mark    uint32
	Source  netip.Addr
	Dest    netip.Addr
	Payload []byte // from the transport header on
}

// Drain hands every delivered packet to f, which must not keep the payload.
func (l *Local) Drain(f func(Delivered)) error {
	for _, s := range l.listen {
		for {
			n, oobn, _, from, err := unix.Recvmsg(s.fd, l.buf, l.oob, 0)
			if err == unix.EAGAIN {
				break
			}
			if err != nil {
				return fmt.Errorf("protocol %d: %w", s.proto, err)
			}
			if d, ok := s.delivered(l.buf[:n], l.oob[:oobn], from); ok {
				f(d)
			}
		}
	}
	return nil
}

func (s listener) delivered(b, oob []byte, from unix.Sockaddr) (Delivered, bool) {
	if !s.six {
		if len(b) < 20 || int(b[0]&15)*4 > len(b) {
			return Delivered{}, false
		}
		src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		d := Delivered{Family: 4, Proto: s.proto, ID: uint32(binary.BigEndian.Uint16(b[4:])), TTL: b[8], TOS: b[1], Source: src, Dest: dst}
		d.Payload = b[b[0]&15*4:]
		d.control(oob)
		return d, true
	}
	d := Delivered{Family: 6, Proto: s.proto, Payload: b}
	if sa, ok := from.(*unix.SockaddrInet6); ok {
		d.Source = netip.AddrFrom16(sa.Addr)
	}
	d.control(oob)
	return d, true
}

// control reads what comes beside a packet.
func (d *Delivered) control(oob []byte) {
	msgs, _ := unix.ParseSocketControlMessage(oob)
	for _, m := range msgs {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_MARK && len(m.Data) >= 4:
			d.Mark = binary.NativeEndian.Uint32(m.Data)
		case m.Header.Level != unix.IPPROTO_IPV6:
		case m.Header.Type == ipv6FlowInfo && len(m.Data) >= 4:
			d.ID, d.TOS = binary.BigEndian.Uint32(m.Data)&0xfffff, uint8(binary.BigEndian.Uint32(m.Data)>>20)
		case m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4:
			d.TTL = uint8(binary.NativeEndian.Uint32(m.Data))
		case m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 16:
			d.Dest = netip.AddrFrom16([16]byte(m.Data[:16]))
		}
	}
}

// Close closes the sockets.
func (l *Local) Close() {
	for _, s := range l.listen {
		unix.Close(s.fd)
	}
	l.listen = nil
	for _, fd := range []int{l.out4, l.out6} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	l.out4, l.out6 = -1, -1
}

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects from the namespace to an address and port.
func (n *NS) Dial(network string, to netip.AddrPort, timeout time.Duration) (conn net.Conn, err error) {
	err = n.Do(func() error {
		d := net.Dialer{Timeout: timeout}
		conn, err = d.Dial(network, to.String())
		return err
	})
	return conn, err
}

// Listen listens for TCP connections in the namespace.
func (n *NS) Listen(at netip.AddrPort) (l net.Listener, err error) {
	err = n.Do(func() error {
		l, err = net.Listen("tcp", at.String())
		return err
	})
	return l, err
}

// ListenUDP opens a UDP socket in the namespace.
func (n *NS) ListenUDP(at netip.AddrPort) (c *net.UDPConn, err error) {
	err = n.Do(func() error {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	return c, err
}

// Serve accepts TCP connections in the namespace and gives each to handle, until the listener is closed.
func (n *NS) Serve(at netip.AddrPort, handle func(net.Conn)) (net.Listener, error) {
	l, err := n.Listen(at)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go handle(c)
		}
	}()
	return l, nil
}

// Echo answers UDP datagrams with themselves until the socket is closed.
func (n *NS) Echo(at netip.AddrPort) (*net.UDPConn, error) {
	c, err := n.ListenUDP(at)
	if err != nil {
		return nil, err
	}
	go func() {
		buf := make([]byte, 1<<16)
		for {
			size, from, err := c.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = c.WriteToUDPAddrPort(buf[:size], from)
			}
		}
	}()
	return c, nil
}

// Ping sends one echo request of size bytes and waits for its reply.
func (n *NS) Ping(to netip.Addr, size int, timeout time.Duration) error {
	family, proto, kind, reply := unix.AF_INET, unix.IPPROTO_ICMP, byte(8), byte(0)
	if to.Is6() {
		family, proto, kind, reply = unix.AF_INET6, unix.IPPROTO_ICMPV6, 128, 129
	}
	return n.Do(func() error {
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		request := make([]byte, max(8, size))
		request[0] = kind
		binary.BigEndian.PutUint16(request[4:], uint16(os.Getpid())^uint16(fd))
		binary.BigEndian.PutUint16(request[6:], uint16(time.Now().UnixNano()))
		if proto == unix.IPPROTO_ICMP { // the kernel fills in ICMPv6's
			binary.BigEndian.PutUint16(request[2:], ^fold(sum(request, 0)))
		}
		if err := unix.Sendto(fd, request, 0, sockaddr(to)); err != nil {
			return err
		}
		return awaitEcho(fd, request, reply, to, time.Now().Add(timeout))
	})
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}

func awaitEcho(fd int, request []byte, reply byte, to netip.Addr, deadline time.Time) error {
	buf := make([]byte, 1<<16)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("ping %s: %w", to, os.ErrDeadlineExceeded)
		}
		tv := unix.NsecToTimeval(left.Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return err
		}
		size, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("ping %s: %w", to, err)
		}
		got := buf[:size]
		if to.Is4() && size > 20 {
			got = got[int(got[0]&15)*4:]
		}
		if len(got) == len(request) && got[0] == reply && string(got[4:8]) == string(request[4:8]) {
			return nil
		}
	}
}

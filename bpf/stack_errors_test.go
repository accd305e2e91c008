package bpf

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestErrorsOfTheStack: what the router's own stack says of a datagram that went no further, and opened no flow, is RELATED. What somebody
// makes up on a socket of another protocol is not.
func TestErrorsOfTheStack(t *testing.T) {
	w := newWorld(t)
	spec := classifier(t, "cfg_conntrack", "cfg_forwarding")
	for _, p := range spec.Programs {
		p.Instructions = replace(p.Instructions, "fw_output", onlyStates("fw_output", related|untracked)...)
	}
	w.protect(load(t, spec), "r1", "r2")
	for _, c := range []struct {
		raw, udp, router, client, server string
		level, hops                      int
		exceeded                         byte
	}{
		{"ip4:icmp", "udp4", "10.9.1.1", "10.9.1.2", "10.9.2.2", unix.IPPROTO_IP, unix.IP_TTL, 11},
		{"ip6:ipv6-icmp", "udp6", "fd09:1::1", "fd09:1::2", "fd09:2::2", unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 3},
	} {
		var errs net.PacketConn
		w.in(w.a, func() (err error) { errs, err = net.ListenPacket(c.raw, c.client); return err })
		defer errs.Close()
		if err := withHops(c.udp, net.JoinHostPort(c.server, "9"), c.level, c.hops); err != nil {
			t.Fatal(err)
		}
		if !hears(errs, c.exceeded) {
			t.Errorf("%s: nothing of the stack's came", c.raw)
		}
		router, client, server := netip.MustParseAddr(c.router), netip.MustParseAddr(c.client), netip.MustParseAddr(c.server)
		forged := frame(router, client, protoICMP, summed(router, client, protoICMP, 2, icmp(11, 0, 0, ip4(client, server, protoUDP, 0, nil, udp(1, 9, 0)))))
		domain := unix.AF_INET
		var to unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte(client.AsSlice()[:4])}
		if client.Is6() {
			forged = frame(router, client, protoICMP6, summed(router, client, protoICMP6, 2, icmp(3, 0, 0, ip6(client, server, protoUDP, udp(1, 9, 0)))))
			domain, to = unix.AF_INET6, &unix.SockaddrInet6{Addr: client.As16()}
		}
		w.in(w.router, func() error { return sendOn(domain, forged[14:], to) })
		if hears(errs, c.exceeded) {
			t.Errorf("%s: what was made up came", c.raw)
		}
	}
}

// withHops sends an empty datagram that gets no further than the first router.
func withHops(network, to string, level, option int) error {
	s, err := net.Dial(network, to)
	if err != nil {
		return err
	}
	defer s.Close()
	raw, err := s.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), level, option, 1) })
	_, write := s.Write(nil)
	return errors.Join(err, set, write)
}

// hears waits for an ICMP message of a type.
func hears(s net.PacketConn, typ byte) bool {
	b := make([]byte, 1500)
	for s.SetDeadline(time.Now().Add(time.Second)) == nil {
		n, _, err := s.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		if err == nil && slices.Contains(b[:min(n, 1)], typ) {
			return true
		}
	}
	return false
}

// sendOn sends an IP packet with the header that it has.
func sendOn(domain int, packet []byte, to unix.Sockaddr) error {
	s, err := unix.Socket(domain, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	return unix.Sendto(s, packet, 0, to)
}

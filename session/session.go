// Package session tells whether rules would cut the SSH connection that the operator works over.
package session

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Session is an SSH connection, seen from the server.
type Session struct {
	Client, Server netip.AddrPort
	Iface          string // by which the client's packets come; "" if unknown
}

// Parse reads the value of SSH_CONNECTION: "client port server port" (sshd(8)). An empty value is no session.
func Parse(value string) (*Session, error) {
	if value == "" {
		return nil, nil
	}
	words := strings.Fields(value)
	if len(words) != 4 {
		return nil, fmt.Errorf("SSH_CONNECTION %q: want four words", value)
	}
	client, err := addrPort(words[0], words[1])
	if err != nil {
		return nil, fmt.Errorf("SSH_CONNECTION %q: %w", value, err)
	}
	server, err := addrPort(words[2], words[3])
	if err != nil {
		return nil, fmt.Errorf("SSH_CONNECTION %q: %w", value, err)
	}
	iface := server.Addr().Zone()
	if iface == "" {
		iface = ifaceOf(server.Addr())
	}
	return &Session{Client: bare(client), Server: bare(server), Iface: iface}, nil
}

func addrPort(addr, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), err
}

// bare drops the zone: packets have none.
func bare(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().WithZone(""), ap.Port())
}

// ifaceOf is the interface that has an address.
func ifaceOf(a netip.Addr) string {
	ifaces, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, iface := range ifaces {
		addrs, _ := iface.Addrs()
		for _, addr := range addrs {
			if ipnet, ok := addr.(*net.IPNet); ok && ipnet.IP.Equal(a.AsSlice()) {
				return iface.Name
			}
		}
	}
	return ""
}

func (s *Session) String() string {
	return fmt.Sprintf("%s → port %d", s.Client.Addr(), s.Server.Port())
}

// Cut is a packet of the session, or of the next one from the same place, that rules would not let through.
type Cut struct {
	What    string // which packet
	Verdict ruleset.Verdict
	Trace   ruleset.Trace // of the hook that decided
}

// CutBy finds a packet that the rules would not let through; nil if there is none. Tracked says that the firewall in the kernel
// knows the connection already; otherwise its next packet is the first that it sees, and as such NEW.
func (s *Session) CutBy(rs *ruleset.Ruleset, tracked bool) *Cut {
	next := uint64(ruleset.StateNew)
	if tracked {
		next = ruleset.StateEstablished
	}
	for _, try := range []struct {
		what string
		hook ruleset.Hook
		p    ruleset.Packet
	}{
		{"the next packet of this session", ruleset.HookInput, s.fromClient(ack, next)},
		{"the answers of this session", ruleset.HookOutput, s.answer()},
		{"a new session from the same place", ruleset.HookInput, s.fromClient(syn, ruleset.StateNew)},
	} {
		if v, traces := rs.Walk(try.hook, &try.p, nil); v.Kind != ruleset.Accept {
			return &Cut{try.what, v, traces[len(traces)-1]}
		}
	}
	return nil
}

// Proto is TCP's protocol number.
const Proto = 6

// TCP flags.
const (
	syn = 2
	ack = 16
)

func (s *Session) fromClient(flags int, state uint64) ruleset.Packet {
	p := packet(s.Client, s.Server)
	p.In, p.TCPFlags, p.State, p.DstType = s.Iface, flags, state, ruleset.AddrLocal
	return p
}

func (s *Session) answer() ruleset.Packet {
	p := packet(s.Server, s.Client)
	p.Out, p.TCPFlags, p.State, p.SrcType = s.Iface, ack, ruleset.StateEstablished, ruleset.AddrLocal
	return p
}

// packet is what all of them have in common.
func packet(from, to netip.AddrPort) ruleset.Packet {
	family := ruleset.FamilyIPv6
	if from.Addr().Is4() {
		family = ruleset.FamilyIPv4
	}
	return ruleset.Packet{
		Family: family, Src: from.Addr(), Dst: to.Addr(), Proto: Proto, SrcPort: int(from.Port()), DstPort: int(to.Port()),
		TCPMSS: ruleset.Absent, ICMPType: ruleset.Absent, ICMPCode: ruleset.Absent, Length: 60, TTL: 64,
		PktType: ruleset.PktUnicast, SrcType: ruleset.AddrUnicast, DstType: ruleset.AddrUnicast,
	}
}

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
)

var (
	published4 = netip.MustParsePrefix("10.1.20.80/32")
	published6 = netip.MustParsePrefix("2001:db8:10:20::80/128")
)

// place is one of the three hosts, and the router's interface on its side.
type place struct {
	name, iface string
	ns          func(*lab.World) *lab.NS
	v4, v6      netip.Addr
}

var (
	client = place{"client", "lan0", func(w *lab.World) *lab.NS { return w.Client }, lab.LAN.Far4.Addr(), lab.LAN.Far6.Addr()}
	server = place{"server", "wan0", func(w *lab.World) *lab.NS { return w.Server }, lab.WAN.Far4.Addr(), lab.WAN.Far6.Addr()}
	router = place{"router", "", func(w *lab.World) *lab.NS { return w.DUT }, lab.LAN.DUT4.Addr(), lab.LAN.DUT6.Addr()}
	// outside is the router as the server sees it, and web the office's published web server, which is the client.
	outside = place{"router", "", router.ns, lab.WAN.DUT4.Addr(), lab.WAN.DUT6.Addr()}
	web     = place{"web", "lan0", client.ns, published4.Addr(), published6.Addr()}
)

// What a probe can find.
const (
	answered = "answered"
	refused  = "refused" // by a reset or an ICMP error
	silent   = "silence"
)

// verdicts are what the firewall says where a probe finds this.
var verdicts = map[string]string{answered: "accept", refused: "reject", silent: "drop"}

// probe is an attempt to talk to somebody, and what has to come of it. It is made over IPv4 and over IPv6.
type probe struct {
	from, to place
	proto    string // tcp, udp or ping
	port     uint16
	want     string
}

// underIptables are the probes for office.v4 and office.v6; the comments say which of their lines is meant.
var underIptables = []probe{
	{from: client, to: router, proto: "ping", want: answered},
	{from: client, to: router, proto: "tcp", port: 22, want: answered}, // the client is an administrator
	{from: client, to: router, proto: "udp", port: 53, want: answered},
	{from: client, to: router, proto: "tcp", port: 113, want: refused}, // REJECT --reject-with tcp-reset
	{from: client, to: router, proto: "tcp", port: 3306, want: refused},
	{from: server, to: outside, proto: "ping", want: answered},
	{from: server, to: outside, proto: "tcp", port: 443, want: answered},
	{from: server, to: outside, proto: "tcp", port: 22, want: silent},
	{from: server, to: outside, proto: "udp", port: 53, want: silent},
	{from: router, to: server, proto: "tcp", port: 80, want: answered},
	{from: router, to: server, proto: "tcp", port: 25, want: refused}, // -A OUTPUT
	{from: client, to: server, proto: "ping", want: answered},
	{from: client, to: server, proto: "tcp", port: 80, want: answered},
	{from: client, to: server, proto: "tcp", port: 23, want: answered},
	{from: client, to: server, proto: "udp", port: 53, want: answered},
	{from: client, to: server, proto: "tcp", port: 25, want: refused}, // icmp-admin-prohibited
	{from: client, to: server, proto: "tcp", port: 445, want: refused},
	{from: server, to: client, proto: "ping", want: silent},
	{from: server, to: client, proto: "tcp", port: 22, want: silent},
	{from: server, to: web, proto: "tcp", port: 80, want: answered}, // published
	{from: server, to: web, proto: "tcp", port: 22, want: refused},
}

// underPolicy are the probes for office.toml.
var underPolicy = []probe{
	{from: client, to: router, proto: "ping", want: answered},
	{from: client, to: router, proto: "tcp", port: 22, want: answered},
	{from: client, to: router, proto: "tcp", port: 3306, want: refused},
	{from: server, to: outside, proto: "ping", want: silent},
	{from: server, to: outside, proto: "tcp", port: 443, want: answered},
	{from: server, to: outside, proto: "tcp", port: 22, want: silent},
	{from: router, to: server, proto: "tcp", port: 25, want: answered},
	{from: client, to: server, proto: "tcp", port: 23, want: refused},
	{from: client, to: server, proto: "tcp", port: 25, want: answered},
	{from: client, to: server, proto: "udp", port: 53, want: answered},
	{from: server, to: client, proto: "tcp", port: 22, want: silent},
	{from: server, to: web, proto: "tcp", port: 80, want: answered},
	{from: server, to: web, proto: "tcp", port: 22, want: silent},
}

// patience is how long a probe waits. An ICMP error that arrives within connect(2) itself counts when the SYN is sent again,
// after a second.
const patience = 1500 * time.Millisecond

// do makes the attempt.
func (p probe) do(w *lab.World, six bool) (string, error) {
	from, to := p.from.ns(w), p.to.addr(six)
	if p.proto == "ping" {
		return outcome(from.Ping(to, 56, patience))
	}
	c, err := from.Dial(p.proto, netip.AddrPortFrom(to, p.port), patience)
	if err != nil {
		return outcome(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		return outcome(err)
	}
	_, err = c.Read(make([]byte, 5))
	return outcome(err)
}

// outcome is what an error of a socket means.
func outcome(err error) (string, error) {
	var network net.Error
	switch {
	case err == nil:
		return answered, nil
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return silent, nil
	}
	for _, refusal := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EACCES, syscall.ENOPROTOOPT} {
		if errors.Is(err, refusal) {
			return refused, nil
		}
	}
	return "", err
}

func (p place) addr(six bool) netip.Addr {
	if six {
		return p.v6
	}
	return p.v4
}

// literal is the probe's first packet as `bpfwall explain` reads it.
func (p probe) literal(six bool) []string {
	from, to := p.from.addr(six), p.to.addr(six)
	if p.from.iface == "" { // it takes the address on the way to its peer
		from = outside.addr(six)
		if p.to.iface == "lan0" {
			from = router.addr(six)
		}
	}
	dst, kind := to.String(), p.proto
	switch {
	case p.proto != "ping":
		dst = netip.AddrPortFrom(to, p.port).String()
	case six:
		kind = "icmpv6"
	default:
		kind = "icmp"
	}
	words := []string{kind, from.String(), "to", dst}
	if p.from.iface != "" {
		words = append(words, "in", p.from.iface)
	}
	if p.to.iface != "" {
		words = append(words, "out", p.to.iface)
	}
	return words
}

func (p probe) String() string {
	what := p.proto
	if p.port != 0 {
		what = fmt.Sprintf("%s/%d", p.proto, p.port)
	}
	return strings.TrimSpace(fmt.Sprintf("%-6s → %-6s  %-8s", p.from.name, p.to.name, what))
}

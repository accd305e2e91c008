// Package services knows the names of ports and protocols: a built-in table, so that a rule file means the same on every
// machine whatever its /etc/services says.
package services

import (
	"slices"
	"sort"
)

// transport is a set of transport protocols.
type transport uint8

const (
	tcp transport = 1 << iota
	udp
	sctp
)

var transports = map[string]transport{"tcp": tcp, "udp": udp, "sctp": sctp}

// Port is the port number of a service name with a transport protocol ("tcp", "udp", "sctp"). Names are compared as written.
func Port(name, proto string) (uint16, bool) {
	for _, e := range find(name) {
		if e.proto&transports[proto] != 0 {
			return e.port, true
		}
	}
	return 0, false
}

// Transports lists the transport protocols that a service name is registered for, in the order tcp, udp, sctp; nil for an unknown name.
func Transports(name string) []string {
	var out []string
	for _, proto := range []string{"tcp", "udp", "sctp"} {
		if _, ok := Port(name, proto); ok {
			out = append(out, proto)
		}
	}
	return out
}

// Protocol is the number of a protocol name such as "tcp" or "ipv6-icmp"; "all" and "ip" are 0.
func Protocol(name string) (uint8, bool) {
	n, ok := protocols[name]
	return n, ok
}

// Names lists every service name, sorted.
func Names() []string {
	out := make([]string, len(table))
	for i, e := range table {
		out[i] = e.name
	}
	return slices.Compact(out)
}

// find is the rows of a name.
func find(name string) []entry {
	from := sort.Search(len(table), func(i int) bool { return table[i].name >= name })
	to := from
	for to < len(table) && table[to].name == name {
		to++
	}
	return table[from:to]
}

package cases

import "github.com/bpfwall/bpfwall/ruleset"

const (
	length   = ruleset.FieldLength
	ttl      = ruleset.FieldTTL
	tos      = ruleset.FieldTOS
	fragment = ruleset.FieldFragment
	routing  = ruleset.FieldRouting
)

// ipCases look at the IP header.
var ipCases = []Case{
	{Name: "length", Accept: all(within(length, 100, 200)),
		Allowed:  []string{"udp len 100", "udp len 200", "udp -> [::1]:9 len 150"},
		Dropped:  []string{"udp len 99", "udp len 201", "udp", "udp len 65535"},
		IPTables: []string{"-A INPUT -m length --length 100:200 -j ACCEPT"}},
	{Name: "length of several", Accept: all(or(is(length, 40, 50), within(length, 32768, 65535))),
		Allowed: []string{"tcp", "udp len 50", "udp len 32768"},
		Dropped: []string{"udp", "udp len 32767"}},
	{Name: "length masked", Accept: all(masked(length, 0x0001, 0x8001)),
		Allowed: []string{"tcp len 41"},
		Dropped: []string{"tcp", "udp len 32769"}},
	{Name: "length not", Accept: all(not(within(length, 0, 100))),
		Allowed:  []string{"udp len 101"},
		Dropped:  []string{"udp len 100"},
		IPTables: []string{"-A INPUT -m length ! --length 0:100 -j ACCEPT"}},

	{Name: "ttl", Family: ruleset.FamilyIPv4, Accept: all(is(ttl, 255)),
		Allowed:  []string{"udp ttl 255"},
		Dropped:  []string{"udp ttl 254", "udp ttl 1"},
		IPTables: []string{"-A INPUT -m ttl --ttl-eq 255 -j ACCEPT"}},
	{Name: "ttl above", Family: ruleset.FamilyIPv4, Accept: all(within(ttl, 11, 255)),
		Allowed:  []string{"udp ttl 11"},
		Dropped:  []string{"udp ttl 10", "udp ttl 0"},
		IPTables: []string{"-A INPUT -m ttl --ttl-gt 10 -j ACCEPT"}},
	{Name: "ttl not", Family: ruleset.FamilyIPv4, Accept: all(not(is(ttl, 64))),
		Allowed:  []string{"udp ttl 63"},
		Dropped:  []string{"udp"},
		IPTables: []string{"-A INPUT -m ttl ! --ttl-eq 64 -j ACCEPT"}},
	{Name: "hop limit", Family: ruleset.FamilyIPv6, Accept: all(icmpv6, is(ttl, 255)),
		Allowed:  []string{"icmpv6 router-advertisement ttl 255"},
		Dropped:  []string{"icmpv6 router-advertisement ttl 254"},
		IPTables: []string{"-A INPUT -p ipv6-icmp -m hl --hl-eq 255 -j ACCEPT"}},

	{Name: "routing header", Family: ruleset.FamilyIPv6, Accept: all(is(routing, 0)),
		Allowed:  []string{"udp 2001:db8::1 routing 0", "tcp 2001:db8::1 frag routing 0"},
		Dropped:  []string{"udp 2001:db8::1", "udp 2001:db8::1 routing 2"},
		IPTables: []string{"-A INPUT -m rt --rt-type 0 -j ACCEPT"}},
	{Name: "routing header not", Family: ruleset.FamilyIPv6, Accept: all(not(is(routing, 0))),
		Allowed:  []string{"udp 2001:db8::1 routing 4"},
		Dropped:  []string{"udp 2001:db8::1", "udp 2001:db8::1 routing 0"},
		IPTables: []string{"-A INPUT -m rt ! --rt-type 0 -j ACCEPT"}},
	{Name: "routing header, any", Family: ruleset.FamilyIPv6, Accept: all(within(routing, 0, 255)),
		Allowed:  []string{"udp 2001:db8::1 routing 0", "udp 2001:db8::1 routing 253"},
		Dropped:  []string{"udp 2001:db8::1"},
		IPTables: []string{"-A INPUT -m rt -j ACCEPT"}},
	{Name: "routing header, a range", Accept: all(within(routing, 1, 3)),
		Allowed: []string{"udp 2001:db8::1 routing 1", "tcp 2001:db8::1 routing 3"},
		Dropped: []string{"udp", "udp 2001:db8::1", "udp 2001:db8::1 routing 0", "udp 2001:db8::1 routing 4"}},

	{Name: "tos", Accept: all(masked(tos, 0x10, 0x1e)),
		Allowed:  []string{"tcp tos 0x10", "tcp tos 0xf1", "tcp -> [::1]:1 tos 0x10"},
		Dropped:  []string{"tcp", "tcp tos 0x18", "tcp ttl 16 mark 0x10"},
		IPTables: []string{"-A INPUT -m tos --tos 0x10/0x1e -j ACCEPT"}},
	{Name: "dscp", Accept: all(masked(tos, 46<<2, 0xfc)),
		Allowed:  []string{"udp dscp 46", "udp tos 0xbb", "udp -> [::1]:1 dscp 46"},
		Dropped:  []string{"udp dscp 45", "udp", "udp tos 46"},
		IPTables: []string{"-A INPUT -m dscp --dscp 46 -j ACCEPT"}},
	{Name: "dscp of several", Accept: all(or(masked(tos, 46<<2, 0xfc), masked(tos, 8<<2, 0xfc))),
		Allowed: []string{"udp dscp 46", "udp dscp 8"},
		Dropped: []string{"udp dscp 45", "udp"}},
	{Name: "tos not", Accept: all(not(masked(tos, 0x10, 0xff))),
		Allowed:  []string{"tcp", "tcp tos 0x11"},
		Dropped:  []string{"tcp tos 0x10"},
		IPTables: []string{"-A INPUT -m tos ! --tos 0x10/0xff -j ACCEPT"}},

	{Name: "fragment", Family: ruleset.FamilyIPv4, Accept: all(is(fragment, 1)),
		Allowed:  []string{"udp frag", "tcp frag"},
		Dropped:  []string{"udp", "icmp"},
		IPTables: []string{"-A INPUT -f -j ACCEPT"}},
	{Name: "fragment not", Family: ruleset.FamilyIPv4, Accept: all(not(is(fragment, 1))),
		Allowed:  []string{"udp", "icmp"},
		Dropped:  []string{"udp frag"},
		IPTables: []string{"-A INPUT ! -f -j ACCEPT"}},
	{Name: "fragment of IPv6", Accept: all(is(fragment, 1)),
		Allowed: []string{"udp 2001:db8::1 -> 2001:db8::2 frag"},
		Dropped: []string{"udp 2001:db8::1"}},
}

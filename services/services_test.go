package services

import (
	"slices"
	"testing"
)

func TestPort(t *testing.T) {
	for _, tc := range []struct {
		name, proto string
		port        uint16
		ok          bool
	}{
		{"ssh", "tcp", 22, true},
		{"ssh", "udp", 0, false},
		{"domain", "udp", 53, true},
		{"http", "tcp", 80, true},
		{"www", "tcp", 80, true},
		{"https", "udp", 443, true},
		{"bootps", "udp", 67, true},
		{"SSH", "tcp", 0, false},
		{"", "tcp", 0, false},
		{"zzz", "tcp", 0, false},
		{"ssh", "icmp", 0, false},
	} {
		if port, ok := Port(tc.name, tc.proto); port != tc.port || ok != tc.ok {
			t.Errorf("Port(%q, %q) = %d, %v; want %d, %v", tc.name, tc.proto, port, ok, tc.port, tc.ok)
		}
	}
}

func TestProtocol(t *testing.T) {
	for name, want := range map[string]uint8{"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58, "ipv6-icmp": 58, "all": 0, "gre": 47} {
		if got, ok := Protocol(name); !ok || got != want {
			t.Errorf("Protocol(%q) = %d, %v; want %d", name, got, ok, want)
		}
	}
	if _, ok := Protocol("nonsense"); ok {
		t.Error(`Protocol("nonsense") is known`)
	}
}

func TestTableIsSorted(t *testing.T) {
	if !slices.IsSortedFunc(table, func(a, b entry) int {
		if a.name < b.name {
			return -1
		}
		if a.name > b.name {
			return 1
		}
		return int(a.port) - int(b.port)
	}) {
		t.Error("table is not sorted by name")
	}
	if n := len(Names()); n < 250 {
		t.Errorf("only %d names", n)
	}
}

func TestTransports(t *testing.T) {
	if got := Transports("domain"); !slices.Equal(got, []string{"tcp", "udp"}) {
		t.Errorf(`Transports("domain") = %v`, got)
	}
	if got := Transports("nonsense"); got != nil {
		t.Errorf(`Transports("nonsense") = %v`, got)
	}
}

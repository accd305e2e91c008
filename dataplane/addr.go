package dataplane

import (
	"encoding/binary"
	"net/netip"
)

// putAddr stores an address as the programs have it: in network byte order, IPv4 in the first word.
func putAddr(to *[4]uint32, addr []byte) {
	*to = [4]uint32{}
	for i := range len(addr) / 4 {
		to[i] = binary.NativeEndian.Uint32(addr[4*i:])
	}
}

// getAddr is the address that putAddr stored.
func getAddr(from [4]uint32, family uint8) netip.Addr {
	var b [16]byte
	for i, w := range from {
		binary.NativeEndian.PutUint32(b[4*i:], w)
	}
	if family == 4 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}

package settable

import (
	"encoding/binary"
	"net/netip"
)

// PrefixEntry is a prefix as an entry of a root whose keys are addresses of its family.
func PrefixEntry(p netip.Prefix, c Cell) Entry {
	e := Entry{Bits: p.Bits(), Cell: c}
	b := p.Masked().Addr().AsSlice()
	for i := range len(b) / 2 {
		e.Key[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	return e
}

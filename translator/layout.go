package translator

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/bpfwall/bpfwall/ruleset"
)

// layout is where the members of struct fw_pkt are, from the object's own BTF.
type layout struct {
	order   binary.ByteOrder
	members map[string]member
	names   map[int16]string // by offset, for listings
}

// member is one member: its place, its size and that of its elements if it is an array, in bytes.
type member struct {
	off, size, elem int
}

// fieldPart is what one load instruction takes of a member.
type fieldPart struct {
	off  int16
	size asm.Size
	swap bool // from network to host byte order
}

func newLayout(spec *ebpf.CollectionSpec) (*layout, error) {
	var s *btf.Struct
	if err := spec.Types.TypeByName("fw_pkt", &s); err != nil {
		return nil, fmt.Errorf("struct fw_pkt: %s", err)
	}
	l := &layout{order: spec.ByteOrder, members: map[string]member{}, names: map[int16]string{}}
	for _, m := range s.Members {
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			return nil, fmt.Errorf("struct fw_pkt: %s: %s", m.Name, err)
		}
		at := member{off: int(m.Offset.Bytes()), size: size, elem: size}
		if a, ok := btf.UnderlyingType(m.Type).(*btf.Array); ok {
			at.elem = size / int(a.Nelems)
		}
		l.members[m.Name] = at
		for off := at.off; off < at.off+at.size; off++ {
			l.names[int16(off)] = memberName(m.Name, at, off)
		}
	}
	return l, l.complete()
}

// memberName is a member, or an element of it, as C writes it.
func memberName(name string, m member, off int) string {
	if m.elem == m.size {
		return name
	}
	return fmt.Sprintf("%s[%d]", name, (off-m.off)/m.elem)
}

// complete checks that every field of the ruleset has its member, and that instructions can load what is not an array.
func (l *layout) complete() error {
	for _, f := range ruleset.Fields {
		m, ok := l.members[f.Member]
		if f.Member == "" {
			continue
		}
		if _, loads := loadSizes[m.size]; !ok || !loads && m.elem == m.size {
			return fmt.Errorf("struct fw_pkt: no member %q of 1, 2, 4 or 8 bytes for %s", f.Member, f.Name)
		}
	}
	return nil
}

// loadSizes is the widths of load instructions, by bytes.
var loadSizes = map[int]asm.Size{1: asm.Byte, 2: asm.Half, 4: asm.Word, 8: asm.DWord}

// part is the bytes of a member from an offset in it, as one load.
func (l *layout) part(name string, from, bytes int) fieldPart {
	return fieldPart{off: int16(l.members[name].off + from), size: loadSizes[bytes]}
}

// whole is a member that one load takes.
func (l *layout) whole(name string) fieldPart { return l.part(name, 0, l.members[name].size) }

// words is a member of 16 bytes as two, or its first 4 bytes: an address, or an interface's name.
func (l *layout) words(name string, bytes int) []fieldPart {
	if bytes == 4 {
		return []fieldPart{l.part(name, 0, 4)}
	}
	return []fieldPart{l.part(name, 0, 8), l.part(name, 8, 8)}
}

// value is the bytes as a load of them gives it.
func (l *layout) value(b []byte) uint64 {
	if len(b) == 4 {
		return uint64(l.order.Uint32(b))
	}
	return l.order.Uint64(b)
}

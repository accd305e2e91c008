package translator

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// The members of struct fw_counter.
const (
	offPackets = int16(unsafe.Offsetof(bpf.Counter{}.Packets))
	offBytes   = int16(unsafe.Offsetof(bpf.Counter{}.Bytes))
)

// Pkt is a packet as these compiled rules see it on a hook: what fw_judge takes from the map "scratch".
func (o *Output) Pkt(p *ruleset.Packet, h ruleset.Hook) bpf.Pkt {
	pkt := Pkt(p, h)
	if p.Cgroup == "" {
		return pkt
	}
	pkt.Cgroups = 0
	for bit, name := range o.Cgroups {
		if ruleset.CgroupMatches(name, p.Cgroup) {
			pkt.Cgroups |= 1 << bit
		}
	}
	return pkt
}

// owner is a user or group of a packet's socket.
func owner(p *ruleset.Packet, id int) uint64 {
	if !p.Socket || id == ruleset.Absent {
		return ruleset.NoOwner
	}
	return uint64(id)
}

// Pkt is Output.Pkt for rules that name no control groups.
func Pkt(p *ruleset.Packet, h ruleset.Hook) bpf.Pkt {
	pkt := bpf.Pkt{
		Saddr: words(p.Src), Daddr: words(p.Dst),
		InName: ifname(p.In), OutName: ifname(p.Out), TcpOptions: bitmap(p.TCPOptions),
		Mark: p.Mark, Length: p.Length,
		Sport: value[uint32](ruleset.FieldSrcPort, p.SrcPort), Dport: value[uint32](ruleset.FieldDstPort, p.DstPort),
		TcpMss: value[uint32](ruleset.FieldTCPMSS, p.TCPMSS), TcpFlags: value[uint16](ruleset.FieldTCPFlags, p.TCPFlags),
		IcmpType: value[uint16](ruleset.FieldICMPType, p.ICMPType), IcmpCode: value[uint16](ruleset.FieldICMPCode, p.ICMPCode),
		Smac: absent(ruleset.FieldSrcMAC), Routing: uint16(absent(ruleset.FieldRouting)),
		Uid: owner(p, p.UID), Gid: owner(p, p.GID), Socket: oneIf(p.Socket), Connected: oneIf(p.Connected), Dnat: oneIf(p.DNAT), Cgroups: absent(ruleset.FieldCgroup),
		SrcType: uint16(p.SrcType), DstType: uint16(p.DstType), PktType: uint8(p.PktType), CtState: uint8(p.State),
		Family: uint8(p.Family), Proto: p.Proto, Ttl: p.TTL, Tos: p.TOS,
		Frag: oneIf(p.Fragment), Malformed: oneIf(p.Malformed),
		Rule: NoRule, Hook: uint8(h),
	}
	if p.HasMAC {
		pkt.Smac = p.SrcMAC
	}
	if p.HasRouting {
		pkt.Routing = uint16(p.Routing)
	}
	return pkt
}

// value is a number of a packet, with the bit that says so if the packet has none.
func value[T uint16 | uint32](f ruleset.FieldID, v int) T {
	if v == ruleset.Absent {
		return T(absent(f))
	}
	return T(v)
}

func oneIf(set bool) uint8 {
	if set {
		return 1
	}
	return 0
}

// words is an address as it is in the packet.
func words(a netip.Addr) (out [4]uint32) {
	for i, b := 0, a.AsSlice(); len(b) >= 4; i, b = i+1, b[4:] {
		out[i] = binary.NativeEndian.Uint32(b)
	}
	return out
}

// ifname is the 16 bytes of an interface's name.
func ifname(name string) (out [2]uint64) {
	var b [16]byte
	copy(b[:15], name)
	return [2]uint64{binary.NativeEndian.Uint64(b[:8]), binary.NativeEndian.Uint64(b[8:])}
}

// bitmap has bit n of the 256 set if option kind n is there.
func bitmap(kinds []byte) (out [4]uint64) {
	for _, k := range kinds {
		out[k/64] |= 1 << (k % 64)
	}
	return out
}

package dataplane

import (
	"bytes"
	"encoding/binary"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// decodePacket is a packet of the programs as the rules' own terms have it: the way back from translator.Pkt.
func decodePacket(p *bpf.Pkt) ruleset.Packet {
	out := ruleset.Packet{
		In: name(p.InName), Out: name(p.OutName), Family: ruleset.Family(p.Family),
		Src: getAddr(p.Saddr, p.Family), Dst: getAddr(p.Daddr, p.Family), Proto: p.Proto,
		SrcPort: number(ruleset.FieldSrcPort, p.Sport), DstPort: number(ruleset.FieldDstPort, p.Dport),
		TCPFlags: number(ruleset.FieldTCPFlags, p.TcpFlags), TCPOptions: kinds(p.TcpOptions), TCPMSS: number(ruleset.FieldTCPMSS, p.TcpMss),
		ICMPType: number(ruleset.FieldICMPType, p.IcmpType), ICMPCode: number(ruleset.FieldICMPCode, p.IcmpCode),
		State: uint64(p.CtState), Mark: p.Mark, Length: p.Length, TTL: p.Ttl, TOS: p.Tos,
		Fragment: p.Frag == 1, Malformed: p.Malformed == 1, DNAT: p.Dnat == 1,
		PktType: uint64(p.PktType), SrcType: uint64(p.SrcType), DstType: uint64(p.DstType),
	}
	if p.Socket == 1 {
		out.Socket, out.UID, out.GID = true, ownerID(p.Uid), ownerID(p.Gid)
	}
	if p.Smac>>48 == 0 {
		out.SrcMAC, out.HasMAC = p.Smac, true
	}
	if p.Routing>>8 == 0 {
		out.Routing, out.HasRouting = uint8(p.Routing), true
	}
	return out
}

func ownerID(v uint64) int {
	if v >= ruleset.NoOwner {
		return ruleset.Absent
	}
	return int(v)
}

// number is a field's value, or Absent: the programs then have a bit above the field's width (FW_ABSENT in fw.h).
func number[T uint16 | uint32](f ruleset.FieldID, v T) int {
	if uint64(v)>>ruleset.Fields[f].Bits != 0 {
		return ruleset.Absent
	}
	return int(v)
}

func name(words [2]uint64) string {
	b := binary.NativeEndian.AppendUint64(nil, words[0])
	b = binary.NativeEndian.AppendUint64(b, words[1])
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// kinds are the TCP options whose bits are set.
func kinds(bitmap [4]uint64) []byte {
	var out []byte
	for kind := range 256 {
		if bitmap[kind/64]&(1<<(kind%64)) != 0 {
			out = append(out, byte(kind))
		}
	}
	return out
}

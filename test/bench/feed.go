package main

import (
	"encoding/binary"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/internal/lab"
	"github.com/bpfwall/bpfwall/ruleset"
)

// frameLength is the length of every frame, Ethernet header included.
const frameLength = 64

// feed is frames in a map, and which one is next.
type feed struct {
	*ebpf.Map
	count int
}

// newFeed makes a feed; the number of headers is a power of two.
func newFeed(headers []classbench.Header) (*feed, error) {
	frames := make([][]byte, len(headers))
	for i, h := range headers {
		frames[i] = frame(h)
	}
	return feedOf(frames)
}

// feedOf makes a feed of frames, a power of two.
func feedOf(frames [][]byte) (*feed, error) {
	value := make([]byte, frameLength*(1+len(frames)))
	for i, f := range frames {
		copy(value[frameLength*(1+i):], f)
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(len(value)), MaxEntries: 1,
		Contents: []ebpf.MapKV{{Key: uint32(0), Value: value}}})
	return &feed{m, len(frames)}, err
}

// rewind makes the first frame the next one.
func (f *feed) rewind() error {
	value := make([]byte, f.ValueSize())
	if err := f.Lookup(uint32(0), value); err != nil {
		return err
	}
	binary.NativeEndian.PutUint64(value, 0)
	return f.Put(uint32(0), value)
}

// next is code that copies the next frame to where R6 points, if R7 is far enough behind it, and else goes to a label.
func (f *feed) next(short string) asm.Instructions {
	code := asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Add.Imm(asm.R1, frameLength),
		asm.JGT.Reg(asm.R1, asm.R7, short),
		asm.LoadMapValue(asm.R2, f.FD(), 0),
		asm.LoadMem(asm.R1, asm.R2, 0, asm.DWord),
		asm.Mov.Reg(asm.R3, asm.R1),
		asm.Add.Imm(asm.R3, 1),
		asm.StoreMem(asm.R2, 0, asm.R3, asm.DWord),
		asm.And.Imm(asm.R1, int32(f.count-1)),
		asm.Mul.Imm(asm.R1, frameLength),
		asm.Add.Reg(asm.R2, asm.R1),
	}
	for at := int16(0); at < frameLength; at += 8 {
		code = append(code, asm.LoadMem(asm.R1, asm.R2, frameLength+at, asm.DWord), asm.StoreMem(asm.R6, at, asm.R1, asm.DWord))
	}
	return code
}

// packet is a header as a packet from the sender.
func packet(h classbench.Header) lab.Packet {
	p := lab.Packet{SrcMAC: lab.LAN.FarMAC, DstMAC: lab.LAN.DUTMAC, Src: address4(h.Src), Dst: address4(h.Dst), TTL: 64, Proto: h.Proto}
	if h.SrcPort != ruleset.Absent {
		p.SrcPort, p.DstPort = uint16(h.SrcPort), uint16(h.DstPort)
	}
	if h.TCPFlags != ruleset.Absent {
		p.Flags = uint8(h.TCPFlags)
	}
	p.Payload = make([]byte, frameLength-len(p.Frame()))
	return p
}

func frame(h classbench.Header) []byte {
	p := packet(h)
	return p.Frame()
}

// answer is the packet that the far end answers with.
func answer(h classbench.Header) lab.Packet {
	p := packet(h)
	p.SrcMAC, p.DstMAC, p.Src, p.Dst, p.SrcPort, p.DstPort = lab.WAN.FarMAC, lab.WAN.DUTMAC, p.Dst, p.Src, p.DstPort, p.SrcPort
	return p
}

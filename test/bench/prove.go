package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/internal/lab"
)

func address4(v uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

// flow is what tells the frames of a proof apart.
type flow struct {
	src, dst     netip.Addr
	sport, dport uint16
}

func flowOf(h classbench.Header) flow {
	return flow{address4(h.Src), address4(h.Dst), uint16(h.SrcPort), uint16(h.DstPort)}
}

// flowIn is the flow of a packet, from the IP header on.
func flowIn(ip []byte) (f flow, ok bool) {
	if len(ip) < 24 || ip[0] != 0x45 || ip[9] != 6 && ip[9] != 17 {
		return f, false
	}
	src, _ := netip.AddrFromSlice(ip[12:16])
	dst, _ := netip.AddrFromSlice(ip[16:20])
	return flow{src, dst, binary.BigEndian.Uint16(ip[20:]), binary.BigEndian.Uint16(ip[22:])}, true
}

// proofs are some frames of the traffic, and some that are like them and are decided otherwise if anything is.
func (s *scenario) proofs() (out []classbench.Header) {
	for i := 0; i < 32; i++ {
		h := s.headers[i*len(s.headers)/32]
		near := h
		near.Src += 1 << 14
		near.DstPort += 5000
		near.SrcPort += 300
		out = append(out, h, near)
	}
	for i, r := range s.rules { // the first rules and the last, by what only they decide
		if r.state == "" && (i < 8 || i >= len(s.rules)-8) {
			f := r.Filter
			if f.Src.Bits() == 0 {
				f.Src = netip.PrefixFrom(address4(s.headers[0].Src), 32)
			}
			if f.Dst.Bits() == 0 {
				f.Dst = netip.PrefixFrom(address4(s.headers[0].Dst), 32)
			}
			out = append(out, classbench.Headers([]classbench.Filter{f}, classbench.Uniform, 1, uint64(i))...)
		}
	}
	return slices.DeleteFunc(out, func(h classbench.Header) bool { return h.Proto != 17 })
}

// prove sends single frames and compares what arrives with what the rules say: nobody wins by letting through what should not pass.
func (c *course) prove() error {
	headers := c.scenario.proofs()
	seen, err := c.arrivals(headers)
	if err != nil {
		return err
	}
	for _, h := range headers {
		want := c.expected(h)
		if got := seen[flowOf(h)]; got != want {
			return fmt.Errorf("a frame from %s port %d to %s port %d: passes is %t, the rules say %t", address4(h.Src), h.SrcPort, address4(h.Dst), h.DstPort, got, want)
		}
	}
	c.proved = len(headers)
	return nil
}

// expected is the verdict that a contender owes a first packet.
func (c *course) expected(h classbench.Header) bool {
	switch c.contender.name {
	case nothing:
		return true
	case dropAll:
		return false
	}
	return c.scenario.verdict(h, false)
}

// arrivals sends frames and returns those that get to their receiver: the far host, or the router's own sockets.
func (c *course) arrivals(headers []classbench.Header) (seen map[flow]bool, err error) {
	from, err := c.world.Client.OpenPort("eth0")
	if err != nil {
		return nil, err
	}
	defer from.Close()
	far, err := c.world.Server.OpenPort("eth0")
	if err != nil {
		return nil, err
	}
	defer far.Close()
	local, err := c.world.DUT.OpenLocal()
	if err != nil {
		return nil, err
	}
	defer local.Close()
	for _, h := range headers {
		if err := from.Send(frame(h)); err != nil {
			return nil, err
		}
	}
	seen = map[flow]bool{}
	note := func(ip []byte) {
		if f, ok := flowIn(ip); ok {
			seen[f] = true
		}
	}
	for quiet := 0; quiet < 3; quiet++ {
		time.Sleep(5 * time.Millisecond)
		before := len(seen)
		if err := far.Drain(func(f []byte) { note(f[14:]) }); err != nil {
			return nil, err
		}
		err := local.Drain(func(d lab.Delivered) {
			if d.Family == 4 && len(d.Payload) >= 4 {
				seen[flow{d.Source, d.Dest, binary.BigEndian.Uint16(d.Payload), binary.BigEndian.Uint16(d.Payload[2:])}] = true
			}
		})
		if err != nil {
			return nil, err
		}
		if len(seen) > before {
			quiet = 0
		}
	}
	return seen, nil
}

// establish sends every flow's first packet and has those that pass answered.
func (c *course) establish() error {
	from, err := c.world.Client.OpenPort("eth0")
	if err != nil {
		return err
	}
	defer from.Close()
	far, err := c.world.Server.OpenPort("eth0")
	if err != nil {
		return err
	}
	defer far.Close()
	for chunk := range slices.Chunk(c.scenario.headers, 64) {
		for _, h := range chunk {
			if err := from.Send(frame(h)); err != nil {
				return err
			}
		}
		for _, h := range chunk {
			if !c.scenario.verdict(h, false) {
				continue
			}
			a := answer(h)
			if err := far.Send(a.Frame()); err != nil {
				return err
			}
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

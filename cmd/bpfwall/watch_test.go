package main

import (
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

func TestEventLine(t *testing.T) {
	drop := &ruleset.Rule{ID: "inbound/noise", Verdict: ruleset.Verdict{Kind: ruleset.Drop}, Pos: ruleset.Pos{File: "p.toml", Line: 7}}
	tests := []struct {
		packet string
		point  translator.LogPoint
		want   string
	}{
		{
			"tcp 192.0.2.9:1024 -> 192.0.2.1:22 syn,ack in eth0", translator.LogPoint{Rule: drop, Log: ruleset.Log{Prefix: "no\x1b: "}},
			`15:04:05.678  DROP    inbound/noise             "no\x1b: "  eth0      tcp 192.0.2.9:1024 → 192.0.2.1:22 syn,ack  40 B  (p.toml:7)`,
		},
		{
			"icmpv6 2001:db8::1 -> 2001:db8::2 echo-request in eth0 out eth1", translator.LogPoint{},
			`15:04:05.678  LOG                               eth0>eth1  icmpv6 2001:db8::1 → 2001:db8::2 type 128 code 0  48 B`,
		},
	}
	for _, test := range tests {
		lit, err := packet.Parse(test.packet)
		if err != nil {
			t.Fatal(err)
		}
		e := dataplane.Event{Time: time.Date(2026, 1, 2, 15, 4, 5, 678e6, time.Local), Hook: lit.Hook, Packet: lit.Packet, Point: test.point}
		if got := eventAnswerOf(e).line(false); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.packet, got, test.want)
		}
	}
}

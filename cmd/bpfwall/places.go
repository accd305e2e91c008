package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/ruleset"
)

// places says where the rules of each hook run: what is known of a generation, or for a file (nil) what is usual.
type places struct{ gen *dataplane.Generation }

// hookOrder is the order in which packets meet the hooks: those that come in, those that leave. Chains without a hook come last.
var hookOrder = []ruleset.Hook{
	ruleset.HookPrerouting, ruleset.HookInput, ruleset.HookForward, ruleset.HookRawOutput, ruleset.HookOutput, ruleset.HookListen, ruleset.HookNone,
}

func compareHooks(a, b ruleset.Hook) int {
	return cmp.Compare(slices.Index(hookOrder, a), slices.Index(hookOrder, b))
}

// of is where a packet that came in by an interface meets a hook.
func (p places) of(h ruleset.Hook, in string) string {
	switch h {
	case ruleset.HookPrerouting:
		switch {
		case p.gen == nil:
			return "XDP or tc ingress"
		case slices.Contains(p.gen.InXDP(), in):
			return "XDP"
		}
		return "tc ingress"
	case ruleset.HookInput:
		if p.gen != nil && p.gen.NAT {
			return "netfilter LOCAL_IN"
		}
		return p.tc("ingress")
	case ruleset.HookRawOutput, ruleset.HookOutput:
		if p.gen != nil && p.gen.Connect {
			return "connect() and sendto(), then tc egress"
		}
	}
	if h == ruleset.HookListen {
		return "bind()"
	}
	return p.tc("egress")
}

// tc is a hook of tc.
func (p places) tc(direction string) string {
	if p.gen != nil && slices.Contains(p.gen.Idle, direction) {
		return "tc " + direction + ", not attached"
	}
	return "tc " + direction
}

// all is where the rules of a hook run on all interfaces.
func (p places) all(h ruleset.Hook) string {
	if h == ruleset.HookPrerouting && p.gen != nil && len(p.gen.InXDP()) > 0 {
		return "in XDP on " + strings.Join(p.gen.InXDP(), " ")
	}
	return "at " + p.of(h, "")
}

package ruleset

// Path is the hooks that a packet judged on h meets, in order: the one before connection tracking, then h itself.
func (h Hook) Path() []Hook {
	switch h {
	case HookInput, HookForward:
		return []Hook{HookPrerouting, h}
	case HookOutput:
		return []Hook{HookRawOutput, h}
	}
	return []Hook{h}
}

// Walk evaluates a packet on every hook of h's path until one does not accept it. It returns a trace for each hook that the
// packet came to. What NoTrack and SetMark statements say holds on the later hook.
func (rs *Ruleset) Walk(h Hook, p *Packet, st *State) (Verdict, []Trace) {
	var traces []Trace
	now := *p
	for _, at := range h.Path() {
		v, trace := rs.Eval(at, &now, st)
		traces = append(traces, trace)
		if v.Kind != Accept {
			return v, traces
		}
		now.Mark = trace.Packet.Mark
		if trace.NoTrack {
			now.State = StateUntracked
		}
	}
	return Verdict{Kind: Accept}, traces
}

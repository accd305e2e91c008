package policies

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bpfwall/bpfwall/ruleset"
)

// readConntrack reads [conntrack]. An empty table says nothing.
func (p *parser) readConntrack(t table) {
	if len(t.m) == 0 {
		return
	}
	ct := &ruleset.Conntrack{
		Max: p.bounded(t, "max", ruleset.MinFlows, ruleset.MaxFlows), HalfOpen: p.bounded(t, "half_open", ruleset.MinFlows, ruleset.MaxFlows),
		PerSource:  p.bounded(t, "per_source", 1, ruleset.MaxFlows),
		SourceIPv4: uint8(p.bounded(t, "source_ipv4", 1, 32)), SourceIPv6: uint8(p.bounded(t, "source_ipv6", 1, 128)),
		Liberal: t.truth("liberal"), Strict: t.has("loose") && !t.truth("loose"), Pos: t.self(),
	}
	in := t.table("timeouts")
	for _, name := range in.keys() {
		v, ok := in.text(name)
		if !ok {
			continue // the walk has reported it
		}
		if s, ok := p.seconds(v); ok {
			if ct.Timeouts == nil {
				ct.Timeouts = map[string]uint32{}
			}
			ct.Timeouts[name] = s
		}
	}
	p.pol.Ruleset.Conntrack = ct
}

// bounded reads a number; 0 if it is not there.
func (p *parser) bounded(t table, key string, least, most int64) uint32 {
	n, ok := t.m[key].(int64)
	if ok && (n < least || n > most) {
		p.fail(t.pos(key), "%s %d: not from %d to %d", key, n, least, most)
		return 0
	}
	return uint32(n)
}

// seconds reads a duration of whole seconds; days too, which Go's durations do not have.
func (p *parser) seconds(v text) (uint32, bool) {
	d, err := time.ParseDuration(v.s)
	if days, ok := strings.CutSuffix(v.s, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < time.Second || d%time.Second != 0 || d > 365*24*time.Hour {
		p.fail(v.pos, "%q: not a time such as 30s, 10m or 5d, from 1 second to a year", v.s)
		return 0, false
	}
	return uint32(d / time.Second), true
}

// writeConntrack writes [conntrack], if there is anything to say.
func (w *writer) writeConntrack(b *bytes.Buffer) {
	ct := w.rs.Conntrack
	if ct == nil {
		return
	}
	b.WriteString("\n[conntrack]\n")
	for _, v := range []struct {
		key string
		n   uint32
	}{{"max", ct.Max}, {"half_open", ct.HalfOpen}, {"per_source", ct.PerSource}, {"source_ipv4", uint32(ct.SourceIPv4)}, {"source_ipv6", uint32(ct.SourceIPv6)}} {
		if v.n != 0 {
			fmt.Fprintf(b, "%s = %d\n", v.key, v.n)
		}
	}
	if ct.Strict {
		b.WriteString("loose = false\n")
	}
	if ct.Liberal {
		b.WriteString("liberal = true\n")
	}
	if len(ct.Timeouts) > 0 {
		b.WriteString("[conntrack.timeouts]\n")
	}
	for _, t := range ruleset.ConntrackTimeouts[1:] {
		if s, ok := ct.Timeouts[t.Name]; ok {
			fmt.Fprintf(b, "%s = \"%ds\"\n", t.Name, s)
		}
	}
}

// timeoutRows are the keys of conntrack.timeouts.
func timeoutRows() []row {
	var rows []row
	for _, t := range ruleset.ConntrackTimeouts[1:] {
		d := (time.Duration(t.Default) * time.Second).String()
		rows = append(rows, row{inTimeouts, t.Name, isText, 0, "", "if absent " + d, "timeouts = { " + t.Name + ` = "` + d + `" }`})
	}
	return rows
}

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
		Max: p.tableSize(t, "max"), HalfOpen: p.tableSize(t, "half_open"), Liberal: t.truth("liberal"), Strict: t.has("loose") && !t.truth("loose"), Pos: t.self(),
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

// tableSize reads a number of flows.
func (p *parser) tableSize(t table, key string) uint32 {
	n, ok := t.m[key].(int64)
	if ok && (n < ruleset.MinFlows || n > ruleset.MaxFlows) {
		p.fail(t.pos(key), "%s %d: not from %d to %d", key, n, ruleset.MinFlows, ruleset.MaxFlows)
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
	if ct.Max != 0 {
		fmt.Fprintf(b, "max = %d\n", ct.Max)
	}
	if ct.HalfOpen != 0 {
		fmt.Fprintf(b, "half_open = %d\n", ct.HalfOpen)
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

package conntrack

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// transitions is the table of nf_conntrack_proto_tcp.c: what a segment of each kind makes of each state. IG: let through without a
// change; IV: INVALID, without a change.
const transitions = `
original  NONE SYN_SENT  SYN_RECV  ESTABLISHED FIN_WAIT   CLOSE_WAIT LAST_ACK  TIME_WAIT CLOSE SYN_SENT2
syn       SYN_SENT SYN_SENT IG IG IG IG IG SYN_SENT SYN_SENT SYN_SENT2
syn/ack   IV IV SYN_RECV IV IV IV IV IV IV SYN_RECV
fin       IV IV FIN_WAIT FIN_WAIT LAST_ACK LAST_ACK LAST_ACK TIME_WAIT CLOSE IV
ack       ESTABLISHED IV ESTABLISHED ESTABLISHED CLOSE_WAIT CLOSE_WAIT TIME_WAIT TIME_WAIT CLOSE IV
rst       IV CLOSE CLOSE CLOSE CLOSE CLOSE CLOSE CLOSE CLOSE CLOSE
none      IV IV IV IV IV IV IV IV IV IV
reply     NONE SYN_SENT  SYN_RECV  ESTABLISHED FIN_WAIT   CLOSE_WAIT LAST_ACK  TIME_WAIT CLOSE SYN_SENT2
syn       IV SYN_SENT2 IV IV IV IV IV SYN_SENT IV SYN_SENT2
syn/ack   IV SYN_RECV IG IG IG IG IG IG IG SYN_RECV
fin       IV IV FIN_WAIT FIN_WAIT LAST_ACK LAST_ACK LAST_ACK TIME_WAIT CLOSE IV
ack       IV IG SYN_RECV ESTABLISHED CLOSE_WAIT CLOSE_WAIT TIME_WAIT TIME_WAIT CLOSE IG
rst       IV CLOSE CLOSE CLOSE CLOSE CLOSE CLOSE CLOSE CLOSE CLOSE
none      IV IV IV IV IV IV IV IV IV IV`

// exceptions are the cells that nf_conntrack_tcp_packet decides otherwise: the state after, what the packet is, and why. Nobody has
// a reply direction before there is an entry, so that column of the reply is about a first packet from the server: as the original's.
var exceptions = map[string]struct {
	after string
	want  state
	why   string
}{
	"original syn TIME_WAIT": {"SYN_SENT", isNew, "a new connection: the entry was killed and made anew"},
	"original syn CLOSE":     {"CLOSE", established, "closed by the other end's RST: not known to be over, let through"},
	"original rst SYN_SENT":  {"NONE", isNew, "no reply was ever seen: the entry is deleted"},
	"reply rst SYN_SENT":     {"NONE", established, "a refusal is the only reply: the entry is deleted"},
	"reply syn NONE":         {"SYN_SENT", isNew, "first packet"},
	"reply ack NONE":         {"ESTABLISHED", isNew, "first packet"},
	"reply syn TIME_WAIT":    {"SYN_SENT", isNew, "a new connection, the other way round"},
}

// ways lead to a state; next are the numbers that the client and the server come to there.
var ways = map[string]struct {
	lines        []string
	client, next uint32
}{
	"NONE":        {nil, 1000, 5000},
	"SYN_SENT":    {conversation[:1], 1001, 5000},
	"SYN_RECV":    {conversation[:2], 1001, 5001},
	"ESTABLISHED": {conversation[:3], 1001, 5001},
	"FIN_WAIT":    {conversation[:4], 1002, 5001},
	"CLOSE_WAIT":  {conversation[:5], 1002, 5001},
	"LAST_ACK":    {conversation[:6], 1002, 5002},
	"TIME_WAIT":   {conversation[:7], 1002, 5002},
	"CLOSE":       {slices.Concat(conversation[:3], []string{"B tcp 80>1000 R seq 5001"}), 1001, 5001},
	"SYN_SENT2":   {slices.Concat(conversation[:1], []string{"B tcp 80>1000 S seq 5000 win 9000"}), 1001, 5001},
}

// conversation is a connection from begin to end.
var conversation = []string{
	"A tcp 1000>80 S seq 1000 win 9000",
	"B tcp 80>1000 SA seq 5000 ack 1001 win 9000",
	"A tcp 1000>80 A seq 1001 ack 5001 win 9000",
	"A tcp 1000>80 FA seq 1001 ack 5001 win 9000",
	"B tcp 80>1000 A seq 5001 ack 1002 win 9000",
	"B tcp 80>1000 FA seq 5001 ack 1002 win 9000",
	"A tcp 1000>80 A seq 1002 ack 5002 win 9000",
}

// transition is one cell of the table.
type transition struct {
	by          end
	kind        string
	from, after string
	want        state
}

func (c transition) name() string {
	return map[end]string{hostA: "original", hostB: "reply"}[c.by] + " " + c.kind + " " + c.from
}

// Every cell of the table is so in the kernel and in bpfwall: what the segment is, and the state after it.
func TestTransitions(t *testing.T) {
	needRoot(t)
	r := newRig(t, forwarded, setting{})
	cells := cells(t)
	if len(cells) != 2*6*10 {
		t.Fatalf("%d transitions", len(cells))
	}
	var scripts []*script
	for _, c := range cells {
		scripts = append(scripts, c.script(t))
	}
	got, err := r.play(scripts)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cells {
		t.Run(c.name(), func(t *testing.T) { c.check(t, scripts[i], got[i]) })
	}
}

func (c transition) check(t *testing.T, s *script, got answers) {
	t.Helper()
	at := len(s.packets) - 1
	if got.kernel[at] != c.want || got.bpfwall[at] != c.want {
		t.Errorf("the kernel says %s, bpfwall %s, want %s:\n%s", got.kernel[at], got.bpfwall[at], c.want, s)
	}
	if got.tables != "" {
		t.Errorf("%s:\n%s", got.tables, s)
	}
	after := "NONE"
	for _, e := range got.entries {
		after = stateNames[unix.IPPROTO_TCP][e.state]
	}
	if after != c.after {
		t.Errorf("the kernel comes to %s, want %s:\n%s", after, c.after, s)
	}
}

// cells reads the table.
func cells(t *testing.T) []transition {
	t.Helper()
	var out []transition
	var states []string
	by := hostA
	for _, line := range strings.Split(strings.TrimSpace(transitions), "\n") {
		w := strings.Fields(line)
		if w[1] == "NONE" {
			by = map[string]end{"original": hostA, "reply": hostB}[w[0]]
			states = w[1:]
			continue
		}
		if len(w) != 11 {
			t.Fatalf("%d columns: %s", len(w)-1, line)
		}
		for i, cell := range w[1:] {
			c := transition{by: by, kind: w[0], from: states[i], after: cell}
			c.expect()
			out = append(out, c)
		}
	}
	return out
}

// expect fills in what the packet is to be.
func (c *transition) expect() {
	e, excepted := exceptions[c.name()]
	switch {
	case excepted:
		c.after, c.want = e.after, e.want
	case c.after == "IV":
		c.after, c.want = c.from, invalid
	default:
		c.want = established
		if c.by == hostA && (c.from == "NONE" || c.from == "SYN_SENT") {
			c.want = isNew // no reply yet
		}
		if c.after == "IG" {
			c.after = c.from
		}
	}
}

// script leads to the state and sends the segment.
func (c transition) script(t *testing.T) *script {
	t.Helper()
	way := ways[c.from]
	lines := slices.Concat([]string{"ipv4"}, way.lines, []string{c.segment(way.client, way.next)})
	all, err := parseScripts(strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// segment is one that the end would send in this state.
func (c transition) segment(client, server uint32) string {
	sender, isn, seq, ack := "A tcp 1000>80", uint32(1000), client, server
	if c.by == hostB {
		sender, isn, seq, ack = "B tcp 80>1000", 5000, server, client
	}
	begun := c.from != "NONE" && c.from != "SYN_SENT" && c.from != "SYN_SENT2"
	switch c.kind {
	case "syn":
		if begun {
			isn += 300_000
		}
		return fmt.Sprintf("%s S seq %d win 9000", sender, isn)
	case "syn/ack":
		return fmt.Sprintf("%s SA seq %d ack %d win 9000", sender, isn, map[end]uint32{hostA: 5001, hostB: 1001}[c.by])
	case "rst":
		if c.by == hostB && c.from == "SYN_SENT" { // a refusal
			return fmt.Sprintf("%s RA ack %d", sender, ack)
		}
		return fmt.Sprintf("%s R seq %d", sender, seq)
	}
	flags := map[string]string{"fin": "FA", "ack": "A", "none": "none"}[c.kind]
	return fmt.Sprintf("%s %s seq %d ack %d win 9000", sender, flags, seq, ack)
}

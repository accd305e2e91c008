package conntrack

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// situation is how a connection has gone so far: A begins at 100000 and has a window of 200, B at 9000000 and has one of 300.
type situation struct {
	name    string
	packets []string
	a, b    uint32 // what A and B would send next
}

const (
	syn1000 = "A S seq 100000 win 200"
	synAck  = "B SA seq 9000000 ack 100001 win 300"
	lastAck = "A A seq 100001 ack 9000001 win 200"
	answer  = "B A seq 9000001 ack 100001 win 300"
	finA    = "A FA seq 100001 ack 9000001 win 200"
	finB    = "B FA seq 9000001 ack 100002 win 300"
	synIn   = "A S seq 500000 win 250 wscale 3,0 sackok 0,0"
)

// opened is an established connection, and what came then.
func opened(more ...string) []string {
	return append([]string{syn1000, synAck, lastAck}, more...)
}

// scaled is a connection of ends that scale their windows, and what came then.
func scaled(more ...string) []string {
	return append([]string{syn1000 + " wscale 2,0", synAck + " wscale 1,0", "A A seq 100001 ack 9000001 win 50", "B A seq 9000001 ack 100001 win 150"}, more...)
}

// synTwice is a SYN with options, and one with others, which counts.
func synTwice(option string) []string {
	return []string{syn1000 + " wscale 2,0 sackok 0,0", "A S seq 100500 win 200 " + option, "B SA seq 9000000 ack 100501 win 300 wscale 1,0 sackok 0,0",
		"A A seq 100501 ack 9000001 win 50"}
}

// times is a segment sent so many times.
func times(n int, segment string) []string { return slices.Repeat([]string{segment}, n) }

var situations = []situation{
	{"SYN", []string{syn1000}, 100001, 9000000},
	{"SYN without a window", []string{"A S seq 100000"}, 100001, 9000000},
	{"SYN with all options", []string{syn1000 + " wscale 2,0 sackok 0,0 mss 1460,0"}, 100001, 9000000},
	{"SYN again, higher", []string{syn1000, "A S seq 100500 win 250"}, 100501, 9000000},
	{"SYN again, lower", []string{syn1000, "A S seq 99500 win 250"}, 100001, 9000000},
	{"SYN again, without options", []string{syn1000 + " wscale 2,0 sackok 0,0", "A S seq 100500 win 200", "B SA seq 9000000 ack 100501 win 300 wscale 1,0 sackok 0,0"}, 100501, 9000001},
	{"SYN again, with option 30", synTwice("kind 30,0"), 100501, 9000001},
	{"SYN again, with option 100", synTwice("kind 100,0"), 100501, 9000001},
	{"SYN again, with option 150", synTwice("kind 150,0"), 100501, 9000001},
	{"SYN again, with option 250", synTwice("kind 250,0"), 100501, 9000001},
	{"SYN, ACK in answer", []string{syn1000, "B A seq 9000000 ack 77777 win 300"}, 77777, 9000000},
	{"SYN/ACK", []string{syn1000, synAck}, 100001, 9000001},
	{"SYN/ACK again, higher", []string{syn1000, synAck, "B SA seq 9000500 ack 100001 win 300"}, 100001, 9000501},
	{"established", opened(), 100001, 9000001},
	{"answered", opened(answer), 100001, 9000001},
	{"both scale", scaled(), 100001, 9000001},
	{"both scale, larger", []string{syn1000 + " wscale 2,0", synAck + " wscale 1,0", "A A seq 100001 ack 9000001 win 100", "B A seq 9000001 ack 100001 win 200"}, 100001, 9000001},
	{"A alone scales", []string{syn1000 + " wscale 2,0", synAck, lastAck, answer}, 100001, 9000001},
	{"B alone scales", []string{syn1000, synAck + " wscale 2,0", lastAck, answer}, 100001, 9000001},
	{"A alone scales, both SACK", []string{syn1000 + " wscale 2,0 sackok 0,0", synAck + " sackok 0,0", lastAck, answer}, 100001, 9000001},
	{"B alone scales, both SACK", []string{syn1000 + " sackok 0,0", synAck + " wscale 2,0 sackok 0,0", lastAck, answer}, 100001, 9000001},
	{"both scale, SACK that nobody offered", scaled("B PA seq 9000101 ack 100001 win 150 len 50", "A A seq 100001 ack 9000001 win 50 sack 9000101,9000151"), 100001, 9000151},
	{"both scale, A closes", scaled("A FA seq 100001 ack 9000001 win 50"), 100002, 9000001},
	{"both scale, B closes", scaled("B FA seq 9000001 ack 100001 win 150"), 100001, 9000002},
	{"both scale, reset by A", scaled("A R seq 100001"), 100001, 9000001},
	{"both scale, reset by B", scaled("B R seq 9000001"), 100001, 9000001},
	{"both scale, SYN/ACK again, higher", append(scaled()[:2], "B SA seq 9000500 ack 100001 win 300"), 100001, 9000501},
	{"SYN/ACK, SYN in between", []string{syn1000, synAck, synIn}, 100001, 9000001},
	{"SYN/ACK, SYN in between, challenged", []string{syn1000, synAck, synIn, answer}, 100001, 9000001},
	{"no windows", []string{"A S seq 100000", "B SA seq 9000000 ack 100001", "A A seq 100001 ack 9000001", "B A seq 9000001 ack 100001"}, 100001, 9000001},
	{"A has sent", opened("A PA seq 100001 ack 9000001 win 200 len 50"), 100051, 9000001},
	{"A has sent, acknowledged", opened("A PA seq 100001 ack 9000001 win 200 len 50", "B A seq 9000001 ack 100051 win 300"), 100051, 9000001},
	{"A has sent, half of it acknowledged", opened("A PA seq 100001 ack 9000001 win 200 len 50", "B A seq 9000001 ack 100026 win 300"), 100051, 9000001},
	{"B has sent", opened("B PA seq 9000001 ack 100001 win 300 len 50"), 100001, 9000051},
	{"A shuts its window", opened("A A seq 100001 ack 9000001"), 100001, 9000001},
	{"B shuts its window", opened("B A seq 9000001 ack 100001"), 100001, 9000001},
	{"picked up", []string{"A A seq 100001 ack 9000001 win 200 len 10"}, 100011, 9000001},
	{"picked up, no window", []string{"A A seq 100001 ack 9000001 len 10"}, 100011, 9000001},
	{"picked up, answered", []string{"A A seq 100001 ack 9000001 win 200 len 10", "B A seq 9000001 ack 100011 win 300 len 20"}, 100011, 9000021},
	{"picked up, answered without a window", []string{"A A seq 100001 ack 9000001 win 200 len 10", "B A seq 9000001 ack 100011"}, 100011, 9000001},
	{"picked up at a keepalive", []string{"A A seq 100000 ack 9000001 win 200", answer}, 100001, 9000001},
	{"keepalive", opened("A A seq 100000 ack 9000001 win 200"), 100001, 9000001},
	{"both SYN", []string{syn1000, "B S seq 9000000 win 300"}, 100001, 9000001},
	{"both SYN, A answers", []string{syn1000, "B S seq 9000000 win 300", "A SA seq 100000 ack 9000001 win 200"}, 100001, 9000001},
	{"both SYN and SYN/ACK", []string{syn1000, "B S seq 9000000 win 300", "A SA seq 100000 ack 9000001 win 200", "B SA seq 9000000 ack 100001 win 300"}, 100001, 9000001},
	{"both SYN, again", []string{syn1000, "B S seq 9000000 win 300", "B S seq 9000700 win 300"}, 100001, 9000701},
	{"both SYN, an ACK too early and again", append([]string{syn1000, "B S seq 9000000 win 300", "B A seq 9000001 ack 100001 win 300",
		"A SA seq 100000 ack 9000001 win 200"}, times(3, "B A seq 9000001 ack 100001 win 300")...), 100001, 9000001},
	{"SYN/ACK in between, and old data three times", opened(append([]string{synAck}, times(3, "B A seq 9000000 ack 100001 win 300 len 1")...)...), 100001, 9000001},
	{"SACK", []string{syn1000 + " sackok 0,0", synAck + " sackok 0,0", lastAck, answer, "B PA seq 9000101 ack 100001 win 300 len 50",
		"A A seq 100001 ack 9000001 win 200 sack 9000101,9000151"}, 100001, 9000151},
	{"SACK that nobody offered", opened(answer, "B PA seq 9000101 ack 100001 win 300 len 50", "A A seq 100001 ack 9000001 win 200 sack 9000101,9000151"), 100001, 9000151},
	{"a window of 66001 by SACK", []string{"A S seq 100000 win 65535 sackok 0,0", synAck + " sackok 0,0", "A A seq 100001 ack 9000001 win 65535",
		"B PA seq 9000001 ack 100001 win 300 len 466", "A A seq 100001 ack 9000001 win 65535 sack 9000001,9000467"}, 100001, 9000467},
	{"more than the window", opened(answer, "A PA seq 100302 ack 9000001 win 200 len 10"), 100001, 9000001},
	{"A closes", opened(finA), 100002, 9000001},
	{"A closes, acknowledged", opened(finA, "B A seq 9000001 ack 100002 win 300"), 100002, 9000001},
	{"B closes", opened("B FA seq 9000001 ack 100001 win 300"), 100001, 9000002},
	{"both close", opened(finA, finB), 100002, 9000002},
	{"both close, SYN", opened(finA, finB, synIn), 100002, 9000002},
	{"both close, SYN challenged", opened(finA, finB, synIn, "B A seq 9000002 ack 100002 win 300"), 100002, 9000002},
	{"both close, SYN and ACK", opened(finA, finB, synIn, "A A seq 100002 ack 9000002 win 200"), 100002, 9000002},
	{"TIME_WAIT", opened(finA, finB, "A A seq 100002 ack 9000002 win 200"), 100002, 9000002},
	{"TIME_WAIT, B closed first", opened("B FA seq 9000001 ack 100001 win 300", "A FA seq 100001 ack 9000002 win 200", "B A seq 9000002 ack 100002 win 300"), 100002, 9000002},
	{"reset by A", opened("A R seq 100001"), 100001, 9000001},
	{"reset by B", opened("B R seq 9000001"), 100001, 9000001},
	{"reset by B, not exactly", opened(answer, "B R seq 9000006"), 100001, 9000001},
	{"reset by A, not exactly", opened(answer, "A R seq 100006"), 100001, 9000001},
	{"refused", []string{syn1000, synAck, "B RA ack 100001"}, 100001, 9000001},
	{"SYN in between", opened(synIn), 100001, 9000001},
	{"SYN in between, challenged", opened(synIn, answer), 100001, 9000001},
	{"SYN in between, reset", opened(synIn, "B RA ack 500001"), 100001, 9000001},
	{"SYN in between, agreed on", opened(synIn, "B SA seq 7000000 ack 500001 win 300 wscale 2,0 sackok 0,0"), 500001, 7000001},
	{"SYN without a window in between, agreed on", opened("A S seq 500000", "B SA seq 7000000 ack 500001 win 300"), 500001, 7000001},
	{"SYN in between, agreed on and acknowledged", opened(synIn, "B SA seq 7000000 ack 500001 win 300", "A A seq 500001 ack 7000001 win 250"), 500001, 7000001},
	{"picked up, SYN in between, agreed on", []string{lastAck, answer, synIn, "B SA seq 7000000 ack 500001 win 300"}, 500001, 7000001},
	{"a FIN far off", opened(answer, "A FA seq 900001 ack 9000001 win 200"), 100001, 9000001},
	{"FINs far off", opened(answer, "A FA seq 900001 ack 9000001 win 200", "B FA seq 900001 ack 100001 win 300"), 100001, 9000001},
	{"two FINs of one far off", opened(answer, "A FA seq 900001 ack 9000001 win 200", "A FA seq 900001 ack 9000001 win 200"), 100001, 9000001},
	{"an ACK and a FIN far off", opened(answer, "A A seq 900001 ack 9000001 win 200", "B FA seq 900001 ack 100001 win 300"), 100001, 9000001},
	{"RSTs far off", opened("A PA seq 100001 ack 9000001 win 200 len 50", "A R seq 900001", "B R seq 900001"), 100051, 9000001},
	{"sent twice", opened(times(2, "A PA seq 100001 ack 9000001 win 200 len 50")...), 100051, 9000001},
	{"sent three times", opened(times(3, "A PA seq 100001 ack 9000001 win 200 len 50")...), 100051, 9000001},
	{"sent four times", opened(append(times(4, "A PA seq 100001 ack 9000001 win 200 len 50"), "B A seq 9000001 ack 100051 win 300")...), 100051, 9000001},
	{"acknowledged four times", opened(times(4, "B A seq 9000001 ack 100001 win 300")...), 100001, 9000001},
	{"acknowledged five times", opened(times(5, "B A seq 9000001 ack 100001 win 300")...), 100001, 9000001},
	{"five ACKs with other windows", opened("B A seq 9000001 ack 100001 win 300", "B A seq 9000001 ack 100001 win 301", "B A seq 9000001 ack 100001 win 302",
		"B A seq 9000001 ack 100001 win 303", "B A seq 9000001 ack 100001 win 304"), 100001, 9000001},
	{"picked up around zero, sent four times", times(4, "A A seq 100001 ack 4294967000 win 200"), 100001, 4294967000},
	{"around zero, both scale", []string{"A S seq 4294967295 win 200 wscale 2,0", "B SA seq 2147483647 ack 0 win 300 wscale 1,0", "A A seq 0 ack 2147483648 win 50",
		"B A seq 2147483648 ack 0 win 150"}, 0, 2147483648},
	{"around zero", []string{"A S seq 4294967295 win 200", "B SA seq 2147483647 ack 0 win 300", "A A seq 0 ack 2147483648 win 200", "B A seq 2147483648 ack 0 win 300"}, 0, 2147483648},
}

// steps are how far from what is next a number is: at the edges of the windows, and of MAXACKWINDOW.
var steps = struct{ seq, ack, few []int }{
	seq: []int{-100000, -302, -301, -300, -299, -202, -201, -200, -199, -52, -51, -50, -3, -2, -1, 0, 1, 2, 199, 200, 201, 202, 299, 300, 301, 302, 398, 399, 400, 401,
		598, 599, 600, 601, 100000},
	ack: []int{-66002, -66001, -66000, -65999, -65535, -60000, -50, -1, 0, 1, 2, 50, 70000},
	few: []int{-1000, -50, -1, 0, 1, 5, 100, 300, 301, 1000},
}

// probes are segments that an end may send in a situation.
func (s situation) probes() (lines []string) {
	for _, e := range []struct {
		by        string
		next, ack uint32
		win       int
	}{{"A", s.a, s.b, 200}, {"B", s.b, s.a, 300}} {
		say := func(format string, seq, ack int, args ...any) {
			lines = append(lines, fmt.Sprintf("%s "+format, append([]any{e.by, e.next + uint32(seq), e.ack + uint32(ack)}, args...)...))
		}
		for _, d := range steps.seq {
			say("A seq %d ack %d win %d", d, 0, e.win)
			say("A seq %d ack %d win %d len 10", d, 0, e.win)
		}
		for _, d := range steps.ack {
			say("A seq %d ack %d win %d", 0, d, e.win)
			say("RA seq %d ack %d", 0, d)
			say("A seq %d ack %d win 0", 0, d)
		}
		for _, d := range steps.few {
			say("R seq %d ack %d", d, 0)
			say("FA seq %d ack %d win %d", d, 0, e.win)
			say("S seq %d win %[4]d", d, 0, e.win)
			say("SA seq %d ack %d win %d", d-1, 0, e.win)
			say("SA seq %d ack %d win %d", -1, d, e.win)
		}
		lines = append(lines, fmt.Sprintf("%s R", e.by), fmt.Sprintf("%s RA ack %d", e.by, e.ack), fmt.Sprintf("%s none seq %d", e.by, e.next),
			fmt.Sprintf("%s S seq 500000 win 250 wscale 3,0", e.by), fmt.Sprintf("%s SA seq 500000 ack %d win 250", e.by, e.ack+1))
	}
	return lines
}

// TestWindows: in each situation of a connection, what its ends may send at the edges of their windows, and beyond, has the state that the
// kernel gives it and leaves the same entry.
func TestWindows(t *testing.T) {
	needRoot(t)
	r := newRig(t, forwarded, everyTimeout(150, 200))
	for _, s := range situations {
		t.Run(s.name, func(t *testing.T) {
			r.same(t, s.scripts(t))
		})
	}
}

// TestWindowsPatient: what is sent again has the same time when the connection closes, and data that is not acknowledged has less.
func TestWindowsPatient(t *testing.T) {
	needRoot(t)
	r := newRig(t, forwarded, everyTimeout(200, 150))
	for _, s := range situations {
		if strings.Contains(s.name, "times") {
			t.Run(s.name, func(t *testing.T) { r.same(t, s.scripts(t)) })
		}
	}
}

// TestFlags: every flag byte, of a first segment and in an established connection.
func TestFlags(t *testing.T) {
	needRoot(t)
	var scripts []*script
	for flags := range 256 {
		f := flagText(uint8(flags))
		scripts = append(scripts, conversationOf(t, []string{"A " + f + " seq 100000 ack 9000000 win 200"}),
			conversationOf(t, opened(answer, "A "+f+" seq 100001 ack 9000001 win 200")), conversationOf(t, opened(answer, "B "+f+" seq 9000001 ack 100001 win 300")))
	}
	newRig(t, forwarded, setting{}).same(t, scripts)
}

// scripts are the situation and each of its probes, alone and with what comes then.
func (s situation) scripts(t *testing.T) (scripts []*script) {
	t.Helper()
	rest := []string{fmt.Sprintf("A A seq %d ack %d win 200", s.a, s.b), fmt.Sprintf("B A seq %d ack %d win 300", s.b, s.a)}
	for _, p := range s.probes() {
		scripts = append(scripts, conversationOf(t, slices.Concat(s.packets, []string{p})), conversationOf(t, slices.Concat(s.packets, []string{p}, rest)))
	}
	return scripts
}

// everyTimeout is a time of its own for each state, but that a connection which closes has the longer one of the two that may end it before.
func everyTimeout(retransmitted, unacknowledged uint32) setting {
	s := setting{seconds: map[int]uint32{}}
	for name, c := range map[string]struct {
		index   int
		seconds uint32
	}{"syn_sent": {1, 100}, "syn_recv": {2, 60}, "established": {3, 4000}, "fin_wait": {4, 200}, "close_wait": {5, 300}, "last_ack": {6, 250}, "time_wait": {7, 400},
		"close": {8, 20}, "max_retrans": {10, retransmitted}, "unacknowledged": {11, unacknowledged}} {
		s.seconds[c.index] = c.seconds
		s.sysctls = append(s.sysctls, fmt.Sprintf("tcp_timeout_%s=%d", name, c.seconds))
	}
	return s
}

// conversationOf is a script of segments between A's port 1000 and B's port 80.
func conversationOf(t *testing.T, segments []string) *script {
	t.Helper()
	text := "ipv4\n"
	for _, s := range segments {
		by, rest, _ := strings.Cut(s, " ")
		text += by + map[string]string{"A": " tcp 1000>80 ", "B": " tcp 80>1000 "}[by] + rest + "\n"
	}
	return scriptOf(t, text)
}

func scriptOf(t *testing.T, text string) *script {
	t.Helper()
	all, err := parseScripts(text)
	if err != nil || len(all) != 1 {
		t.Fatalf("%v in %s", err, text)
	}
	return all[0]
}

// same plays scripts, and fails for those that the two see differently, or remember differently.
func (r *rig) same(t *testing.T, scripts []*script) {
	t.Helper()
	got, err := r.play(scripts)
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for i, s := range scripts {
		if got[i].differ() < 0 {
			continue
		}
		if shown++; shown <= 5 {
			t.Errorf("%s# packet %d; %s\n", s.transcript(got[i]), got[i].differ()+1, got[i].tables)
		}
	}
	if shown > 5 {
		t.Errorf("and %d more", shown-5)
	}
}

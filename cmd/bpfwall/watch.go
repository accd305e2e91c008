package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/accounts"
	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// eventAnswer is a logged packet: with --json, an object a line.
type eventAnswer struct {
	schema
	Time    time.Time    `json:"time"`
	Hook    string       `json:"hook"`
	Rule    string       `json:"rule"`    // or source-full, ct-full: no rule's doing
	Verdict string       `json:"verdict"` // of the rule that logged; "continue" if later rules decide
	Prefix  string       `json:"prefix,omitempty"`
	In      string       `json:"in,omitempty"`
	Out     string       `json:"out,omitempty"`
	Packet  string       `json:"packet"`
	Length  uint32       `json:"length"`
	User    string       `json:"user,omitempty"`    // who sends it, if this host does
	Program string       `json:"program,omitempty"` // that opened the socket
	UID     *int         `json:"uid,omitempty"`
	GID     *int         `json:"gid,omitempty"`
	Pos     *ruleset.Pos `json:"pos,omitempty"`
	brief   string       // the packet for people
}

// errEnough ends a watch that was to show so many events.
var errEnough = errors.New("enough")

func (a *app) watch() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "watch [TEXT]...",
		Short: "Show packets that rules log, a line each, as they come; with texts, lines that have all of them",
		Long: "Shows packets that rules log, a line each, as they come; with texts, lines that have all of them. Once a second at most,\n" +
			"also a packet that a limit of connections dropped (source-full), or that found the table of connections full (ct-full).",
		RunE: func(cmd *cobra.Command, words []string) error {
			if limit < 0 {
				return fail(exitUsage, "--count %d: not a number of lines", limit)
			}
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			return a.watchEvents(cmd.Context(), fw, words, limit)
		},
	}
	cmd.Flags().IntVar(&limit, "count", 0, "end after so many lines")
	return cmd
}

// watchEvents prints events until the context ends, and then how many there were and how many nobody saw.
func (a *app) watchEvents(ctx context.Context, fw *dataplane.Dataplane, words []string, limit int) error {
	before, err := fw.Status()
	if err != nil {
		return err
	}
	shown := 0
	err = fw.Events(ctx, func(e dataplane.Event) error {
		answer := eventAnswerOf(e)
		if !answer.has(words) {
			return nil
		}
		a.printEvent(answer)
		if shown++; shown == limit {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if after, err := fw.Status(); err == nil && !a.quiet {
		since := func(stat string) string { return grouped(after.Stats[stat] - before.Stats[stat]) }
		fmt.Fprintf(a.stderr, "%d shown, %s suppressed (over a rule's log rate), %s lost (too many to read)\n",
			shown, since("events-suppressed"), since("events-lost"))
	}
	return nil
}

func eventAnswerOf(e dataplane.Event) eventAnswer {
	lit := packet.Literal{Packet: e.Packet, Hook: e.Hook}
	answer := eventAnswer{
		schema: schemaOf("watch"), Time: e.Time, Hook: e.Hook.String(), Prefix: e.Point.Prefix, Verdict: "continue",
		In: e.Packet.In, Out: e.Packet.Out, Packet: lit.String(), Length: e.Packet.Length, brief: brief(&e.Packet),
	}
	if e.Notice != "" {
		answer.Rule = e.Notice
	}
	if e.Notice == "source-full" {
		answer.Verdict = "drop"
	}
	answer.owner(&e.Packet, e.Program)
	if r := e.Point.Rule; r != nil {
		answer.Rule, answer.Verdict = r.ID, r.Verdict.String()
		if r.Pos.Line > 0 {
			answer.Pos = &r.Pos
		}
	}
	return answer
}

// owner adds who owns the socket of a packet that this host sends.
func (e *eventAnswer) owner(p *ruleset.Packet, program string) {
	if !p.Socket || p.UID == ruleset.Absent {
		return
	}
	e.UID, e.GID, e.User = &p.UID, &p.GID, accounts.UserName(uint32(p.UID))
	e.brief += "  user " + escape(e.User)
	if e.Program = program; program != "" {
		e.brief += ", " + escape(program)
	}
}

func (e eventAnswer) has(words []string) bool {
	line := e.line(false)
	for _, w := range words {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}

// line is the event for people: time, verdict or LOG, rule, prefix, packet.
func (e eventAnswer) line(p paint) string {
	verdict, _, _ := strings.Cut(strings.ToUpper(e.Verdict), " ")
	if e.Verdict == "continue" {
		verdict = "LOG"
	}
	words := []string{e.Time.Local().Format("15:04:05.000"), p.verdict(fmt.Sprintf("%-6s", verdict)), fmt.Sprintf("%-24s", escape(e.Rule))}
	if e.Prefix != "" {
		words = append(words, fmt.Sprintf("%q", e.Prefix))
	}
	words = append(words, fmt.Sprintf("%-8s", way(e.In, e.Out)), e.brief)
	if at := place(e.Pos); at != "" {
		words = append(words, p.dim("("+at+")"))
	}
	return strings.Join(words, "  ")
}

// way is the interfaces that a packet came in and leaves by.
func way(in, out string) string {
	if in != "" && out != "" {
		return in + ">" + out
	}
	return in + out
}

// brief is what people look at in a packet first.
func brief(p *ruleset.Packet) string {
	proto, ok := ruleset.ProtoNames[p.Proto]
	if !ok {
		proto = fmt.Sprintf("proto %d", p.Proto)
	}
	text := fmt.Sprintf("%s %s → %s", proto, endpoint(p.Src, p.SrcPort), endpoint(p.Dst, p.DstPort))
	switch {
	case p.TCPFlags != ruleset.Absent:
		flags, _ := ruleset.BitList(ruleset.FieldTCPFlags, uint64(p.TCPFlags))
		text += " " + flags
	case p.ICMPType != ruleset.Absent:
		text += fmt.Sprintf(" type %d code %d", p.ICMPType, p.ICMPCode)
	case p.Fragment:
		text += " fragment"
	}
	return fmt.Sprintf("%s  %d B", text, p.Length)
}

func endpoint(addr netip.Addr, port int) string {
	if port == ruleset.Absent {
		return addr.String()
	}
	return netip.AddrPortFrom(addr, uint16(port)).String()
}

func (a *app) printEvent(e eventAnswer) {
	if a.json {
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(e)
		return
	}
	a.printf("%s\n", e.line(paint(a.colours(a.color, 1))))
}

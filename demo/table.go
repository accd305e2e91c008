package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
)

// serve has everybody answer on the ports that the probes try.
func (d *demo) serve() error {
	for _, host := range []place{client, router, outside, server, web} {
		for _, six := range []bool{false, true} {
			for _, port := range []uint16{22, 23, 25, 80, 443} {
				if _, err := host.ns(d.world).Serve(netip.AddrPortFrom(host.addr(six), port), repeat); err != nil {
					return err
				}
			}
			if _, err := host.ns(d.world).Echo(netip.AddrPortFrom(host.addr(six), 53)); err != nil {
				return err
			}
		}
	}
	return nil
}

// repeat says once what it hears.
func repeat(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 5)
	if n, err := c.Read(buf); err == nil {
		_, _ = c.Write(buf[:n])
	}
}

// row is a line of the table.
type row struct {
	probe
	six   bool
	got   string
	err   error
	reply explanation
}

// explanation is what the demo reads of `bpfwall explain --json`.
type explanation struct {
	Verdict string
	Pos     *struct {
		File string
		Line int
	}
	Steps []struct {
		Matched bool
		Rule    string
	}
	Measured struct {
		Verdict string
		Agrees  bool
	}
}

// try makes every probe over both families and prints what came of each, beside what was expected and the rule that decided.
func (d *demo) try(probes []probe) error {
	var rows []*row
	for _, p := range probes {
		rows = append(rows, &row{probe: p}, &row{probe: p, six: true})
	}
	// All at once: most of the time goes into waiting for silence.
	var all sync.WaitGroup
	for _, r := range rows {
		all.Go(func() { r.got, r.err = r.do(d.world, r.six) })
	}
	all.Wait()
	fmt.Printf("\n         %-26s  %-4s  %-8s  %-8s  %s\n", "who, to whom, what", "IP", "expected", "observed", "decided by")
	for _, r := range rows {
		if r.err != nil {
			return fmt.Errorf("%s: %w", r.probe, r.err)
		}
		if err := d.explain(r); err != nil {
			return err
		}
		d.print(r)
	}
	return nil
}

// explain asks which rule decides.
func (d *demo) explain(r *row) error {
	text, err := d.world.DUT.Bpfwall(append([]string{"explain", "--json"}, r.literal(r.six)...)...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), &r.reply); err != nil {
		return fmt.Errorf("bpfwall explain --json: %w", err)
	}
	return nil
}

func (d *demo) print(r *row) {
	mark, family, note := "ok", "v4", ""
	if r.six {
		family = "v6"
	}
	verdict, _, _ := strings.Cut(r.reply.Verdict, " ")
	if r.got != r.want {
		mark = "WRONG"
	}
	if verdict != verdicts[r.want] || !r.reply.Measured.Agrees {
		mark, note = "WRONG", fmt.Sprintf("   explain says %s, the loaded programs %s", r.reply.Verdict, r.reply.Measured.Verdict)
	}
	if mark != "ok" {
		d.wrong++
	}
	fmt.Printf("  %-5s  %-26s  %-4s  %-8s  %-8s  %s%s\n", mark, r.probe, family, r.want, r.got, r.reply.decision(), note)
}

// decision is the rule that decided, with its place.
func (e explanation) decision() string {
	rule := "policy"
	for _, s := range e.Steps {
		if s.Matched {
			rule = s.Rule
		}
	}
	if e.Pos == nil || e.Pos.Line == 0 {
		return rule
	}
	return fmt.Sprintf("%s:%d  %s", filepath.Base(e.Pos.File), e.Pos.Line, rule)
}

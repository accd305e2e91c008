// Command bench measures what a packet costs.
//
// First the programs alone: the time of one run over a packet, by the kernel's own test runs (BPF_PROG_TEST_RUN), for rulesets of
// several sizes, beside a program that does nothing. Then whole firewalls: frames through a router between two hosts, under
// bpfwall, iptables-legacy, iptables-nft, nft and no firewall, in turns, so that what else the machine does hits all alike. And what it
// costs to drop frames before connection tracking, in XDP and later. With -classbench, what the first rule of up to 100,000 takes to find.
// Compare the ratios; the times are this machine's.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/bpfwall/bpfwall/internal/lab"
)

var (
	repeat   = flag.Int("repeat", 1_000_000, "runs over a packet, for each of -rounds")
	rounds   = flag.Int("rounds", 5, "measurements of each kind; medians are printed")
	seconds  = flag.Float64("seconds", 0.5, "length of a measurement of frames")
	jsonFile = flag.String("json", "", "write the results to this file too")
	only     = flag.String("only", "", "programs, frames, guard or rules: one part")
	sets     = flag.String("classbench", "", "files of filter sets in the format of ClassBench, as a pattern: measure them too")
)

// report is everything that was measured.
type report struct {
	Kernel   string
	CPUs     int
	Programs []programResult `json:",omitempty"`
	Frames   []frameResult   `json:",omitempty"`
	Guards   []guardResult   `json:",omitempty"`
	Rules    []rulesResult   `json:",omitempty"`
}

func main() {
	flag.Parse()
	err := run()
	lab.RemoveBinary()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	r := report{Kernel: strings.TrimSpace(string(release)), CPUs: runtime.NumCPU()}
	fmt.Printf("Linux %s, %d CPUs\n", r.Kernel, r.CPUs)
	part := func(name string) bool { return *only == "" || *only == name }
	if part("programs") {
		if r.Programs, err = measurePrograms(); err != nil {
			return err
		}
		printPrograms(r.Programs)
	}
	if part("frames") {
		if r.Frames, err = measureFrames(); err != nil {
			return err
		}
		printFrames(r.Frames)
	}
	if part("guard") {
		if r.Guards, err = measureGuards(); err != nil {
			return err
		}
		printGuards(r.Guards)
	}
	if part("rules") && *sets != "" {
		if r.Rules, err = measureSets(*sets); err != nil {
			return err
		}
		printSets(r.Rules)
	}
	if *jsonFile == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*jsonFile, append(text, '\n'), 0o644)
}

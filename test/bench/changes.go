package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/internal/lab"
	"github.com/bpfwall/bpfwall/migrate/iptables"
	"github.com/bpfwall/bpfwall/translator"
)

// Change is what it takes to put rules in force, by commands as an operator gives them.
type Change struct {
	Contender string
	Rules     int
	Load      float64 // ms, the first time
	Replace   float64 // ms, all rules by the same ones
	OneRule   float64 // ms, one more rule at the end
	RSS       float64 // MB, the most that the command of Load had, as seen every few ms

	// Of bpfwall, from inside.
	Parse     float64 `json:",omitempty"` // ms, iptables rules to the intermediate form
	Translate float64 `json:",omitempty"` // ms, that to instructions and map contents
	Apply     float64 `json:",omitempty"` // ms until the rules were live: Translate, the verifier, maps, disk and attaching
	OneLive   float64 `json:",omitempty"` // ms, the same for one more rule
	Verified  int     `json:",omitempty"` // programs that the kernel had to verify for that
	Flip      float64 `json:",omitempty"` // µs, the store that makes the new rules live
	Maps      float64 `json:",omitempty"` // MB, what the kernel says of the maps of all generations, tables of connections included
	Tables    float64 `json:",omitempty"` // MB, of these, the ones that only the rules take: all but what an empty ruleset has
}

// changer is how a contender's rules are loaded and changed.
type changer struct {
	name       string
	load, more func(n *lab.NS, s *scenario) (command, error)
	most       int // rules
}

// command is a command of an operator.
type command struct {
	stdin   string
	args    []string
	outside bool // of the namespace
}

// oneMore is a rule that no set has.
var oneMore = "-s 203.0.113.77/32 -p tcp -m tcp --dport 4711"

var changers = []changer{
	{name: ours, load: applyFile, more: func(n *lab.NS, s *scenario) (command, error) {
		return applyFile(n, s.oneMore())
	}},
	{name: legacy, load: func(_ *lab.NS, s *scenario) (command, error) {
		return command{stdin: s.iptables(), args: []string{"iptables-legacy-restore"}}, nil
	}, more: func(*lab.NS, *scenario) (command, error) {
		return command{args: strings.Fields("iptables-legacy -A INPUT " + oneMore + " -j ACCEPT")}, nil
	}},
	{name: "iptables-nft", most: 10_000, load: func(_ *lab.NS, s *scenario) (command, error) {
		return command{stdin: s.iptables(), args: []string{"iptables-nft-restore"}}, nil
	}, more: func(*lab.NS, *scenario) (command, error) {
		return command{args: strings.Fields("iptables-nft -A INPUT " + oneMore + " -j ACCEPT")}, nil
	}},
	{name: nftables, most: 10_000, load: func(_ *lab.NS, s *scenario) (command, error) {
		return command{stdin: "table ip bench {}\ndelete table ip bench\n" + s.nft(), args: []string{"nft", "-f", "-"}}, nil
	}, more: func(*lab.NS, *scenario) (command, error) {
		return command{args: strings.Fields("nft add rule ip bench rules ip saddr 203.0.113.77 tcp dport 4711 counter accept")}, nil
	}},
}

// oneMore is the same rules, and that one.
func (s *scenario) oneMore() *scenario {
	more := *s
	f := every()
	f.Src, f.Proto, f.ProtoMask, f.DstPort = host(203, 0, 113, 77, 0), 6, 255, port(4711)
	more.rules = append(more.rules[:len(more.rules):len(more.rules)], rule{Filter: f, accept: true})
	return &more
}

// applyFile is the command that applies a scenario's rules; the file is gone with the namespace's temporary folder.
func applyFile(n *lab.NS, s *scenario) (command, error) {
	path, err := lab.Bpfwall()
	if err != nil {
		return command{}, err
	}
	return command{stdin: s.iptables(), args: []string{path, "--netns", n.Name, "apply", "--yes", "--xdp", "off", "FILE"}, outside: true}, nil
}

// run runs a command: its time in ms and the most memory it had in MB. The word FILE stands for a file with the standard input.
func (c command) run(n *lab.NS) (ms, mb float64, err error) {
	err = withFile(c.stdin, func(file string) error {
		for i, a := range c.args {
			if a == "FILE" {
				c.args[i], c.stdin = file, ""
			}
		}
		var problems bytes.Buffer
		cmd := exec.Command(c.args[0], c.args[1:]...)
		cmd.Stdin, cmd.Stderr = strings.NewReader(c.stdin), &problems
		start := time.Now()
		if c.outside {
			err = cmd.Start()
		} else {
			err = n.Do(cmd.Start)
		}
		if err == nil {
			ended := make(chan struct{})
			peak := peakMemory(cmd.Process.Pid, ended)
			err = cmd.Wait()
			close(ended)
			mb = <-peak
		}
		ms = float64(time.Since(start).Microseconds()) / 1e3
		if err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(c.args, " "), err, bytes.TrimSpace(problems.Bytes()))
		}
		return nil
	})
	return ms, mb, err
}

// peakMemory looks every few ms at the most memory that a process has had, MB. What wait4 says would not do: there, a process has had what
// its parent had.
func peakMemory(pid int, ended <-chan struct{}) <-chan float64 {
	out := make(chan float64, 1)
	go func() {
		var kb float64
		for {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // none once it has ended
			var now float64
			if _, err := fmt.Sscan(after(string(text), "VmHWM"), &now); err == nil {
				kb = max(kb, now)
			}
			select {
			case <-ended:
				out <- kb / 1024
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return out
}

// measureChanges loads rules of several numbers into every contender.
func measureChanges(ctx context.Context) (out []Change, err error) {
	_, _, empty, err := applyTwice(ctx, filterSet("none", nil))
	if err != nil {
		return nil, err
	}
	for _, n := range plan.changes {
		s := filterSet("acl", classbench.Generate(classbench.ACL, n, 1))
		for _, k := range changers {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if k.most != 0 && n > k.most {
				continue
			}
			c, err := k.measure(s)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", k.name, s, err)
			}
			if k.name == ours {
				if err := c.inside(ctx, s, empty); err != nil {
					return nil, err
				}
			}
			note("%s, changes of %s", s, k.name)
			out = append(out, c)
		}
	}
	return out, nil
}

// measure takes the median of each command, and fewer turns for those that take long.
func (k changer) measure(s *scenario) (c Change, err error) {
	c = Change{Contender: k.name, Rules: s.size}
	var load, replace, one []float64
	for begin := time.Now(); len(load) < *rounds && (len(load) == 0 || time.Since(begin).Seconds() < 3); {
		times, rss, err := k.turn(s)
		if err != nil {
			return c, err
		}
		load, replace, one = append(load, times[0]), append(replace, times[1]), append(one, times[2])
		c.RSS = max(c.RSS, rss)
	}
	c.Load, c.Replace, c.OneRule = medianOf(load), medianOf(replace), medianOf(one)
	return c, nil
}

// turn loads, replaces and changes rules on a router of its own.
func (k changer) turn(s *scenario) (times [3]float64, rss float64, err error) {
	w, err := lab.New(lab.Options{Wires: true})
	if err != nil {
		return times, 0, err
	}
	defer w.Close()
	for i, do := range []func(*lab.NS, *scenario) (command, error){k.load, k.load, k.more} {
		c, err := do(w.DUT, s)
		if err != nil {
			return times, 0, err
		}
		var mb float64
		if times[i], mb, err = c.run(w.DUT); err != nil {
			return times, 0, err
		}
		if i == 0 {
			rss = mb
		}
	}
	return times, rss, nil
}

// inside measures what the commands do not say.
func (c *Change) inside(ctx context.Context, s *scenario, empty float64) error {
	text := []byte(s.iptables())
	start := time.Now()
	if _, _, err := iptables.Import([]iptables.Source{{Name: s.name, Text: text}}, iptables.Options{}); err != nil {
		return err
	}
	c.Parse = milliseconds(time.Since(start))
	start = time.Now()
	if _, err := translator.Translate(classbench.Ruleset("acl", s.filters()), translator.Slots{}); err != nil {
		return err
	}
	c.Translate = milliseconds(time.Since(start))
	first, more, mb, err := applyTwice(ctx, s)
	if err != nil {
		return err
	}
	c.Maps, c.Tables, c.Verified = mb, max(0, mb-empty), more.Verified
	c.Apply, c.OneLive, c.Flip = milliseconds(first.Took), milliseconds(more.Took), float64(more.Flip.Nanoseconds())/1e3
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// applyTwice applies rules in a world of their own, and then one more; and says what the maps of the first time took, MB.
func applyTwice(ctx context.Context, s *scenario) (first, more *dataplane.Result, mb float64, err error) {
	w, err := lab.New(lab.Options{Wires: true})
	if err != nil {
		return nil, nil, 0, err
	}
	defer w.Close()
	d, err := dataplane.Open(dataplane.Config{Netns: w.DUT.Name})
	if err != nil {
		return nil, nil, 0, err
	}
	apply := func(s *scenario) (*dataplane.Result, error) {
		return d.Apply(ctx, classbench.Ruleset("acl", s.filters()), dataplane.Meta{}, dataplane.Options{XDP: dataplane.XDPOff})
	}
	if first, err = apply(s); err != nil {
		return nil, nil, 0, err
	}
	if mb, err = pinnedMaps(filepath.Join("/sys/fs/bpf/bpfwall/netns", w.DUT.Name)); err != nil {
		return nil, nil, 0, err
	}
	more, err = apply(s.oneMore())
	return first, more, mb, err
}

// pinnedMaps is the memory of the maps pinned below a folder and of those of programs pinned there, each once, MB.
func pinnedMaps(dir string) (mb float64, err error) {
	ids := map[ebpf.MapID]bool{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if m, err := ebpf.LoadPinnedMap(path, nil); err == nil {
			defer m.Close()
			if info, err := m.Info(); err == nil {
				id, _ := info.ID()
				ids[id] = true
			}
		} else if p, err := ebpf.LoadPinnedProgram(path, nil); err == nil {
			defer p.Close()
			if info, err := p.Info(); err == nil {
				of, _ := info.MapIDs()
				for _, id := range of {
					ids[id] = true
				}
			}
		}
		return nil
	})
	for id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			continue
		}
		if info, err := m.Info(); err == nil {
			bytes, _ := info.Memlock()
			mb += float64(bytes) / (1 << 20)
		}
		m.Close()
	}
	return mb, err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// Blocklist is one contender with a list of addresses and networks whose frames it drops.
type Blocklist struct {
	Contender  string
	IPv4, IPv6 int                // prefixes
	Load       float64            `json:",omitempty"` // ms, all commands
	RSS        float64            `json:",omitempty"` // MB, the most that a command had
	Memory     float64            `json:",omitempty"` // MB in the kernel
	AddOne     float64            `json:",omitempty"` // ms, the command that adds one prefix
	Frames     map[string]float64 // ns a frame, by kind, sender and receiver included: all on one CPU
	Program    map[string]float64 `json:",omitempty"` // ns a run of the program in XDP alone, by kind
	Not        string             `json:",omitempty"` // why it was not measured
}

// lister is how a contender is told a list.
type lister struct {
	name   string
	most   int                                                          // prefixes; 0: any number
	load   func(l *blocklist, n *lab.NS, dir string) ([]command, error) // nil: it needs no list
	add    func(n *lab.NS, prefix string) (command, error)              // nil: not one by one
	memory func(ln *lane, before float64) (float64, error)              // MB
	alone  bool                                                         // its program in XDP can be measured alone
	begin  func(c *course) error                                        // what is no command
	passes func(listed bool) bool

	addMost int // prefixes in a list that one more is added to; 0: any number
}

func dropsListed(listed bool) bool { return !listed }

var listers = []lister{
	{name: nothing, passes: func(bool) bool { return true }},
	{name: dropAll, begin: (*course).dropEverything, passes: func(bool) bool { return false }},
	{name: "bpfwall, file", passes: dropsListed, alone: true, memory: mapsOfFirewall, load: func(l *blocklist, n *lab.NS, dir string) ([]command, error) {
		return guardCommands(n, dir, l.guard(`file = "list.txt"`), l.list(), false)
	}},
	{name: "bpfwall, dynamic", passes: dropsListed, alone: true, memory: mapsOfFirewall, load: func(l *blocklist, n *lab.NS, dir string) ([]command, error) {
		return guardCommands(n, dir, l.guard(fmt.Sprintf("dynamic = true, max = %d", l.size()+1000)), l.list(), true)
	}, add: func(n *lab.NS, prefix string) (command, error) {
		return firewallCommand(n, "set", "add", "block", prefix)
	}},
	{name: "ipset", passes: dropsListed, memory: memoryOfIPSet, load: func(l *blocklist, _ *lab.NS, _ string) ([]command, error) {
		rule := func(family string) string {
			return "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A PREROUTING -m set --match-set block-" + family + " src -j DROP\nCOMMIT\n"
		}
		return []command{{stdin: l.ipset(), args: []string{"ipset", "restore"}}, {stdin: rule("inet"), args: []string{"iptables-legacy-restore"}},
			{stdin: rule("inet6"), args: []string{"ip6tables-legacy-restore"}}}, nil
	}, add: func(_ *lab.NS, prefix string) (command, error) {
		return command{args: []string{"ipset", "add", "block-inet", prefix}}, nil
	}},
	{name: "nft set", addMost: 100_000, passes: dropsListed, memory: growth, load: func(l *blocklist, _ *lab.NS, _ string) ([]command, error) {
		return []command{{stdin: l.nft(), args: []string{"nft", "-f", "-"}}}, nil
	}, add: func(_ *lab.NS, prefix string) (command, error) {
		return command{args: []string{"nft", "add", "element", "netdev", "bench", "block4", "{", prefix, "}"}}, nil
	}},
	{name: legacy, most: 12_000, passes: dropsListed, memory: growth, load: func(l *blocklist, _ *lab.NS, _ string) ([]command, error) {
		return []command{{stdin: iptablesDrops(l.v4), args: []string{"iptables-legacy-restore"}}, {stdin: iptablesDrops(l.v6), args: []string{"ip6tables-legacy-restore"}}}, nil
	}, add: func(_ *lab.NS, prefix string) (command, error) {
		return command{args: []string{"iptables-legacy", "-t", "raw", "-A", "PREROUTING", "-s", prefix, "-j", "DROP"}}, nil
	}},
}

// guardCommands put a policy in force, and the list into its set one by one if it is not a part of the rules.
func guardCommands(n *lab.NS, dir, policy, list string, add bool) ([]command, error) {
	file, lines := filepath.Join(dir, "policy.toml"), filepath.Join(dir, "list.txt")
	if err := errors.Join(os.WriteFile(file, []byte(policy), 0o600), os.WriteFile(lines, []byte(list), 0o600)); err != nil {
		return nil, err
	}
	apply, err := firewallCommand(n, "apply", "--yes", "--xdp", "native", file)
	if err != nil || !add {
		return []command{apply}, err
	}
	fill, err := firewallCommand(n, "set", "add", "block", "--file", lines)
	return []command{apply, fill}, err
}

func firewallCommand(n *lab.NS, args ...string) (command, error) {
	path, err := lab.Bpfwall()
	return command{args: append([]string{path, "--netns", n.Name}, args...), outside: true}, err
}

// mapsOfFirewall is the memory of all maps of a firewall.
func mapsOfFirewall(ln *lane, _ float64) (float64, error) {
	return pinnedMaps(filepath.Join("/sys/fs/bpf/bpfwall/netns", ln.world.DUT.Name))
}

// memoryOfIPSet is what ipset says of its sets.
func memoryOfIPSet(ln *lane, _ float64) (mb float64, err error) {
	out, err := ln.world.DUT.Run(nil, "ipset", "list", "-t")
	for _, line := range strings.Split(out, "\n") {
		var bytes float64
		if _, err := fmt.Sscanf(line, "Size in memory: %f", &bytes); err == nil {
			mb += bytes / (1 << 20)
		}
	}
	return mb, err
}

// growth is how much more memory the kernel has than before.
func growth(_ *lane, before float64) (float64, error) {
	now, err := kernelMemory()
	return max(0, now-before), err
}

// kernelMemory is what the kernel has in objects and mapped pages, MB.
func kernelMemory() (mb float64, err error) {
	text, err := os.ReadFile("/proc/meminfo")
	for _, name := range []string{"SUnreclaim", "VmallocUsed"} {
		var kb float64
		_, scanErr := fmt.Sscan(after(string(text), name), &kb)
		mb, err = mb+kb/1024, errors.Join(err, scanErr)
	}
	return mb, err
}

// lane is a contender's way from the sender to the receiver.
type lane struct {
	*course
	lister  lister
	result  Blocklist
	senders map[string]*ebpf.Program
	taken   map[string][]float64
}

// measureBlocklists measures lists of several lengths.
func measureBlocklists(ctx context.Context) (out []Blocklist, err error) {
	for _, n := range plan.blocklists {
		more, err := measureBlocklist(ctx, newBlocklist(n))
		if err != nil {
			return nil, fmt.Errorf("a list of %d: %w", n, err)
		}
		out = append(out, more...)
	}
	return out, nil
}

func measureBlocklist(ctx context.Context, l *blocklist) (out []Blocklist, err error) {
	feeds := map[string]*feed{}
	var lanes []*lane
	defer func() {
		for _, ln := range lanes {
			err = errors.Join(err, ln.close())
		}
		for _, f := range feeds {
			_ = f.Close()
		}
	}()
	for _, k := range plan.kinds() {
		if feeds[k.name], err = feedOf(l.frames(k)); err != nil {
			return nil, err
		}
	}
	for _, how := range listers {
		if how.most > 0 && l.size() > how.most {
			out = append(out, Blocklist{Contender: how.name, IPv4: len(l.v4), IPv6: len(l.v6), Not: fmt.Sprintf("a rule for each of %d prefixes", l.size())})
			continue
		}
		ln, err := newLane(how, l, feeds)
		if ln != nil {
			lanes = append(lanes, ln)
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, fmt.Errorf("%s: %w", how.name, err)
		}
		note("a list of %d, %s", l.size(), how.name)
	}
	for range *rounds {
		for _, k := range plan.kinds() {
			for _, ln := range lanes {
				if err := errors.Join(ctx.Err(), ln.time(k)); err != nil {
					return nil, fmt.Errorf("%s, %s: %w", ln.lister.name, k.name, err)
				}
			}
		}
	}
	for _, ln := range lanes {
		for _, k := range plan.kinds() {
			ln.result.Frames[k.name] = medianOf(ln.taken[k.name])
		}
		out = append(out, ln.result)
	}
	return out, nil
}

// newLane makes a contender's network, tells it the list, and loads the senders. A lane with an error is to be closed too.
func newLane(how lister, l *blocklist, feeds map[string]*feed) (*lane, error) {
	c := &course{}
	ln := &lane{course: c, lister: how, senders: map[string]*ebpf.Program{}, taken: map[string][]float64{},
		result: Blocklist{Contender: how.name, IPv4: len(l.v4), IPv6: len(l.v6), Frames: map[string]float64{}}}
	var err error
	if c.world, err = lab.New(lab.Options{Wires: true}); err != nil {
		return nil, err
	}
	if err := c.world.DUT.Offloads("lan0", true); err != nil {
		return ln, err
	}
	if how.begin != nil {
		if err := how.begin(c); err != nil {
			return ln, err
		}
	}
	if how.load != nil {
		if err := ln.load(l); err != nil {
			return ln, err
		}
	}
	if how.alone {
		if err := ln.programAlone(feeds); err != nil {
			return ln, err
		}
	}
	if err := c.count(); err != nil {
		return ln, err
	}
	for name, f := range feeds {
		if err := c.send(f); err != nil {
			return ln, err
		}
		ln.senders[name] = c.sender
	}
	return ln, nil
}

// load gives the commands that load the list and that add to it, and notes what they took.
func (ln *lane) load(l *blocklist) error {
	dir, err := os.MkdirTemp("", "bpfwall-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	before, err := kernelMemory()
	if err != nil {
		return err
	}
	commands, err := ln.lister.load(l, ln.world.DUT, dir)
	if err != nil {
		return err
	}
	for _, c := range commands {
		ms, mb, err := c.run(ln.world.DUT)
		if err != nil {
			return err
		}
		ln.result.Load += ms
		ln.result.RSS = max(ln.result.RSS, mb)
	}
	if ln.result.Memory, err = ln.lister.memory(ln, before); err != nil {
		return err
	}
	if ln.lister.add == nil || ln.lister.addMost > 0 && l.size() > ln.lister.addMost {
		return nil
	}
	var times []float64
	for begin := time.Now(); len(times) < 2+*rounds && (len(times) == 0 || time.Since(begin).Seconds() < 3); {
		c, err := ln.lister.add(ln.world.DUT, fmt.Sprintf("203.0.113.%d", 2*len(times)))
		if err != nil {
			return err
		}
		ms, _, err := c.run(ln.world.DUT)
		if err != nil {
			return err
		}
		times = append(times, ms)
	}
	ln.result.AddOne = medianOf(times)
	return nil
}

// programAlone measures what is attached in XDP by test runs.
func (ln *lane) programAlone(feeds map[string]*feed) error {
	dev, err := ln.world.DUT.Link("lan0")
	if err != nil {
		return err
	}
	b := &bench{hook: xdp, world: ln.world, index: uint32(dev.Attrs().Index)}
	defer func() {
		for _, t := range b.things {
			_ = t.Close()
		}
	}()
	if b.target, err = attached(ln.world.DUT, b.index, xdp.pin); err != nil {
		return err
	}
	b.things = append(b.things, b.target)
	ln.result.Program = map[string]float64{}
	for name, f := range feeds {
		null, err := b.driver(f, nil)
		if err != nil {
			return err
		}
		full, err := b.driver(f, b.target)
		if err != nil {
			return err
		}
		floor, err := b.time(null)
		if err != nil {
			return err
		}
		ns, err := b.time(full)
		if err != nil {
			return err
		}
		ln.result.Program[name] = ns - floor
	}
	return nil
}

// ofRouter is how many frames of its own, for neighbours and groups, the router may send meanwhile.
const ofRouter = 16

// time sends frames of a kind, and checks that all of them pass, or none.
func (ln *lane) time(k kindOfFrame) error {
	ln.sender, ln.times, ln.sent, ln.got = ln.senders[k.name], nil, 0, 0
	if err := ln.run(); err != nil {
		return err
	}
	want := uint64(0)
	if ln.lister.passes(k.listed) {
		want = ln.sent
	}
	if max(ln.got, want)-min(ln.got, want) > ofRouter {
		return fmt.Errorf("%d of %d frames passed, and it should be %d", ln.got, ln.sent, want)
	}
	ln.taken[k.name] = append(ln.taken[k.name], ln.times...)
	return nil
}

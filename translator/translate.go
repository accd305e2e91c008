package translator

import (
	"cmp"
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// Output is a compiled ruleset.
type Output struct {
	// Spec is the programs tc_ingress, tc_egress and fw_judge, their maps with the contents of the sets, and the switches
	// (cfg_… variables) that the ruleset decides. It is the caller's to change further.
	Spec *ebpf.CollectionSpec
	// XDP is the program xdp_ingress, which does the prerouting rules' work where an interface has native XDP, with the maps of Spec: the
	// loader is to share them out by name. nil: there are no such rules, or NoXDP says which of them tc has to judge.
	XDP   *ebpf.CollectionSpec
	NoXDP string
	// Connect is the programs connect4 and connect6, which refuse the connections that the rules are sure to refuse, with maps of Spec as
	// XDP has. nil: no rule asks for sockets, or NoConnect says why there are none.
	Connect   *ebpf.CollectionSpec
	NoConnect string
	// Listen is the programs bind4 and bind6, which refuse ports to sockets, with maps of Spec as XDP has. nil: there are no such rules.
	Listen *ebpf.CollectionSpec

	Slots Slots      // of every counter and token bucket of the ruleset
	Fresh FreshSlots // of these, the ones that begin at zero
	Logs  []LogPoint // by the log_id of events
	Sets  []*SetMap  // the maps that hold addresses
	// Cgroups is the control groups that the rules name, by the bits that stand for them in the map "cgroups".
	Cgroups []string
	Live    []*LiveSet // the sets whose elements outlive generations

	Counters, Limits int // entries that the shared maps of these names need

	plan, connectPlan *plan
	code              []*code
	at                *layout
}

// LogPoint is a log statement of a rule.
type LogPoint struct {
	Rule *ruleset.Rule
	ruleset.Log
}

// Options say how to compile.
type Options struct {
	Engine Engine // for tests: what finds the first of many rules, whatever it costs
	Tables int    // for tests: bytes that the tables of rules may be; 0: what the kernel takes
	// Identified is told when the rules are checked and have identities: from then on they are only read. nil: nobody is.
	Identified func()
}

// Translate compiles a ruleset as Options{}.Translate does.
func Translate(rs *ruleset.Ruleset, prev Slots) (*Output, error) {
	return Options{}.Translate(rs, prev)
}

// Translate compiles a ruleset, which it checks and whose rules it gives identities. Slots of prev are kept.
// Errors are a ruleset.ErrorList for rules without a meaning, or a *LimitError for what the kernel would refuse.
func (o Options) Translate(rs *ruleset.Ruleset, prev Slots) (*Output, error) {
	return Begin(rs).Translate(o, prev)
}

// Begun is a ruleset that is being compiled as far as that needs no slots, beside whatever else the caller does.
type Begun struct {
	Used    func() ruleset.Used // what Ruleset.Used is, found once
	rs      *ruleset.Ruleset
	reading func() read
	checked func() error
}

// Begin begins to compile a ruleset, whose rules nobody may change from here on.
func Begin(rs *ruleset.Ruleset) *Begun {
	return &Begun{Used: sync.OnceValue(rs.Used), rs: rs, reading: beside(readClassifier), checked: beside(func() error {
		err := rs.Check()
		if err == nil {
			rs.AssignIDs()
		}
		return err
	})}
}

// Wait waits until the rules are not looked at any more, for who gives up.
func (b *Begun) Wait() { _ = b.checked() }

// Translate goes on, as Options.Translate does.
func (b *Begun) Translate(o Options, prev Slots) (*Output, error) {
	if err := b.checked(); err != nil {
		return nil, err
	}
	if o.Identified != nil {
		o.Identified()
	}
	rs := b.rs
	p := newPlan(rs, b.Used(), prev)
	c := b.reading()
	if c.err != nil {
		return nil, c.err
	}
	obj, spec, at := c.obj, c.obj.spec, c.at
	obj.forgetUnused(rs)
	p.limits = obj.limits()
	p.engine, p.order, p.tables, p.shapes = o.Engine, spec.ByteOrder, cmp.Or(o.Tables, maxTables), prev.Shapes
	p.parts = prev.Parts
	for _, pass := range passes {
		if err := pass.run(p); err != nil {
			return nil, err
		}
	}
	for _, c := range p.classifiers {
		p.slots.Shapes, p.slots.Parts = append(p.slots.Shapes, c.shape()), append(p.slots.Parts, c.parts())
	}
	out := &Output{Spec: spec, Slots: p.slots, Fresh: p.fresh, Logs: p.logs, Sets: p.sets, Live: p.liveList(), Cgroups: p.cgroups, plan: p, at: at}
	if err := out.lower(obj); err != nil {
		return nil, p.explained(err)
	}
	if err := out.addXDP(); err != nil {
		return nil, err
	}
	if err := out.addConnect(prev); err != nil {
		return nil, err
	}
	if err := out.addListen(); err != nil {
		return nil, err
	}
	return out, out.finish()
}

// read is an object that was read: its functions, and where it has the members of a packet.
type read struct {
	obj *object
	at  *layout
	err error
}

func readClassifier() (r read) {
	spec, err := bpf.Classifier.Spec()
	if err != nil {
		return read{err: fmt.Errorf("classifier object: %s", err)}
	}
	if r.obj, r.err = newObject(spec); r.err == nil {
		r.at, r.err = newLayout(spec)
	}
	return r
}

// beside begins to make something, and waits for it when it is asked for.
func beside[T any](make func() T) func() T {
	var out T
	var wait sync.WaitGroup
	wait.Go(func() { out = make() })
	return func() T {
		wait.Wait()
		return out
	}
}

// lower writes the functions and puts them into the programs.
func (o *Output) lower(obj *object) error {
	var err error
	if o.code, err = o.plan.compile(obj, o.at); err != nil {
		return err
	}
	return obj.replace(o.code)
}

// finish sets what else of the spec depends on the ruleset: maps and switches.
func (o *Output) finish() error {
	o.Counters, o.Limits = mapSize(o.Slots.Counters), mapSize(o.Slots.Limits)
	o.Spec.Maps["counters"].MaxEntries = uint32(o.Counters)
	o.Spec.Maps["limits"].MaxEntries = uint32(o.Limits)
	o.plan.sizeMeters(o.Spec.Maps["meters"])
	stamps := o.plan.sizeRecents(o.Spec.Maps)
	for _, s := range o.Sets {
		o.Spec.Maps[s.Name] = s.spec()
	}
	if m := o.plan.classifierSpec(); m != nil {
		o.Spec.Maps[m.Name] = m
	}
	for _, s := range o.Live {
		for _, m := range s.specs() {
			o.Spec.Maps[m.ref] = m.spec
		}
	}
	o.shareMaps()
	if err := o.set("cfg_recent_mask", stamps-1); err != nil {
		return fmt.Errorf("switch cfg_recent_mask: %s", err)
	}
	rs := o.plan.rs
	if err := o.setConntrack(rs.Conntrack); err != nil {
		return err
	}
	o.sizePlaces()
	used, logs := o.plan.used, rs.Logs()
	for name, value := range map[string]bool{
		"cfg_conntrack":       o.plan.tracks(),
		"cfg_flows":           used.Has(ruleset.FieldFlows),
		"cfg_published":       rs.PublishedAsInput,
		"cfg_prerouting":      rs.Decides(ruleset.HookPrerouting),
		"cfg_raw_output":      rs.Decides(ruleset.HookRawOutput),
		"cfg_ifnames":         used.Has(ruleset.FieldInIface, ruleset.FieldOutIface) || logs,
		"cfg_addrtypes":       used.Has(ruleset.FieldSrcType, ruleset.FieldDstType),
		"cfg_tcp_options":     used.Has(ruleset.FieldTCPOption, ruleset.FieldTCPMSS),
		"cfg_dnat":            used.Has(ruleset.FieldDNAT),
		"cfg_mac":             used.Has(ruleset.FieldSrcMAC) || logs,
		"cfg_owner":           o.plan.asksSender() || logs,
		"cfg_receiver":        used.Has(ruleset.ReceiverFields...) && rs.AsksReceiver(),
		"cfg_cgroups":         len(o.Cgroups) > 0,
		"cfg_synproxy":        rs.UsesSynProxy(),
		"cfg_reads_transport": rs.ReadsTransport(),
	} {
		if err := o.set(name, value); err != nil {
			return fmt.Errorf("switch %s: %s", name, err)
		}
	}
	return nil
}

// set sets a switch. In XDP, nothing is tracked, and the compiler has left out what does not matter there or at connect().
func (o *Output) set(name string, value any) error {
	err := o.Spec.Variables[name].Set(value)
	for _, spec := range []*ebpf.CollectionSpec{o.XDP, o.Connect, o.Listen} {
		if spec == nil || spec.Variables[name] == nil || spec == o.XDP && name == "cfg_conntrack" {
			continue
		}
		err = errors.Join(err, spec.Variables[name].Set(value))
	}
	return err
}

// setConntrack puts what a ruleset says of connection tracking in place of the defaults.
func (o *Output) setConntrack(ct *ruleset.Conntrack) error {
	if ct == nil {
		return nil
	}
	for name, size := range map[string]uint32{"ct": ct.Max, "ct_new": ct.HalfOpen} {
		if size != 0 {
			o.Spec.Maps[name].MaxEntries = size
		}
	}
	times := o.Spec.Variables["cfg_ct_timeouts"]
	seconds := make([]uint32, times.Size()/4)
	if err := times.Get(seconds); err != nil {
		return fmt.Errorf("timeouts: %s", err)
	}
	for i, t := range ruleset.ConntrackTimeouts {
		if s, ok := ct.Timeouts[t.Name]; ok {
			seconds[i] = s
		}
	}
	for name, value := range map[string]any{"cfg_ct_timeouts": seconds, "cfg_tcp_loose": !ct.Strict, "cfg_tcp_liberal": ct.Liberal,
		"cfg_ct_per_source": ct.PerSource, "cfg_source_ipv4": cmp.Or(ct.SourceIPv4, ruleset.DefaultSourceIPv4),
		"cfg_source_ipv6": cmp.Or(ct.SourceIPv6, ruleset.DefaultSourceIPv6)} {
		if err := o.Spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("switch %s: %s", name, err)
		}
	}
	return nil
}

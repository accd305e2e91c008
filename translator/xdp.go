package translator

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// addXDP puts the prerouting rules into the XDP program too, if there are any and none asks for what XDP does not have.
func (o *Output) addXDP() error {
	rs := o.plan.rs
	if !rs.Decides(ruleset.HookPrerouting) {
		return nil
	}
	chains := rs.ReachedFrom(ruleset.HookPrerouting)
	if o.NoXDP = needsSkb(chains); o.NoXDP != "" {
		return nil
	}
	spec, err := bpf.XDP.Spec()
	if err != nil {
		return fmt.Errorf("xdp object: %s", err)
	}
	obj, err := newObject(spec)
	if err != nil {
		return err
	}
	obj.forgetUnused(rs)
	if err := obj.replace(o.code); err != nil {
		return err
	}
	o.XDP = spec
	return nil
}

// shareMaps gives the programs of other kinds the maps of those for tc.
func (o *Output) shareMaps() {
	for _, spec := range []*ebpf.CollectionSpec{o.XDP, o.Connect, o.Listen} {
		if spec != nil {
			o.share(spec)
		}
	}
}

func (o *Output) share(spec *ebpf.CollectionSpec) {
	for name, m := range o.Spec.Maps {
		if _, has := spec.Maps[name]; has && !strings.HasPrefix(name, ".rodata") { // constants are each program's own
			spec.Maps[name] = m
		}
	}
	if m := o.Spec.Maps[classifierMap]; m != nil && spec != o.Connect {
		spec.Maps[classifierMap] = m
	}
	for _, s := range o.Sets {
		spec.Maps[s.Name] = o.Spec.Maps[s.Name]
	}
	for _, s := range o.Live {
		for _, m := range s.specs() {
			spec.Maps[m.ref] = o.Spec.Maps[m.ref]
		}
	}
}

// needsSkb names the first rule that asks for what only an skb has: XDP comes before the packet has a mark.
func needsSkb(chains []*ruleset.Chain) string {
	for _, c := range chains {
		for _, r := range c.Rules {
			if touchesMark(r) {
				return fmt.Sprintf("%s: a packet has no mark yet in XDP", r.Pos)
			}
		}
	}
	return ""
}

func touchesMark(r *ruleset.Rule) bool {
	for i := range r.Matches {
		if r.Matches[i].Field == ruleset.FieldMark {
			return true
		}
	}
	for _, s := range r.Statements {
		if s.SetMark != nil {
			return true
		}
	}
	return false
}

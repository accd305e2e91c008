package dataplane

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/bpfwall/bpfwall/ruleset"
)

// listenHooks are the hooks of control groups that rules for bind() run on. What they say holds: where they cannot be attached, the apply fails.
var listenHooks = []connectHook{
	{"bind4", ebpf.AttachCGroupInet4Bind},
	{"bind6", ebpf.AttachCGroupInet6Bind},
}

// listenPrograms are those that a generation has for bind().
func listenPrograms() (names []string) {
	for _, h := range listenHooks {
		names = append(names, h.name)
	}
	return names
}

// checkListen finds out whether bind() can be judged.
func (t *transaction) checkListen() error {
	chains := t.rs.ReachedFrom(ruleset.HookListen)
	if len(chains) == 0 {
		return nil
	}
	if _, err := cgroupRoot(); err != nil {
		return &ruleset.Error{Pos: chains[0].Pos, Msg: "rules for who may listen: " + err.Error()}
	}
	return nil
}

// loadListen verifies the programs for bind(), with the maps of the tc programs.
func (t *transaction) loadListen(maps map[string]*ebpf.Map) error {
	if t.out.Listen == nil {
		return nil
	}
	spec, shared := t.out.Listen, map[string]*ebpf.Map{}
	for name := range spec.Maps {
		if !strings.HasPrefix(name, ".") {
			shared[name] = maps[name]
		}
	}
	if err := setSwitches(spec, t.next, t.seal); err != nil {
		return err
	}
	coll, err := loadWith(spec, "listen", shared)
	if err != nil {
		return t.d.loadError(err)
	}
	t.atEnd(func() error { coll.Close(); return nil })
	for _, name := range listenPrograms() {
		t.programs[name] = coll.Programs[name]
	}
	t.next.Listen = true
	return nil
}

// attachListen attaches the dispatchers of bind() to all control groups, if the generation has programs for them.
func (t *transaction) attachListen() error {
	if !t.next.Listen {
		return nil
	}
	root, err := cgroupRoot()
	if err != nil {
		return err
	}
	coll, err := t.connectDispatchers()
	if err != nil {
		return errKernel(err)
	}
	for _, h := range listenHooks {
		if err := t.attachConnectHook(root, h, coll.Programs[h.dispatcher()], t.dispatch["gen"]); err != nil {
			return fmt.Errorf("%s: %w", h.name, errKernel(err))
		}
	}
	return nil
}

// detachListen detaches the dispatchers if no generation needs them that may come back without an apply.
func (t *transaction) detachListen() {
	if t.next.Listen || t.live != nil && t.live.Listen {
		return
	}
	for _, h := range listenHooks {
		_ = os.Remove(t.d.at.connectPin(h))
	}
}

// ModeCgroup is how the hooks of control groups have dispatchers.
const ModeCgroup Mode = "cgroup"

// listenStatus tells of the hooks of bind(), if the generation needs them.
func (d *Dataplane) listenStatus(g *Generation) []Hook {
	if !g.Listen {
		return nil
	}
	missing := slices.ContainsFunc(listenHooks, func(h connectHook) bool {
		l, err := link.LoadPinnedLink(d.at.connectPin(h), nil)
		if err == nil {
			_ = l.Close()
		}
		return err != nil
	})
	return []Hook{{Direction: "bind()", Mode: ModeCgroup, Attached: !missing}}
}

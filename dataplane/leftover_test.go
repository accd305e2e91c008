package dataplane

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// TestDisableWithoutPins: filters of clsact hold on when somebody has removed all pins; disable finds them.
func TestDisableWithoutPins(t *testing.T) {
	w := newWorld(t)
	w.serve(81)
	w.apply(inputRules(80), Options{Mode: ModeClsact})
	d := w.open()
	must(t, os.RemoveAll(d.at.pins))
	must(t, d.Disable(context.Background()))
	if !w.reaches(81) {
		t.Error("closed after disable")
	}
	if err := d.Disable(context.Background()); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("once more: %v, want ErrNotLoaded", err)
	}
}

// TestForget: the firewall beside NAT of a namespace whose name was deleted keeps it alive, until it is forgotten.
func TestForget(t *testing.T) {
	w := newWorld(t)
	w.apply(inputRules(80), Options{BesideNAT: true})
	if err := Forget(context.Background(), w.cfg); err == nil {
		t.Error("forgot a namespace that is there")
	}
	must(t, netns.DeleteNamed(w.host))
	alive := func() bool { // its end of the veth takes the peer's along
		err := enterAnd(w.peer, func() error { _, err := netlink.LinkByName("veth0"); return err })
		return err == nil
	}
	if !alive() {
		t.Skip("the link of this kernel does not keep the namespace")
	}
	must(t, Forget(context.Background(), w.cfg))
	gone := false
	for deadline := time.Now().Add(10 * time.Second); !gone && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		gone = !alive()
	}
	if !gone {
		t.Error("the namespace lives on")
	}
	if err := Forget(context.Background(), w.cfg); !errors.Is(err, ErrNoNamespace) {
		t.Errorf("once more: %v, want ErrNoNamespace", err)
	}
}

// enterAnd runs fn in a namespace.
func enterAnd(name string, fn func() error) error {
	d := &Dataplane{cfg: Config{Netns: name}}
	return d.within(fn)
}

// TestUnmounts: a BPF file system for trials that was mounted by apply goes with disable.
func TestUnmounts(t *testing.T) {
	w := newWorld(t)
	w.cfg.BPFFS = filepath.Join(t.TempDir(), "bpf")
	w.apply(inputRules(80), Options{})
	w.disable()
	if is, err := isBPFFS(w.cfg.BPFFS); is || err != nil {
		t.Errorf("mounted still: %v", err)
	}
}

// TestFlowtableWarns: beside NAT, apply tells of flowtables.
func TestFlowtableWarns(t *testing.T) {
	w := newWorld(t)
	err := enterAnd(w.host, func() error {
		return exec.Command("nft", "table inet fast { flowtable f { hook ingress priority 0; devices = { lo }; }; }").Run()
	})
	if err != nil {
		t.Skip("this kernel has no flowtables, or there is no nft")
	}
	res := w.apply(inputRules(80), Options{BesideNAT: true})
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "flowtable f of table inet fast") {
		t.Errorf("warnings %q", res.Warnings)
	}
}

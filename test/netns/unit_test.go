package netns

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// A unit is known by its name wherever its slice is, also when it starts after the rules were put in force, and when it starts anew: its
// control group is another one then. A group of the same name that is not in slices is not the unit.
func TestUnitsThatStartAgain(t *testing.T) {
	w := newWorld(t, lab.Options{})
	far := netip.AddrPortFrom(lab.WAN.Far4.Addr(), 80)
	serveOn(t, w.Server, far, func(c net.Conn) { c.Close() })
	root := filepath.Dir(ownCgroup(t, "", "user"))
	unit := fmt.Sprintf("bpfwall-test-%d.service", os.Getpid())
	slice := filepath.Join(root, fmt.Sprintf("bpfwall-test-%d.slice", os.Getpid()))
	start := func(dir string) {
		t.Helper()
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	stop := func(dir string) {
		t.Helper()
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	refusedIn := func(dir string) bool {
		t.Helper()
		said := play(t, w.DUT, "cgroup "+dir, "tcp4", "connect "+far.String())
		if said != "" && !strings.HasSuffix(said, "EPERM") {
			t.Fatal(said)
		}
		return said != ""
	}
	path := "/" + filepath.Base(slice) + "/deep"
	start(slice)
	defer func() { _ = os.Remove(slice) }()
	applyPolicy(t, w.DUT, fmt.Sprintf("[[outbound]]\nname = \"unit\"\ndrop = \"tcp/80\"\nunit = %q\n[[outbound]]\ndrop = \"tcp/80\"\ncgroup = %q\n", unit, path))
	if refusedIn(slice) {
		t.Error("the slice is taken for the unit")
	}
	for range 2 { // a path is known as soon as it is there
		start(filepath.Join(root, path))
		if !refusedIn(filepath.Join(root, path)) {
			t.Error("a control group that is made later is not known")
		}
		stop(filepath.Join(root, path))
	}
	dir := filepath.Join(slice, unit)
	start(dir)
	if out, err := w.DUT.Bpfwall("refresh"); err != nil { // where it is was not known: not in system.slice
		t.Fatal(out, err)
	}
	for range 3 {
		if !refusedIn(dir) {
			t.Error("the unit is not known")
		}
		stop(dir)
		start(dir)
	}
	stop(dir)
	fake := filepath.Join(ownCgroup(t, "", "fake"), unit)
	start(fake)
	if out, err := w.DUT.Bpfwall("refresh"); err != nil {
		t.Fatal(out, err)
	}
	if refusedIn(fake) {
		t.Error("a group outside of slices is taken for the unit")
	}
	stop(fake)
}

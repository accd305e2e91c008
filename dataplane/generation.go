package dataplane

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

// Meta is what an apply says of itself.
type Meta struct {
	Time    time.Time `json:"time"`
	User    string    `json:"user,omitempty"`
	Command string    `json:"command,omitempty"`
	Note    string    `json:"note,omitempty"`
	Sources []Source  `json:"sources,omitempty"`
}

// Source is a file that the ruleset was made of.
type Source struct {
	Name string `json:"name"`
	Text []byte `json:"-"` // in a file of its own
}

// Generation is one ruleset that was, is or is about to be in force, as the disk remembers it.
type Generation struct {
	Number     uint32 `json:"number"`
	Previous   uint32 `json:"previous,omitempty"`    // what decided before, whose programs are in the other slot
	Loaded     uint32 `json:"loaded"`                // number under which its programs were loaded: another one after a rollback
	RollbackTo uint32 `json:"rollback_to,omitempty"` // the generation that this one is again
	Confirmed  bool   `json:"confirmed,omitempty"`   // see Confirm
	Forwarding bool   `json:"forwarding,omitempty"`  // the host forwarded packets when the programs were loaded
	NAT        bool   `json:"nat,omitempty"`         // it judges beside the kernel's NAT
	Defrag     bool   `json:"defrag,omitempty"`      // fragments that arrive are judged at netfilter's hooks, when they are put together
	NoDefrag   string `json:"no_defrag,omitempty"`   // why they are not, though the rules read the state
	// Guard: there are prerouting rules. NoXDP says why XDP judges them nowhere, XDP why not on an interface, "" on those where it does.
	Guard bool   `json:"guard,omitempty"`
	NoXDP string `json:"no_xdp,omitempty"`
	// Connect: it has programs for connect(), which ask what leaves by lo if AsksLoopback. NoConnect says why not, if a rule asks for sockets.
	Connect      bool   `json:"connect,omitempty"`
	AsksLoopback bool   `json:"asks_loopback,omitempty"`
	AsksFlows    bool   `json:"asks_flows,omitempty"` // sendmsg() asks whether a flow is known
	NoConnect    string `json:"no_connect,omitempty"`
	Notes        bool   `json:"notes,omitempty"` // programs that open sockets are noted, for logs

	XDP map[string]string `json:"xdp,omitempty"`
	Meta
	Options Options               `json:"options"`
	Slots   translator.Slots      `json:"slots"`
	Logs    []translator.LogPoint `json:"logs,omitempty"`
}

// atNetfilter reports whether it judges packets at netfilter's hooks.
func (g *Generation) atNetfilter() bool { return g.NAT || g.Defrag }

const (
	tmpPrefix = ".tmp-" // of directories that are being written
	offSuffix = ".off"  // of the link "current" while the firewall is turned off
)

// History lists the generations that the disk remembers, oldest first. It needs no rights over the kernel.
func (d *Dataplane) History() ([]*Generation, error) {
	numbers, err := d.at.savedGenerations()
	if err != nil {
		return nil, err
	}
	var all []*Generation
	for _, n := range numbers {
		g, err := d.at.readGeneration(n)
		if errors.Is(err, ErrNoGeneration) {
			continue // cleared away meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}

// Generation reads one generation with its ruleset and its sources' text. Returns ErrNoGeneration.
func (d *Dataplane) Generation(n uint32) (*Generation, *ruleset.Ruleset, error) {
	g, err := d.at.readGeneration(n)
	if err != nil {
		return nil, nil, err
	}
	rs, err := d.at.readRuleset(n)
	if err != nil {
		return nil, nil, err
	}
	for i := range g.Sources {
		if g.Sources[i].Text, err = os.ReadFile(d.at.sourceFile(n, i)); err != nil {
			return nil, nil, fmt.Errorf("generation %d: %s", n, err)
		}
	}
	return g, rs, nil
}

// Saved is the generation to put in force at boot: the last confirmed one, or the last that was live if none ever was confirmed.
// Returns ErrNoGeneration if the disk has none.
func (d *Dataplane) Saved() (uint32, error) {
	all, err := d.History()
	if err != nil {
		return 0, err
	}
	current := d.at.currentGeneration()
	for _, g := range slices.Backward(all) {
		if g.Confirmed && g.Number <= current {
			return g.Number, nil
		}
	}
	if current == 0 {
		return 0, ErrNoGeneration
	}
	return current, nil
}

// savedGenerations are the numbers on disk, in order.
func (l layout) savedGenerations() ([]uint32, error) {
	entries, err := os.ReadDir(l.generations)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errDisk(err)
	}
	var numbers []uint32
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 10, 32); err == nil {
			numbers = append(numbers, uint32(n))
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func (l layout) sourceFile(n uint32, i int) string {
	return filepath.Join(l.generation(n), "sources", strconv.Itoa(i))
}

func (l layout) readGeneration(n uint32) (*Generation, error) {
	g := new(Generation)
	return g, l.readJSON(n, "meta.json", g)
}

func (l layout) readRuleset(n uint32) (*ruleset.Ruleset, error) {
	rs := new(ruleset.Ruleset)
	return rs, l.readJSON(n, "ruleset.json", rs)
}

func (l layout) readJSON(n uint32, name string, v any) error {
	b, err := os.ReadFile(filepath.Join(l.generation(n), name))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("generation %d: %w", n, ErrNoGeneration)
	case err != nil:
		return fmt.Errorf("generation %d: %w", n, errDisk(err))
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("generation %d: %s: %s", n, name, err)
	}
	return nil
}

// writeGeneration writes a generation's directory, which appears in full or not at all, also after a loss of power.
func (l layout) writeGeneration(g *Generation, rs *ruleset.Ruleset) error {
	dir := l.generation(g.Number)
	tmp := filepath.Join(l.generations, tmpPrefix+filepath.Base(dir))
	err := l.fillGeneration(tmp, g, rs)
	if err == nil {
		err = os.Rename(tmp, dir)
	}
	if err == nil {
		err = syncDir(l.generations)
	}
	if err != nil {
		_ = os.RemoveAll(tmp)
		return fmt.Errorf("%s: %w", dir, errDisk(err))
	}
	return nil
}

func (l layout) fillGeneration(dir string, g *Generation, rs *ruleset.Ruleset) error {
	if err := os.MkdirAll(filepath.Join(dir, "sources"), 0o700); err != nil {
		return err
	}
	for i, s := range g.Sources {
		if err := writeSynced(filepath.Join(dir, "sources", strconv.Itoa(i)), s.Text); err != nil {
			return err
		}
	}
	if err := writeJSON(filepath.Join(dir, "ruleset.json"), rs); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(dir, "meta.json"), g); err != nil {
		return err
	}
	if err := syncDir(filepath.Join(dir, "sources")); err != nil {
		return err
	}
	return syncDir(dir)
}

// setCurrent remembers which generation is live, for the next boot.
func (l layout) setCurrent(n uint32) error {
	tmp := l.current + ".tmp"
	_ = os.Remove(tmp)
	if err := os.Symlink(filepath.Join("generations", filepath.Base(l.generation(n))), tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, l.current); err != nil {
		return err
	}
	return syncDir(l.state)
}

// currentGeneration is what setCurrent was told last; 0: never, or the firewall was turned off since.
func (l layout) currentGeneration() uint32 { return linkNumber(l.current) }

// lastGeneration is the same, turned off or not.
func (l layout) lastGeneration() uint32 {
	return max(linkNumber(l.current), linkNumber(l.current+offSuffix))
}

// forgetCurrent remembers that the firewall was turned off, so that a boot does not turn it on.
func (l layout) forgetCurrent() error {
	if err := os.Rename(l.current, l.current+offSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errDisk(err)
	}
	return nil
}

func linkNumber(path string) uint32 {
	to, _ := os.Readlink(path)
	n, _ := strconv.ParseUint(filepath.Base(to), 10, 32)
	return uint32(n)
}

// rewriteMeta changes what is remembered of a generation.
func (l layout) rewriteMeta(g *Generation) error {
	path := filepath.Join(l.generation(g.Number), "meta.json")
	err := writeJSON(path+".tmp", g)
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		return fmt.Errorf("generation %d: %w", g.Number, errDisk(err))
	}
	return syncDir(filepath.Dir(path))
}

// tidyDisk removes half-written directories and the oldest generations, but for those that must stay.
func (l layout) tidyDisk(keep int, stay ...uint32) {
	entries, _ := os.ReadDir(l.generations)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tmpPrefix) {
			_ = os.RemoveAll(filepath.Join(l.generations, e.Name()))
		}
	}
	numbers, _ := l.savedGenerations()
	for i, n := range numbers {
		if i < len(numbers)-keep && !slices.Contains(stay, n) {
			_ = os.RemoveAll(l.generation(n))
		}
	}
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return writeSynced(path, append(b, '\n'))
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

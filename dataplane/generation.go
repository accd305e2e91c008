package dataplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

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
	// Idle is the hooks of tc where it has nothing to decide, "ingress" and "egress", so that nothing is attached there.
	Idle []string `json:"idle,omitempty"`
	// Guard: there are prerouting rules. NoXDP says why XDP judges them nowhere, XDP why not on an interface, "" on those where it does.
	Guard bool   `json:"guard,omitempty"`
	NoXDP string `json:"no_xdp,omitempty"`
	// Connect: it has programs for connect(), which ask what leaves by lo if AsksLoopback. NoConnect says why not, if a rule asks for sockets.
	Connect      bool   `json:"connect,omitempty"`
	AsksLoopback bool   `json:"asks_loopback,omitempty"`
	Listen       bool   `json:"listen,omitempty"`     // it has programs for bind()
	AsksFlows    bool   `json:"asks_flows,omitempty"` // sendmsg() asks whether a flow is known
	NoConnect    string `json:"no_connect,omitempty"`
	Notes        bool   `json:"notes,omitempty"` // programs that open sockets are noted, for logs

	XDP map[string]string `json:"xdp,omitempty"`
	TCP *tcpSettings      `json:"tcp,omitempty"` // nil: no rule has a SYN proxy
	Meta
	Options Options `json:"options"`

	// In a file of its own, since there is one for every rule. History does not read them.
	Slots translator.Slots      `json:"slots,omitzero"`
	Logs  []translator.LogPoint `json:"logs,omitempty"`
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
		g, err := d.at.readMeta(n)
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

package conntrack

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// rig gives scripts to both.
type rig struct {
	kernel   *kernel
	firewall *firewall
	packets  int // so far
	spent    time.Duration
	waited   time.Duration // in this batch
	slowest  time.Duration // round of this batch
	entries  int           // of the kernel's tables that were compared
}

func newRig(t *testing.T, at place, set setting) *rig {
	t.Helper()
	r := &rig{kernel: newKernel(t, at), firewall: newFirewall(t, at, set)}
	set.kernel(t, r.kernel)
	if at == looped {
		r.firewall.attach(t, r.kernel.world.DUT)
	}
	return r
}

// answers are the states of a script's packets, the entries that the kernel has after the last one, and how bpfwall's differ, or "".
type answers struct {
	kernel, bpfwall []state
	entries         table
	tables          string
}

// differ is the first packet that the two see differently, or the last if only what they remember differs; -1 if there is none.
func (a answers) differ() int {
	for i := range a.kernel {
		if a.kernel[i] != a.bpfwall[i] {
			return i
		}
	}
	if a.tables != "" {
		return len(a.kernel) - 1
	}
	return -1
}

// class says what kind of difference there is at a packet of a script.
func (a answers) class(p *packet, at int) string {
	if a.kernel[at] == a.bpfwall[at] {
		return a.tables
	}
	return fmt.Sprintf("%s: kernel %s, bpfwall %s", p.kind, a.kernel[at], a.bpfwall[at])
}

// batchSize is how many scripts run side by side: as many packets as are sent in one go, fewer than netdev_max_backlog.
const batchSize = 900

// play runs scripts side by side, each with addresses of its own: the first packet of each, then the second of each, and so on.
// It waits as long as the longest wait among the packets of a round.
func (r *rig) play(scripts []*script) (out []answers, err error) {
	begin := time.Now()
	defer func() { r.spent += time.Since(begin) }()
	for from := 0; from < len(scripts); from += batchSize {
		batch := scripts[from:min(from+batchSize, len(scripts))]
		more, err := r.inTime(batch)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// inTime plays a batch, and again in two halves if the machine was too slow for its timeouts to mean the same to both.
func (r *rig) inTime(scripts []*script) (out []answers, err error) {
	r.waited, r.slowest = 0, 0
	begin := time.Now()
	err = pinned(func() error {
		out, err = r.batch(scripts)
		return err
	})
	if busy := time.Since(begin) - r.waited; err != nil || r.slowest < slowRound && busy < slowBatch && (r.waited == 0 || busy < slack) {
		return out, err
	}
	if len(scripts) == 1 {
		return nil, errors.New("this machine is too slow to compare timeouts")
	}
	half := len(scripts) / 2
	first, err := r.inTime(scripts[:half])
	if err != nil {
		return nil, err
	}
	second, err := r.inTime(scripts[half:])
	return append(first, second...), err
}

const (
	slowRound = 800 * time.Millisecond  // the times of entries would differ by more than a second
	slowBatch = 1500 * time.Millisecond // UDP flows become streams after two seconds
)

func (r *rig) batch(scripts []*script) ([]answers, error) {
	out := make([]answers, len(scripts))
	for i := 0; ; i++ {
		begin, waited := time.Now(), r.waited
		done, err := r.round(scripts, i, out)
		if err != nil {
			return nil, err
		}
		r.slowest = max(r.slowest, time.Since(begin)-(r.waited-waited))
		if done {
			break
		}
	}
	begin := time.Now()
	known, err := r.kernel.table()
	if err != nil {
		return nil, err
	}
	ours, err := r.firewall.table()
	if err != nil {
		return nil, err
	}
	r.slowest = max(r.slowest, time.Since(begin))
	r.entries += len(known)
	compareTables(scripts, known, ours, out)
	return out, errors.Join(r.kernel.forget(), r.firewall.forget())
}

// round plays packet i of each script.
func (r *rig) round(scripts []*script, i int, out []answers) (done bool, err error) {
	frames, sides := make([][]byte, len(scripts)), make([]end, len(scripts))
	wait := 0
	for n, s := range scripts {
		if i >= len(s.packets) {
			continue
		}
		p := &s.packets[i]
		wait = max(wait, p.wait)
		if p.skip {
			continue
		}
		frames[n] = p.frame(s, uint32(n+1), uint32(n+1))
		sides[n] = p.from.side()
	}
	if !slices.ContainsFunc(scripts, func(s *script) bool { return i < len(s.packets) }) {
		return true, nil
	}
	time.Sleep(time.Duration(wait) * time.Millisecond)
	r.waited += time.Duration(wait) * time.Millisecond
	labels, err := r.kernel.round(frames, sides)
	if err != nil {
		return false, err
	}
	for n, f := range frames {
		if f == nil { // not there, or it could not be sent
			if i < len(scripts[n].packets) {
				out[n].kernel, out[n].bpfwall = append(out[n].kernel, lost), append(out[n].bpfwall, lost)
			}
			continue
		}
		s := r.kernel.marks[n]
		if r.kernel.place != looped {
			if s, err = r.firewall.judge(sides[n], f); err != nil {
				return false, fmt.Errorf("%s: %w", &scripts[n].packets[i], err)
			}
		}
		if labels[n] == lost && r.kernel.place != forwarded {
			s = lost // no socket of ours gets everything that input has seen; its entry is compared all the same
		}
		out[n].kernel = append(out[n].kernel, labels[n])
		out[n].bpfwall = append(out[n].bpfwall, s)
		r.packets++
	}
	return false, nil
}

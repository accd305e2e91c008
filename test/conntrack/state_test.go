package conntrack

import (
	"fmt"

	"github.com/bpfwall/bpfwall/ruleset"
)

// state is what a packet is to conntrack: one bit as in rules, or lost.
type state uint8

const (
	lost        state = 0 // it did not come out
	invalid     state = ruleset.StateInvalid
	established state = ruleset.StateEstablished
	related     state = ruleset.StateRelated
	isNew       state = ruleset.StateNew
	untracked   state = ruleset.StateUntracked
)

// states are the names, as nft and the scripts write them.
var states = map[state]string{lost: "lost", invalid: "invalid", established: "established", related: "related", isNew: "new", untracked: "untracked"}

func (s state) String() string {
	if name, ok := states[s]; ok {
		return name
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

func stateNamed(name string) (state, error) {
	for s, n := range states {
		if n == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("%q: no state of this name", name)
}

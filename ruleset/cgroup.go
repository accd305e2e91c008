package ruleset

import (
	"fmt"
	"slices"
	"strings"
)

// MaxCgroups is how many control groups a ruleset can name: a bit each, and one for packets without any.
const MaxCgroups = 63

// maxCgroupPath is the bytes that a path of a control group may have, with the 0 behind it: the key of the map cgroup_paths (bpf/fw.h).
const maxCgroupPath = 256

// CgroupMatches reports whether a control group, given by its path, is meant by an operand or lies below one that is. An operand that
// starts with a slash is a path; another one is a systemd unit, whose group lies in slices alone, so that nobody but the system's own
// manager can make it.
func CgroupMatches(operand, path string) bool {
	if strings.HasPrefix(operand, "/") {
		return operand == "/" || path == operand || strings.HasPrefix(path, operand+"/")
	}
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if part == operand || part == "_"+operand {
			return true
		}
		if !strings.HasSuffix(part, ".slice") {
			return false
		}
	}
	return false
}

// CgroupProblem is what is wrong with an operand of FieldCgroup; "" if nothing.
func CgroupProblem(operand string) string {
	rest, isPath := strings.CutPrefix(operand, "/")
	parts := strings.Split(rest, "/")
	switch {
	case operand == "/":
		return ""
	case operand == "" || len(operand) >= maxCgroupPath:
		return fmt.Sprintf("a control group's name has 1 to %d bytes", maxCgroupPath-1)
	case strings.ContainsAny(operand, "\n\x00"):
		return fmt.Sprintf("%q cannot be the name of a control group", operand)
	case isPath && slices.ContainsFunc(parts, func(s string) bool { return s == "" || s == "." || s == ".." }):
		return fmt.Sprintf("%q is not a plain path", operand)
	case !isPath && !isUnit(operand):
		return fmt.Sprintf("%q is neither a path that starts with / nor a unit such as nginx.service", operand)
	}
	return ""
}

// isUnit reports whether a name is that of a unit that has a control group.
func isUnit(name string) bool {
	i := strings.LastIndexByte(name, '.')
	return i > 0 && !strings.Contains(name, "/") && slices.Contains(unitTypes, name[i+1:])
}

// unitTypes are the types of units that have processes (systemd.unit(5)).
var unitTypes = []string{"service", "scope", "slice", "socket", "mount", "swap"}

// Cgroups lists the control groups that reachable and other rules name, each once, in their order.
func (rs *Ruleset) Cgroups() []string {
	var out []string
	rs.any(func(m *Match) bool {
		if m.Field != FieldCgroup {
			return false
		}
		for _, n := range m.Names {
			if !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
		return false
	})
	return out
}

// cgroups checks that there are bits for all control groups.
func (c *checker) cgroups() {
	if n := len(c.cgroupNames); n > MaxCgroups {
		c.errs.Add(Pos{}, "control groups: the rules name %d; there is room for %d", n, MaxCgroups).Help = "name a slice or a directory that holds several"
	}
}

// AsksSender reports whether a rule for what this host sends looks at who owns a packet's socket.
func (rs *Ruleset) AsksSender() bool {
	return rs.asks(1<<HookRawOutput|1<<HookOutput, SenderFields...)
}

// AsksReceiver reports whether a rule for what this host receives looks at the socket that will get a packet.
func (rs *Ruleset) AsksReceiver() bool {
	return rs.asks(1<<HookInput, ReceiverFields...)
}

// SenderFields are what AsksSender looks for, ReceiverFields what AsksReceiver does.
var (
	SenderFields   = []FieldID{FieldSocket, FieldUID, FieldGID}
	ReceiverFields = []FieldID{FieldSocket, FieldUID, FieldGID, FieldConnected, FieldCgroup}
)

// AsksSenderCgroup reports whether a rule for what this host sends looks at the control group of a packet's socket.
func (rs *Ruleset) AsksSenderCgroup() bool {
	return rs.asks(1<<HookRawOutput|1<<HookOutput, FieldCgroup)
}

// asks reports whether packets of some hooks may meet a rule that looks at one of the fields.
func (rs *Ruleset) asks(hooks hookSet, fields ...FieldID) bool {
	if !rs.Uses(fields...) {
		return false // spares most rulesets finding out what is reached
	}
	for c, from := range rs.reach() {
		if from&hooks == 0 {
			continue
		}
		for _, r := range c.Rules {
			for i := range r.Matches {
				if slices.Contains(fields, r.Matches[i].Field) {
					return true
				}
			}
		}
	}
	return false
}

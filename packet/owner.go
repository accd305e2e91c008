package packet

import (
	"fmt"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// setOwner makes a setter of the user or group of the packet's socket.
func setOwner(find func(string) (uint32, bool), at func(*Literal) *int) func(*Literal, string) error {
	return func(l *Literal, arg string) error {
		id, ok := find(arg)
		if !ok {
			return fmt.Errorf("%q is neither a number nor known here", arg)
		}
		l.open()
		*at(l) = int(id)
		return nil
	}
}

// open gives the packet a socket, of which nothing is known yet, but that every one is in some control group.
func (l *Literal) open() {
	if !l.Socket {
		l.Socket, l.UID, l.GID = true, ruleset.Absent, ruleset.Absent
		if l.Cgroup == "" {
			l.Cgroup = "/"
		}
	}
}

// ownerText is the user or group of a packet that has a socket.
func (l *Literal) ownerText(name string, id int) string {
	return word(fmt.Sprintf("%s %d", name, id), l.Socket && id != ruleset.Absent)
}

func setCgroup(l *Literal, arg string) error {
	if problem := ruleset.CgroupProblem(arg); problem != "" || !strings.HasPrefix(arg, "/") {
		return fmt.Errorf("%q is not a path such as /system.slice/nginx.service", arg)
	}
	l.Cgroup = arg
	return nil
}

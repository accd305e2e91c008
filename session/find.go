package session

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// variable is where sshd leaves the connection.
const variable = "SSH_CONNECTION"

// Find is the session that this process belongs to; nil if it belongs to none. sudo takes SSH_CONNECTION out of the environment, so that
// those of the ancestors are asked as well, up to the first that has it.
func Find(getenv func(string) string) (*Session, error) {
	value := getenv(variable)
	if value == "" {
		value = ofAncestors("/proc", os.Getpid())
	}
	return Parse(value)
}

// maxAncestors ends the search even if process numbers are reused meanwhile so as to make a circle.
const maxAncestors = 64

// ofAncestors is the value in the environment of the nearest ancestor that has one, "" if there is none.
func ofAncestors(proc string, pid int) string {
	for range maxAncestors {
		if pid = parent(proc, pid); pid <= 1 {
			return ""
		}
		environ, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "environ"))
		if err != nil {
			continue // another user's: its parent may be readable
		}
		for entry := range bytes.SplitSeq(environ, []byte{0}) {
			if value, ok := strings.CutPrefix(string(entry), variable+"="); ok {
				return value
			}
		}
	}
	return ""
}

// parent is the parent of a process, 0 if it has none or is gone (proc(5), stat: the name in parentheses may hold anything).
func parent(proc string, pid int) int {
	stat, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	var state string
	ppid := 0
	if _, err := fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &ppid); err != nil {
		return 0
	}
	return ppid
}

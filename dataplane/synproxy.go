package dataplane

import (
	"fmt"
	"math/bits"
	"os"
	"strconv"
	"strings"
)

// tcpSettings is what the SYN proxy has to know of this network namespace's TCP, as it was when a generation was loaded.
type tcpSettings struct {
	Cookies  int  `json:"cookies"` // net.ipv4.tcp_syncookies
	Stamps   int  `json:"stamps"`  // net.ipv4.tcp_timestamps
	Scale    int  `json:"scale"`   // the window scale that the kernel takes for its own
	Extended bool `json:"extended,omitempty"`
}

// readTCP reads the settings. Extended: the timestamps that cookies come with can carry what the other end offers. The window scale
// is tcp_select_initial_window's.
func readTCP() *tcpSettings {
	ipv4 := func(name string, otherwise int) int { return lastNumber("/proc/sys/net/ipv4/"+name, otherwise) }
	most := max(ipv4("tcp_rmem", 6291456), lastNumber("/proc/sys/net/core/rmem_max", 212992))
	s := &tcpSettings{Cookies: ipv4("tcp_syncookies", 1), Stamps: ipv4("tcp_timestamps", 1), Scale: min(max(bits.Len(uint(most))-16, 0), 14)}
	s.Extended = s.Stamps == 2 && ipv4("tcp_sack", 1) != 0 && ipv4("tcp_window_scaling", 1) != 0
	return s
}

// lastNumber reads the last number of a file.
func lastNumber(path string, otherwise int) int {
	b, err := os.ReadFile(path)
	words := strings.Fields(string(b))
	if err != nil || len(words) == 0 {
		return otherwise
	}
	n, err := strconv.Atoi(words[len(words)-1])
	if err != nil {
		return otherwise
	}
	return n
}

// chooseTCP reads them if a rule has a SYN proxy.
func (t *transaction) chooseTCP() {
	if !t.rs.UsesSynProxy() {
		return
	}
	t.next.TCP = readTCP()
	for _, w := range t.next.TCP.warnings() {
		t.warn("%s", w)
	}
	if ct := t.rs.Conntrack; t.next.NAT && ct != nil && ct.Strict {
		t.warn("synproxy: beside the kernel's NAT and with loose = false, what answers a cookie is invalid: allow it by other rules, or take loose = false out")
	}
}

// warnings says what the settings take from the SYN proxy.
func (s *tcpSettings) warnings() (all []string) {
	if s == nil {
		return nil
	}
	if s.Cookies != 2 {
		all = append(all, fmt.Sprintf("synproxy: net.ipv4.tcp_syncookies is %d, and the kernel makes cookies only %s: set it to 2", s.Cookies,
			map[bool]string{true: "when a socket's queue is full", false: "if it is not 0"}[s.Cookies == 1]))
	}
	if !s.Extended {
		all = append(all, fmt.Sprintf("synproxy: net.ipv4.tcp_timestamps is %d: connections go without window scaling and SACK, as timestamps "+
			"carry what a cookie has no room for; set it to 2 (tcp_sack and tcp_window_scaling must be on)", s.Stamps))
	}
	return all
}

// tcpStatus tells what takes from the SYN proxy, and what has changed since it was told.
func (s *Status) tcpStatus() {
	if s.Generation.TCP == nil {
		return
	}
	now := readTCP()
	for _, w := range now.warnings() {
		s.warn(w)
	}
	if now.Scale != s.Generation.TCP.Scale || now.Extended != s.Generation.TCP.Extended {
		s.warn("synproxy: the settings of TCP have changed after the apply, and connections may stall: apply again")
	}
}

package netns

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// pinged is who pings whom.
type pinged struct {
	what string
	from *lab.NS
	to   netip.Addr
}

// playPings pings with packets that fit a frame, and with such that do not.
func playPings(note func(what, how string), list []pinged) {
	for _, c := range list {
		note("ping: "+c.what, fmt.Sprint(c.from.Ping(c.to, 56, short) == nil))
		note("large ping: "+c.what, fmt.Sprint(c.from.Ping(c.to, 4000, short) == nil))
	}
}

// asked is who sends datagrams to which address, and who is to echo them.
type asked struct {
	what     string
	from, to *lab.NS
	at       netip.Addr // of the echo server
	port     uint16
	dial     netip.AddrPort
}

// playEchoes sends datagrams that fit a frame, and such that do not.
func playEchoes(t *testing.T, note func(what, how string), list []asked) {
	t.Helper()
	for _, c := range list {
		for _, size := range []int{100, 8000} {
			note(fmt.Sprintf("udp of %d bytes: %s", size, c.what), ask(t, c.from, c.to, netip.AddrPortFrom(c.at, c.port), c.dial, size))
		}
	}
}

// ask sends a datagram and tells what came back. to: where an echo server is opened, nil for none.
func ask(t *testing.T, from, to *lab.NS, at, dial netip.AddrPort, size int) string {
	t.Helper()
	if to != nil {
		server, err := to.Echo(at)
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
	}
	c, err := from.Dial("udp", dial, short)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Write(make([]byte, size))
	if err == nil {
		_ = c.SetReadDeadline(time.Now().Add(short))
		_, err = c.Read(make([]byte, size+1))
	}
	return how(err)
}

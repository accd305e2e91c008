package netns

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// canary connects to two addresses in turn until its input ends, and tells how often it did, how often that began or ceased to be
// refused, and how often the second one was not like the first one before and after it.
func canary(arg string) error {
	early, late, _ := strings.Cut(arg, " ")
	ended := make(chan bool)
	go func() { _, _ = os.Stdin.Read(make([]byte, 1)); close(ended) }()
	var rounds, changes, torn int
	before := refused(early)
	for {
		select {
		case <-ended:
			return tell(fmt.Sprint(rounds, changes, torn))
		default:
		}
		second, after := refused(late), refused(early)
		rounds++
		if before != after {
			changes++
		} else if second != before {
			torn++
		}
		before = after
	}
}

func refused(to string) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	return unix.Connect(fd, sockaddrOf(to)) != nil
}

// ended is closed when somebody says that the actor is to stop.
func ended() chan bool {
	c := make(chan bool)
	go func() { _, _ = os.Stdin.Read(make([]byte, 1)); close(c) }()
	return c
}

// canary3 asks three hooks in turn, of which one generation closes all: connect() to the first address (cgroup), a ping whose answer the guard drops
// (XDP), connect() to the second address (tc), and connect() again. It tells as canary does: a hook that differs from the two connects around it, if these
// are alike, has not changed with the others.
func (a *actor) canary3(arg string) error {
	f := strings.Fields(arg)
	early, late, host := f[0], f[1], f[2]
	var rounds, changes, torn int
	stop, before := ended(), refused(early)
	for {
		select {
		case <-stop:
			return tell(fmt.Sprint(rounds, changes, torn))
		default:
		}
		time.Sleep(time.Millisecond) // the ports of a connection that conntrack knows are not used again so soon
		unanswered, err := a.unanswered(host, uint16(rounds))
		if err != nil {
			return err
		}
		second, after := refused(late), refused(early)
		rounds++
		if before != after {
			changes++
		} else if second != before || unanswered != before {
			torn++
			_ = tell(fmt.Sprintf("# connect() %v, then tc %v and XDP %v", before, second, unanswered))
		}
		before = after
	}
}

// Lengths of pings: the guard of closed rules drops the first one's answer, and nobody the second's.
const barredPing, freePing = 100, 64

// unanswered sends two pings and reports whether only the second was answered. The actor is on one CPU, which keeps their order.
func (a *actor) unanswered(host string, seq uint16) (bool, error) {
	for _, length := range []int{barredPing, freePing} {
		b := make([]byte, length-20)
		b[0] = 8
		binary.BigEndian.PutUint16(b[4:], 0x4242)
		binary.BigEndian.PutUint16(b[6:], seq)
		sum := uint32(0x0800 + 0x4242 + uint32(seq))
		binary.BigEndian.PutUint16(b[2:], ^uint16(sum+sum>>16))
		if err := unix.Sendto(a.fd, b, 0, sockaddrOf(host+":0")); err != nil {
			return false, err
		}
	}
	first := false
	b := make([]byte, 1<<16)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		n, err := unix.Read(a.fd, b)
		if err != nil {
			return false, err
		}
		if n < 28 || b[20] != 0 || binary.BigEndian.Uint16(b[24:]) != 0x4242 || binary.BigEndian.Uint16(b[26:]) != seq {
			continue
		}
		if n == freePing {
			return !first, nil
		}
		first = true
	}
	return false, fmt.Errorf("no answer to a ping that nobody drops")
}

// attempts connects until it is told to stop, and tells how often that succeeded, and how often it failed with EPERM and with ECONNREFUSED.
func attempts(to string) error {
	var open, barred, told int
	for stop := ended(); ; {
		select {
		case <-stop:
			return tell(fmt.Sprint(open, barred, told))
		default:
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		switch unix.Connect(fd, sockaddrOf(to)) {
		case nil:
			open++
		case unix.EPERM:
			barred++
		case unix.ECONNREFUSED:
			told++
		}
		_ = unix.Close(fd)
	}
}

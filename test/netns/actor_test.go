package netns

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// actorSteps is the environment variable that makes the test program an actor: a process that does what the steps in it say.
const actorSteps = "BPFWALL_ACTOR"

// step is a verb and its argument, as "uid 1000" or "connect 192.0.2.1:80".
type act struct{ Verb, Arg string }

func acts(lines ...string) []act {
	var out []act
	for _, l := range lines {
		verb, arg, _ := strings.Cut(l, " ")
		out = append(out, act{verb, arg})
	}
	return out
}

// actor is one thread with one socket.
type actor struct {
	fd, listener int
}

// runActor does the steps of the environment, and tells the first error.
func runActor(text string) int {
	runtime.LockOSThread()
	var steps []act
	if err := json.Unmarshal([]byte(text), &steps); err != nil {
		fmt.Println(err)
		return 2
	}
	a := &actor{fd: -1}
	for _, s := range steps {
		if err := a.do(s); err != nil {
			fmt.Printf("%s %s: %s", s.Verb, s.Arg, errnoName(err))
			return 1
		}
	}
	return 0
}

func errnoName(err error) string {
	var no unix.Errno
	if errors.As(err, &no) {
		return unix.ErrnoName(no)
	}
	return err.Error()
}

// do is one step. Ids are set for this thread alone, by system calls without the C library's or the runtime's help.
func (a *actor) do(s act) (err error) {
	number := 0
	_, _ = fmt.Sscan(s.Arg, &number)
	set := func(call uintptr) error {
		if _, _, no := unix.RawSyscall(call, uintptr(number), uintptr(number), uintptr(number)); no != 0 {
			return no
		}
		return nil
	}
	switch s.Verb {
	case "uid":
		return set(unix.SYS_SETRESUID)
	case "gid":
		return set(unix.SYS_SETRESGID)
	case "fsuid":
		return set(unix.SYS_SETFSUID)
	case "cgroup":
		return os.WriteFile(s.Arg+"/cgroup.procs", []byte("0"), 0)
	case "tcp4":
		a.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	case "tcp6":
		a.fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
	case "udp4":
		a.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	case "udp6":
		a.fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	case "ping4":
		a.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	case "inherited":
		a.fd = number
	case "fchown":
		return unix.Fchown(a.fd, number, number)
	case "nonblock":
		return unix.SetNonblock(a.fd, true)
	case "linger":
		return unix.SetsockoptLinger(a.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	case "dual":
		return unix.SetsockoptInt(a.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	case "reuse":
		return unix.SetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	case "serve":
		return a.serve()
	case "connect":
		if err := unix.Connect(a.fd, sockaddrOf(s.Arg)); err != unix.EINPROGRESS {
			return err
		}
	case "listen":
		return errors.Join(unix.Bind(a.fd, sockaddrOf(s.Arg)), unix.Listen(a.fd, 8), tell("ready"))
	case "bind":
		return unix.Bind(a.fd, sockaddrOf(s.Arg))
	case "answer":
		b := make([]byte, 1<<16)
		n, from, err := unix.Recvfrom(a.fd, b, 0)
		if err != nil {
			return err
		}
		return unix.Sendto(a.fd, b[:n], 0, from)
	case "accept":
		a.listener = a.fd
		a.fd, _, err = unix.Accept(a.fd)
	case "relisten":
		a.fd = a.listener
	case "unlisten":
		return unix.Close(a.listener)
	case "send":
		_, err = unix.Write(a.fd, bytes.Repeat([]byte{'x'}, max(number, 1)))
	case "sendto":
		return unix.Sendto(a.fd, []byte("hello"), 0, sockaddrOf(s.Arg))
	case "echo":
		return unix.Sendto(a.fd, []byte{8, 0, 0xf7, 0xfe, 0, 1, 0, 0}, 0, sockaddrOf(s.Arg+":0"))
	case "receive":
		_, err = unix.Read(a.fd, make([]byte, 1<<16))
	case "shutdown":
		return unix.Shutdown(a.fd, unix.SHUT_WR)
	case "close":
		return unix.Close(a.fd)
	case "sleep":
		time.Sleep(time.Duration(number) * time.Millisecond)
	case "say":
		return tell(s.Arg)
	case "canary":
		return canary(s.Arg)
	case "canary3":
		return a.canary3(s.Arg)
	case "attempts":
		return attempts(s.Arg)
	case "cpu":
		var one unix.CPUSet
		one.Set(number)
		return unix.SchedSetaffinity(0, &one)
	case "wait":
		_, err = os.Stdin.Read(make([]byte, 1))
	default:
		err = fmt.Errorf("no such verb")
	}
	return err
}

// serve answers what comes to the listening or bound socket, one byte for each, until its input ends.
func (a *actor) serve() error {
	kind, err := unix.GetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return err
	}
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	for b := make([]byte, 1<<16); ; {
		if kind == unix.SOCK_DGRAM {
			if n, from, err := unix.Recvfrom(a.fd, b, 0); err == nil {
				_ = unix.Sendto(a.fd, b[:min(n, 1)], 0, from)
			}
			continue
		}
		if fd, _, err := unix.Accept(a.fd); err == nil {
			go func() {
				defer unix.Close(fd)
				b := make([]byte, 1<<16)
				for {
					n, err := unix.Read(fd, b)
					if err != nil || n == 0 {
						return
					}
					_, _ = unix.Write(fd, b[:1])
				}
			}()
		}
	}
}

func tell(text string) error {
	_, err := fmt.Println(text)
	return err
}

func sockaddrOf(text string) unix.Sockaddr {
	at := netip.MustParseAddrPort(text)
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
}

// actorCommand is a process that does the steps.
func actorCommand(t *testing.T, lines ...string) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(acts(lines...))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), actorSteps+"="+string(text))
	return cmd
}

// play runs an actor to its end and returns what it said: "" if every step went well.
func play(t *testing.T, n *lab.NS, lines ...string) string {
	t.Helper()
	cmd := actorCommand(t, lines...)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	return strings.TrimSpace(out.String())
}

package netns

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

var bulkSize = flag.Int("bulk", 2, "MB that each transfer of TestBulk moves; from 8 on it tries every MTU with and without offloads")

// bulkWays are the ways through the dut: past its routing, to it and from it.
var bulkWays = []struct {
	name     string
	from, to func(w *lab.World) *lab.NS
	at       func(f int) netip.Addr // of the receiver
}{
	{"router", client, server, func(f int) netip.Addr { return families[f].server }},
	{"to host", client, dut, func(f int) netip.Addr { return families[f].lan }},
	{"from host", dut, client, func(f int) netip.Addr { return families[f].client }},
}

func client(w *lab.World) *lab.NS { return w.Client }
func server(w *lab.World) *lab.NS { return w.Server }
func dut(w *lab.World) *lab.NS    { return w.DUT }

// bulkTries: a busy machine makes any of them lose some now and then (the queue of a CPU is full); what the firewall does it does every time.
const bulkTries = 3

// bulkRow is what became of one transfer. A table has a row for each, with a column for each firewall.
type bulkRow struct {
	lost      int // datagrams
	repeated  int // TCP segments
	rate      float64
	checksums int // wrong ones that the receiver has seen
}

// TestBulk moves a lot by TCP and UDP past a firewall that drops by default and keeps state, and past none: nothing is lost that is not lost
// without it, and no checksum is wrong. With -v it prints the table.
func TestBulk(t *testing.T) {
	var table bytes.Buffer
	out := tabwriter.NewWriter(&table, 0, 4, 2, ' ', 0)
	fmt.Fprint(out, "MTU\toffloads\tway\t\t\tno firewall\tiptables\tbpfwall\t(Mbit/s, lost datagrams or repeated segments)\n")
	for _, mtu := range []int{1280, 1500, 9000} {
		for _, offloads := range []bool{false, true} {
			if *bulkSize < 8 && offloads != (mtu == 9000) {
				continue // a slice: each size once
			}
			for try := 1; ; try++ {
				worse := bulkTable(t, out, mtu, offloads)
				if len(worse) == 0 {
					break
				}
				if try == bulkTries {
					t.Error(strings.Join(worse, "\n"))
					break
				}
			}
		}
	}
	out.Flush()
	t.Logf("%d MB each\n%s", *bulkSize, table.String())
}

// bulkTable makes all transfers without a firewall, with iptables and with bpfwall, and says where the last lost more.
func bulkTable(t *testing.T, out io.Writer, mtu int, offloads bool) (worse []string) {
	t.Helper()
	var rows [3]map[string]bulkRow
	var names []string
	for i, apply := range []func(n *lab.NS, files []string) error{nil, applyIptables, applyBpfwall} {
		names, rows[i] = bulkWorld(t, mtu, offloads, apply)
	}
	for _, name := range names {
		none, nf, ours := rows[0][name], rows[1][name], rows[2][name]
		fmt.Fprintf(out, "%d\t%t\t%s\t%s\t%s\t%s\n", mtu, offloads, name, none, nf, ours)
		if ours.lost > max(none.lost, nf.lost) || ours.repeated > 2*max(none.repeated, nf.repeated)+20 || ours.checksums > 0 {
			worse = append(worse, fmt.Sprintf("MTU %d, offloads %t, %s: %d lost, %d sent again, %d wrong checksums; without a firewall %d, %d, %d", mtu, offloads, name,
				ours.lost, ours.repeated, ours.checksums, none.lost, none.repeated, none.checksums))
		}
	}
	return worse
}

func (r bulkRow) String() string { return fmt.Sprintf("%.0f, %d", r.rate, r.lost+r.repeated) }

// bulkWorld makes all transfers in a world with one firewall, or none.
func bulkWorld(t *testing.T, mtu int, offloads bool, apply func(n *lab.NS, files []string) error) (names []string, rows map[string]bulkRow) {
	t.Helper()
	w := newWorld(t, lab.Options{Offloads: offloads, MTU: mtu})
	setMTU(t, w.Client, "eth0", mtu)
	setMTU(t, w.DUT, "lan0", mtu)
	if apply != nil {
		if err := apply(w.DUT, bulkRules(t)); err != nil {
			t.Fatal(err)
		}
	}
	rows = map[string]bulkRow{}
	for _, way := range bulkWays {
		for f := range families {
			for _, proto := range []string{"tcp", "udp"} {
				name := fmt.Sprintf("%s\t%s\t%s", way.name, families[f].name, proto)
				names = append(names, name)
				from, to, at := way.from(w), way.to(w), netip.AddrPortFrom(way.at(f), 7000)
				wrong := wrongChecksums(t, to)
				var row bulkRow
				var err error
				if proto == "tcp" {
					row, err = bulk(from, to, at, int64(*bulkSize)<<20)
				} else {
					row, err = datagrams(from, to, at, *bulkSize<<20, mtu, offloads)
				}
				if err != nil {
					t.Fatalf("MTU %d, offloads %t, %s: %v", mtu, offloads, name, err)
				}
				row.checksums = wrongChecksums(t, to) - wrong
				rows[name] = row
			}
		}
	}
	return names, rows
}

// bulkRules let connections to port 7000 through in each way, and what belongs to them.
func bulkRules(t *testing.T) []string {
	lines := []string{":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT DROP [0:0]"}
	for _, c := range []string{"INPUT", "FORWARD", "OUTPUT"} {
		lines = append(lines, "-A "+c+" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A "+c+" -m conntrack --ctstate INVALID -j DROP",
			"v6 -A "+c+" -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT", "v6 -A "+c+" -p ipv6-icmp -m icmp6 --icmpv6-type 136 -j ACCEPT",
			"-A "+c+" -p tcp -m tcp --dport 7000 -j ACCEPT", "-A "+c+" -p udp -m udp --dport 7000 -j ACCEPT")
	}
	return rules(t, lines...)
}

func setMTU(t *testing.T, n *lab.NS, iface string, mtu int) {
	t.Helper()
	if _, err := n.Run(nil, "ip", "link", "set", iface, "mtu", fmt.Sprint(mtu)); err != nil {
		t.Fatal(err)
	}
}

// bulk sends size random bytes by TCP and compares what arrives.
func bulk(from, to *lab.NS, at netip.AddrPort, size int64) (row bulkRow, err error) {
	got := make(chan sum, 1)
	l, err := to.Serve(at, func(c net.Conn) {
		h := sha256.New()
		n, err := io.Copy(h, c)
		c.Close()
		got <- sum{[sha256.Size]byte(h.Sum(nil)), n, err}
	})
	if err != nil {
		return row, err
	}
	defer l.Close()
	c, err := from.Dial("tcp", at, time.Second)
	if err != nil {
		return row, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20*time.Second + time.Duration(size/1000)*time.Microsecond)); err != nil {
		return row, err
	}
	begin := time.Now()
	block := make([]byte, 1<<20)
	_, _ = rand.Read(block)
	h := sha256.New()
	for n := int64(0); n < size; n += int64(len(block)) {
		if _, err := io.MultiWriter(c, h).Write(block); err != nil {
			return row, fmt.Errorf("after %d bytes: %w", n, err)
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return row, err
	}
	s := <-got
	if s.err != nil {
		return row, s.err
	}
	if want := [sha256.Size]byte(h.Sum(nil)); s.hash != want || s.n != size {
		return row, fmt.Errorf("%d bytes sent, %d arrived, or other ones", size, s.n)
	}
	row.rate = float64(size) * 8e-6 / time.Since(begin).Seconds()
	row.repeated, err = retransmitted(c)
	return row, err
}

// retransmitted is how many segments a connection has sent again.
func retransmitted(c net.Conn) (n int, err error) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var info *unix.TCPInfo
	if cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO) }); cerr != nil || err != nil {
		return 0, errors.Join(cerr, err)
	}
	return int(info.Total_retrans), nil
}

// datagrams sends size bytes by UDP, in datagrams that fill a packet and, one in eight, in such as are fragmented; beside offloads many at once
// (UDP_SEGMENT). The receiver has room for all of them.
func datagrams(from, to *lab.NS, at netip.AddrPort, size, mtu int, offloads bool) (row bulkRow, err error) {
	in, err := to.ListenUDP(at)
	if err != nil {
		return row, err
	}
	defer in.Close()
	if err := setOption(in, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 256<<20); err != nil {
		return row, err
	}
	c, err := from.Dial("udp", at, time.Second)
	if err != nil {
		return row, err
	}
	defer c.Close()
	full := mtu - 48
	begin := time.Now()
	sent := 0
	send := func(b []byte, n int) {
		binary.BigEndian.PutUint32(b, uint32(sent))
		if _, werr := c.Write(b); werr != nil && err == nil {
			err = werr
		}
		sent += n
	}
	many := 1
	if offloads {
		if many = min(60, 60000/full); setOption(c.(*net.UDPConn), unix.SOL_UDP, unix.UDP_SEGMENT, full) != nil {
			many = 1
		}
	}
	block := make([]byte, max(full*many, 3*mtu))
	for n := 0; n < size && err == nil; n += full * many {
		send(block[:full*many], many)
		if !offloads && n/full%8 == 7 {
			send(block[:3*mtu], 1)
		}
		if n/full/many%16 == 15 {
			time.Sleep(time.Millisecond) // a receive queue between CPUs holds 1,000 packets
		}
	}
	row.rate = float64(size) * 8e-6 / time.Since(begin).Seconds()
	if err != nil {
		return row, err
	}
	buf := make([]byte, 1<<16)
	for arrived := 0; ; {
		_ = in.SetReadDeadline(time.Now().Add(short))
		if _, err := in.Read(buf); err != nil {
			row.lost = sent - arrived
			return row, nil
		}
		if arrived++; arrived == sent {
			return row, nil
		}
	}
}

func setOption(c *net.UDPConn, level, option, value int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, value) }); cerr != nil {
		return cerr
	}
	return err
}

// wrongChecksums is how many packets a namespace has refused for their checksums.
func wrongChecksums(t *testing.T, n *lab.NS) (total int) {
	t.Helper()
	err := n.Do(func() error {
		for _, path := range []string{"/proc/thread-self/net/snmp", "/proc/thread-self/net/snmp6"} {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			total += sumOf(b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// sumOf adds up the counters of checksums: snmp has names and numbers in lines of their own, snmp6 a line for each.
func sumOf(text []byte) (total int) {
	var names []string
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		words := strings.Fields(s.Text())
		switch {
		case len(words) == 2 && strings.HasSuffix(words[0], "InCsumErrors"):
			n, _ := strconv.Atoi(words[1])
			total += n
		case len(names) == len(words) && len(words) > 0 && names[0] == words[0]:
			for i, name := range names {
				if strings.HasSuffix(name, "InCsumErrors") {
					n, _ := strconv.Atoi(words[i])
					total += n
				}
			}
			names = nil
		default:
			names = words
		}
	}
	return total
}

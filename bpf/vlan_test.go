package bpf

import (
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The kernel has taken the outer tag off when a received frame comes to tc: that of a VLAN is not judged, a priority tag changes nothing.
func TestTagTakenOff(t *testing.T) {
	w := newWorld(t)
	coll := load(t, answering(t, classifier(t), reject))
	b := &bench{TB: t, Collection: coll}
	w.protect(coll, "r1")
	r1, err := netlink.LinkByName("r1")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		tags []byte
		want uint64 // judged up to now
	}{
		{"VLAN 5", be16(0x8100, 5), 0},
		{"VLAN 5 with a priority", be16(0x8100, 0xe005), 0},
		{"priority", be16(0x8100, 0xe000), 1},
		{"VLAN 5 in a priority tag", be16(0x8100, 0, 0x8100, 5), 1},
		{"two priorities", be16(0x8100, 0, 0x8100, 0), 1}, // judged, but not answered: the answer would need the tag
		{"none", nil, 2},
	} {
		f := slices.Concat(r1.Attrs().HardwareAddr, peerMAC, c.tags, be16(0x0800), ip4(peer4, local4, protoUDP, 0, nil, udp(1, 2, 0)))
		w.in(w.a, func() error { return sendRaw("eth0", f) })
		time.Sleep(20 * time.Millisecond)
		if n := b.stat(ClassifierFwStatFW_STAT_REJECT_SENT); n != c.want {
			t.Errorf("%s: %d judged up to now, want %d", c.name, n, c.want)
		}
	}
}

// sendRaw sends a frame as it is.
func sendRaw(dev string, frame []byte) error {
	l, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index})
}

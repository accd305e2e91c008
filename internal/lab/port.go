package lab

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// etherFence is the EtherType of the frames that mark the end of a batch: "local experimental" of IEEE 802, which no firewall
// of IP packets judges.
const etherFence = 0x88b5

// receiveBuffer is the bytes a socket may hold for us; it must take everything between two Drains.
const receiveBuffer = 64 << 20

// Port sends and receives whole frames on an interface.
type Port struct {
	fd  int
	buf []byte
}

// OpenPort opens a port for every EtherType.
func (n *NS) OpenPort(iface string) (*Port, error) { return n.openPort(iface, unix.ETH_P_ALL) }

// OpenFence opens a port for fences only.
func (n *NS) OpenFence(iface string) (*Port, error) { return n.openPort(iface, etherFence) }

func (n *NS) openPort(iface string, etherType uint16) (*Port, error) {
	l, err := n.nl.LinkByName(iface)
	if err != nil {
		return nil, fmt.Errorf("port %s: %w", iface, err)
	}
	p := &Port{fd: -1, buf: make([]byte, 1<<16)}
	err = n.Do(func() error {
		proto := etherType<<8 | etherType>>8
		var err error
		if p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			return err
		}
		if err = unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return err
		}
		if err = unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
			return err
		}
		return unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: l.Attrs().Index})
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("port %s: %w", iface, err), p.Close())
	}
	return p, nil
}

// Send sends one frame.
func (p *Port) Send(frame []byte) error {
	for {
		if _, err := unix.Write(p.fd, frame); err != unix.EAGAIN && err != unix.ENOBUFS {
			return err
		}
		if err := p.wait(unix.POLLOUT, 100); err != nil {
			return err
		}
	}
}

// mmsghdr is struct mmsghdr (linux/socket.h).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// Batch is frames made ready for sendmmsg.
type Batch struct {
	msgs   []mmsghdr
	iovecs []unix.Iovec
	frames [][]byte // keeps what iovecs points at
}

// NewBatch makes a batch. The frames may be changed between sends, not resized.
func NewBatch(frames [][]byte) *Batch {
	b := &Batch{make([]mmsghdr, len(frames)), make([]unix.Iovec, len(frames)), frames}
	for i, f := range frames {
		b.iovecs[i].Base = &f[0]
		b.iovecs[i].SetLen(len(f))
		b.msgs[i].hdr.Iov = &b.iovecs[i]
		b.msgs[i].hdr.SetIovlen(1)
	}
	return b
}

// SendBatch sends the frames of a batch with as few calls as the kernel allows and returns how many it took.
func (p *Port) SendBatch(b *Batch) (int, error) {
	sent := 0
	for sent < len(b.msgs) {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(p.fd), uintptr(unsafe.Pointer(&b.msgs[sent])), uintptr(len(b.msgs)-sent), 0, 0, 0)
		switch errno {
		case 0:
			sent += int(n)
		case unix.EAGAIN, unix.ENOBUFS, unix.EINTR:
			if err := p.wait(unix.POLLOUT, 100); err != nil {
				return sent, err
			}
		default:
			return sent, errno
		}
	}
	return sent, nil
}

// Drain hands every waiting frame to f, which must not keep it, and returns when there are no more.
func (p *Port) Drain(f func(frame []byte)) error {
	for {
		n, err := unix.Read(p.fd, p.buf)
		switch err {
		case nil:
			f(p.buf[:n])
		case unix.EINTR:
		case unix.EAGAIN:
			return nil
		default:
			return err
		}
	}
}

// Wait waits up to ms milliseconds for a frame and reports whether there is one.
func (p *Port) Wait(ms int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, ms)
	if err == unix.EINTR {
		return false, nil
	}
	return n > 0, err
}

func (p *Port) wait(events int16, ms int) error {
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: events}}, ms)
	if err == unix.EINTR {
		return nil
	}
	return err
}

// Seen is how many frames have come to the socket since the last call, and for how many of them it had no room.
func (p *Port) Seen() (frames, dropped uint32, err error) {
	stats, err := unix.GetsockoptTpacketStats(p.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, 0, err
	}
	return stats.Packets, stats.Drops, nil
}

// Close closes the port.
func (p *Port) Close() error {
	if p == nil || p.fd < 0 {
		return nil
	}
	fd := p.fd
	p.fd = -1
	return unix.Close(fd)
}

// Fence is a frame that no firewall of IP packets judges: everything that was sent before it has arrived when it does.
func Fence(dst, src []byte) []byte {
	f := make([]byte, 60)
	copy(f, dst)
	copy(f[6:], src)
	f[12], f[13] = etherFence>>8, etherFence&0xff
	return f
}

// IsFence reports whether a frame marks the end of a batch.
func IsFence(frame []byte) bool {
	return len(frame) > 14 && frame[12] == etherFence>>8 && frame[13] == etherFence&0xff
}

package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// transfer is a download that goes on until it is finished.
type transfer struct {
	stop  atomic.Bool
	start time.Time
	sent  chan content
	got   chan content
}

// content is what one end of a transfer has seen.
type content struct {
	hash  [sha256.Size]byte
	bytes int64
	err   error
}

// download starts one: the client connects to the server, which sends until told to stop.
func (d *demo) download() (*transfer, error) {
	t := &transfer{start: time.Now(), sent: make(chan content, 1), got: make(chan content, 1)}
	at := netip.AddrPortFrom(server.v4, 8080)
	if _, err := d.world.Server.Serve(at, t.send); err != nil {
		return nil, err
	}
	c, err := d.world.Client.Dial("tcp", at, patience)
	if err != nil {
		return nil, err
	}
	go func() {
		defer c.Close()
		h := sha256.New()
		n, err := io.Copy(h, c)
		t.got <- content{[sha256.Size]byte(h.Sum(nil)), n, err}
	}()
	return t, nil
}

func (t *transfer) send(c net.Conn) {
	h := sha256.New()
	noise := rand.NewChaCha8([32]byte{7})
	buf := make([]byte, 1<<16)
	var n int64
	var err error
	for !t.stop.Load() && err == nil {
		_, _ = noise.Read(buf)
		_, err = io.MultiWriter(c, h).Write(buf)
		n += int64(len(buf))
	}
	c.Close()
	t.sent <- content{[sha256.Size]byte(h.Sum(nil)), n, err}
}

// finish ends the download and compares what was sent with what arrived.
func (t *transfer) finish() error {
	t.stop.Store(true)
	var ends [2]content
	for i, c := range []chan content{t.sent, t.got} {
		select {
		case ends[i] = <-c:
		case <-time.After(10 * time.Second):
			return fmt.Errorf("stuck for 10 s")
		}
	}
	took := time.Since(t.start)
	if ends[0] != ends[1] {
		return fmt.Errorf("sent %d bytes (%v), %d arrived (%v), or other ones", ends[0].bytes, ends[0].err, ends[1].bytes, ends[1].err)
	}
	fmt.Printf("\n  ok     the download went on: %d MB in %.1f s over the change, every byte right\n", ends[0].bytes>>20, took.Seconds())
	return nil
}

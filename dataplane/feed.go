package dataplane

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// feedFile is the last good list of a set's feed: a prefix a line.
func (l layout) feedFile(set string) string {
	return filepath.Join(l.state, "feeds", escapeName(set)+".list")
}

func (l layout) readFeed(set string) ([]netip.Prefix, error) {
	text, err := os.ReadFile(l.feedFile(set))
	if err != nil {
		return nil, err
	}
	var list []netip.Prefix
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		p, err := netip.ParsePrefix(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s", l.feedFile(set), n, err)
		}
		list = append(list, p)
	}
	return list, lines.Err()
}

// writeFeed replaces the list in one piece.
func (l layout) writeFeed(set string, list []netip.Prefix) error {
	var b bytes.Buffer
	for _, p := range list {
		b.WriteString(p.String())
		b.WriteByte('\n')
	}
	return writeWhole(l.feedFile(set), b.Bytes())
}

// writeWhole writes a file, and its directory, in one piece.
func writeWhole(path string, content []byte) error {
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = writeSynced(path+".tmp", text(content))
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return errDisk(err)
}

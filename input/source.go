package input

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// MaxSize is the size in bytes beyond which a file is refused: no rules are that long.
const MaxSize = 64 << 20

// Stdin is the file name that stands for standard input.
const Stdin = "-"

// Sources are the texts that were read, by the file name that positions carry.
type Sources map[string][]byte

// read adds one file.
func (s Sources) read(name string, stdin io.Reader) error {
	if _, twice := s[displayName(name)]; twice {
		return fmt.Errorf("%s: named twice", displayName(name))
	}
	read := func() ([]byte, error) { return ReadFile(name) }
	if name == Stdin {
		read = func() ([]byte, error) { return readAll(displayName(name), stdin, 0) }
	}
	text, err := read()
	if err == nil {
		s[displayName(name)] = text
	}
	return err
}

// ReadFile reads an ordinary file of at most MaxSize bytes. It does not wait for pipes, nor read devices without end.
func ReadFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, plain(name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is a %s, not a file; to read from a pipe, give - for the name", name, kindOf(info.Mode()))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, plain(name, err)
	}
	defer f.Close()
	return readAll(name, f, info.Size())
}

// plain is the error without the name of the system call.
func plain(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("%s: %w", name, path.Err)
	}
	return err
}

// readAll reads all of what is probably of that size.
func readAll(name string, r io.Reader, size int64) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 0, min(size, MaxSize)+bytes.MinRead))
	if _, err := b.ReadFrom(io.LimitReader(r, MaxSize+1)); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	text := b.Bytes()
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%s: longer than %d MiB", name, MaxSize>>20)
	}
	return text, nil
}

// displayName is the name of a file in messages.
func displayName(name string) string {
	if name == Stdin {
		return "<stdin>"
	}
	return name
}

func kindOf(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&os.ModeNamedPipe != 0:
		return "pipe"
	case m&os.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

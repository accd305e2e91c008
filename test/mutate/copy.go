package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

const object = "bpf/classifier_bpfel.o"

// copied is a copy of the source that can be changed.
type copied struct {
	dir    string
	cflags []string              // as bpf/gen.go has them
	code   string                // of the object as it is without a change
	object int                   // bytes of the object that test binaries are built with
	binary map[string]testBinary // by directory
}

// testBinary is the compiled tests of a directory. The object in it is replaced in the file, which saves building it for every change.
type testBinary struct {
	path string
	at   int64 // of the object in it; < 0: not in it
}

// building are tests that have no object in them, but build the product from the source as it is.
const building = "test/netns"

// room is bytes after the object, for changed ones that are larger.
const room = 64 << 10

// newCopy copies every file that git knows, and builds the tests of some directories.
func newCopy(dirs []string) (*copied, error) {
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return nil, err
	}
	out, err := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	for _, path := range strings.Split(strings.Trim(string(out), "\x00"), "\x00") {
		if err := copyFile(filepath.Join(dir, path), path); err != nil {
			return nil, err
		}
	}
	c := &copied{dir: dir, binary: map[string]testBinary{}}
	if c.cflags, err = flagsOf("bpf/gen.go"); err != nil {
		return nil, err
	}
	if err := c.compile(); err != nil {
		return nil, err
	}
	if c.code, err = c.instructions(); err != nil {
		return nil, err
	}
	return c, c.build(dirs)
}

func copyFile(to, from string) error {
	b, err := os.ReadFile(from)
	if os.IsNotExist(err) {
		return nil // deleted, but not for git yet
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

var cflagsOf = regexp.MustCompile(`-cflags "([^"]*)"[^\n]* Classifier `)

// flagsOf reads how the classifier is compiled.
func flagsOf(gen string) ([]string, error) {
	src, err := os.ReadFile(gen)
	if err != nil {
		return nil, err
	}
	m := cflagsOf.FindSubmatch(src)
	if m == nil {
		return nil, fmt.Errorf("%s: no -cflags of Classifier", gen)
	}
	return strings.Fields(string(m[1])), nil
}

// compile makes the object of the copy. Without warnings: a change may well look odd.
func (c *copied) compile() error {
	path := filepath.Join(c.dir, object)
	args := append(c.cflags[:len(c.cflags):len(c.cflags)], "-w", "-fno-ident", "-target", "bpfel", "-I", "headers", "-c", "tc_classifier.c", "-o", path)
	if out, err := c.run("bpf", "clang-19", args...); err != nil {
		return fmt.Errorf("clang-19: %w: %s", err, out)
	}
	if out, err := c.run("bpf", "llvm-strip-19", "-g", path); err != nil {
		return fmt.Errorf("llvm-strip-19: %w: %s", err, out)
	}
	return nil
}

// run runs a command in a directory of the copy.
func (c *copied) run(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = filepath.Join(c.dir, dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// build compiles the tests with an object that has room behind it.
func (c *copied) build(dirs []string) error {
	path := filepath.Join(c.dir, object)
	obj, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	obj = append(obj, make([]byte, room)...)
	c.object = len(obj)
	if err := os.WriteFile(path, obj, 0o644); err != nil {
		return err
	}
	for i, dir := range dirs {
		b := testBinary{path: filepath.Join(c.dir, fmt.Sprintf("suite%d.test", i))}
		if out, err := c.run(".", "go", "test", "-c", "-vet=off", "-o", b.path, "./"+dir); err != nil {
			return fmt.Errorf("%s: %s", err, out)
		}
		bin, err := os.ReadFile(b.path)
		if err != nil {
			return err
		}
		if b.at = int64(bytes.Index(bin, obj)); b.at < 0 && dir != building {
			return fmt.Errorf("%s: no %s in it", b.path, object)
		}
		c.binary[dir] = b
	}
	return nil
}

// put replaces the object of the test binaries by that of the copy.
func (c *copied) put() error {
	obj, err := os.ReadFile(filepath.Join(c.dir, object))
	if err != nil {
		return err
	}
	if len(obj) > c.object {
		return fmt.Errorf("%s: %d bytes, room for %d", object, len(obj), c.object)
	}
	obj = append(obj, make([]byte, c.object-len(obj))...)
	for _, b := range c.binary {
		if b.at < 0 {
			continue
		}
		f, err := os.OpenFile(b.path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(obj, b.at)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// instructions is all of the object but for what it says about its source, which holds the source's lines.
func (c *copied) instructions() (string, error) {
	f, err := elf.Open(filepath.Join(c.dir, object))
	if err != nil {
		return "", err
	}
	defer f.Close()
	var b bytes.Buffer
	for _, s := range f.Sections {
		if s.Type == elf.SHT_NOBITS || strings.Contains(s.Name, ".BTF") {
			continue
		}
		data, err := s.Data()
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w", object, s.Name, err)
		}
		fmt.Fprintf(&b, "%s %d\n", s.Name, len(data))
		b.Write(data)
	}
	return b.String(), nil
}

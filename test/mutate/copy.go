package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// outcome is what became of a mutant.
type outcome string

const (
	killed     outcome = "killed"
	survived   outcome = "SURVIVED"
	noBuild    outcome = "does not build"
	noLoad     outcome = "does not load"
	equivalent outcome = "same instructions"
)

// result is a mutant that was tried.
type result struct {
	mutant
	outcome
	by   string // the test that noticed it
	took time.Duration
	err  error // of the tool
}

func (r result) String() string {
	return strings.TrimSpace(fmt.Sprintf("%-17s %s  %s", r.outcome, r.mutant, r.by)) + fmt.Sprintf(" %.1fs", r.took.Seconds())
}

const object = "bpf/classifier_bpfel.o"

// suites are the tests that have to notice a change: a package and the arguments of its test binary.
var suites = []struct {
	dir  string
	args []string
}{
	{"bpf", nil},
	{"test/conntrack", []string{"-test.run", "TestRecorded|TestStateful"}},
	{"test/volume", []string{"-seed", "1", "-frames", "60000", "-each", "4000"}},
}

// first says which tests of bpf notice changes of a file the soonest; they run before all of them.
var first = map[string]string{
	"parse.h":     "TestObjectsLoad|TestParse|TestMeta|TestNotJudged",
	"transport.h": "TestObjectsLoad|TestParse|TestTCPOptions|TestUDP",
	"frag.h":      "TestObjectsLoad|TestFragments",
	"reject.h":    "TestObjectsLoad|TestReset|TestError|TestNoAnswer",
	"answer.h":    "TestObjectsLoad|TestReset|TestError|TestNoAnswer",
	"":            "TestObjectsLoad|TestTCPAsNetfilter|TestOthersAsNetfilter|TestICMP|TestRelated",
}

// copied is a copy of the source that can be changed.
type copied struct {
	dir    string
	code   string // of the object as it is without a change
	object int    // bytes of the object that test binaries are built with
	binary []testBinary
}

// testBinary is a compiled suite. Its embedded object is replaced in the file, which saves building it for every change.
type testBinary struct {
	dir, path string
	args      []string
	at        int64 // of the object in it
}

// room is bytes after the object, for changed ones that are larger.
const room = 64 << 10

// newCopy copies every file that git knows.
func newCopy() (*copied, error) {
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
	c := &copied{dir: dir}
	if out, err := c.run(c.dir, "go", "generate", "-run", "Classifier", "./bpf"); err != nil {
		return nil, fmt.Errorf("%s: %s", err, out)
	}
	if c.code, err = c.instructions(); err != nil {
		return nil, err
	}
	return c, c.build()
}

// build compiles the suites with an object that has room behind it.
func (c *copied) build() error {
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
	for i, s := range suites {
		b := testBinary{dir: filepath.Join(c.dir, s.dir), args: s.args, path: filepath.Join(c.dir, fmt.Sprintf("suite%d.test", i))}
		if out, err := c.run(c.dir, "go", "test", "-c", "-vet=off", "-o", b.path, "./"+s.dir); err != nil {
			return fmt.Errorf("%s: %s", err, out)
		}
		bin, err := os.ReadFile(b.path)
		if err != nil {
			return err
		}
		if b.at = int64(bytes.Index(bin, obj)); b.at < 0 {
			return fmt.Errorf("%s: no %s in it", b.path, object)
		}
		c.binary = append(c.binary, b)
	}
	return nil
}

// put replaces the object of a test binary.
func (b *testBinary) put(obj []byte) error {
	f, err := os.OpenFile(b.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(obj, b.at)
	return errors.Join(err, f.Close())
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

// run runs a command, for at most two minutes.
func (c *copied) run(dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// try changes the copy, runs the tests and changes it back.
func (c *copied) try(m mutant) result {
	start := time.Now()
	path := filepath.Join(c.dir, m.path)
	src, err := os.ReadFile(path)
	if err != nil {
		return result{err: err}
	}
	if err := os.WriteFile(path, []byte(m.apply(string(src))), 0o644); err != nil {
		return result{err: err}
	}
	r := c.judge(m)
	r.took = time.Since(start)
	if err := os.WriteFile(path, src, 0o644); err != nil {
		r.err = err
	}
	return r
}

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|^(panic: .*)|^FAIL\s`)

func (c *copied) judge(m mutant) result {
	if _, err := c.run(c.dir, "go", "generate", "-run", "Classifier", "./bpf"); err != nil {
		return result{mutant: m, outcome: noBuild}
	}
	code, err := c.instructions()
	if err != nil {
		return result{err: err}
	}
	if code == c.code {
		return result{mutant: m, outcome: equivalent}
	}
	obj, err := os.ReadFile(filepath.Join(c.dir, object))
	if err != nil || len(obj) > c.object {
		return result{err: fmt.Errorf("%s: an object of %d bytes, room for %d: %v", m, len(obj), c.object, err)}
	}
	obj = append(obj, make([]byte, c.object-len(obj))...)
	for _, b := range c.binary {
		if err := b.put(obj); err != nil {
			return result{err: err}
		}
	}
	out, err := c.watch(m)
	if err == nil {
		return result{mutant: m, outcome: survived}
	}
	by := "timeout"
	if f := failure.FindStringSubmatch(out); f != nil {
		by = f[1] + f[2]
	}
	if strings.HasPrefix(by, "TestObjectsLoad") {
		return result{mutant: m, outcome: noLoad}
	}
	return result{mutant: m, outcome: killed, by: by}
}

// watch runs the tests until one fails.
func (c *copied) watch(m mutant) (string, error) {
	quick := first[filepath.Base(m.path)]
	if quick == "" {
		quick = first[""]
	}
	b := c.binary[0]
	if out, err := c.run(b.dir, b.path, "-test.failfast", "-test.run", quick); err != nil {
		return out, err
	}
	for _, i := range []int{1, 2, 0} {
		b := c.binary[i]
		if out, err := c.run(b.dir, append([]string{b.path, "-test.failfast", "-test.short"}, b.args...)...); err != nil {
			return out, err
		}
	}
	return "", nil
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

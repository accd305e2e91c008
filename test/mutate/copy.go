package main

import (
	"bytes"
	"context"
	"debug/elf"
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

// tests are what has to notice a change, the quick ones first.
var tests = [][]string{
	{"./bpf", "-short"},
	{"./test/conntrack", "-run", "TestRecorded|TestStateful"},
}

// copied is a copy of the source that can be changed.
type copied struct {
	dir  string
	code string // of the object as it is without a change
}

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
	if out, err := c.run("go", "generate", "-run", "Classifier", "./bpf"); err != nil {
		return nil, fmt.Errorf("%s: %s", err, out)
	}
	c.code, err = c.instructions()
	return c, err
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

// run runs a command in the copy, for at most two minutes.
func (c *copied) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = c.dir
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
	if _, err := c.run("go", "generate", "-run", "Classifier", "./bpf"); err != nil {
		return result{mutant: m, outcome: noBuild}
	}
	code, err := c.instructions()
	if err != nil {
		return result{err: err}
	}
	if code == c.code {
		return result{mutant: m, outcome: equivalent}
	}
	for _, args := range tests {
		out, err := c.run(append([]string{"go", "test", "-count=1", "-vet=off", "-failfast"}, args...)...)
		if err == nil {
			continue
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
	return result{mutant: m, outcome: survived}
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

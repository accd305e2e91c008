package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// outcome is how a command line ended.
type outcome struct {
	code     int
	out, err string
}

// do runs a command line in this process.
func do(environ map[string]string, args ...string) outcome {
	return ask(&env{stdin: strings.NewReader(""), getenv: func(k string) string { return environ[k] }}, args...)
}

// ask runs a command line in this process with a person, or nobody, at its standard input.
func ask(e *env, args ...string) outcome {
	var out, problems bytes.Buffer
	e.stdout, e.stderr = &out, &problems
	code := run(e, args)
	return outcome{code, out.String(), problems.String()}
}

// want checks the exit code, and that the texts are in the output.
func (o outcome) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if o.code != code {
		t.Fatalf("exit code %d, want %d\n%s%s", o.code, code, o.out, o.err)
	}
	for _, text := range texts {
		if !strings.Contains(o.out+o.err, text) {
			t.Errorf("no %q in:\n%s%s", text, o.out, o.err)
		}
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to load programs")
	}
}

// host is a device under test in a world of its own, whose firewall is off at the end.
func host(t *testing.T) (*lab.World, func(args ...string) outcome) {
	t.Helper()
	needRoot(t)
	w, err := lab.New(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := func(args ...string) outcome { return do(nil, append([]string{"--netns", w.DUT.Name}, args...)...) }
	t.Cleanup(func() {
		at("disable", "--yes").want(t, 0)
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, at
}

// write makes a file of that name and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const openPolicy = `version = 1
[sets]
friends = ["192.0.2.0/24", "2001:db8:1::/64"]
banned = { dynamic = true }

[[guard]]
name = "banned"
drop = "any"
from = "@banned"

[[inbound]]
name = "chat"
allow = "udp/7777"
from = "@friends"
log = true

[[test]]
name = "friends only"
in = "lan0"
from = "192.0.2.10"
allow = "udp/7777"
drop = "udp/7778"
`

func TestLifeOfAFirewall(t *testing.T) {
	w, at := host(t)
	open := write(t, "open.toml", openPolicy)
	closed := write(t, "closed.toml", "version = 1\n[[inbound]]\nname = \"chat\"\ndrop = \"udp/7777\"\n")

	at("status").want(t, 0, "OFF")
	at("show", "rules").want(t, 1, "not on")
	at("apply", open).want(t, exitUsage, "nobody to ask", "--yes")
	at("apply", "-n", open).want(t, 0, "inbound/chat", "to add")
	at("status").want(t, 0, "OFF")
	at("apply", "--yes", "--note", "first", open).want(t, 0, "generation 1 is live", "connections: all kept")
	at("status").want(t, 0, "ON", "generation 1, confirmed", "lan0 ingress", "attached")
	at("show", "sets", "friends").want(t, 0, "192.0.2.0/24", "2001:db8:1::/64")
	at("show", "code").want(t, 0, "fw_input:", "exit")
	at("test", open).want(t, 0, "2 passed, 0 failed. compiled programs: agrees")
	at("explain", "udp", "192.0.2.10", "to", "192.0.2.1:7777", "in", "lan0").want(t, 0, "verdict ACCEPT", "measured", "open.toml:13")
	at("explain", "--expect", "allow", "udp 203.0.113.1 -> :7777 in wan0").want(t, exitTest, "verdict DROP", "not accept as expected")

	watchOne(t, w, at)
	at("show", "rules", "inbound").want(t, 0, "chat", "open.toml:13", "inbound  on input")

	at("apply", "--yes", closed).want(t, 0, "generation 2 is live")
	at("explain", "udp 192.0.2.10 -> 192.0.2.1:7777 in lan0").want(t, 0, "verdict DROP", "generation 2")
	at("rollback").want(t, 0, "generation 3 is live")
	at("rollback", "2").want(t, 0, "generation 4 is live")
	at("rollback", "77").want(t, 1, "no such generation", "bpfwall history")
	at("refresh").want(t, 0, "generation 4 stays in force, on")
	at("show", "rules", "nosuch").want(t, 1, `"nosuch": no such chain`)
	at("show", "recent").want(t, 0, "no address is noted")
	at("forget").want(t, exitUsage, "name addresses, or --all")
	at("forget", "10.0.0.300").want(t, exitUsage, "not an address or prefix")
	at("forget", "203.0.113.0/24").want(t, 0, "0 connections forgotten")
	if o := at("show", "flows"); !strings.HasPrefix(o.out, "0 connections") {
		at("forget", "192.0.2.10").want(t, 0, "forgotten")
		at("show", "flows").want(t, 0, "0 connections")
	}
	at("watch", "--count", "-1").want(t, exitUsage, "not a number of lines")
	at("history").want(t, 0, `"first"`, "again 1", "*  4")
	at("plan", "--detailed-exitcode", closed).want(t, 0, "0 to add, 0 to change, 0 to remove")
	at("plan", "--detailed-exitcode", open).want(t, exitChanges, "inbound/chat", "tests: 2 passed, 0 failed")
	at("disable").want(t, exitUsage, "--yes")
	at("disable", "--yes").want(t, 0, "off")
	at("disable", "--yes").want(t, 0, "off already")
}

// watchOne sends packets until watch has shown one.
func watchOne(t *testing.T, w *lab.World, at func(...string) outcome) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	seen := make(chan outcome, 1)
	go func() { seen <- at("watch", "--json", "--count", "1") }()
	for {
		select {
		case o := <-seen:
			o.want(t, 0, "1 shown")
			var e eventAnswer
			if err := json.Unmarshal([]byte(o.out), &e); err != nil {
				t.Fatalf("%v in %s", err, o.out)
			}
			if e.Rule != "inbound/chat" || e.In != "lan0" || !strings.HasPrefix(e.Packet, "udp 192.0.2.10:") {
				t.Errorf("got %+v", e)
			}
			return
		case <-time.After(100 * time.Millisecond):
			if _, err := w.Client.Run(strings.NewReader("hello"), "socat", "-u", "-", "udp4:192.0.2.1:7777"); err != nil {
				t.Fatal(err)
			}
		case <-ctx.Done():
			t.Fatal("no event")
		}
	}
}

// Pins that somebody removed leave a firewall that is closed, says so, and comes back with an apply; so does one whose files are gone.
func TestLostPinsAndFiles(t *testing.T) {
	needRoot(t)
	w, err := lab.New(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	at := func(args ...string) outcome {
		return do(nil, append([]string{"--netns", w.DUT.Name, "--root", root}, args...)...)
	}
	t.Cleanup(func() {
		at("disable", "--yes").want(t, 0)
		if err := w.Close(); err != nil { // disable has unmounted the BPF file system
			t.Error(err)
		}
	})
	open := write(t, "open.toml", openPolicy)
	at("apply", "--yes", open).want(t, 0)
	if err := os.RemoveAll(filepath.Join(root, "sys/fs/bpf/bpfwall/netns", w.DUT.Name, "maps")); err != nil {
		t.Fatal(err)
	}
	at("status").want(t, 1, "drop every packet", "bpfwall apply")
	at("boot").want(t, 0, "is live")
	at("status").want(t, 0, "ON")
	if err := os.RemoveAll(filepath.Join(root, "var")); err != nil {
		t.Fatal(err)
	}
	at("status").want(t, 0, "ON", "not confirmed", "no such generation")
	at("apply", "--yes", open).want(t, 0, "is live")
}

// An operator on SSH does not saw off the branch. Only the firewall of the machine's own namespace can, so this one stops before it
// changes anything.
func TestRefusesToCutTheSession(t *testing.T) {
	needRoot(t)
	drop := write(t, "drop.toml", "version = 1\n[[inbound]]\nname = \"shut\"\ndrop = \"ssh\"\n")
	ssh := map[string]string{"SSH_CONNECTION": "203.0.113.50 51812 192.0.2.1 22"}
	o := do(ssh, "--root", t.TempDir(), "apply", "--yes", drop)
	o.want(t, exitRefused, "drop.toml:4", "the next packet of this session", "--i-will-lose-this-session")
}

func TestWrongHost(t *testing.T) {
	_, at := host(t)
	policy := write(t, "p.toml", "version = 1\n")
	at("apply", "--yes", "--interface", "nope0", policy).want(t, 1, `interface "nope0": not there`, "lan0")
	at("status").want(t, 0, "OFF")
	do(nil, "--netns", "nowhere", "status").want(t, 1, `"nowhere": no such network namespace`)
}

// trial is a firewall whose state and pins are below a folder of its own.
func trial(t *testing.T) (root string, at func(args ...string) outcome) {
	t.Helper()
	w, _ := host(t)
	root = t.TempDir()
	at = func(args ...string) outcome {
		return do(nil, append([]string{"--netns", w.DUT.Name, "--root", root}, args...)...)
	}
	t.Cleanup(func() {
		at("disable", "--yes").want(t, 0)
		_ = unix.Unmount(filepath.Join(root, "sys/fs/bpf"), 0)
	})
	return root, at
}

// Without room on the disk the rules in force stay.
func TestFullDisk(t *testing.T) {
	root, at := trial(t)
	state := filepath.Join(root, "var/lib/bpfwall")
	if err := os.MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", state, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		at("disable", "--yes").want(t, 0)
		if err := unix.Unmount(state, 0); err != nil {
			t.Error(err)
		}
	})
	policy := write(t, "p.toml", "version = 1\n")
	at("apply", "--yes", policy).want(t, 0, "generation 1 is live") // also: mounts the bpf file system below --root
	if err := os.WriteFile(filepath.Join(state, "ballast"), make([]byte, 64<<10), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	at("apply", "--yes", policy).want(t, 1, "no space left")
	at("status").want(t, 0, "generation 1,")
}

// A boot finds the disk as it was, and nothing in the kernel.
func TestBoot(t *testing.T) {
	root, at := trial(t)
	at("boot").want(t, 1, "no such generation")
	at("apply", "--yes", write(t, "good.toml", "version = 1\n")).want(t, 0)
	at("boot").want(t, 0, "in force already")
	go at("apply", "--yes", "--confirm", "1m", write(t, "doubtful.toml", "version = 1\n"))
	for range 100 {
		if time.Sleep(50 * time.Millisecond); strings.Contains(at("status").out, "generation 2") {
			break
		}
	}
	if err := unix.Unmount(filepath.Join(root, "sys/fs/bpf"), unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	at("status").want(t, 0, "OFF")
	at("boot").want(t, 0, "is live")
	at("history").want(t, 0, "good.toml", "doubtful.toml", `"boot"`)
	at("status").want(t, 0, "ON", "good.toml")
}

// program is a copy of this test's binary under the name that makes TestMain run the command. Everybody may run it.
func program(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bpfwall")
	if err := os.WriteFile(path, self, 0o755); err != nil {
		t.Fatal(err)
	}
	for ; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// TestWithoutRoot runs the program as nobody.
func TestWithoutRoot(t *testing.T) {
	program := program(t)
	dir := filepath.Dir(program)
	policy := filepath.Join(dir, "p.toml")
	if err := os.WriteFile(policy, []byte(openPolicy), 0o644); err != nil {
		t.Fatal(err)
	}
	nobody := func(args ...string) outcome {
		cmd := exec.Command(program, args...)
		cmd.Dir = dir
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		var out, problems bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &problems
		_ = cmd.Run()
		return outcome{cmd.ProcessState.ExitCode(), out.String(), problems.String()}
	}
	for _, args := range [][]string{
		{"apply", "--yes", policy}, {"status"}, {"show", "rules"}, {"show", "flows"}, {"rollback"}, {"watch"}, {"disable", "--yes"}, {"explain", "tcp to :22"},
	} {
		nobody(args...).want(t, exitNotPermitted, "not permitted", "CAP_NET_ADMIN")
	}
	nobody("check", policy).want(t, 0, "ok")
	nobody("test", policy).want(t, 0, "2 passed", "that needs root")
	nobody("explain", "--policy", policy, "udp 192.0.2.10 -> :7777 in lan0").want(t, 0, "verdict ACCEPT")
	nobody("show", "code", policy).want(t, 0, "fw_input:")
}

package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/dataplane"
)

func TestUnconfirmedGoesBack(t *testing.T) {
	_, at := host(t)
	policy := write(t, "p.toml", "version = 1\n")
	at("apply", "--yes", "--confirm", "100ms", policy).want(t, exitUnconfirmed, "was not confirmed", "off again")
	at("status").want(t, 0, "OFF")
	at("apply", "--yes", policy).want(t, 0)
	at("apply", "--yes", "--confirm", "100ms", policy).want(t, exitUnconfirmed, "was not confirmed")

	waits := make(chan outcome, 1)
	go func() { waits <- at("apply", "--yes", "--confirm", "20s", policy) }()
	for range 100 {
		time.Sleep(50 * time.Millisecond)
		if strings.Contains(at("status").out, "not confirmed") {
			at("confirm").want(t, 0, "confirmed")
			break
		}
	}
	(<-waits).want(t, 0)
	at("status").want(t, 0, ", confirmed")
}

// A rollback after a trial that nobody confirmed goes back past it.
func TestRollbackPastATrial(t *testing.T) {
	_, at := host(t)
	first, second := write(t, "first.toml", openPolicy), write(t, "second.toml", "version = 1\n")
	at("apply", "--yes", first).want(t, 0)
	at("apply", "--yes", second).want(t, 0)
	at("apply", "--yes", "--confirm", "-5s", first).want(t, exitUsage, "not a time to wait")
	at("apply", "--yes", "--confirm", "1ms", write(t, "trial.toml", "version = 1\n[defaults]\noutbound = \"drop\"\n")).want(t, exitUnconfirmed)
	at("rollback").want(t, 0, "generation 5 is live")
	at("history").want(t, 0, "again 1")
	at("rollback").want(t, 0, "generation 6 is live")
	at("history").want(t, 0, "again 4")
}

func TestQuestions(t *testing.T) {
	w, at := host(t)
	policy := write(t, "p.toml", "version = 1\n[safety]\nconfirm = \"30s\"\n")
	person := func(typed string, args ...string) outcome {
		e := &env{stdin: strings.NewReader(typed), getenv: func(string) string { return "" }, terminal: [3]bool{true, true, true}}
		return ask(e, append([]string{"--netns", w.DUT.Name}, args...)...)
	}
	person("n\n", "apply", policy).want(t, 1, "inbound#policy", "Apply? [y/N]", "nothing was changed")
	person("\n", "apply", policy).want(t, 1, "nothing was changed")
	person("y\n", "apply", "--no-input", policy).want(t, exitUsage, "nobody to ask")
	at("status").want(t, 0, "OFF")
	person("y\nn\n", "apply", policy).want(t, exitUnconfirmed, "generation 1 is live", "Still here?", "answered no", "off again")
	person("yes\ny\n", "apply", policy).want(t, 0, "confirmed 2")
	person("", "status").want(t, 0, "\x1b[32mON\x1b[0m")
	at("status").want(t, 0, "generation 2, confirmed")
	person("n\n", "disable").want(t, 1, "Let every packet pass?", "nothing was changed")
	at("status").want(t, 0, "generation 2, confirmed")
}

// waiting starts an apply that is to be confirmed within a second; said is what it says of that.
func waiting(t *testing.T, netns, policy string) (cmd *exec.Cmd, said io.ReadCloser) {
	t.Helper()
	cmd = exec.Command(program(t), "--netns", netns, "apply", "--yes", "--confirm", "1s", policy)
	said, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return cmd, said
}

// The terminal of an apply that waits for its confirmation goes away, and with it everybody who could answer.
func TestHangup(t *testing.T) {
	w, at := host(t)
	policy := write(t, "p.toml", "version = 1\n")
	at("apply", "--yes", policy).want(t, 0)
	cmd, said := waiting(t, w.DUT.Name, policy)
	if _, err := said.Read(make([]byte, 16)); err != nil { // "confirm within …"
		t.Fatal(err)
	}
	_ = cmd.Process.Signal(syscall.SIGHUP)
	_ = said.Close()
	_ = cmd.Wait()
	at("status").want(t, 0, "generation 3, confirmed")
	at("history").want(t, 0, "again 1", "2 not confirmed")
}

// An apply that waits for its confirmation is killed, and cannot go back itself.
func TestKilledWhileWaiting(t *testing.T) {
	w, at := host(t)
	policy := write(t, "p.toml", "version = 1\n")
	at("apply", "--yes", policy).want(t, 0)
	cmd, said := waiting(t, w.DUT.Name, policy)
	watched := false
	for range 1000 { // until "confirm within …", and its sentinel is there
		if watched = childOf(cmd.Process.Pid); watched {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !watched {
		t.Fatal("it has no sentinel")
	}
	_ = cmd.Process.Kill()
	_ = said.Close()
	_ = cmd.Wait()
	for range 200 {
		if strings.Contains(at("status").out, "generation 3, confirmed") {
			at("history").want(t, 0, "again 1", "2 not confirmed: whoever waited was killed")
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("nobody went back")
}

// childOf reports whether a process has a child.
func childOf(pid int) bool {
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range all {
		text, _ := os.ReadFile(name) // proc(5): pid (comm) state ppid …
		_, rest, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			return true
		}
	}
	return false
}

// Somebody puts other rules in force while an apply waits for its confirmation: they stay, whenever that apply notices.
func TestOvertaken(t *testing.T) {
	w, at := host(t)
	policy := write(t, "p.toml", "version = 1\n")
	at("apply", "--yes", policy).want(t, 0)
	at("apply", "--yes", policy).want(t, 0)
	a := &app{env: &env{stdout: io.Discard, stderr: io.Discard, getenv: func(string) string { return "" }}, netns: w.DUT.Name}
	fw, err := a.firewall()
	if err != nil {
		t.Fatal(err)
	}
	err = a.goBack(context.Background(), fw, &dataplane.Result{Generation: 1}, "no answer")
	if err == nil || code(err) != exitUnconfirmed || !strings.Contains(err.Error(), "generation 2 is in force now") {
		t.Errorf("got %v", err)
	}
	at("status").want(t, 0, "generation 2, confirmed")
}

// Nobody reads what an apply says. What it has put in force is confirmed, or taken back, all the same.
func TestNobodyReads(t *testing.T) {
	w, at := host(t)
	policy := write(t, "p.toml", "version = 1\n")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"generation 1, confirmed", nil},
		{"generation 3, confirmed", []string{"--confirm", "100ms"}},
		{"generation 5, confirmed", []string{"--confirm", "100ms", "--json"}},
	} {
		cmd := exec.Command(program(t), append([]string{"--netns", w.DUT.Name, "apply", "--yes", policy}, c.args...)...)
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = reader.Close()
		cmd.Stdout, cmd.Stderr = writer, writer
		_ = cmd.Run()
		_ = writer.Close()
		at("status").want(t, 0, c.want)
	}
}

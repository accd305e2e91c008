// Command demo shows bpfwall at work, in network namespaces that it makes and removes: it imports the iptables rules of a small
// office's router, sends allowed and forbidden traffic through it, changes to another policy while a download runs, and says
// what was expected and what happened. It exits with 1 if these differ anywhere.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
)

//go:embed office.v4
var officeV4 string

//go:embed office.v6
var officeV6 string

//go:embed office.toml
var officeTOML string

const picture = `
   client ───────────── lan0 router wan0 ───────────── server
   192.0.2.10         192.0.2.1  198.51.100.1       198.51.100.10
   2001:db8:1::10     …:1::1     …:2::1             2001:db8:2::10
   and 10.1.20.80, the web server that the office publishes
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := &demo{start: time.Now()}
	done := make(chan error, 1)
	go func() { done <- d.run() }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = fmt.Errorf("interrupted")
	}
	d.cleanUp()
	if err == nil && d.wrong > 0 {
		err = fmt.Errorf("%d results are not as expected", d.wrong)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	fmt.Printf("\nEverything was as expected. The namespaces are gone; nothing of this machine was changed. %.0f s\n", time.Since(d.start).Seconds())
}

// demo is one run.
type demo struct {
	start time.Time
	world *lab.World
	dir   string // the office's files
	wrong int
}

func (d *demo) run() error {
	if err := d.setUp(); err != nil {
		return err
	}
	for _, part := range []func() error{d.imported, d.changed, d.look} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// setUp makes the office.
func (d *demo) setUp() (err error) {
	title("A small office: three network namespaces, the router in the middle is to be protected")
	fmt.Print(picture)
	if d.world, err = lab.New(lab.Options{}); err != nil {
		return err
	}
	if err := d.world.Client.AddAddress("eth0", published4, published6); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "bpfwall-demo-"); err != nil {
		return err
	}
	for name, text := range map[string]string{"office.v4": officeV4, "office.v6": officeV6, "office.toml": officeTOML} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return d.serve()
}

func (d *demo) cleanUp() {
	if d.world != nil {
		if err := d.world.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "demo:", err)
		}
	}
	if d.dir != "" {
		os.RemoveAll(d.dir)
	}
	lab.RemoveBinary()
}

// imported puts the office's iptables rules in force and tries them.
func (d *demo) imported() error {
	title("1. The office has two iptables-save files with %d rules: import them, and put them in force", strings.Count(officeV4+officeV6, "\n-A "))
	if err := d.show("check", "office.v4", "office.v6"); err != nil {
		return err
	}
	if err := d.show("apply", "--yes", "office.v4", "office.v6"); err != nil {
		return err
	}
	title("2. What may pass, and what may not: as a host, and as a router")
	return d.try(underIptables)
}

// changed swaps to another policy in the middle of a download.
func (d *demo) changed() error {
	title("3. Change to a policy in bpfwall's own language while the client downloads from the server")
	load, err := d.download()
	if err != nil {
		return err
	}
	time.Sleep(time.Second)
	if err := d.show("apply", "--yes", "office.toml"); err != nil {
		return err
	}
	time.Sleep(time.Second)
	if err := load.finish(); err != nil {
		d.wrong++
		fmt.Printf("  WRONG  the download: %v\n", err)
	}
	title("4. The new policy: telnet to the outside is over, mail is allowed, outsiders cannot ping the router")
	return d.try(underPolicy)
}

// look shows what the operator sees.
func (d *demo) look() error {
	title("5. What the operator sees")
	for _, args := range [][]string{{"status"}, {"show", "rules", "--sort", "packets"}, {"history"}} {
		if err := d.show(args...); err != nil {
			return err
		}
	}
	return nil
}

func title(format string, args ...any) { fmt.Printf("\n── "+format+"\n", args...) }

// longest is how many lines of a command's output are shown.
const longest = 14

// show runs a bpfwall command for the router and prints both. The names of the office's files stand for their paths.
func (d *demo) show(args ...string) error {
	fmt.Printf("\n$ bpfwall %s\n", strings.Join(args, " "))
	cmd, err := d.world.DUT.Command(args...)
	if err != nil {
		return err
	}
	cmd.Dir = d.dir
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	for _, l := range lines[:min(len(lines), longest)] {
		fmt.Println("  " + l)
	}
	if len(lines) > longest {
		fmt.Printf("  … %d lines more\n", len(lines)-longest)
	}
	if err != nil {
		return fmt.Errorf("bpfwall %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

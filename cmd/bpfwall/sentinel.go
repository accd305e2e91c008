package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
)

// late is how much longer than the apply the sentinel waits: it is to find nothing left to do.
const late = 2 * time.Second

// startSentinel starts a process that goes back in place of this one, should this one be killed while it waits for a confirmation. Without
// the sentinel the wait is as good as it was, so that errors do not matter.
func (a *app) startSentinel(generation uint32, wait time.Duration) {
	self, err := os.Executable()
	if err != nil {
		return
	}
	cmd := exec.Command(self, "--netns="+a.netns, "--root="+a.root, "sentinel", strconv.FormatUint(uint64(generation), 10), (wait + late).String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what ends the terminal's processes does not end it
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }()
	}
}

// sentinel waits in the background for what an apply waits for.
func (a *app) sentinel() *cobra.Command {
	return &cobra.Command{
		Use:    "sentinel GENERATION TIME",
		Short:  "Go back in place of an apply that was killed while it waited for its confirmation",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.ParseUint(args[0], 10, 32)
			wait, bad := time.ParseDuration(args[1])
			if err = errors.Join(err, bad); err != nil {
				return fail(exitUsage, "%w", err)
			}
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			return a.keepWatch(cmd.Context(), fw, uint32(n), wait)
		},
	}
}

func (a *app) keepWatch(ctx context.Context, fw *dataplane.Dataplane, generation uint32, wait time.Duration) error {
	live, _, err := fw.Live()
	if err != nil || live.Number != generation {
		return err
	}
	poll := time.NewTicker(500 * time.Millisecond)
	defer poll.Stop()
	for end := time.After(wait); ; {
		select {
		case <-poll.C:
			if done, err := settled(fw, generation); done {
				return err
			}
		case <-end:
			return a.goBack(context.WithoutCancel(ctx), fw, &dataplane.Result{Generation: generation, Previous: live.Previous}, "whoever waited was killed")
		}
	}
}

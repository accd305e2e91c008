package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bpfwall/bpfwall/dataplane"
)

// prove waits for the confirmation that a new generation works, and goes back without one. A wait of 0 confirms at once.
// The shell's death does not stop it (applyInput): that is the case it is for.
func (a *app) prove(ctx context.Context, fw *dataplane.Dataplane, res *dataplane.Result, wait time.Duration) error {
	if wait == 0 {
		_, err := fw.Confirm(context.WithoutCancel(ctx)) // it is in force already
		return err
	}
	a.startSentinel(res.Generation, wait)
	interrupted := ctx.Done()
	ctx = context.WithoutCancel(ctx) // going back is not to be interrupted
	fmt.Fprintf(a.stderr, "confirm within %s or %s. Other window: bpfwall confirm\n", wait, comesBack(res))
	if a.person() {
		fmt.Fprint(a.stderr, "Still here? [y] ")
	}

	poll := time.NewTicker(500 * time.Millisecond)
	defer poll.Stop()
	end, answer := time.After(wait), a.answer()
	for {
		select {
		case yes := <-answer:
			if yes {
				_, err := fw.Confirm(ctx)
				fmt.Fprintf(a.stderr, "confirmed %d\n", res.Generation)
				return err
			}
			return a.goBack(ctx, fw, res, "answered no")
		case <-poll.C:
			if done, err := settled(fw, res.Generation); done {
				return err
			}
		case <-interrupted:
			return a.goBack(ctx, fw, res, "interrupted")
		case <-end:
			return a.goBack(ctx, fw, res, fmt.Sprintf("no answer in %s", wait))
		}
	}
}

func comesBack(res *dataplane.Result) string {
	if res.Previous == 0 {
		return "the firewall is off again"
	}
	return fmt.Sprintf("generation %d comes back", res.Previous)
}

// settled reports whether somebody else confirmed the generation, or put another one in its place.
func settled(fw *dataplane.Dataplane, generation uint32) (bool, error) {
	status, err := fw.Status()
	if errors.Is(err, dataplane.ErrNotLoaded) {
		return true, fail(exitUnconfirmed, "the firewall is off now; %d was not confirmed", generation)
	}
	if err != nil {
		return false, nil // e.g. a change is under way: look again
	}
	if status.Generation.Number != generation {
		return true, fail(exitUnconfirmed, "generation %d is in force now; %d was not confirmed", status.Generation.Number, generation)
	}
	return status.Generation.Confirmed, nil
}

// goBack brings the generation before back, or switches off what was the first.
func (a *app) goBack(ctx context.Context, fw *dataplane.Dataplane, res *dataplane.Result, why string) error {
	if done, err := settled(fw, res.Generation); done { // since the last look
		return err
	}
	if res.Previous == 0 {
		if err := fw.Disable(ctx); err != nil {
			return err
		}
		return fail(exitUnconfirmed, "generation %d was not confirmed (%s); the firewall is off again", res.Generation, why)
	}
	back, err := fw.Rollback(ctx, a.meta(nil, fmt.Sprintf("%d not confirmed: %s", res.Generation, why)))
	if err != nil {
		return err
	}
	if _, err := fw.Confirm(ctx); err != nil {
		return err
	}
	return fail(exitUnconfirmed, "generation %d was not confirmed (%s); %d is back, as %d", res.Generation, why, res.Previous, back.Generation)
}

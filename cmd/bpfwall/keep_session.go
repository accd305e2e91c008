package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/session"
)

// keepSession refuses rules that would cut the SSH session that the operator uses. Another namespace's firewall cannot.
func (a *app) keepSession(fw *dataplane.Dataplane, rs *ruleset.Ruleset, lose bool) error {
	if a.netns != "" || lose {
		return nil
	}
	s, err := session.Find(a.getenv)
	if err != nil {
		a.warn("%s; not checked whether the rules cut this session", err)
		return nil
	}
	if s == nil {
		return nil
	}
	if cut := s.CutBy(rs, tracked(fw, s)); cut != nil {
		return cutError(s, cut)
	}
	return nil
}

// tracked reports whether the firewall in the kernel knows the session.
func tracked(fw *dataplane.Dataplane, s *session.Session) bool {
	flows, err := fw.Flows()
	return err == nil && slices.ContainsFunc(flows, func(f dataplane.Flow) bool {
		return f.Proto == session.Proto && f.Orig == s.Client && f.Reply == s.Server
	})
}

// cutError is the refusal, at the rule that is to blame if there is one.
func cutError(s *session.Session, cut *session.Cut) error {
	err := errors.New(cut.Trace.Reason)
	if by := cut.Trace.Decided(); by != nil {
		at := stepOf(cut.Trace.Hook, *by)
		e := &ruleset.Error{Msg: fmt.Sprintf("%s would %s %s (%s)", at.Rule, cut.Verdict, cut.What, s)}
		if at.Pos != nil {
			e.Pos = *at.Pos
		}
		err = e
	}
	return (&codeError{code: exitRefused, err: err}).
		withHelp("allow it in the rules, or do this from the console, or pass --i-will-lose-this-session")
}

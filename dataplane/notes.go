package dataplane

import (
	"fmt"
	"os"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
)

// noteHook is where a note is made of the program that opens a socket, which logs tell.
var noteHook = connectHook{"sock_create", ebpf.AttachCGroupInetSockCreate}

const noteProgram = "note_owner"

// chooseNotes finds out whether sockets are noted: if rules log, and there are control groups to attach to.
func (t *transaction) chooseNotes() {
	_, err := cgroupRoot()
	t.next.Notes = err == nil && t.rs.Logs()
}

// attachNotes attaches the program that makes the notes. Without it logs do not tell which program sends.
func (t *transaction) attachNotes() {
	if !t.next.Notes {
		return
	}
	if err := t.attachNoteHook(); err != nil {
		t.warn("logs do not tell which program sends: %s", err)
	}
}

func (t *transaction) attachNoteHook() error {
	root, err := cgroupRoot()
	if err != nil {
		return err
	}
	spec, err := bpf.LoadCgroup()
	if err != nil {
		return err
	}
	cookie, err := netnsCookie()
	if err != nil {
		return err
	}
	if err := spec.Variables["own_netns"].Set(cookie); err != nil {
		return err
	}
	spec.Programs = map[string]*ebpf.ProgramSpec{noteProgram: spec.Programs[noteProgram]}
	owners := map[string]*ebpf.Map{"sock_owner": t.shared["sock_owner"]}
	coll, err := loadWith(spec, "notes", owners)
	if err != nil {
		return errKernel(err)
	}
	t.atEnd(func() error { coll.Close(); return nil })
	if err := t.attachConnectHook(root, noteHook, coll.Programs[noteProgram], t.shared["sock_owner"]); err != nil {
		return fmt.Errorf("%s: %w", noteHook.name, errKernel(err))
	}
	return nil
}

// detachNotes detaches it if no generation needs it that may come back without an apply.
func (t *transaction) detachNotes() {
	if t.next.Notes || t.live != nil && t.live.Notes {
		return
	}
	_ = os.Remove(t.d.at.connectPin(noteHook))
}

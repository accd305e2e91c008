package dataplane

// retire clears away what is not needed now that the next generation is live. Nothing here can fail the change: what stays behind is
// swept by the next one.
func (t *transaction) retire() error {
	at, next := t.d.at, t.next
	t.promote()
	t.detachUnwanted()
	t.detachNetfilter()
	t.detachConnect()
	t.detachListen()
	t.detachWatch()
	t.detachNotes()
	if err := t.d.startReaper(); err != nil {
		if t.rs.UsesConntrack() {
			t.warn("flows that are over are removed at the next apply or refresh only: %s", err)
		}
		_, _ = t.d.dropExpired()
	}
	t.startSetReapers()
	at.dropPrograms(at.programs(next.Number), at.programs(next.Previous))
	if err := at.setCurrent(next.Number); err != nil {
		t.warn("generation %d is live, but will not be found at boot: %s", next.Number, errDisk(err))
	}
	stay := []uint32{next.Number, next.Previous, next.Loaded}
	if t.live != nil {
		stay = append(stay, t.live.Loaded)
	}
	if saved, err := t.d.Saved(); err == nil {
		stay = append(stay, saved)
	}
	at.tidyDisk(t.d.cfg.Keep, stay...)
	t.keepSpare()
	return nil
}

package iptables

import "github.com/bpfwall/bpfwall/ruleset"

// sampling is the row of -m statistic, quotas that of -m quota.
func sampling() extension {
	e := known("statistic", 0, 0, "", "*mode=random|nth ?!probability=share@1 ?!every=u32from1@1&packet packet=u32&every")
	e.lower, e.check = statistic, checkStatistic
	return e
}

func quotas() extension {
	e := known("quota", 0, 0, "", "!*quota=u64")
	e.lower = quota
	return e
}

func checkStatistic(m *module, _ *rule) (bad, help string) {
	every, skip := m.get("every"), m.get("packet")
	if every != nil && skip != nil && skip.val.num >= every.val.num {
		return "--packet " + itoa(skip.val.num) + " is not below --every " + itoa(every.val.num), "packets count from 0"
	}
	return "", ""
}

// statistic picks one of every so many packets, or some by chance.
func statistic(_ *lowering, m *module) ([]alternative, string) {
	match := ruleset.Match{Field: ruleset.FieldSample, Sample: &ruleset.Sample{}, Pos: m.pos}
	random := lookupPrefix(m.get("mode").val.text, []string{"random"}) == 0
	u, share := m.get("every"), m.get("probability")
	switch {
	case random && share != nil:
		match.Not, match.Sample.Share = share.not, uint32(share.val.num)
	case !random && u != nil:
		match.Not, match.Sample.Every, match.Sample.Skip = u.not, uint32(u.val.num), uint32(m.get("packet").val.num)
	default:
		return nil, "-m statistic: an option of the other mode"
	}
	return one(match), ""
}

func quota(_ *lowering, m *module) ([]alternative, string) {
	u := m.get("quota")
	return one(ruleset.Match{Field: ruleset.FieldQuota, Not: u.not, Quota: &ruleset.Quota{Bytes: u.val.num}, Pos: m.pos}), ""
}

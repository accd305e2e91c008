package cases

import "github.com/bpfwall/bpfwall/ruleset"

const (
	socket = ruleset.FieldSocket
	uid    = ruleset.FieldUID
	gid    = ruleset.FieldGID

	connected = ruleset.FieldConnected
)

func cgroups(names ...string) ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldCgroup, Names: names}
}

// ownerCases look at the socket of what this host sends, or gets.
var ownerCases = []Case{
	{Name: "socket exists", Hook: ruleset.HookOutput, Accept: all(is(socket, 1)),
		Allowed:  []string{"tcp out eth0 socket", "udp out lo uid 0", "icmpv6 out eth0 socket"},
		Dropped:  []string{"tcp out eth0", "icmp out lo"},
		IPTables: []string{"-A OUTPUT -m owner --socket-exists -j ACCEPT"}},
	{Name: "socket exists not", Hook: ruleset.HookOutput, Accept: all(not(is(socket, 1))),
		Allowed:  []string{"tcp out eth0"},
		Dropped:  []string{"tcp out eth0 socket", "udp out lo uid 0"},
		IPTables: []string{"-A OUTPUT -m owner ! --socket-exists -j ACCEPT"}},
	{Name: "user", Hook: ruleset.HookOutput, Accept: all(is(uid, 1000)),
		Allowed:  []string{"tcp out eth0 uid 1000", "udp out lo uid 1000 gid 5"},
		Dropped:  []string{"tcp out eth0", "tcp out eth0 socket", "tcp out eth0 uid 0", "tcp out eth0 uid 999", "tcp out eth0 gid 1000"},
		IPTables: []string{"-A OUTPUT -m owner --uid-owner 1000 -j ACCEPT"}},
	{Name: "user root", Hook: ruleset.HookOutput, Accept: all(is(uid, 0)),
		Allowed:  []string{"tcp out eth0 uid 0", "tcp out eth0 user root"},
		Dropped:  []string{"tcp out eth0", "tcp out eth0 socket", "tcp out eth0 uid 1"},
		IPTables: []string{"-A OUTPUT -m owner --uid-owner 0 -j ACCEPT"}},
	{Name: "users of a range", Hook: ruleset.HookOutput, Accept: all(within(uid, 1000, 4294967294)),
		Allowed:  []string{"tcp out eth0 uid 1000", "tcp out eth0 uid 65534", "tcp out eth0 uid 4294967294"},
		Dropped:  []string{"tcp out eth0", "tcp out eth0 uid 999", "tcp out eth0 socket"},
		IPTables: []string{"-A OUTPUT -m owner --uid-owner 1000-4294967294 -j ACCEPT"}},
	{Name: "users of several", Hook: ruleset.HookOutput, Accept: all(or(is(uid, 0, 33), within(uid, 100, 199))),
		Allowed: []string{"tcp out eth0 uid 0", "tcp out eth0 uid 33", "tcp out eth0 uid 150"},
		Dropped: []string{"tcp out eth0", "tcp out eth0 uid 34", "tcp out eth0 uid 200"}},
	{Name: "user not", Hook: ruleset.HookOutput, Accept: all(not(is(uid, 1000))),
		Allowed:  []string{"tcp out eth0 uid 0", "tcp out eth0", "tcp out eth0 socket"}, // as xt_owner: what has no owner is not theirs
		Dropped:  []string{"tcp out eth0 uid 1000"},
		IPTables: []string{"-A OUTPUT -m owner ! --uid-owner 1000 -j ACCEPT"}},
	{Name: "group", Hook: ruleset.HookOutput, Accept: all(is(gid, 50)),
		Allowed:  []string{"tcp out eth0 gid 50", "tcp out eth0 uid 0 gid 50"},
		Dropped:  []string{"tcp out eth0", "tcp out eth0 uid 50", "tcp out eth0 gid 51"},
		IPTables: []string{"-A OUTPUT -m owner --gid-owner 50 -j ACCEPT"}},
	{Name: "groups of a range", Hook: ruleset.HookOutput, Accept: all(within(gid, 50, 60)),
		Allowed:  []string{"tcp out eth0 gid 50", "tcp out eth0 uid 0 gid 60"},
		Dropped:  []string{"tcp out eth0", "tcp out eth0 gid 49", "tcp out eth0 gid 61"},
		IPTables: []string{"-A OUTPUT -m owner --gid-owner 50-60 -j ACCEPT"}},
	{Name: "group not", Hook: ruleset.HookOutput, Accept: all(not(is(gid, 50))),
		Allowed:  []string{"tcp out eth0 gid 51", "tcp out eth0", "tcp out eth0 uid 50"},
		Dropped:  []string{"tcp out eth0 uid 0 gid 50"},
		IPTables: []string{"-A OUTPUT -m owner ! --gid-owner 50 -j ACCEPT"}},
	{Name: "user and not group", Hook: ruleset.HookOutput, Accept: all(is(uid, 1000), not(is(gid, 50))),
		Allowed:  []string{"tcp out eth0 uid 1000 gid 51"},
		Dropped:  []string{"tcp out eth0 uid 1000 gid 50", "tcp out eth0", "tcp out eth0 uid 1 gid 1"},
		IPTables: []string{"-A OUTPUT -m owner --uid-owner 1000 ! --gid-owner 50 -j ACCEPT"}},
	{Name: "user, raw output", Hook: ruleset.HookRawOutput, Accept: all(is(uid, 1000)), Family: ruleset.FamilyIPv4,
		Allowed: []string{"tcp out eth0 uid 1000 hook raw-output"},
		Dropped: []string{"tcp out eth0 uid 0 hook raw-output"}},
	{Name: "user, input", Hook: ruleset.HookInput, Accept: all(is(uid, 1000)),
		Allowed: []string{"tcp in eth0 uid 1000", "udp in lo uid 1000 connected"},
		Dropped: []string{"tcp in eth0 uid 0", "tcp in eth0", "icmp in eth0"}},
	{Name: "group not, input", Hook: ruleset.HookInput, Accept: all(not(is(gid, 50))),
		Allowed: []string{"tcp in eth0 gid 51", "tcp in eth0"},
		Dropped: []string{"tcp in eth0 gid 50 connected"}},
	{Name: "socket exists, input", Hook: ruleset.HookInput, Accept: all(is(socket, 1)),
		Allowed: []string{"tcp in eth0 socket", "tcp in eth0 uid 0"},
		Dropped: []string{"tcp in eth0"}},
	{Name: "connected", Hook: ruleset.HookInput, Accept: all(is(connected, 1)),
		Allowed: []string{"tcp in eth0 connected", "udp in eth0 uid 0 connected"},
		Dropped: []string{"tcp in eth0 uid 0", "tcp in eth0"}},
	{Name: "connected not", Hook: ruleset.HookInput, Accept: all(not(is(connected, 1))),
		Allowed: []string{"tcp in eth0 uid 0", "tcp in eth0"},
		Dropped: []string{"tcp in eth0 connected"}},
	{Name: "cgroup, input", Hook: ruleset.HookInput, Accept: all(cgroups("/web"), is(connected, 1)),
		Allowed:  []string{"tcp in eth0 cgroup /web connected", "tcp in eth0 cgroup /web/a connected"},
		Dropped:  []string{"tcp in eth0 cgroup /web", "tcp in eth0 cgroup /webs connected", "tcp in eth0"},
		IPTables: []string{"-A INPUT -m cgroup --path /web -j ACCEPT"}},
	{Name: "cgroup not, input", Hook: ruleset.HookInput, Accept: all(not(cgroups("/web")), is(connected, 1)),
		Allowed:  []string{"tcp in eth0 cgroup /webs connected", "tcp in eth0 connected"},
		Dropped:  []string{"tcp in eth0 cgroup /web connected", "tcp in eth0 cgroup /x", "tcp in eth0"},
		IPTables: []string{"-A INPUT -m cgroup ! --path /web -j ACCEPT"}},
	{Name: "who may listen", Hook: ruleset.HookListen, Accept: all(is(uid, 33), is(ruleset.FieldDstPort, 80)),
		Allowed: []string{"tcp -> :80 hook listen uid 33"},
		Dropped: []string{"tcp -> :80 hook listen uid 34", "tcp -> :81 hook listen uid 33", "udp -> :81 hook listen uid 33"}},

	{Name: "cgroup", Hook: ruleset.HookOutput, Accept: all(cgroups("/web/shop")),
		Allowed:  []string{"tcp out eth0 cgroup /web/shop", "tcp out eth0 cgroup /web/shop/worker"},
		Dropped:  []string{"tcp out eth0", "tcp out eth0 socket", "tcp out eth0 cgroup /web", "tcp out eth0 cgroup /web/shopping", "tcp out eth0 cgroup /"},
		IPTables: []string{"-A OUTPUT -m cgroup --path /web/shop -j ACCEPT"}},
	{Name: "cgroup not", Hook: ruleset.HookOutput, Accept: all(not(cgroups("/web/shop"))),
		Allowed:  []string{"tcp out eth0 cgroup /web", "tcp out eth0 cgroup /"},
		Dropped:  []string{"tcp out eth0 cgroup /web/shop/a", "tcp out eth0"}, // as xt_cgroup: what has no socket is in none
		IPTables: []string{"-A OUTPUT -m cgroup ! --path /web/shop -j ACCEPT"}},
	{Name: "cgroup of several", Hook: ruleset.HookOutput, Accept: all(cgroups("/a", "/b/c", "nginx.service")),
		Allowed: []string{"tcp out eth0 cgroup /a", "tcp out eth0 cgroup /b/c/d", "tcp out eth0 unit nginx.service"},
		Dropped: []string{"tcp out eth0 cgroup /b", "tcp out eth0 cgroup /c"}},
	{Name: "cgroup root", Hook: ruleset.HookOutput, Accept: all(cgroups("/")),
		Allowed: []string{"tcp out eth0 cgroup /", "tcp out eth0 cgroup /a"},
		Dropped: []string{"tcp out eth0"}},
	{Name: "unit", Hook: ruleset.HookOutput, Accept: all(cgroups("nginx.service")),
		Allowed: []string{"tcp out eth0 cgroup /system.slice/nginx.service", "tcp out eth0 cgroup /a.slice/a-b.slice/nginx.service/x"},
		// Only the system's own manager makes groups in slices.
		Dropped: []string{"tcp out eth0 cgroup /system.slice", "tcp out eth0 cgroup /user.slice/user-1.slice/user@1.service/nginx.service", "tcp out eth0"}},
	{Name: "unit, a slice", Hook: ruleset.HookOutput, Accept: all(cgroups("user-1000.slice")),
		Allowed: []string{"tcp out eth0 cgroup /user.slice/user-1000.slice/session-1.scope"},
		Dropped: []string{"tcp out eth0 cgroup /user.slice/user-1001.slice/session-1.scope"}},
}

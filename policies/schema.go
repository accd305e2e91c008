package policies

import "slices"

// scope is a set of kinds of table, to say where a key is allowed.
type scope uint32

// The kinds of table of a policy.
const (
	inTop scope = 1 << iota
	inZones
	inZone
	inServices
	inSets
	inSet
	inDefaults
	inFamilies
	inSafety
	inFailsafe
	inLogging
	inEssentials
	inRules
	inInbound
	inOutbound
	inForward
	inGuard
	inListen
	inGroups
	inGroup
	inGroupRule
	inLog
	inAlso
	inAfter
	inTest
	inConntrack
	inTimeouts

	inRule  = inInbound | inOutbound | inForward | inGuard | inListen | inGroupRule
	inMatch = inRule | inAlso | inAfter
	tracked = inInbound | inOutbound | inForward | inGroupRule | inAlso | inAfter
	owned   = inMatch &^ inForward // by a socket
)

// form is a set of TOML types that a key takes.
type form uint8

// The forms.
const (
	isText   form = 1 << iota
	isList        // of strings
	isBool        // true or false
	isInt         // a number
	isDate        // 2027-01-31
	isTable       // { … } or a [table]
	isTables      // [ {…}, … ] or [[table]]
	texts    = isText | isList
)

var formNames = []struct {
	form form
	name string
}{
	{isText, "a string"}, {isList, "a list of strings"}, {isBool, "true or false"}, {isInt, "a number"}, {isDate, "a date"},
	{isTable, "a table"}, {isTables, "a list of tables"},
}

// row describes one key of the language. The walk that checks a file, the parser and the reference documentation read this table.
type row struct {
	in    scope
	key   string // "*" for names that the author chooses
	form  form
	sub   scope  // the kind of table that isTable and isTables hold
	later string // not empty: known, but not supported yet; says what to do instead
	doc   string
	// example is a line that uses the key as it stands under the first of its tables.
	example string
}

// schema is the language. The conditions of rules have a second table, conditions, with their parsers.
var schema = append([]row{
	{inTop, "version", isInt, 0, "", "the version of the language, 1", `version = 1`},
	{inTop, "name", isText, 0, "", "a name for the policy, shown by status and logs", `name = "web-01"`},
	{inTop, "zones", isTable, inZones, "", "names for interfaces and the networks behind them", `[zones]`},
	{inTop, "services", isTable, inServices, "", "services of your own", `[services]`},
	{inTop, "sets", isTable, inSets, "", "named lists of addresses", `[sets]`},
	{inTop, "defaults", isTable, inDefaults, "", "what happens to packets that no rule matches", `[defaults]`},
	{inTop, "safety", isTable, inSafety, "", "guards against locking yourself out", `[safety]`},
	{inTop, "log", isTable, inLogging, "", "logging that is not part of a rule", `[log]`},
	{inTop, "essentials", isTable, inEssentials, "", "traffic that hosts need to work at all; all on unless switched off", `[essentials]`},
	{inTop, "conntrack", isTable, inConntrack, "", "how connections are tracked; as the kernel's connection tracking does if absent", `[conntrack]`},
	{inTop, "rules", isTable, inRules, "", "rules in the one-line spelling", `[rules]`},
	{inTop | inRules, "inbound", isTables, inInbound, "", "rules for packets to this host", `[[inbound]]`},
	{inTop | inRules, "outbound", isTables, inOutbound, "", "rules for packets from this host", `[[outbound]]`},
	{inTop | inRules, "forward", isTables, inForward, "", "rules for packets that this host routes", `[[forward]]`},
	{inTop | inRules, "guard", isTables, inGuard, "", "stateless rules before everything else; on what the host sends for rules with out, else on what it receives", `[[guard]]`},
	{inTop | inRules, "listen", isTables, inListen, "", "who may listen at which ports: see [docs/sockets.md](sockets.md#who-may-listen); rules of `allow` or `drop` with `to`, `family`, `user`, `group`, `unit`, `cgroup`, `log`, `name`, `note`, `expires`", `[[listen]]`},
	{inTop, "groups", isTable, inGroups, "", "named lists of rules that others use", `[groups.lan-services]`},
	{inTop, "test", isTables, inTest, "", "what the policy must do with some packets", `[[test]]`},
	{inTop, "include", texts, 0, "keep the policy in one file", "further policy files", `include = "policy.d/*.toml"`},
	{inTop, "nat", isTables, 0, "leave address translation to nftables, which goes on working beside bpfwall", "address translation", `[[nat]]`},

	{inZones, "*", texts | isTable, inZone, "", "interfaces, a * at the end standing for any ending, or a table", `lan = ["br-lan", "wg*"]`},
	{inZone, "interfaces", texts, 0, "", "interfaces of the zone", `mgmt = { interfaces = "eth1", sources = "10.20.0.0/16" }`},
	{inZone, "sources", texts, 0, "", "addresses of the zone; with interfaces too, both must match", `home = { sources = "192.168.1.0/24" }`},
	{inZone, "note", isText, 0, "", "why; for readers", `dmz = { interfaces = "docker0", note = "containers" }`},
	{inZone, "trusted", isBool, 0, "write rules with in = the zone", "", `home = { sources = "192.168.1.0/24", trusted = true }`},

	{inServices, "*", texts, 0, "", "what a service is made of: literals or other services", `web = ["tcp/80", "tcp/443", "udp/443"]`},

	{inSets, "*", texts | isTable, inSet, "", "addresses, prefixes, ranges, or @names of other sets", `admins = ["10.20.0.0/24", "2001:db8:a::/48", "@vpn"]`},
	{inSet, "file", isText, 0, "", "a file of addresses, one a line, # for comments; relative to the policy's directory", `blocklist = { file = "lists/blocklist.txt" }`},
	{inSet, "note", isText, 0, "", "why; for readers", `blocklist = { file = "lists/blocklist.txt", note = "by hand" }`},
	{inSet, "members", texts, 0, "", "what the policy lists, for sets that are tables", `banned = { dynamic = true, members = ["192.0.2.0/24"] }`},
	{inSet, "url", isText, 0, "", "a list that `bpfwall set refresh` fetches, in the same form as a file", `spamhaus = { url = "https://lists.example.net/drop.txt" }`},
	{inSet, "refresh", isText, 0, "", "how old the list of a url or file may become until `bpfwall set refresh` without names fetches it again; a file with refresh is not read with the policy", `spamhaus = { url = "https://lists.example.net/drop.txt", refresh = "6h" }`},
	{inSet, "on_error", isText, 0, "", "what a list that cannot be fetched leaves: \"keep\" the last one (if absent), or \"empty\"", `spamhaus = { url = "https://lists.example.net/drop.txt", on_error = "keep" }`},
	{inSet, "hosts", texts, 0, "write the addresses", "host names", `git = { hosts = ["git.example.com"] }`},
	{inSet, "country", texts, 0, "", "all networks of some countries (ISO 3166-1, two letters), as `database` knows them", `closed = { country = ["KP"], database = "/var/lib/GeoIP/GeoLite2-Country.mmdb" }`},
	{inSet, "database", isText, 0, "", "for `country`: a file of the MaxMind DB form (.mmdb) on this host, read when the policy is applied, or with `refresh` by `bpfwall set refresh`; it is never fetched", `closed = { country = ["KP"], database = "country.mmdb", refresh = "1d" }`},
	{inSet, "parts", isList, 0, "", "what an element is made of, if more than an address: `address`, `port` (with its protocol), `protocol`, `mark`, `mac`, `interface`", `pairs = { parts = ["address", "port"], members = ["192.0.2.1,tcp/80"] }`},
	{inSet, "dynamic", isBool, 0, "", "`bpfwall set add` and rules with ban or change add elements, which stay when rules are applied or rolled back", `banned = { dynamic = true }`},
	{inSet, "timeout", isText, 0, "", "how long elements of a dynamic set stay if whoever adds them does not say; for good if absent", `banned = { dynamic = true, timeout = "1h" }`},
	{inSet, "counters", isBool, 0, "", "count packets and bytes of each element of a dynamic set", `banned = { dynamic = true, counters = true }`},
	{inSet, "max", isInt, 0, "", "elements that a dynamic set, or entries that a list may have; 65536 if absent", `banned = { dynamic = true, max = 1000 }`},
	{inSet, "every", isText, 0, "write refresh", "how often to refresh", ""},

	{inDefaults, "inbound", isText | isTable, inFamilies, "", `"drop", "allow" or "reject"; "drop" if absent; a table { ipv4 = …, ipv6 = … } for one each`, `inbound = "drop"`},
	{inDefaults, "outbound", isText | isTable, inFamilies, "", `the same for packets from this host; "allow" if absent`, `outbound = "allow"`},
	{inDefaults, "listen", isText, 0, "", `who may listen where no rule of listen says: "allow" if absent, or "drop"`, `listen = "drop"`},
	{inDefaults, "forward", isText | isTable, inFamilies, "", `the same for routed packets; "drop" if absent`, `forward = { ipv4 = "drop", ipv6 = "reject" }`},
	{inFamilies, "ipv4", isText, 0, "", "the default for IPv4", `inbound = { ipv4 = "drop", ipv6 = "allow" }`},
	{inFamilies, "ipv6", isText, 0, "", "the default for IPv6", `inbound = { ipv4 = "drop", ipv6 = "allow" }`},
	{inDefaults, "state", isText, 0, "", `"automatic": established and related packets are allowed and invalid ones dropped before the rules; "explicit": only rules decide`, `state = "explicit"`},
	{inDefaults, "essentials", isText, 0, "", `"all", or "none" to switch off every one of [essentials]`, `essentials = "none"`},
	{inDefaults, "published_ports", isText, 0, "", `what decides about ports of this host that NAT sends on to containers: "inbound", by the port that was asked for; "forward", by the container's address and port, as iptables does`, `published_ports = "forward"`},
	{inDefaults, "offload", isText, 0, "rules run on the host's processors", "use of the network card", ""},

	{inSafety, "failsafe", isTables, inFailsafe, "", "compiled first; no rule can shadow it", `failsafe = [{ allow = "ssh", from = "@admins" }]`},
	{inSafety, "confirm", isText, 0, "", "apply takes the change back unless it is confirmed in this time", `confirm = "60s"`},
	{inSafety, "on_boot_failure", isText, 0, "the last confirmed generation is loaded at boot", "", ""},
	{inFailsafe, "allow", texts, 0, "", "services that stay open", `failsafe = [{ allow = "ssh" }]`},
	{inFailsafe, "from", texts, 0, "", "for these addresses and sets; everybody if absent", `failsafe = [{ allow = "ssh", from = "@admins" }]`},
	{inFailsafe, "in", texts, 0, "", "by these zones or interfaces", `failsafe = [{ allow = "ssh", in = "mgmt" }]`},

	{inLogging, "drops", isText | isBool, 0, "", "log what the defaults drop or reject, at most at this rate", `drops = "10/second"`},

	{inEssentials, "loopback", isBool, 0, "", "everything on the interface lo", `loopback = false`},
	{inEssentials, "nd", isBool, 0, "", "IPv6 neighbour and router discovery, hop limit 255 only", `nd = false`},
	{inEssentials, "mld", isBool, 0, "", "IPv6 multicast listener discovery, hop limit 1 only", `mld = false`},
	{inEssentials, "pmtu", isBool, 0, "", "ICMPv6 packet-too-big, without which large packets vanish", `pmtu = false`},
	{inEssentials, "dhcp", isBool, 0, "", "this host as a DHCP and DHCPv6 client", `dhcp = false`},
	{inEssentials, "igmp", isBool, 0, "", "IPv4 multicast group membership", `igmp = false`},

	{inConntrack, "max", isInt, 0, "", "connections that have been answered; beyond it new ones stay among the half open; 262144 if absent", `max = 1000000`},
	{inConntrack, "half_open", isInt, 0, "", "connections that have not been answered yet, the newest push out the oldest; 131072 if absent", `half_open = 500000`},
	{inConntrack, "per_source", isInt, 0, "", "connections that one source may have at a time, answered or not; what would begin another one is dropped; any number if absent", `per_source = 200`},
	{inConntrack, "source_ipv4", isInt, 0, "", "bits of an address that make a source; 32 if absent", `source_ipv4 = 24`},
	{inConntrack, "source_ipv6", isInt, 0, "", "the same for IPv6; 64 if absent", `source_ipv6 = 56`},
	{inConntrack, "loose", isBool, 0, "", "false: TCP connections that began before are not picked up in the middle", `loose = false`},
	{inConntrack, "liberal", isBool, 0, "", "true: TCP segments out of their window are not invalid", `liberal = true`},
	{inConntrack, "timeouts", isTable, inTimeouts, "", "how long connections stay without a packet", `timeouts = { tcp_established = "1h", udp = "30s" }`},

	{inGroups, "*", isTable, inGroup, "", "a named list of rules", `[groups.lan-services]`},
	{inGroup, "rules", isTables, inGroupRule, "", "the rules, in the order in which they are tried", `rules = [{ allow = ["dns", "ntp"] }]`},
	{inGroup, "note", isText, 0, "", "why; for readers", `note = "what every internal network gets"`},

	{inRule, "allow", texts | isBool, 0, "", `let the packet pass; services, or "any"`, `allow = ["http", "https"]`},
	{inRule, "drop", texts | isBool, 0, "", "drop it without an answer", `drop = "any"`},
	{inRule &^ inGuard, "reject", texts | isBool, 0, "", "drop it and tell the sender", `reject = "smtp"`},
	{inRule, "log_only", texts | isBool, 0, "", "log it and go on with the next rule", `log_only = "tcp/23"`},
	{inRule, "continue", texts | isBool, 0, "", "do what the other keys say (set_mark, notrack, log) and go on with the next rule", `continue = "any"`},
	{inGuard | inGroupRule, "synproxy", texts | isBool, 0, "", "answer SYNs to listening sockets of this host with cookies, and go on with the next rule: see [docs/synproxy.md](synproxy.md); only in guard, or in groups that only guard uses", `synproxy = ["http", "https"]`},
	{inRule, "return", texts | isBool, 0, "", "leave the group: go on after the rule that used it; in a direction: go to the default", `return = "any"`},
	{inRule, "use", isText, 0, "", "run the rules of a group here, and go on if none of them decides", `use = "lan-services"`},
	{inRule, "goto", isText, 0, "", "as use, but do not come back to this list of rules", `goto = "lan-services"`},

	{inRule | inTest, "name", isText, 0, "", "a unique name, by which counters, logs and tests know the rule", `name = "site"`},
	{inRule, "note", isText, 0, "", "why; shown by show and explain", `note = "dev servers"`},
	{inRule, "also", isTables, inAlso, "", "further conditions; all of them must hold too", `also = [{ from = "!@guests" }]`},
	{inRule | inAfter, "limit", isText, 0, "", "the rule holds up to this rate: see [rates](#rates)", `limit = "6/minute per source burst 10"`},
	{inRule | inAfter, "above", isText, 0, "", "the rule is for what exceeds this rate; packets within it go on with the next rule", `above = "2000/second per source"`},
	{inRule, "over", isText, 0, "", `what happens beyond the limit: "drop" (for allow, if absent), "reject", "next" to go on with the next rule, or "ban 1h in @set" to drop and put the sender into a dynamic set`, `over = "reject"`},
	{inRule, "after_limit", isTables, inAfter, "", `further conditions that are tested after the limit and the like, so that packets that fail them have used it up; needs over = "next"`, `after_limit = [{ state = "new" }]`},
	{inRule, "log", isText | isBool | isTable, inLog, "", `log the packet: true, "new" (once a connection), or a rate; or a table`, `log = "10/second"`},
	{inLog, "prefix", isText, 0, "", "text in front of the line", `log = { prefix = "ssh: " }`},
	{inLog, "level", isText | isInt, 0, "", "syslog severity: a number 0 to 7 or its name; warning if absent", `log = { level = "info" }`},
	{inLog, "group", isInt, 0, "", "NFLOG group", `log = { group = 5 }`},
	{inLog, "limit", isText, 0, "", "at most at this rate", `log = { prefix = "drop: ", limit = "3/minute burst 10" }`},
	{inLog, "new", isBool, 0, "", "once a connection", `log = { prefix = "ssh: ", new = true }`},
	{inRule &^ inGuard, "with", isText, 0, "", `the answer of reject: "tcp-reset", "port-unreachable", "admin-prohibited" …; if absent what a closed port would do`, `with = "tcp-reset"`},
	{inRule, "ban", isText, 0, "", "put the sender into a dynamic set, for a time or for the set's; each packet makes the time begin anew", `ban = "1h in @banned"`},
	{inRule, "change", texts, 0, "", "add, renew or delete the source or destination address in a dynamic set", `change = "add destination to @seen for 10m"`},
	{inRule, "set_mark", isText, 0, "", "set the packet's mark: value, or value/mask to clear the bits of the mask and flip those of the value", `set_mark = "0x1/0xff"`},
	{inGuard | inGroupRule, "notrack", isBool, 0, "", "keep the packet out of connection tracking; only in guard, or in groups that only guard uses", `notrack = true`},
	{inRule, "expires", isDate | isText, 0, "", "from this day on the rule is left out, with a warning", `expires = 2027-01-31`},
	{inRule, "hook", isText, 0, "the place is chosen for you", "where the rule runs", `hook = "xdp"`},
	{inRule, "offload", isText, 0, "rules run on the host's processors", "use of the network card", `offload = "require"`},

	{inTest, "in", isText, 0, "", "the interface, or a zone, that the packets come in by", `in = "wan"`},
	{inTest, "out", isText, 0, "", "the interface, or a zone, that they leave by; with in: forwarded packets", `out = "wan"`},
	{inTest, "from", isText, 0, "", "the sender", `from = "203.0.113.9"`},
	{inTest, "to", isText, 0, "", "the receiver; some address if absent", `to = "10.0.0.5"`},
	{inTest, "allow", texts, 0, "", "services whose packets must pass", `allow = ["http", "https"]`},
	{inTest, "drop", texts, 0, "", "services whose packets must be dropped", `drop = ["ssh", "tcp/5432"]`},
	{inTest, "reject", texts, 0, "", "services whose packets must be rejected", `reject = "smtp"`},
	{inTest, "user", isText, 0, "", "who opened the socket that sends the packets: one user", `user = "0"`},
	{inTest, "group", isText, 0, "", "with which group", `group = "0"`},
	{inTest, "unit", isText, 0, "", "the systemd unit of the socket, taken to be in system.slice", `unit = "nginx.service"`},
	{inTest, "cgroup", isText, 0, "", "the control group of the socket", `cgroup = "/machine.slice/web"`},
	{inTest, "rule", isText, 0, "", "the rule that must decide", `rule = "site"`},
	{inTest, "state", isText, 0, "", `the packets' state: "new" if absent, "established", "related", "invalid" or "untracked"`, `state = "established"`},
}, slices.Concat(conditionRows(), memoryRows(), timeoutRows())...)

// lookup gives the row of a key in a kind of table.
func lookup(where scope, key string) *row {
	var any *row
	for i := range schema {
		r := &schema[i]
		if r.in&where == 0 {
			continue
		}
		if r.key == key {
			return r
		}
		if r.key == "*" {
			any = r
		}
	}
	return any
}

// keysOf lists the keys that a kind of table can hold.
func keysOf(where scope) []string {
	var out []string
	for _, r := range schema {
		if r.in&where != 0 && r.key != "*" {
			out = append(out, r.key)
		}
	}
	return out
}

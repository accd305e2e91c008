package conntrack

import "regexp"

// known are the kinds of packets that bpfwall means, or still has, to see differently, each with its reason. TestStateful does not
// play them unless asked to with -every-kind, and then counts them apart.
var known = []struct {
	kind   *regexp.Regexp
	reason string
}{
	{regexp.MustCompile(`^udplite`), "every UDP-Lite packet is INVALID in the kernel, which checks its checksum as UDP's (nf_conntrack_proto_udp.c); bpfwall tracks it"},
	{regexp.MustCompile(`^protocol dccp`), "DCCP left the kernel: one flow per pair of hosts; bpfwall reads its ports"},
	{regexp.MustCompile(`^sctp`), "chunks and verification tags of SCTP are not looked at yet"},
	{regexp.MustCompile(`^gre (pptp|flags)`), "keys and versions of GRE are not looked at yet"},
	{regexp.MustCompile(`^icmp redirect`), "the kernel does not find what an ICMPv6 redirect quotes: its type is above the errors'"},
}

// tolerated are rare disagreements that are still to be found out: as long as there are no more than so many in 1,000 scripts.
var tolerated = []struct {
	class  *regexp.Regexp
	most   int
	reason string
}{
	{regexp.MustCompile(`^tcp entry: kernel ESTABLISHED \d s, bpfwall ESTABLISHED \d s$`), 10, "FINs out of their windows shorten an entry that has less than 120 s, too"},
	{regexp.MustCompile(`^icmp error, other protocol about gre`), 1, "keys of GRE are not looked at yet"},
}

// isKnown is the reason why a kind of packet may be seen differently, or "".
func isKnown(kind string) string {
	for _, k := range known {
		if k.kind.MatchString(kind) {
			return k.reason
		}
	}
	return ""
}

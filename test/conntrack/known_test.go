package conntrack

import "regexp"

// known are the kinds of packets that bpfwall means, or still has, to see differently, each with its reason. TestStateful does not
// play them unless asked to with -every-kind, and then counts them apart.
var known = []struct {
	kind   *regexp.Regexp
	reason string
}{
	{regexp.MustCompile(`^udplite`), "every UDP-Lite packet is INVALID in the kernel, which checks its checksum as UDP's (nf_conntrack_proto_udp.c); bpfwall tracks it"},
	{regexp.MustCompile(`^sctp.* wrong checksum`), "the CRC of SCTP is left to the receiver"},
}

// tolerated are rare disagreements that are still to be found out: as long as there are no more than so many in 1,000 scripts.
var tolerated = []struct {
	class  *regexp.Regexp
	most   int
	reason string
}{
	{regexp.MustCompile(`^tcp entry: kernel ESTABLISHED \d s, bpfwall ESTABLISHED \d s$`), 10, "FINs out of their windows shorten an entry that has less than 120 s, too"},
	{regexp.MustCompile(`^sctp: kernel (invalid, bpfwall established|established, bpfwall invalid)$`), 3, "INIT ACKs with two tags around an INIT, after a flow that began with a HEARTBEAT"},
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

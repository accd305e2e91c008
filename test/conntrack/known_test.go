package conntrack

import "regexp"

// known are the kinds of packets that bpfwall means, or still has, to see differently, each with its reason. TestStateful does not
// play them unless asked to with -every-kind, and then counts them apart.
var known = []struct {
	kind   *regexp.Regexp
	reason string
}{
	{regexp.MustCompile(`^udplite`), "every UDP-Lite packet is INVALID in the kernel, which checks its checksum as UDP's (nf_conntrack_proto_udp.c); bpfwall tracks it"},
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

package iptables

import (
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// known are the extensions whose rules are read but not imported, and why. Options are written name=kind@group&other, other being an option that must be there too; before the
// name stands ! if it can be negated, * if it must be there, ? if one of those with ? must be there, + if it may be repeated.
// A kind with | in it is the list of words, which may be abbreviated, that the argument can be.
var (
	knownMatches = []extension{
		known("ah", 4, 51, "IPsec headers are not looked at", "!ahspi=u32range"),
		known("ah", 6, 0, "IPsec headers are not looked at", "!ahspi=u32range !ahlen=u32 ahres"),
		known("bpf", 0, 0, "other BPF programs are not run", "?bytecode=text ?object-pinned=text"),
		known("cluster", 0, 0, "there is no load sharing between hosts", "*cluster-total-nodes=u32 ?!cluster-local-node=u32@1 ?!cluster-local-nodemask=u32@1 *cluster-hash-seed=u32"),
		known("connbytes", 0, 0, "connections are not counted one by one", "!*connbytes=u64range *connbytes-dir=original|reply|both *connbytes-mode=packets|bytes|avgpkt"),
		known("connlabel", 0, 0, "connections have no labels", "!*label=text set"),
		known("connmark", 0, 0, "connections have no mark", "!*mark=masked"),
		known("cpu", 0, 0, "the processor is not looked at", "!*cpu=u32"),
		known("devgroup", 0, 0, "interface groups are not looked at", "?!src-group=text ?!dst-group=text"),
		known("dst", 6, 0, "IPv6 destination options are not looked at", "!dst-len=u32 dst-opts=text"),
		known("ecn", 0, 0, "ECN bits are not looked at", "?!ecn-tcp-cwr ?!ecn-tcp-ece ?!ecn-ip-ect=u2"),
		known("esp", 0, 50, "IPsec headers are not looked at", "!espspi=u32range"),
		known("eui64", 6, 0, "addresses are not compared with MAC addresses", "").on(hookPrerouting | hookInput | hookForward),
		known("frag", 6, 0, "IPv6 fragment headers are not looked at", "!fragid=u32range !fraglen=u32 fragres fragfirst fragmore@1 fraglast@1"),
		known("hbh", 6, 0, "IPv6 hop-by-hop options are not looked at", "!hbh-len=u32 hbh-opts=text"),
		known("geoip", 0, 0, "countries of addresses are not looked up; make a set of the country's networks (country = \"DE\" with a database in a policy, or -m set with --ipset) and match that", "?!src-cc|source-country=text@1 ?!dst-cc|destination-country=text@1"),
		known("helper", 0, 0, "there are no conntrack helpers", "!*helper=text"),
		known("ipcomp", 0, 108, "IPComp headers are not looked at", "!ipcompspi=u32range compres"),
		known("ipv6header", 6, 0, "chains of IPv6 headers are not looked at", "!*header=text soft"),
		known("ipvs", 0, 0, "IPVS is not looked at", "?!ipvs ?!vproto=proto ?!vaddr=host ?!vport=port ?vdir=ORIGINAL|REPLY ?!vmethod=GATE|IPIP|MASQ ?!vportctl=port"),
		known("mh", 6, 135, "IPv6 mobility headers are not looked at", "!mh-type=text"),
		known("nfacct", 0, 0, "there is no nfacct accounting", "*nfacct-name=text"),
		known("osf", 0, 6, "operating systems are not guessed", "!*genre=text ttl=u2 log=u2"),
		known("physdev", 0, 0, "bridge ports are not looked at", "?!physdev-in=text ?!physdev-out=text ?!physdev-is-in ?!physdev-is-out ?!physdev-is-bridged"),
		known("policy", 0, 0, "IPsec policies are not looked at", "*dir=in|out *pol=none|ipsec strict !+reqid=u32 !+spi=u32 !+tunnel-src=host !+tunnel-dst=host !+proto=proto !+mode=text +next"),
		known("rateest", 0, 0, "rates are not estimated", "!rateest1|rateest=text rateest2=text rateest-bps1=optional rateest-pps1=optional rateest-bps2|rateest-bps=optional rateest-pps2|rateest-pps=optional rateest-delta !rateest-lt !rateest-gt !rateest-eq"),
		known("realm", 4, 0, "routing realms are not looked at", "!*realm=text"),
		known("rpfilter", 0, 0, "the way back is not looked up", "loose validmark accept-local invert").only("raw|mangle").on(hookPrerouting),
		known("socket", 0, 0, "sockets are not looked at", "transparent nowildcard restore-skmark"),
		known("srh", 6, 0, "IPv6 segment routing headers are not looked at", "!srh-next-hdr=u8 !srh-hdr-len-eq=u8 !srh-hdr-len-gt=u8 !srh-hdr-len-lt=u8 !srh-segs-left-eq=u8 !srh-segs-left-gt=u8 !srh-segs-left-lt=u8 !srh-last-entry-eq=u8 !srh-last-entry-gt=u8 !srh-last-entry-lt=u8 !srh-tag=u16 !srh-psid=host !srh-nsid=host !srh-lsid=host"),
		known("string", 0, 0, "payloads are not searched", "from=u16 to=u16 *algo=bm|kmp ?!string=text@1 ?!hex-string=text@1 icase"),
		known("time", 0, 0, "the time of day is not looked at", "datestart=date datestop=date timestart=clock timestop=clock contiguous !weekdays=weekdays !monthdays=monthdays localtz utc kerneltz"),
		known("u32", 0, 0, "bytes at fixed places are not looked at", "!*u32=digits"),
	}

	knownTargets = []extension{
		known("AUDIT", 0, 0, "there are no audit records", "*type=accept|drop|reject"),
		known("CHECKSUM", 0, 0, "packets are not rewritten", "*checksum-fill").only("mangle"),
		known("CLASSIFY", 0, 0, "packets are not put in traffic classes", "*set-class=text"),
		known("CLUSTERIP", 4, 0, "there is no load sharing between hosts", "new hashmode=text clustermac=mac total-nodes=u16 local-node=u16 hash-init=u32"),
		known("CONNMARK", 0, 0, "connections have no mark", "?set-xmark=masked@1 ?set-mark=masked@1 ?and-mark=u32@1 ?or-mark=u32@1 ?xor-mark=u32@1 ?save-mark@1 ?restore-mark@1 left-shift-mark=u8 right-shift-mark=u8 ctmask=u32 nfmask=u32 mask=u32"),
		known("CONNSECMARK", 0, 0, "there are no security marks", "?save@1 ?restore@1").only("mangle|security"),
		known("DNAT", 0, 0, "addresses are not translated", "*to-destination=nat random persistent").only("nat"),
		known("DNPT", 6, 0, "addresses are not translated", "*src-pfx=host *dst-pfx=host").only("mangle"),
		known("DSCP", 0, 0, "packets are not rewritten", "?set-dscp=u6@1 ?set-dscp-class=text@1").only("mangle"),
		known("ECN", 4, 0, "packets are not rewritten", "?ecn-tcp-remove ?ecn-tcp-cwr=u8 ?ecn-tcp-ece=u8 ?ecn-ip-ect=u2").only("mangle"),
		known("HL", 6, 0, "packets are not rewritten", "?hl-set=u8@1 ?hl-dec=u8from1@1 ?hl-inc=u8from1@1").only("mangle"),
		known("HMARK", 0, 0, "marks are not hashed", "hmark-tuple=text hmark-src-prefix=text hmark-dst-prefix=text hmark-sport-mask=u16 hmark-dport-mask=u16 hmark-spi-mask=u32 hmark-sport=u16 hmark-dport=u16 hmark-spi=u32 hmark-proto-mask=u16 hmark-rnd=u32 *hmark-mod=u32 hmark-offset=u32"),
		known("IDLETIMER", 0, 0, "there are no idle timers", "*timeout=u32 *label=text alarm"),
		known("LED", 0, 0, "lights are not switched", "*led-trigger-id=text led-delay=text led-always-blink"),
		known("MASQUERADE", 0, 0, "addresses are not translated", "to-ports=natports random random-fully").only("nat").on(hookPostrouting),
		known("NETMAP", 0, 0, "addresses are not translated", "*to=host").only("nat"),
		known("NFQUEUE", 0, 0, "packets are not handed to programs", "queue-num=u16@1 queue-balance=queues@1 queue-bypass queue-cpu-fanout"),
		known("QUEUE", 0, 0, "packets are not handed to programs", ""),
		known("RATEEST", 0, 0, "rates are not estimated", "*rateest-name=text *rateest-interval=text *rateest-ewmalog=text"),
		known("REDIRECT", 0, 0, "addresses are not translated", "to-ports=natports random").only("nat").on(hookPrerouting | hookOutput),
		known("SECMARK", 0, 0, "there are no security marks", "*selctx=text").only("mangle|security"),
		known("SNAT", 0, 0, "addresses are not translated", "*to-source=nat random random-fully persistent").only("nat"),
		known("SNPT", 6, 0, "addresses are not translated", "*src-pfx=host *dst-pfx=host").only("mangle"),
		known("TCPMSS", 0, 0, "packets are not rewritten", "?set-mss=u16@1 ?clamp-mss-to-pmtu@1"),
		known("TCPOPTSTRIP", 0, 0, "packets are not rewritten", "strip-options=text").only("mangle"),
		known("TEE", 0, 0, "packets are not copied", "*gateway=host oif=text"),
		known("TOS", 0, 0, "packets are not rewritten", "?set-tos=tos@1 ?and-tos=u8@1 ?or-tos=u8@1 ?xor-tos=u8@1").only("mangle"),
		known("TPROXY", 0, 0, "packets are not handed to sockets", "*on-port=port on-ip=host tproxy-mark=masked").only("mangle").on(hookPrerouting),
		known("TRACE", 0, 0, "packets are not traced by rules", "").only("raw"),
		known("TTL", 4, 0, "packets are not rewritten", "?ttl-set=u8@1 ?ttl-dec=u8from1@1 ?ttl-inc=u8from1@1").only("mangle"),
		known("ULOG", 4, 0, "the ULOG interface left the kernel; use NFLOG", "ulog-nlgroup=u8 ulog-prefix=text ulog-cprange=u64 ulog-qthreshold=u64"),
	}
)

var kindNames = map[string]kind{
	"": flagOnly, "text": text, "two": two, "u2": number(0, 3), "u6": number(0, 63), "u8": u8, "u16": u16, "u32": u32, "u64": u64,
	"u8from1": number(1, 0xff), "u32from1": number(1, 0xffffffff), "u16range": u16range, "u32range": u32range, "u64range": orderedRange(1<<64 - 1),
	"masked": masked(0xffffffff), "host": hostMask, "proto": protocolName, "mac": macAddress, "plen": prefixLength, "port": portRange,
	"digits": {1, readDigits}, "tos": {1, readTOS}, "nat": {1, readTranslation}, "natports": {1, readTranslatedPorts},
	"queues": {1, readQueues}, "clock": {1, readClock}, "date": {1, readDate}, "weekdays": {1, readWeekdays}, "monthdays": {1, readMonthDays},
	"share": {1, readShare}, "rate": {1, readHashRate}, "hashmode": {1, readHashMode}, "optional": {args: optionalArg, parse: text.parse},
}

// known makes a row of the tables above.
func known(name string, f ruleset.Family, proto uint8, why, options string) extension {
	e := extension{name: name, family: f, proto: proto, why: why}
	for _, word := range strings.Fields(options) {
		word, also, _ := strings.Cut(word, "&")
		word, group, _ := strings.Cut(word, "@")
		names, k, _ := strings.Cut(word, "=")
		o := option{names: strings.TrimLeft(names, "!*?+"), kind: kindNames[k], also: also}
		if strings.Contains(k, "|") {
			o.kind = oneOf(strings.Split(k, "|"))
		}
		if group != "" {
			o.group = group[0] - '0'
		}
		for mark, f := range map[string]flagSet{"!": inv, "*": must, "?": some, "+": many} {
			if strings.Contains(names, mark) {
				o.flags |= f
			}
		}
		e.options = append(e.options, o)
	}
	return e
}

// only limits an extension to tables, on to built-in chains.
func (e extension) only(tables string) extension {
	e.tables = tables
	return e
}

func (e extension) on(hooks uint32) extension {
	e.hooks = hooks
	return e
}

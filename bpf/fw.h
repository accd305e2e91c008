/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the C and the generated code share: the parsed packet, verdicts, maps. Go sees these types through bpf2go. */
#ifndef BPFWALL_FW_H
#define BPFWALL_FW_H

/* Numeric members of fw_pkt that a packet may lack hold a value above their width, so that no positive match can hold. */
#define FW_ABSENT16 0x10000U          /* sport, dport, tcp_mss */
#define FW_ABSENT8  0x100U            /* tcp_flags, icmp_type, icmp_code, routing */
#define FW_ABSENT48 0x1000000000000ULL /* smac */
#define FW_ABSENT63 0x8000000000000000ULL /* cgroups */
#define FW_NO_OWNER 0x100000000ULL /* uid, gid: above all numbers */

#define FW_NO_RULE 0xffffffffU		/* rule: nothing decided (yet) */

/* Where bytes lie as they come, to be read in words, which the processors that we run on do from anywhere. Else clang reads byte by byte. */
#define words(p) __builtin_assume_aligned(p, 8)

/*
 * Keeps x, and has the verifier forget what it knows of it: of ways that differ in x alone it then follows one. by: a number of the same
 * width that it knows nothing of.
 */
#define seen_as_one() asm volatile("" : : : "memory") /* what memory holds is read from it again, not known from before */
#define blur(x, by) asm volatile("%0 += %1; %0 -= %1" : "+r"(x) : "r"(by))

/*
 * A packet as the rules see it. Filled by the hook's C, read by the generated functions.
 * Addresses and names are as on the wire / in the kernel; all numbers are in host byte order.
 */
struct fw_pkt {
	/* From the IP header, and where that is: clear_network. */
	__be32 saddr[4];	/* IPv4 in word 0, the rest 0 */
	__be32 daddr[4];
	__u32 length;		/* bytes from the IP header on, as its length field says */
	__u32 frag_id;
	__u32 frag_edge;	/* first fragment: bytes of the datagram in it; later: byte of the datagram where it starts */
	__u16 l3_off;		/* bytes from skb->data to the IP header */
	__u16 l4_off;		/* bytes from skb->data to the transport header */
	__u8 family;		/* 4 or 6 */
	__u8 proto;		/* last header of an IPv6 chain */
	__u8 ttl;
	__u8 tos;
	__u8 frag;		/* 1: a fragment other than the first */
	__u8 more_frags;	/* 1: the first fragment of several */
	__u8 malformed;		/* transport header cut short or lengths lie */
	__u8 pkt_type;		/* 1 unicast, 2 broadcast, 4 multicast */
	__u16 routing;		/* type of the first routing header of IPv6 */
	__u8 pad0[2];
	/* All packets have these: clear_rest. */
	__u32 in_ifindex;	/* 0: none */
	__u32 out_ifindex;
	__u32 mark;
	__u32 rule;		/* out: counter slot of the rule or policy that decided */
	__u32 sport;		/* FW_ABSENT16 without ports */
	__u32 dport;
	__u32 tcp_mss;
	__u32 tcp_sack;		/* TCP: highest of ack and the right edges of SACK blocks */
	__u32 seq, ack, wnd;	/* TCP, for conntrack; SCTP: verification tag, that of an INIT, bits of chunks */
	__u32 payload;		/* TCP payload bytes; SCTP: chunks, see note_chunk */
	__u16 tcp_flags;	/* FW_ABSENT8 unless TCP */
	__u16 icmp_type;
	__u16 icmp_code;
	__u16 icmp_id;		/* of queries; GRE: call id of PPTP */
	__u16 src_type;		/* 1 << RTN_* */
	__u16 dst_type;
	__u8 ct_state;		/* one FW_STATE_ bit */
	__u8 notrack;		/* set by NOTRACK */
	__u8 hook;		/* FW_HOOK_ */
	__u8 tcp_offer;		/* FW_OFFER_: options of a TCP segment, for conntrack */
	__u8 socket;		/* 1: a socket that is still open sent it, or will get it */
	__u8 published;		/* FW_HOOK_ that judges it although it is forwarded: see published.h */
	__u8 has_options;	/* 1: of a TCP segment some option was read */
	__u8 synproxy;		/* set by SYNPROXY */
	__u8 cookie;		/* its ACK answers a SYN cookie of ours: the handshake is over, see synproxy.h */
	__u8 connected;		/* 1: the socket that will get it is connected to its sender */
	__u8 dnat;		/* 1: the kernel's NAT changes the destination of its flow */
	__u8 pad[5];
	__u64 smac;		/* first byte most significant */
	__u64 uid;		/* who opened the socket; FW_NO_OWNER */
	__u64 gid;
	__u64 cgroups;		/* bit n: the socket is in the n-th control group of the rules, or below it; FW_ABSENT63 without a socket */
	/* What some rulesets ask for: filled and cleared only if this one does (switches.h), else 0. */
	__u64 in_name[2];	/* IFNAMSIZ bytes, zero padded; all 0 if there is no such interface */
	__u64 out_name[2];
	__u64 tcp_options[4];	/* bit n of the 256: option kind n is present */
	__u64 comm[2];		/* program that made the socket, for logs; 0: not known */
};

/* tcp_offer: the window scale in the low four bits, if there is one. */
enum fw_offer { FW_OFFER_SCALE = 16, FW_OFFER_SACK = 32 };

/* As ruleset.Hook. */
enum fw_hook { FW_HOOK_NONE, FW_HOOK_PREROUTING, FW_HOOK_RAW_OUTPUT, FW_HOOK_INPUT, FW_HOOK_FORWARD, FW_HOOK_OUTPUT, FW_HOOK_LISTEN };

/* As the State bits of ruleset. */
enum fw_state {
	FW_STATE_INVALID = 1, FW_STATE_ESTABLISHED = 2, FW_STATE_RELATED = 4, FW_STATE_NEW = 8, FW_STATE_UNTRACKED = 16,
};

/*
 * What a verdict function returns: low byte one of these (the numbers are ruleset.VerdictKind's), for FW_REJECT the
 * second byte is ruleset.RejectWith. FW_CONTINUE comes back from a user chain that did not decide, never from a hook function.
 */
enum fw_verdict { FW_CONTINUE = 0, FW_ACCEPT = 1, FW_DROP = 2, FW_REJECT = 3 };

/* By counter slot. Bytes as fw_pkt.length. */
struct fw_counter {
	__u64 packets;
	__u64 bytes;
};

/* What a match of a rule remembers. A token bucket: tokens are ns, as in nft_limit.c; last 0: not used yet. */
struct limit_state {
	struct bpf_spin_lock lock;
	__u32 pad;
	__u64 tokens;		/* of a sample: packets; of a quota: bytes */
	__u64 last;		/* bpf_ktime_get_ns */
};

/* The same without a lock, for per-CPU maps. */
struct fw_bucket {
	__u64 tokens;
	__u64 last;
};

/* What a rule asks of the bucket of a packet's key, see meter.h. Times in ns. */
struct meter {
	__u64 id;		/* of the rule's match, or of the table that it shares */
	__u64 cost;		/* of a packet, or of so many bytes */
	__u64 max;		/* that the bucket holds */
	__u64 idle;		/* without a packet, after which the bucket is full; 0: never before time has filled it */
	__u32 bytes;		/* 0: packets are counted */
	__u8 parts;		/* of the key: METER_ */
	__u8 source_ipv4, source_ipv6, dest_ipv4, dest_ipv6; /* bits of an address that count */
	__u8 pad[7];
};

enum meter_part { METER_SOURCE = 1, METER_DEST = 2, METER_SOURCE_PORT = 4, METER_DEST_PORT = 8 };

/* Parts that are not asked for are 0. */
struct meter_key {
	__u64 id;
	__be32 saddr[4];
	__be32 daddr[4];
	__u16 sport;
	__u16 dport;
	__u8 family;
	__u8 pad[3];
};

struct meter_state {
	__u64 full;		/* when the bucket is full: before that, it lacks the ns until then; bpf_ktime_get_ns */
	__u64 last;		/* when a packet asked */
};

/* What a rule asks of a list of addresses, see recent.h. */
struct recent {
	__u64 id;		/* of the list */
	__u64 within;		/* ns; 0: whenever */
	__u32 hits;		/* packets, at least 1 */
	__u8 op;		/* enum recent_op */
	__u8 flags;		/* RECENT_ */
	__u8 ipv4, ipv6;	/* bits of an address that count */
};

enum recent_op { RECENT_SET, RECENT_CHECK, RECENT_UPDATE, RECENT_REMOVE };
enum recent_flag { RECENT_DEST = 1, RECENT_NOT = 2, RECENT_TTL = 4, RECENT_REAP = 8 };

struct recent_key {
	__u64 id;
	__be32 addr[4];
	__u8 family;
	__u8 pad[7];
};

#define RECENT_STAMPS 32 /* or more, see cfg_recent_mask */

struct recent_entry {
	__u64 count;		/* packets that were noted */
	__u8 ttl;		/* of the last */
	__u8 pad[7];
	__u64 stamps[RECENT_STAMPS]; /* of packet n: at n & cfg_recent_mask; bpf_ktime_get_ns */
};

/* By ifindex & 0xffff. */
struct iface {
	__u32 ifindex;
	__u32 bond;		/* ifindex of the bond that it is a port of; 0: none */
	char name[16];
	__u8 mac[6];		/* 0 if it has none */
	__u16 mtu;		/* at most 65535 */
};

/* Key of addr_types: prefixlen counts the 32 bits of family too. */
struct addr_key {
	__u32 prefixlen;
	__u32 family;		/* 4 or 6 */
	__be32 addr[4];
};

/* Who sends with an address on an interface. */
struct mac_key {
	__be32 saddr[4];
	__u32 ifindex;
	__u32 family;
};

/* Who made a socket. */
struct owner {
	__u32 uid;
	__u32 gid;
	__u64 comm[2];		/* 16 bytes */
};

/* Which of the rules' control groups a group is in: bits as in fw_pkt.cgroups, for even and for odd generations. */
struct cgroup_bits {
	__u64 bits[2];
};

/* A control group's path, padded with 0. */
struct cgroup_path {
	char path[256];
};

/* Of a network namespace: counts changes of its routes, and so of its addresses. */
struct route_epoch {
	__u32 ipv4;
	__u32 ipv6;
};

/* An address of this host. */
struct own_addr {
	__be32 addr[4];
	__u32 family;		/* 4 or 6; 0: there are no more; OWN_TOO_MANY: not all of them are listed */
};

#define OWN_ADDRS 64
#define OWN_TOO_MANY 255

/* What a log rule reports. */
struct fw_event {
	__u64 ts;		/* ns, bpf_ktime_get_boot_ns */
	__u32 log_id;
	__u32 generation;
	struct fw_pkt pkt;
};

/*
 * One key for both directions of a flow: the lower end first. ICMP queries have no ports: lo_port is their id, hi_port
 * type << 8 | code of the request, and kind tells which end asks. Other protocols: ports 0.
 */
struct ct_key {
	__be32 lo_addr[4];
	__be32 hi_addr[4];
	__u16 lo_port;		/* host order */
	__u16 hi_port;
	__u8 family;
	__u8 proto;
	__u8 kind;		/* 0; ICMP query: 1 the lower end asks, 2 the higher */
	__u8 pad;
};

/* What one end of a TCP flow has sent, struct ip_ct_tcp_state of the kernel. */
struct ct_side {
	__u32 end;		/* highest sequence number + length sent */
	__u32 maxend;		/* highest that the other end allows */
	__u32 maxwin;
	__u32 maxack;
	__u8 scale;
	__u8 flags;		/* CT_SIDE_ */
	__u16 pad;
};

/*
 * A flow. Index 0 is the originator's direction, 1 the reply's. Times: ns, bpf_ktime_get_boot_ns. What every packet looks at comes first, so
 * that it is in few cache lines with the key.
 */
struct ct_flow {
	__u64 expires;
	__u16 flags;		/* CT_FLOW_ */
	__u8 low_is_orig;	/* 1: the key's lower end is the originator */
	__u8 tcp_state;		/* enum ct_tcp_state; SCTP: enum ct_sctp_state */
	__u8 last_index, last_dir, last_scale, retrans;
	__u64 packets[2];
	__u64 bytes[2];
	__u64 created;
	struct ct_side side[2];
	__u32 last_seq, last_ack, last_end, last_win;	/* of the last segment, for retransmissions and ignored ones */
	__u32 mark;		/* room for a connection mark */
	__u8 last_flags;	/* CT_SIDE_ of an ignored SYN, CT_LAST_ */
	__u8 pad[3];
};

enum ct_flow_flag {
	CT_FLOW_SEEN_REPLY = 1,
	CT_FLOW_ASSURED = 2,
	CT_FLOW_FORWARDED = 4,	/* judged by the forward hook */
	CT_FLOW_LOCAL = 8,	/* judged by input or output */
	CT_FLOW_FULL = 16,	/* assured, but the table of those was full */
};

/* Value of the map of assured flows. */
struct ct_assured {
	struct bpf_spin_lock lock;
	__u32 pad;
	struct ct_flow flow;
};

/* Whose flows are counted: for what, enum conncount_what, and by an address or the first bits of one. */
struct conncount_key {
	__u64 what;		/* CONNCOUNT_SOURCE, or struct flows.id */
	__be32 addr[4];
	__u8 family;		/* 4 or 6 */
	__u8 pad[7];
};

enum conncount_what { CONNCOUNT_SOURCE /* [conntrack] per_source */ };

/* What a rule asks of the flows of a packet's key, see flows.h. */
struct flows {
	__u64 id;		/* of the rule's match; not 0 */
	__u32 limit;
	__u8 dest;		/* 1: the destination is the key, else the source */
	__u8 ipv4, ipv6;	/* bits of an address that count */
	__u8 pad;
};

struct conncount {
	__u64 rest;		/* ns, bpf_ktime_get_boot_ns: all places were taken, and until then nobody looks again */
	__u32 next;		/* place that is tried first */
	__u32 pad;
};

struct conncount_place_key {
	struct conncount_key key;
	__u32 place;		/* below the limit; the limit: of one that is beyond it */
	__u32 pad;
};

#define FLOWS_TAKEN 8 /* places that a packet's flow has taken and may give back */

/* The flow in a place, by its key and birth: another flow may have the key later. */
enum place_bits {
	PLACE_BEGUN = 1,	/* the flow was in the tables, so that it is over once it is not */
	PLACE_CHANGES = 2,	/* from one flow to another: what it says of its flow does not count */
	PLACE_BITS = 3,
};

struct conncount_place {
	__u64 created;
	__u64 taken;		/* when, bpf_ktime_get_boot_ns, and enum place_bits: of two CPUs that take it one finds another time there */
	struct ct_key flow;
};

/* log_id of events that no rule asked for. */
enum fw_notice {
	FW_NOTICE_SOURCE_FULL = 0xffffff00,	/* a new flow was dropped: its source has too many */
	FW_NOTICE_CT_FULL,			/* an assured flow found no room in the map of those */
};

/* Which datagram a fragment belongs to. */
struct frag_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__u32 id;
	__u8 family;
	__u8 proto;		/* IPv4 only: RFC 8200 4.5 leaves it out */
	__u8 egress;		/* what we send and what we receive do not mix */
	__u8 pad;
};

/* What the first fragment said that the later ones lack. */
struct frag_first {
	__u64 expires;
	__u32 sport, dport, tcp_mss;
	__u32 end;		/* bytes of payload in the first fragment: later ones start there */
	__u16 tcp_flags, icmp_type, icmp_code, icmp_id;
	__u8 proto;
	__u8 ct_state;		/* 0: not judged yet */
	__u8 verdict;		/* enum fw_verdict; FW_CONTINUE: not judged yet */
	__u8 pad;
	__u32 generation;	/* that judged it */
	__u32 rule;		/* as in fw_pkt */
	__u32 mark;		/* that the rules gave it */
	__u32 in_ifindex;	/* the buffers of later ones may still name a port of the bridge that they came in by */
	__u32 pad2;
};

/* What is counted beside the rules. */
enum fw_stat {
	FW_STAT_MALFORMED,		/* dropped: transport header cut short or lying */
	FW_STAT_BAD_HEADER,		/* dropped: an IP header that the stack refuses too */
	FW_STAT_NO_PROGRAM,		/* dropped: the dispatcher's slot is empty */
	FW_STAT_EVENTS_LOST,		/* ring buffer full */
	FW_STAT_EVENTS_SUPPRESSED,	/* over the log rate */
	FW_STAT_CT_FULL,		/* an assured flow found no room */
	FW_STAT_CT_CREATED,
	FW_STAT_FRAG_UNKNOWN,		/* dropped: later fragment without its first */
	FW_STAT_FRAG_OVERLAP,		/* dropped: later fragment that reaches into the first */
	FW_STAT_CHAIN_TOO_LONG,		/* dropped: more IPv6 extension headers or VLAN tags than are walked */
	FW_STAT_REJECT_SENT,
	FW_STAT_REJECT_SUPPRESSED,	/* over the rate of ICMP errors, or no answer is due */
	FW_STAT_DHCP_PASSED,		/* dropped by rules, but for a DHCP client that netfilter would not see */
	FW_STAT_CONNECT_REFUSED,	/* connect() by a TCP socket, before there was a packet */
	FW_STAT_INTERNAL,		/* dropped: a map lookup that cannot fail did */
	FW_STAT_SOURCE_FULL,		/* dropped: a new flow of a source that has as many as it may */
	FW_STAT_XDP_NO_ROOM,		/* left to tc: the driver's frames have no room for a seal */
	FW_STAT_SEND_REFUSED,		/* a datagram of a UDP socket that is not connected, before there was a packet */
	FW_STAT_SYN_COOKIES,		/* SYNs answered with a cookie, and gone */
	FW_STAT_SYN_ACCEPTED,		/* ACKs that answered one */
	FW_STAT_SYN_REFUSED,		/* dropped: segments to a listening port that belong to no connection and answer no cookie */
	FW_STAT_BIND_REFUSED,		/* bind() to a port, by rules of who may listen */
	FW_STATS,
};

#endif

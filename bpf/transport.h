/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The transport header of struct fw_pkt: one small function a protocol. A header that is cut short makes the packet malformed. */
#ifndef BPFWALL_TRANSPORT_H
#define BPFWALL_TRANSPORT_H

/* TCP as on the wire (RFC 9293); linux/tcp.h has its flags as bitfields. */
struct tcp_wire {
	__be16 sport, dport;
	__be32 seq, ack;
	__u8 off;		/* upper four bits: header length / 4 */
	__u8 flags;
	__be16 window, check, urgent;
};

struct icmp_wire {
	__u8 type, code;
	__be16 check;
	__be16 id, seq;		/* of queries */
};

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_PSH = 8, TCP_ACK = 16, TCP_URG = 32 };
enum { TCPOPT_END = 0, TCPOPT_NOP = 1, TCPOPT_MSS = 2, TCPOPT_WSCALE = 3, TCPOPT_SACK_PERM = 4, TCPOPT_SACK = 5 };

/* Bytes of the packet from its transport header on. */
static __always_inline __u32 transport_len(const struct fw_pkt *pkt)
{
	return pkt->length - (pkt->l4_off - pkt->l3_off);
}

static __always_inline int load_transport(FRAME *skb, const struct fw_pkt *pkt, void *to, __u32 len)
{
	if (transport_len(pkt) < len)
		return -1;
	return fetch(skb, pkt->l4_off, to, len);
}

/* What a rule reads of an option; o holds its kind, length and first bytes. Of several MSS options the first counts. */
static __always_inline void note_option(struct fw_pkt *pkt, const __u8 *o)
{
	pkt->has_options = 1;
	if (cfg_tcp_options)
		pkt->tcp_options[o[0] >> 6] |= 1ULL << (o[0] & 63);
	if (o[0] == TCPOPT_MSS && o[1] == 4 && pkt->tcp_mss == FW_ABSENT16)
		pkt->tcp_mss = o[2] << 8 | o[3];
}

/* What conntrack reads of an option. */
static __always_inline void note_offer(struct fw_pkt *pkt, const __u8 *o)
{
	if (o[0] == TCPOPT_SACK_PERM && o[1] == 2)
		pkt->tcp_offer |= FW_OFFER_SACK;
	if (o[0] == TCPOPT_WSCALE && o[1] == 3) /* RFC 7323 2.3: at most 14 */
		pkt->tcp_offer = (pkt->tcp_offer & FW_OFFER_SACK) | FW_OFFER_SCALE | (o[2] > 14 ? 14 : o[2]);
}

/* The right edges of the blocks of a SACK option of len bytes at off. Reports 1 unless it is none: of several the first counts. */
static __always_inline int note_sack(FRAME *skb, struct fw_pkt *pkt, __u32 off, __u8 len)
{
	__be32 edge;
	int i;

	if (len < 10 || len % 8 != 2)
		return 0;
	for (i = 0; i < 4 && 10 + 8 * i <= len; i++) {
		if (load_bytes(skb, off + 6 + 8 * i, &edge, sizeof(edge)))
			break;
		if ((__s32)(pkt->tcp_sack - bpf_ntohl(edge)) < 0)
			pkt->tcp_sack = bpf_ntohl(edge);
	}
	return 1;
}

enum { OPTIONS_UNSOUND = 1, OPTIONS_SACKED = 2, OPTION_STEP = 8 }; /* conntrack has stopped; it has read a SACK option; bits below the step */

/*
 * Reads an option. For rules as xt_tcpudp.c, xt_tcpmss.c and nft_exthdr.c do it: an end of options ends nothing, a length of
 * 0 is 1. For conntrack as nf_conntrack_proto_tcp.c: until an end of options or one that does not fit. Reports the state that it leaves,
 * and above that how long the option is.
 */
static __always_inline __u32 read_option(FRAME *skb, struct fw_pkt *pkt, __u32 off, __u32 end, __u32 state)
{
	__u32 step = 1;
	__u8 o[4] = {};

	if (load_bytes(skb, off, o, 1))
		return state | 0xff << OPTION_STEP; /* beyond all options */
	if (o[0] > TCPOPT_NOP && off + 1 < end && !load_bytes(skb, off, o, 2) && o[1])
		step = o[1];
	if (off + step > end)
		o[1] = 0; /* does not fit: only its kind counts */
	if ((o[0] == TCPOPT_MSS && o[1] == 4 && load_bytes(skb, off + 2, &o[2], 2)) ||
	    (o[0] == TCPOPT_WSCALE && o[1] == 3 && load_bytes(skb, off + 2, &o[2], 1)))
		o[1] = 0; /* is not there: see HEAD */
	if (o[0] != TCPOPT_NOP && (o[0] == TCPOPT_END || o[1] < 2))
		state |= OPTIONS_UNSOUND;
	note_option(pkt, o);
	if (!state && o[0] == TCPOPT_SACK && note_sack(skb, pkt, off, o[1]))
		state |= OPTIONS_SACKED;
	if (!(state & OPTIONS_UNSOUND))
		note_offer(pkt, o);
	return state | step << OPTION_STEP;
}

/* The same at netfilter's hooks, for what came in fragments. A function, so that the verifier follows one option, not 40. */
__noinline int fw_head_option(struct fw_pkt *pkt, __u32 off, __u32 end, __u32 state)
{
	return pkt ? read_option(NULL, pkt, off, end, state) : 0;
}

/* Walks the options, len bytes. */
static __always_inline int walk_options(FRAME *skb, struct fw_pkt *pkt, __u32 len)
{
	__u32 off, end, i, state = 0;

	if (!pkt || len > 40)
		return 0;
	off = pkt->l4_off + sizeof(struct tcp_wire);
	end = off + len;
	for (i = 0; i < 40 && off < end; i++) {
		state = is_head(skb) ? fw_head_option(pkt, off, end, state) : read_option(skb, pkt, off, end, state);
		blur(state, pkt->seq);
		off += state >> OPTION_STEP;
		state &= OPTIONS_UNSOUND | OPTIONS_SACKED;
	}
	return 0;
}

__noinline int fw_tcp_options(FRAME *skb, struct fw_pkt *pkt, __u32 len) { return walk_options(skb, pkt, len); }
__noinline int fw_head_options(struct fw_pkt *pkt, __u32 len) { return walk_options(NULL, pkt, len); }

static __always_inline void read_options(FRAME *skb, struct fw_pkt *pkt, __u32 len)
{
	if (!can_walk(skb))
		pkt->malformed = 1;
	else if (is_head(skb))
		fw_head_options(pkt, len);
	else
		fw_tcp_options(skb, pkt, len);
}

/* The usual segment has nothing but a timestamp, padded as RFC 7323 appendix A advises: no need to walk that for conntrack. */
static __always_inline int needs_options(FRAME *skb, const struct fw_pkt *pkt, __u32 hlen)
{
	__be32 first = 0;

	if (cfg_tcp_options)
		return 1;
	if (!cfg_conntrack)
		return 0;
	if (pkt->tcp_flags & TCP_SYN)
		return 1;
	fetch(skb, pkt->l4_off + sizeof(struct tcp_wire), &first, sizeof(first));
	return hlen != sizeof(struct tcp_wire) + 12 || first != bpf_htonl(0x0101080a);
}

static __always_inline int parse_tcp(FRAME *skb, struct fw_pkt *pkt)
{
	__u32 len = transport_len(pkt), hlen;
	struct tcp_wire h;

	if (load_transport(skb, pkt, &h, sizeof(h)))
		return -1;
	pkt->sport = bpf_ntohs(h.sport);
	pkt->dport = bpf_ntohs(h.dport);
	pkt->tcp_flags = h.flags;
	pkt->seq = bpf_ntohl(h.seq);
	pkt->ack = pkt->tcp_sack = bpf_ntohl(h.ack);
	pkt->wnd = bpf_ntohs(h.window);
	hlen = h.off >> 4 << 2;
	if (hlen < sizeof(h) || hlen > len)
		return -1;
	/* A super-packet of the frag-list kind says the length of its first segment only. */
	pkt->payload = (is_super(skb) ? buffer_len(skb) - pkt->l4_off : len) - hlen;
	if (hlen > sizeof(h) && needs_options(skb, pkt, hlen))
		read_options(skb, pkt, hlen - sizeof(h));
	return 0;
}

/* UDP, and UDP-Lite, whose length field is how much the checksum covers (0: all). */
static __always_inline int parse_udp(FRAME *skb, struct fw_pkt *pkt)
{
	__u32 len = transport_len(pkt), said;
	struct udphdr h;

	if (load_transport(skb, pkt, &h, sizeof(h)))
		return -1;
	pkt->sport = bpf_ntohs(h.source);
	pkt->dport = bpf_ntohs(h.dest);
	said = bpf_ntohs(h.len);
	if (said == 0 && (pkt->proto == IPPROTO_UDPLITE || len > 0xffff))
		return 0;
	/* The length of a first fragment counts the others too. */
	return said < sizeof(h) || (said > len && !pkt->more_frags) ? -1 : 0;
}

/* Chunks that conntrack looks at, as numbers of four bits, and what else it wants to know of a packet's chunks. */
enum sctp_chunk {
	SCTP_INIT = 1, SCTP_INIT_ACK, SCTP_ABORT, SCTP_SHUTDOWN, SCTP_SHUTDOWN_ACK, SCTP_ERROR, SCTP_COOKIE, SCTP_COOKIE_ACK, SCTP_COMPLETE,
	SCTP_HEARTBEAT, SCTP_HEARTBEAT_ACK, SCTP_ABORT_REFLECTED, SCTP_COMPLETE_REFLECTED /* with the T bit */,
	SCTP_DATA = 16,			/* there is data */
	SCTP_OTHER,			/* there is a chunk that moves no state: data too */
	SCTP_BAD,			/* chunks that do not go together, or none, or one without a length */
};

#define SCTP_MOVES	3	/* such chunks in a packet; more are invalid */

/* By chunk type; 0 moves no state. */
static const __u8 sctp_types[16] = {
	0, SCTP_INIT, SCTP_INIT_ACK, 0, SCTP_HEARTBEAT, SCTP_HEARTBEAT_ACK, SCTP_ABORT, SCTP_SHUTDOWN, SCTP_SHUTDOWN_ACK, SCTP_ERROR,
	SCTP_COOKIE, SCTP_COOKIE_ACK, 0, 0, SCTP_COMPLETE, 0,
};

/*
 * Notes one chunk: wnd has a bit for each kind, and in its upper byte how many move the state; payload has these, four bits each; ack is the tag of an INIT.
 */
static __always_inline void note_chunk(FRAME *skb, struct fw_pkt *pkt, __u32 off, __u8 type, __u8 flags, __u32 room)
{
	const __u32 alone = 1 << SCTP_INIT | 1 << SCTP_INIT_ACK | 1 << SCTP_COMPLETE, first = 1 << SCTP_COOKIE | 1 << SCTP_COOKIE_ACK;
	__u8 chunk = type < 16 ? sctp_types[type & 15] : 0;
	__be32 tag;
	__u32 n;

	if (pkt->wnd && (((1 << chunk) & (alone | first)) || (pkt->wnd & alone)))
		pkt->wnd |= 1 << SCTP_BAD;
	if (!chunk) {
		pkt->wnd |= 1 << SCTP_OTHER | (!type) << SCTP_DATA;
		return;
	}
	pkt->wnd |= 1 << chunk;
	n = pkt->wnd >> 24;
	if (n >= SCTP_MOVES)
		pkt->wnd |= 1 << SCTP_BAD;
	else if ((flags & 1) && chunk == SCTP_ABORT)
		pkt->payload |= SCTP_ABORT_REFLECTED << 4 * n;
	else if ((flags & 1) && chunk == SCTP_COMPLETE)
		pkt->payload |= SCTP_COMPLETE_REFLECTED << 4 * n;
	else
		pkt->payload |= (__u32)chunk << 4 * n;
	pkt->wnd += 1 << 24;
	if (chunk > SCTP_INIT_ACK)
		return;
	if (room < 20 || load_bytes(skb, off + 4, &tag, sizeof(tag)))
		pkt->wnd |= 1 << SCTP_BAD;
	else
		pkt->ack = bpf_ntohl(tag);
}

/* A function, so that the verifier follows one chunk, not 64. what: the type, and in its second byte the flags. */
__noinline int fw_note_chunk(FRAME *skb, struct fw_pkt *pkt, __u32 off, __u32 what, __u32 room)
{
	if (pkt)
		note_chunk(skb, pkt, off, what, what >> 8, room);
	return 0;
}

__noinline int fw_note_head_chunk(struct fw_pkt *pkt, __u32 off, __u32 what, __u32 room)
{
	if (pkt)
		note_chunk(NULL, pkt, off, what, what >> 8, room);
	return 0;
}

/* Walks the chunks of an SCTP packet, 64 at most. */
static __always_inline int walk_chunks(FRAME *skb, struct fw_pkt *pkt, __u32 len)
{
	struct { __u8 type, flags; __be16 len; } c;
	__u32 off, end, i;

	if (!pkt || len > 0xffff)
		return 0;
	off = pkt->l4_off + 12;
	end = pkt->l4_off + len;
	for (i = 0; i < 64 && off + sizeof(c) <= end; i++) {
		if (load_bytes(skb, off, &c, sizeof(c)))
			break;
		if (is_head(skb))
			fw_note_head_chunk(pkt, off, c.type | c.flags << 8, end - off);
		else
			fw_note_chunk(skb, pkt, off, c.type | c.flags << 8, end - off);
		if (!c.len)
			pkt->wnd |= 1 << SCTP_BAD;
		if (pkt->wnd & 1 << SCTP_BAD)
			break;
		off += (bpf_ntohs(c.len) + 3) & ~3;
	}
	if (!pkt->wnd)
		pkt->wnd = 1 << SCTP_BAD;
	return 0;
}

__noinline int fw_sctp_chunks(FRAME *skb, struct fw_pkt *pkt, __u32 len) { return walk_chunks(skb, pkt, len); }
__noinline int fw_head_chunks(struct fw_pkt *pkt, __u32 len) { return walk_chunks(NULL, pkt, len); }

/* SCTP and DCCP: ports come first, the headers are at least 12 bytes long. */
static __always_inline int parse_ports(FRAME *skb, struct fw_pkt *pkt)
{
	struct { __be16 sport, dport; __be32 rest[2]; } h;

	if (load_transport(skb, pkt, &h, sizeof(h)))
		return -1;
	pkt->sport = bpf_ntohs(h.sport);
	pkt->dport = bpf_ntohs(h.dport);
	if (pkt->proto == IPPROTO_SCTP && cfg_conntrack) {
		pkt->seq = bpf_ntohl(h.rest[0]);
		if (is_head(skb))
			fw_head_chunks(pkt, transport_len(pkt));
		else
			fw_sctp_chunks(skb, pkt, transport_len(pkt));
	}
	return 0;
}

/* The call id of PPTP's GRE (RFC 2637 4.1); plain GRE has nothing that conntrack reads. Reports -1 for version 1 with other contents. */
static __always_inline int gre_call(const __be16 *h)
{
	if ((bpf_ntohs(h[0]) & 7) != 1)
		return 0;
	return h[1] == bpf_htons(0x880b) ? bpf_ntohs(h[3]) : -1;
}

/* GRE: icmp_id is the call id, for conntrack; seq is 1 if it cannot be tracked. A header cut short is none. */
static __always_inline void parse_gre(FRAME *skb, struct fw_pkt *pkt)
{
	__be16 h[4];
	int call;

	if (!cfg_conntrack || load_transport(skb, pkt, h, sizeof(h)))
		return;
	call = gre_call(h);
	pkt->icmp_id = call < 0 ? 0 : call;
	pkt->seq = call < 0;
}

static __always_inline int parse_icmp(FRAME *skb, struct fw_pkt *pkt)
{
	struct icmp_wire h;

	if (load_transport(skb, pkt, &h, sizeof(h)))
		return -1;
	pkt->icmp_type = h.type;
	pkt->icmp_code = h.code;
	pkt->icmp_id = bpf_ntohs(h.id);
	return 0;
}

/* ICMP belongs to IPv4, ICMPv6 to IPv6. */
static __always_inline int is_icmp(const struct fw_pkt *pkt)
{
	return pkt->proto == (pkt->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* Reads the transport header at pkt->l4_off. */
static __always_inline void read_transport(FRAME *skb, struct fw_pkt *pkt)
{
	int rc = 0;

	if (pkt->proto == IPPROTO_TCP)
		rc = parse_tcp(skb, pkt);
	else if (pkt->proto == IPPROTO_UDP || pkt->proto == IPPROTO_UDPLITE)
		rc = parse_udp(skb, pkt);
	else if (pkt->proto == IPPROTO_SCTP || pkt->proto == IPPROTO_DCCP)
		rc = parse_ports(skb, pkt);
	else if (is_icmp(pkt))
		rc = parse_icmp(skb, pkt);
	else if (pkt->proto == IPPROTO_GRE)
		parse_gre(skb, pkt);
	pkt->malformed = rc != 0;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From a frame to struct fw_pkt: link layer, IP header, IPv6 extension headers. transport.h goes on from there. */
#ifndef BPFWALL_PARSE_H
#define BPFWALL_PARSE_H

#define MAX_TAGS	3	/* VLAN tags in the frame that are walked */
#define MAX_EXTENSIONS	32	/* IPv6 extension headers that are walked */

enum parse { PARSE_OK, PARSE_NOT_IP, PARSE_BAD_HEADER, PARSE_TOO_LONG, PARSE_INTERNAL };

/* The IPv6 extension headers that are walked; all others end the chain. linux/in6.h */
enum { EXT_HOP = 0, EXT_ROUTING = 43, EXT_FRAGMENT = 44, EXT_DEST = 60 };

#define FRAGMENT_HEADER 8 /* bytes, IPv6 */

/* Where reading goes on: bytes from skb->data. What lies past end does not belong to the packet. */
struct cursor {
	__u32 off;
	__u32 end;
};

/* Copies what is at the cursor, wherever in the buffer it lies. Fails past the end of the packet. */
static __always_inline int peek(FRAME *skb, const struct cursor *c, void *to, const __u32 len)
{
	if (c->off + len > c->end)
		return -1;
	return load_bytes(skb, c->off, to, len);
}

static __always_inline int is_vlan(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

/*
 * Finds the IP header. A frame of a VLAN is judged on the VLAN's own device. Priority tags (VLAN id 0) are walked through,
 * as __netif_receive_skb_core does.
 */
static __always_inline int parse_link(FRAME *skb, struct cursor *c, __be16 *proto)
{
	struct { __be16 tci, proto; } tag;
	int i;

	c->off = link_len(skb);
	c->end = buffer_len(skb);
	*proto = link_proto(skb);
	if (in_vlan(skb))
		return PARSE_NOT_IP;
	for (i = 0; i < MAX_TAGS && is_vlan(*proto); i++) {
		if (peek(skb, c, &tag, sizeof(tag)))
			return PARSE_NOT_IP;
		if (bpf_ntohs(tag.tci) & 0xfff)
			return PARSE_NOT_IP;
		*proto = tag.proto;
		c->off += sizeof(tag);
	}
	if (is_vlan(*proto))
		return PARSE_TOO_LONG;
	return *proto == bpf_htons(ETH_P_IP) || *proto == bpf_htons(ETH_P_IPV6) ? PARSE_OK : PARSE_NOT_IP;
}

/* BIG TCP super-packets say 0 for a length of more than 16 bits. */
static __always_inline __u32 super_length(FRAME *skb, __u32 said, __u32 real)
{
	return !said && is_super(skb) ? real : said;
}

static __always_inline int parse_ipv4(FRAME *skb, struct fw_pkt *pkt, struct cursor *c)
{
	struct iphdr h;
	__u32 hlen, frag;

	if (fetch(skb, c->off, &h, sizeof(h)))
		return PARSE_BAD_HEADER;
	hlen = h.ihl * 4;
	frag = bpf_ntohs(h.frag_off);
	pkt->length = super_length(skb, bpf_ntohs(h.tot_len), c->end - c->off);
	if (h.version != 4 || hlen < sizeof(h) || pkt->length < hlen || c->off + pkt->length > c->end)
		return PARSE_BAD_HEADER;
	pkt->family = 4;
	pkt->saddr[0] = h.saddr;
	pkt->daddr[0] = h.daddr;
	pkt->proto = h.protocol;
	pkt->ttl = h.ttl;
	pkt->tos = h.tos;
	pkt->frag = (frag & 0x1fff) != 0;
	pkt->more_frags = !pkt->frag && (frag & 0x2000);
	c->end = c->off + pkt->length;
	c->off += hlen;
	pkt->l4_off = c->off;
	pkt->frag_id = bpf_ntohs(h.id);
	pkt->frag_edge = pkt->frag ? (frag & 0x1fff) * 8 : c->end - c->off;
	return PARSE_OK;
}

static __always_inline int is_extension(__u8 proto)
{
	return proto == EXT_HOP || proto == EXT_ROUTING || proto == EXT_FRAGMENT || proto == EXT_DEST;
}

/* One header of the chain. Reports 1 if there may be more, 0 at its end. */
static __always_inline int step_extension(FRAME *skb, struct fw_pkt *pkt, struct cursor *c)
{
	struct { __u8 next, len; __be16 frag; __be32 id; } h; /* frag: of a routing header its type, then the segments left */
	__u8 proto = pkt->proto;
	__u16 frag;

	if (!is_extension(proto))
		return 0;
	if (peek(skb, c, &h, sizeof(h))) { /* none is shorter than 8 bytes */
		pkt->malformed = 1;
		return 0;
	}
	if (proto != EXT_FRAGMENT) {
		pkt->proto = h.next;
		c->off += (h.len + 1) * 8;
		pkt->malformed = c->off > c->end; /* as ipv6_find_hdr: what comes next is known, but not there */
		if (proto == EXT_ROUTING && pkt->routing == FW_ABSENT8 && !pkt->malformed)
			pkt->routing = bpf_ntohs(h.frag) >> 8;
		return !pkt->malformed;
	}
	frag = bpf_ntohs(h.frag);
	pkt->proto = h.next;
	pkt->frag = (frag & 0xfff8) != 0;
	pkt->more_frags = !pkt->frag && (frag & 1);
	c->off += sizeof(h);
	pkt->frag_id = bpf_ntohl(h.id);
	pkt->frag_edge = pkt->frag ? frag & 0xfff8 : c->end - c->off;
	return !pkt->frag;
}

/* The same at netfilter's hooks. A function, so that clang keeps the count of steps where the verifier of Linux 6.12 sees it. */
__noinline int fw_head_extension(struct fw_pkt *pkt, struct cursor *c) { return pkt && c ? step_extension(NULL, pkt, c) : 0; }

/* Walks the extension headers from off on, and leaves l4_off behind them. end: of the packet. Reports an enum parse. */
static __always_inline int walk_extensions(FRAME *skb, struct fw_pkt *pkt, __u32 off, __u32 end)
{
	struct cursor c = { off, end };
	int i;

	if (!pkt)
		return PARSE_INTERNAL;
	for (i = 0; i <= MAX_EXTENSIONS; i++)
		if (!(is_head(skb) ? fw_head_extension(pkt, &c) : step_extension(skb, pkt, &c))) {
			pkt->l4_off = c.off;
			return PARSE_OK;
		}
	return PARSE_TOO_LONG;
}

__noinline int fw_extensions(FRAME *skb, struct fw_pkt *pkt, __u32 off, __u32 end) { return walk_extensions(skb, pkt, off, end); }
__noinline int fw_head_extensions(struct fw_pkt *pkt, __u32 off, __u32 end) { return walk_extensions(NULL, pkt, off, end); }

static __always_inline int parse_ipv6(FRAME *skb, struct fw_pkt *pkt, struct cursor *c)
{
	struct ipv6hdr h;

	if (fetch(skb, c->off, &h, sizeof(h)))
		return PARSE_BAD_HEADER;
	pkt->length = sizeof(h) + super_length(skb, bpf_ntohs(h.payload_len), c->end - c->off - sizeof(h));
	if (h.version != 6 || c->off + pkt->length > c->end)
		return PARSE_BAD_HEADER;
	pkt->family = 6;
	__builtin_memcpy(pkt->saddr, &h.saddr, 16);
	__builtin_memcpy(pkt->daddr, &h.daddr, 16);
	pkt->proto = h.nexthdr;
	pkt->ttl = h.hop_limit;
	pkt->tos = h.priority << 4 | h.flow_lbl[0] >> 4;
	c->end = c->off + pkt->length;
	c->off += sizeof(h);
	pkt->l4_off = c->off;
	if (!is_extension(h.nexthdr))
		return PARSE_OK;
	if (!can_walk(skb))
		return PARSE_TOO_LONG;
	return is_head(skb) ? fw_head_extensions(pkt, c->off, c->end) : fw_extensions(skb, pkt, c->off, c->end);
}

/* What parse_ipv4 and parse_ipv6 do not write. */
static __always_inline void clear_network(struct fw_pkt *pkt)
{
	__builtin_memset(pkt, 0, offsetof(struct fw_pkt, in_ifindex));
	pkt->pkt_type = 1;
	pkt->routing = FW_ABSENT8;
}

/* Everything else that a packet may lack. What no switch has filled is 0 since the map was made. */
static __always_inline void clear_rest(struct fw_pkt *pkt)
{
	__builtin_memset(&pkt->in_ifindex, 0, offsetof(struct fw_pkt, smac) - offsetof(struct fw_pkt, in_ifindex));
	if (cfg_ifnames)
		__builtin_memset(pkt->in_name, 0, sizeof(pkt->in_name) + sizeof(pkt->out_name));
	if (cfg_tcp_options)
		__builtin_memset(pkt->tcp_options, 0, sizeof(pkt->tcp_options));
	if (cfg_comm)
		__builtin_memset(pkt->comm, 0, sizeof(pkt->comm));
	pkt->smac = FW_ABSENT48;
	pkt->uid = pkt->gid = FW_NO_OWNER;
	pkt->cgroups = FW_ABSENT63;
	pkt->sport = FW_ABSENT16;
	pkt->dport = FW_ABSENT16;
	pkt->tcp_mss = FW_ABSENT16;
	pkt->tcp_flags = FW_ABSENT8;
	pkt->icmp_type = FW_ABSENT8;
	pkt->icmp_code = FW_ABSENT8;
	pkt->src_type = 1 << RTN_UNICAST;
	pkt->dst_type = 1 << RTN_UNICAST;
	pkt->ct_state = FW_STATE_UNTRACKED;
	pkt->rule = FW_NO_RULE;
}

/* Link layer and IP header: the first members of pkt, up to in_ifindex. Reports an enum parse. */
static __always_inline int parse_network(FRAME *skb, struct fw_pkt *pkt)
{
	struct cursor c;
	__be16 proto;
	int rc;

	rc = parse_link(skb, &c, &proto);
	if (rc != PARSE_OK)
		return rc;
	clear_network(pkt);
	pkt->l3_off = c.off;
	return proto == bpf_htons(ETH_P_IP) ? parse_ipv4(skb, pkt, &c) : parse_ipv6(skb, pkt, &c);
}

/* The other members, after parse_network. */
static __always_inline void parse_rest(FRAME *skb, struct fw_pkt *pkt)
{
	seen_as_one();
	clear_rest(pkt);
	if (!pkt->frag && !pkt->malformed)
		read_transport(skb, pkt);
}

/* Fills pkt from the frame. Reports an enum parse; a global function, so that the verifier looks at it once. */
__noinline int fw_parse(FRAME *skb, struct fw_pkt *pkt)
{
	int rc;

	if (!pkt)
		return PARSE_INTERNAL;
	rc = parse_network(skb, pkt);
	if (rc == PARSE_OK)
		parse_rest(skb, pkt);
	return rc;
}

/* The same at LOCAL_IN, where the packet begins with its IP header. family: 4 or 6. */
__noinline int fw_parse_head(struct fw_pkt *pkt, __u32 family)
{
	struct cursor c = { 0, buffer_len(NULL) };
	int rc;

	if (!pkt)
		return PARSE_INTERNAL;
	clear_network(pkt);
	rc = family == 4 ? parse_ipv4(NULL, pkt, &c) : parse_ipv6(NULL, pkt, &c);
	if (rc == PARSE_OK)
		parse_rest(NULL, pkt);
	return rc;
}

#endif

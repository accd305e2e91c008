/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* ICMP errors belong to the flow of the packet that they quote. */
#ifndef BPFWALL_CT_ICMP_H
#define BPFWALL_CT_ICMP_H

#define SOCK_RAW 3 /* linux/net.h */

/* The quoted IP header. Its length field counts what was not quoted, so the end of the error is the only bound. */
static __always_inline int quoted_ipv4(struct __sk_buff *skb, struct fw_pkt *q, struct cursor *c)
{
	struct iphdr h;

	if (peek(skb, c, &h, sizeof(h)) || h.version != 4 || h.ihl < 5 || (bpf_ntohs(h.frag_off) & 0x1fff))
		return -1;
	q->saddr[0] = h.saddr;
	q->daddr[0] = h.daddr;
	q->proto = h.protocol;
	c->off += h.ihl * 4;
	return 0;
}

static __always_inline int quoted_ipv6(struct __sk_buff *skb, struct fw_pkt *q, struct cursor *c)
{
	struct ipv6hdr h;
	int i;

	if (peek(skb, c, &h, sizeof(h)) || h.version != 6)
		return -1;
	__builtin_memcpy(q->saddr, &h.saddr, 16);
	__builtin_memcpy(q->daddr, &h.daddr, 16);
	q->proto = h.nexthdr;
	c->off += sizeof(h);
	for (i = 0; i <= MAX_EXTENSIONS; i++)
		if (!step_extension(skb, q, c))
			return q->malformed || q->frag ? -1 : 0;
	return -1;
}

/* Four bytes are enough for ports; a query's id needs eight. */
static __always_inline int quoted_transport(struct __sk_buff *skb, struct fw_pkt *q, const struct cursor *c)
{
	struct { __be16 sport, dport; } ports;
	struct icmp_wire icmp;
	enum icmp_role role;
	__be16 gre[4];
	int call;

	switch (q->proto) {
	case IPPROTO_TCP: case IPPROTO_UDP: case IPPROTO_UDPLITE: case IPPROTO_SCTP:
		if (peek(skb, c, &ports, sizeof(ports)))
			return -1;
		q->sport = bpf_ntohs(ports.sport);
		q->dport = bpf_ntohs(ports.dport);
		return 0;
	case IPPROTO_GRE:
		if (peek(skb, c, gre, sizeof(gre)))
			return 0;
		call = gre_call(gre);
		q->icmp_id = call;
		return call < 0 ? -1 : 0;
	}
	if (!is_icmp(q))
		return 0;
	if (peek(skb, c, &icmp, sizeof(icmp)))
		return -1;
	q->icmp_type = icmp.type;
	q->icmp_code = icmp.code;
	q->icmp_id = bpf_ntohs(icmp.id);
	role = icmp_role(q);
	return role == ICMP_REQUEST || role == ICMP_REPLY ? 0 : -1;
}

/* A redirect quotes in an option, and is for neighbours only: RFC 4861 4.5, 8.1. Reports where, from the ICMP header on; 0: nowhere. */
static __always_inline __u32 redirect_quote(struct __sk_buff *skb, const struct fw_pkt *pkt)
{
	struct { __u8 type, len; } option;

	if (pkt->icmp_code || pkt->ttl != 255 || (pkt->saddr[0] & bpf_htonl(0xffc00000)) != bpf_htonl(0xfe800000))
		return 0;
	if (transport_len(pkt) < 42 || load_bytes(skb, pkt->l4_off + 40, &option, sizeof(option)))
		return 0;
	return option.type == 4 && option.len ? 48 : 0; /* redirected header */
}

static __always_inline int parse_quoted(struct __sk_buff *skb, const struct fw_pkt *pkt, struct fw_pkt *q)
{
	__u32 at = pkt->icmp_type == 137 ? redirect_quote(skb, pkt) : sizeof(struct icmp_wire); /* 137 is no error of IPv4 */
	struct cursor c = { pkt->l4_off + at, pkt->l3_off + pkt->length };
	int rc;

	if (!at)
		return -1;

	__builtin_memset(q, 0, sizeof(*q));
	q->family = pkt->family;
	rc = q->family == 4 ? quoted_ipv4(skb, q, &c) : quoted_ipv6(skb, q, &c);
	return rc ? rc : quoted_transport(skb, q, &c);
}

/* Beside the kernel's NAT what egress sees quoted is translated; what the rules and our flows know is not. */
static __always_inline int quoted_packet(struct __sk_buff *skb, const struct fw_pkt *pkt, struct fw_pkt *q)
{
	if (cfg_nat && !is_head(skb) && quoted_view(skb, pkt, q))
		return 0;
	return parse_quoted(skb, pkt, q);
}

/* An error goes to whoever sent what it quotes. */
static __always_inline int answers(const struct fw_pkt *pkt, const struct fw_pkt *q)
{
	return pkt->daddr[0] == q->saddr[0] && pkt->daddr[1] == q->saddr[1] && pkt->daddr[2] == q->saddr[2] &&
	       pkt->daddr[3] == q->saddr[3];
}

/*
 * The stack's own errors are sent by sockets of its own. What they are about may have no flow: it was given up before the rules that would
 * have kept one, too long for the next link or too old. nf_ct_attach lends the error the flow that would have been.
 */
static __always_inline int from_stack(struct __sk_buff *skb, const struct fw_pkt *pkt)
{
	struct bpf_sock *sk = is_head(skb) || pkt->in_ifindex ? 0 : skb->sk;

	if (sk)
		sk = bpf_sk_fullsock(sk);
	return sk && sk->type == SOCK_RAW && sk->protocol == pkt->proto;
}

/* RELATED if the quoted packet's flow is there, or would be; the flow does not move. */
static __always_inline int track_error(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	__u32 zero = 0;
	struct fw_pkt *q = bpf_map_lookup_elem(&ct_quoted, &zero);
	struct ct_work *w = bpf_map_lookup_elem(&ct_scratch, &zero);
	__u64 now = bpf_ktime_get_boot_ns();
	struct ct_assured *a;
	struct ct_flow *f;

	if (!pkt || !q || !w || quoted_packet(skb, pkt, q) || !answers(pkt, q))
		return 0;
	make_key(w, q);
	a = bpf_map_lookup_elem(&ct, &w->key);
	f = a ? &a->flow : bpf_map_lookup_elem(&ct_new, &w->key);
	if ((f && f->expires > now) || from_stack(skb, pkt))
		pkt->ct_state = FW_STATE_RELATED;
	return 0;
}

__noinline int fw_track_error(struct __sk_buff *skb, struct fw_pkt *pkt) { return track_error(skb, pkt); }

#endif

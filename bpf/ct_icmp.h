/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* ICMP errors belong to the flow of the packet that they quote. */
#ifndef BPFWALL_CT_ICMP_H
#define BPFWALL_CT_ICMP_H

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

	switch (q->proto) {
	case IPPROTO_TCP: case IPPROTO_UDP: case IPPROTO_UDPLITE: case IPPROTO_SCTP: case IPPROTO_DCCP:
		if (peek(skb, c, &ports, sizeof(ports)))
			return -1;
		q->sport = bpf_ntohs(ports.sport);
		q->dport = bpf_ntohs(ports.dport);
		return 0;
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

static __always_inline int parse_quoted(struct __sk_buff *skb, const struct fw_pkt *pkt, struct fw_pkt *q)
{
	struct cursor c = { pkt->l4_off + sizeof(struct icmp_wire), pkt->l3_off + pkt->length };
	int rc;

	__builtin_memset(q, 0, sizeof(*q));
	q->family = pkt->family;
	rc = q->family == 4 ? quoted_ipv4(skb, q, &c) : quoted_ipv6(skb, q, &c);
	return rc ? rc : quoted_transport(skb, q, &c);
}

/* An error goes to whoever sent what it quotes. */
static __always_inline int answers(const struct fw_pkt *pkt, const struct fw_pkt *q)
{
	return pkt->daddr[0] == q->saddr[0] && pkt->daddr[1] == q->saddr[1] && pkt->daddr[2] == q->saddr[2] &&
	       pkt->daddr[3] == q->saddr[3];
}

/* RELATED if the quoted packet's flow is there; the flow does not move. A redirect (IPv6 137) quotes in an option: not looked at. */
__noinline int fw_track_error(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	__u32 zero = 0;
	struct fw_pkt *q = bpf_map_lookup_elem(&ct_quoted, &zero);
	struct ct_work *w = bpf_map_lookup_elem(&ct_scratch, &zero);
	__u64 now = bpf_ktime_get_boot_ns();
	struct ct_assured *a;
	struct ct_flow *f;

	if (!pkt || !q || !w || parse_quoted(skb, pkt, q) || !answers(pkt, q))
		return 0;
	make_key(w, q);
	a = bpf_map_lookup_elem(&ct, &w->key);
	f = a ? &a->flow : bpf_map_lookup_elem(&ct_new, &w->key);
	if (f && f->expires > now)
		pkt->ct_state = FW_STATE_RELATED;
	return 0;
}

#endif

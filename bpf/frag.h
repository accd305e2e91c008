/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Fragments. With conntrack a datagram is judged as a whole. What is received as fragments is left to the stack, if that puts them
 * together before it does anything else (cfg_defrag): netfilter's hooks have the whole (local_in.h). What is sent was one packet at
 * OUTPUT, and comes to egress in order: the first fragment is judged, and the others follow its verdict.
 *
 * Where the stack does not, later fragments get what the first one said of the transport header, and its state. A later fragment
 * that comes before its first is dropped (the sender's datagram is lost, not let through).
 *
 * Without conntrack each is judged as it is, but for IPv4 in INPUT, which sees whole datagrams all the same.
 */
#ifndef BPFWALL_FRAG_H
#define BPFWALL_FRAG_H

/* 1 if x is not 0, without a branch. */
static __always_inline __u32 nonzero(__u32 x)
{
	__u32 negative = -x;

	asm volatile("" : "+r"(negative)); /* clang would make a branch of it */
	return (x | negative) >> 31;
}

/*
 * The one interface with this last byte of its index; 0 if there are several. Each turn of the loop is one path: with three of them the
 * verifier took 500 instructions for each, more than for all else of a program.
 */
__noinline int fw_find_interface(__u32 last)
{
	__u32 n, key, hit, found = 0, hits = 0;
	struct iface *i;

	for (n = 0; n < 256; n++) {
		asm volatile("" : "+r"(n)); /* clang would count in the key, whose last byte the verifier does not know */
		key = n << 8 | (last & 0xff);
		i = bpf_map_lookup_elem(&ifaces, &key);
		if (!i)
			return 0;
		hit = nonzero(i->ifindex) & ~nonzero((i->ifindex & 0xffff) ^ key);
		asm volatile("" : "+r"(hit));
		found |= i->ifindex & -hit;
		hits += hit;
	}
	return hits == 1 ? found : 0;
}

/*
 * What a packet carries from an interface that is new, and that no ingress of ours judges yet, is of anybody's making. All that is
 * believed is where it is to be judged: it is, in either place.
 */
static __always_inline __u32 believed(__u32 in, __u32 carried)
{
	__u32 key = in & 0xffff;
	struct iface *i;

	if (!in || !(carried & CARRY_CLAIMS))
		return carried;
	i = bpf_map_lookup_elem(&ifaces, &key);
	return i && i->ifindex == in ? carried : carried & (CARRY_INPUT | CARRY_PIECE);
}

/* At egress. Ingress noted the last byte. */
static __always_inline __u32 came_in_by(const struct __sk_buff *skb)
{
	if (cfg_idle_ingress)
		return skb->ingress_ifindex;
	if (skb->ingress_ifindex || !(skb->tc_index & CARRY_INPUT))
		return skb->ingress_ifindex;
	return fw_find_interface(skb->tc_index);
}

static __always_inline void frag_key(struct frag_key *k, const struct fw_pkt *pkt, enum direction d)
{
	__builtin_memset(k, 0, sizeof(*k));
	__builtin_memcpy(k->saddr, pkt->saddr, 16);
	__builtin_memcpy(k->daddr, pkt->daddr, 16);
	k->id = pkt->frag_id;
	k->family = pkt->family;
	k->proto = pkt->family == 4 ? pkt->proto : 0;
	k->egress = d;
}

/* Keeps what later fragments lack. After fw_track, where there is one, so that the state is known. */
__noinline int fw_remember_first(struct fw_pkt *pkt, enum direction d)
{
	struct frag_first f = {};
	struct frag_key k;

	if (!pkt || !pkt->more_frags)
		return 0;
	frag_key(&k, pkt, d);
	f.expires = bpf_ktime_get_boot_ns() + seconds(pkt->family == 4 ? CT_TIME_FRAG4 : CT_TIME_FRAG6) * SECOND;
	f.sport = pkt->sport;
	f.dport = pkt->dport;
	f.tcp_mss = pkt->tcp_mss;
	f.end = pkt->frag_edge;
	f.tcp_flags = pkt->tcp_flags;
	f.icmp_type = pkt->icmp_type;
	f.icmp_code = pkt->icmp_code;
	f.icmp_id = pkt->icmp_id;
	f.proto = pkt->proto;
	f.ct_state = pkt->ct_state;
	f.in_ifindex = pkt->in_ifindex;
	return bpf_map_update_elem(&frags, &k, &f, BPF_ANY);
}

/* Gives a later fragment what its first one said. Reports -1, or the enum fw_stat to drop it under. */
__noinline int fw_complete(struct fw_pkt *pkt, enum direction d)
{
	struct frag_first *f;
	struct frag_key k;

	if (!pkt)
		return FW_STAT_INTERNAL;
	frag_key(&k, pkt, d);
	f = bpf_map_lookup_elem(&frags, &k);
	if (!f || f->expires < bpf_ktime_get_boot_ns())
		return FW_STAT_FRAG_UNKNOWN;
	if (pkt->frag_edge < f->end)
		return FW_STAT_FRAG_OVERLAP;
	pkt->sport = f->sport;
	pkt->dport = f->dport;
	pkt->tcp_mss = f->tcp_mss;
	pkt->tcp_flags = f->tcp_flags;
	pkt->icmp_type = f->icmp_type;
	pkt->icmp_code = f->icmp_code;
	pkt->icmp_id = f->icmp_id;
	pkt->proto = f->proto;
	pkt->ct_state = f->ct_state;
	if (d == EGRESS)
		set_interfaces(pkt, f->in_ifindex, pkt->out_ifindex);
	return -1;
}

static __always_inline int is_piece(const struct fw_pkt *pkt)
{
	return pkt->frag || pkt->more_frags;
}

/*
 * At egress, where no ingress marks packets: all that one can carry is of somebody else's making. Fragments that the stack makes of a
 * forwarded IPv6 packet may lack the interface, but there are none unless the kernel has put that packet together. They have a fragment
 * header, even if it is one fragment, and no socket. What is such may be this host's own (a tunnel's) all the same; it counts as received.
 */
static __always_inline __u32 unmarked(struct __sk_buff *skb, const struct fw_pkt *pkt)
{
	if (pkt->family == 4 || skb->ingress_ifindex || pkt->l4_off == pkt->l3_off + sizeof(struct ipv6hdr) || skb->sk || !cfg_casts)
		return 0;
	return ipv6_defrag_users(skb) ? CARRY_INPUT : 0;
}

/* At egress: notes what became of a first fragment. */
__noinline int fw_remember_verdict(struct fw_pkt *pkt, __u32 verdict)
{
	struct frag_first *old, f;
	struct frag_key k;

	if (!pkt)
		return 0;
	frag_key(&k, pkt, EGRESS);
	old = bpf_map_lookup_elem(&frags, &k);
	if (!old)
		return 0;
	f = *old; /* not in place: its memory may be another datagram's by now */
	f.rule = pkt->rule;
	f.mark = pkt->mark;
	f.generation = own_generation;
	f.verdict = verdict & 0xff;
	return bpf_map_update_elem(&frags, &k, &f, BPF_EXIST);
}

/* The rest of a packet: bytes of it, and no packet more. */
static __always_inline void count_rest(__u32 rule, const struct fw_pkt *pkt)
{
	struct fw_counter *c = bpf_map_lookup_elem(&counters, &rule);

	if (c)
		c->bytes += pkt->length - (pkt->l4_off - pkt->l3_off);
}

/* At egress: what becomes of a later fragment, an enum fw_verdict; FW_CONTINUE: to be judged. */
__noinline int fw_follow_first(struct fw_pkt *pkt)
{
	struct frag_first *f;
	struct frag_key k;

	if (!pkt)
		return FW_DROP;
	frag_key(&k, pkt, EGRESS);
	f = bpf_map_lookup_elem(&frags, &k);
	if (!f || !f->verdict || f->generation != own_generation)
		return FW_CONTINUE;
	count_rest(f->rule, pkt);
	pkt->mark = f->mark;
	return f->verdict;
}

/* Looks at a fragment after the first. Reports -1, or the enum fw_stat to drop it under. */
__noinline int fw_later_fragment(struct fw_pkt *pkt, enum direction d)
{
	if (!pkt)
		return FW_STAT_INTERNAL;
	if (pkt->proto == IPPROTO_TCP && pkt->frag_edge < sizeof(struct tcp_wire))
		return FW_STAT_FRAG_OVERLAP; /* RFC 1858: would write over the flags */
	return cfg_conntrack ? fw_complete(pkt, d) : -1;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Beside the kernel's NAT. iptables' filter hooks stand between DNAT and SNAT; tc ingress stands before both, tc egress behind. So
 * egress puts the packet's ends back from the kernel's own entry of the flow, which the skb carries, and input is judged at
 * LOCAL_IN (local_in.h), when the stack has decided what is for this host. Both directions of a flow then have the same two ends
 * at every hook: the originator's, and the one that answers.
 */
#ifndef BPFWALL_NAT_H
#define BPFWALL_NAT_H

enum { ORIGINAL, REPLY };

/* A struct nf_conntrack_tuple. */
struct tuple {
	__be32 saddr[4];
	__be32 daddr[4];
	__u16 sport;		/* or id of an ICMP query */
	__u16 dport;
	__u8 proto, type, code;
};

/* What the kernel knows of a packet's flow. */
struct translation {
	struct tuple tuples[2];	/* as the first packet comes in, and as its answer does */
	__u8 status;		/* STATUS_ */
	__u8 dir;		/* of the packet */
	__u8 related;		/* an ICMP error, or the first packet of a flow that a helper expected */
};

#define COPY_WORDS(to, from) \
	do { (to)[0] = (from)[0]; (to)[1] = (from)[1]; (to)[2] = (from)[2]; (to)[3] = (from)[3]; } while (0)

/* i: a constant, so that the loader finds each member by its whole path. */
#define COPY_TUPLE(to, c, i) \
	do { \
		COPY_WORDS((to)->saddr, (c)->tuplehash[i].tuple.src.u3.all); \
		COPY_WORDS((to)->daddr, (c)->tuplehash[i].tuple.dst.u3.all); \
		(to)->sport = bpf_ntohs((c)->tuplehash[i].tuple.src.u.all); \
		(to)->dport = bpf_ntohs((c)->tuplehash[i].tuple.dst.u.all); \
		(to)->proto = (c)->tuplehash[i].tuple.dst.protonum; \
		(to)->type = (c)->tuplehash[i].tuple.dst.u.icmp.type; \
		(to)->code = (c)->tuplehash[i].tuple.dst.u.icmp.code; \
	} while (0)

/* The kernel's entry of a packet's flow; NULL without one. nfct: of the skb, see kernel.h. */
static __always_inline const struct nf_conn *entry_of(unsigned long nfct)
{
	__u32 info = nfct & CTINFO_MASK;

	nfct &= ~(unsigned long)CTINFO_MASK;
	if (!nfct || info == CTINFO_UNTRACKED)
		return NULL;
	return bpf_rdonly_cast((void *)nfct, __builtin_btf_type_id(*(struct nf_conn *)0, 1));
}

/* Reads it. Reports 0 if the kernel does not translate the flow. */
static __always_inline int read_translation(struct translation *t, unsigned long nfct)
{
	const struct nf_conn *c = entry_of(nfct);
	__u32 info = nfct & CTINFO_MASK;

	if (!c)
		return 0;
	t->status = c->status & (STATUS_SRC_NAT | STATUS_DST_NAT);
	if (!t->status)
		return 0;
	t->dir = info >= CTINFO_IS_REPLY ? REPLY : ORIGINAL;
	t->related = info == CTINFO_RELATED || info == CTINFO_RELATED + CTINFO_IS_REPLY;
	COPY_TUPLE(&t->tuples[0], c, 0);
	COPY_TUPLE(&t->tuples[1], c, 1);
	return 1;
}

static __always_inline int changes_destination(unsigned long nfct)
{
	const struct nf_conn *c = entry_of(nfct);

	return c && (c->status & STATUS_DST_NAT);
}

static __always_inline int translation_of(struct __sk_buff *skb, struct translation *t)
{
	const struct sk_buff *k = bpf_cast_to_kern_ctx(skb);

	return read_translation(t, k->_nfct);
}

/* The tuple of the packet's own direction, and that of the other. */
static __always_inline const struct tuple *own(const struct translation *t) { return t->dir == REPLY ? &t->tuples[1] : &t->tuples[0]; }
static __always_inline const struct tuple *other(const struct translation *t) { return t->dir == REPLY ? &t->tuples[0] : &t->tuples[1]; }

/* To those who ask for a published port it is this host that answers (published.h). */
static __always_inline void answer_as_asked(struct translation *t)
{
	__builtin_memcpy(t->tuples[REPLY].saddr, t->tuples[ORIGINAL].daddr, 16);
	t->tuples[REPLY].sport = t->tuples[ORIGINAL].dport;
}

/* One end of a packet. Ports only where it has any; those of DCCP recent kernels do not know. */
static __always_inline void set_end(const struct fw_pkt *pkt, __be32 *addr, __u32 *port, const __be32 *to, __u16 to_port)
{
	__builtin_memcpy(addr, to, 16);
	if (*port <= 0xffff && pkt->proto != IPPROTO_DCCP)
		*port = to_port;
}

static __always_inline int same_addr(const __be32 *a, const __be32 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/*
 * An ICMP error has gone through nf_nat_icmp_reply_translation: its destination is right, and its source was replaced where its
 * sender is on a side that is hidden. That sender may have been a router; what is known is the end of the flow.
 */
static __always_inline void view_error(struct fw_pkt *pkt, const struct translation *t)
{
	if ((t->status & (t->dir == REPLY ? STATUS_DST_NAT : STATUS_SRC_NAT)) && same_addr(pkt->saddr, other(t)->daddr))
		__builtin_memcpy(pkt->saddr, own(t)->saddr, 16);
	if (pkt->published)
		__builtin_memcpy(pkt->daddr, other(t)->saddr, 16);
}

/* The packet's ends as the filter hooks see them. */
static __always_inline void view_ends(struct fw_pkt *pkt, const struct translation *t)
{
	set_end(pkt, pkt->saddr, &pkt->sport, own(t)->saddr, own(t)->sport);
	set_end(pkt, pkt->daddr, &pkt->dport, other(t)->saddr, other(t)->sport);
	if (is_icmp(pkt))
		pkt->icmp_id = t->tuples[ORIGINAL].sport;
}

/* The packet that an error at egress quotes, as the filter hooks see it. Reports 0 if the kernel does not translate its flow. */
static __always_inline int quoted_view(struct __sk_buff *skb, const struct fw_pkt *pkt, struct fw_pkt *q)
{
	const struct tuple *from, *to;
	struct translation t;

	if (!translation_of(skb, &t))
		return 0;
	if (pkt->published)
		answer_as_asked(&t);
	from = other(&t); /* the error answers it */
	to = own(&t);
	__builtin_memset(q, 0, sizeof(*q));
	q->family = pkt->family;
	q->proto = from->proto;
	set_end(q, q->saddr, &q->sport, from->saddr, from->sport);
	set_end(q, q->daddr, &q->dport, to->saddr, to->sport);
	if (!is_icmp(q))
		return 1;
	q->sport = 0;
	q->dport = 0;
	q->icmp_type = from->type;
	q->icmp_code = from->code;
	q->icmp_id = t.tuples[ORIGINAL].sport;
	return 1;
}

/* Where the packet's transport checksum is, in bytes from the transport header, with flags of bpf_l4_csum_replace; 0: nowhere. */
static __always_inline __u32 checksum_at(const struct fw_pkt *pkt, __u64 *flags)
{
	*flags = BPF_F_PSEUDO_HDR;
	switch (pkt->proto) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		*flags |= BPF_F_MARK_MANGLED_0;
		return 6;
	case IPPROTO_ICMP:
		*flags = 0;
		return 2;
	case IPPROTO_ICMPV6:
		return 2;
	}
	return 0;
}

/* Writes one word of an address into the packet, and corrects the checksums that it is part of. */
static __always_inline int put_word(struct __sk_buff *skb, const struct fw_pkt *pkt, __u32 off, __be32 word)
{
	__u32 sum;
	__u64 flags;
	__be32 old;

	if (bpf_skb_load_bytes(skb, off, &old, sizeof(old)))
		return -1;
	if (old == word)
		return 0;
	if (pkt->family == 4 && bpf_l3_csum_replace(skb, pkt->l3_off + 10, old, word, sizeof(word)))
		return -1;
	sum = checksum_at(pkt, &flags);
	if (sum && flags && bpf_l4_csum_replace(skb, pkt->l4_off + sum, old, word, flags | sizeof(word)))
		return -1;
	return bpf_skb_store_bytes(skb, off, &word, sizeof(word), 0);
}

/* The same for a port, or the id of an ICMP query. */
static __always_inline int put_half(struct __sk_buff *skb, const struct fw_pkt *pkt, __u32 off, __u16 value)
{
	__be16 old, half = bpf_htons(value);
	__u64 flags;
	__u32 sum;

	if (bpf_skb_load_bytes(skb, off, &old, sizeof(old)))
		return -1;
	if (old == half)
		return 0;
	sum = checksum_at(pkt, &flags);
	if (!sum)
		return -1; /* SCTP's would take the whole packet */
	if (bpf_l4_csum_replace(skb, pkt->l4_off + sum, old, half, (flags & ~BPF_F_PSEUDO_HDR) | sizeof(half)))
		return -1;
	return bpf_skb_store_bytes(skb, off, &half, sizeof(half), 0);
}

static __always_inline int put_addr(struct __sk_buff *skb, const struct fw_pkt *pkt, __u32 off, const __be32 *addr)
{
	if (put_word(skb, pkt, off, addr[0]))
		return -1;
	if (pkt->family == 4)
		return 0;
	return put_word(skb, pkt, off + 4, addr[1]) || put_word(skb, pkt, off + 8, addr[2]) || put_word(skb, pkt, off + 12, addr[3]);
}

/* Writes what pkt says of the ends into the packet. */
static __always_inline int put_ends(struct __sk_buff *skb, const struct fw_pkt *pkt)
{
	__u32 off = pkt->l3_off + (pkt->family == 4 ? 12 : 8);

	if (put_addr(skb, pkt, off, pkt->saddr) || put_addr(skb, pkt, off + (pkt->family == 4 ? 4 : 16), pkt->daddr))
		return -1;
	if (is_icmp(pkt))
		return put_half(skb, pkt, pkt->l4_off + 4, pkt->icmp_id);
	if (pkt->sport > 0xffff || pkt->dport > 0xffff)
		return 0;
	return put_half(skb, pkt, pkt->l4_off, pkt->sport) || put_half(skb, pkt, pkt->l4_off + 2, pkt->dport);
}

/* The packet's ends as its sender sent them. */
static __always_inline void sent_ends(struct fw_pkt *pkt, const struct translation *t)
{
	set_end(pkt, pkt->saddr, &pkt->sport, own(t)->saddr, own(t)->sport);
	set_end(pkt, pkt->daddr, &pkt->dport, own(t)->daddr, own(t)->dport);
	if (is_icmp(pkt))
		pkt->icmp_id = own(t)->sport;
}

/* At egress, before a packet is answered: makes it what its sender sent. Reports -1 if it cannot. */
__noinline int fw_nat_undo(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct translation t;

	if (!pkt)
		return -1;
	if (!cfg_nat || !translation_of(skb, &t))
		return 0;
	if (pkt->frag || pkt->malformed || (is_icmp(pkt) && t.related))
		return -1; /* not answered */
	sent_ends(pkt, &t);
	return put_ends(skb, pkt) ? -1 : 0;
}

#endif

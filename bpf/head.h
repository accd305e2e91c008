/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where a packet's bytes come from: what parse.h, transport.h and meta.h ask of a frame. At tc that is the skb. At LOCAL_IN, where
 * programs have no skb of the kind that helpers take, it is a copy of the packet's first bytes, and the skb that is handed around is
 * NULL, which the compiler sees. xdp_head.h answers the same questions in XDP.
 */
#ifndef BPFWALL_HEAD_H
#define BPFWALL_HEAD_H

#define FRAME struct __sk_buff

#define HEAD 512 /* bytes; a power of two. Headers that go on behind it count as cut short */

struct head {
	__u32 len;	/* of the packet */
	__u32 have;	/* bytes of it in data */
	__u8 data[HEAD];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct head);
} head SEC(".maps");

static __always_inline int is_head(const FRAME *skb)
{
	return __builtin_constant_p(!skb) && !skb;
}

static __always_inline struct head *the_head(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&head, &zero);
}

static __always_inline int load_head(__u32 off, void *to, const __u32 len)
{
	struct head *h = the_head();

	asm volatile("" : "+r"(off));
	if (!h || off > HEAD - len || off + len > h->have)
		return -1;
	__builtin_memcpy(to, words(h->data + off), len);
	return 0;
}

static __always_inline int can_walk(const FRAME *skb) { return 1; }

/* Copies bytes from wherever in the buffer they lie. */
static __always_inline int load_bytes(FRAME *skb, __u32 off, void *to, const __u32 len)
{
	return is_head(skb) ? load_head(off, to, len) : bpf_skb_load_bytes(skb, off, to, len);
}

/* The same from the linear part of the buffer. */
static __always_inline int glimpse(struct __sk_buff *skb, __u32 off, void *to, const __u32 len)
{
	void *data, *end;

	asm volatile("" : "+r"(off)); /* clang may bound what off is made of, from which older verifiers do not see the bound of off */
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (off >= 256 || data + off + len > end) /* 256: the verifier wants a bound */
		return -1;
	__builtin_memcpy(to, words(data + off), len);
	return 0;
}

/* The same from there, as a rule. */
static __always_inline int fetch(FRAME *skb, __u32 off, void *to, const __u32 len)
{
	if (is_head(skb))
		return load_head(off, to, len);
	return glimpse(skb, off, to, len) ? bpf_skb_load_bytes(skb, off, to, len) : 0;
}

/* len: 1 to 40, known to the verifier. */
static __always_inline int load_options(FRAME *skb, __u32 off, void *to, __u32 len)
{
	return bpf_skb_load_bytes(skb, off, to, len);
}

/* Bytes of the buffer. */
static __always_inline __u32 buffer_len(const FRAME *skb)
{
	struct head *h;

	if (!is_head(skb))
		return skb->len;
	h = the_head();
	return h ? h->len : 0;
}

/* More than one packet in a buffer. The stack has cut what it delivers to the length that its header says, if that says any. */
static __always_inline int is_super(const FRAME *skb)
{
	return is_head(skb) || skb->gso_segs > 1;
}

/*
 * User space and the dispatchers put the length of the link header + 1 into cb[0]; 0 is Ethernet. Copies of our own multicasts and
 * broadcasts come in before they get a link header (ip_mc_output, dev_loopback_xmit).
 */
static __always_inline __u32 link_len(const FRAME *skb)
{
	__u32 v = skb->cb[0];

	if (skb->pkt_type == PACKET_LOOPBACK)
		return 0;
	return v ? (v - 1) & 0xff : 14;
}

/* The EtherType in front of what link_len is the place of. */
static __always_inline __be16 link_proto(const FRAME *skb) { return skb->protocol; }

/* A tag that is not in the frame any more, but for priority tags. */
static __always_inline int in_vlan(const FRAME *skb) { return skb->vlan_present && (skb->vlan_tci & 0xfff); }

/* PACKET_* */
static __always_inline __u32 addressee(const FRAME *skb) { return skb->pkt_type; }

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where a packet's bytes come from. At tc that is the frame. At LOCAL_IN, where programs have no skb of the kind that helpers take,
 * it is a copy of the packet's first bytes, and the skb that is handed around is NULL, which the compiler sees.
 */
#ifndef BPFWALL_HEAD_H
#define BPFWALL_HEAD_H

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

static __always_inline int is_head(const struct __sk_buff *skb)
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
	__builtin_memcpy(to, h->data + off, len);
	return 0;
}

/* Copies bytes from wherever in the buffer they lie. */
static __always_inline int load_bytes(struct __sk_buff *skb, __u32 off, void *to, const __u32 len)
{
	return is_head(skb) ? load_head(off, to, len) : bpf_skb_load_bytes(skb, off, to, len);
}

/* Bytes of the buffer. */
static __always_inline __u32 buffer_len(const struct __sk_buff *skb)
{
	struct head *h;

	if (!is_head(skb))
		return skb->len;
	h = the_head();
	return h ? h->len : 0;
}

/* More than one packet in a buffer. The stack has cut what it delivers to the length that its header says, if that says any. */
static __always_inline int is_super(const struct __sk_buff *skb)
{
	return is_head(skb) || skb->gso_segs > 1;
}

#endif

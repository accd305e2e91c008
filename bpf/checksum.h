/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Checksums of received packets: conntrack calls a packet invalid whose checksum is wrong (nf_conntrack_proto_tcp.c and its
 * siblings, net/netfilter/utils.c). What the network card or GRO has verified, and what a local sender leaves to the card, is
 * not summed up again. Of fragments nothing is: the sum is over all of them.
 */
#ifndef BPFWALL_CHECKSUM_H
#define BPFWALL_CHECKSUM_H

#define SUM_CHUNK	512	/* bytes; bpf_csum_diff took no more before Linux 6.13 */
#define SUM_CHUNKS	129	/* that a packet may have */

enum checksum { CHECKSUM_NONE, CHECKSUM_UNNECESSARY, CHECKSUM_COMPLETE, CHECKSUM_PARTIAL }; /* linux/skbuff.h */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32[SUM_CHUNK / 4]);
} sum_chunk SEC(".maps");

/* What the kernel knows of the packet's checksum. */
static __always_inline enum checksum checksum_known(struct __sk_buff *skb)
{
	struct sk_buff *k = bpf_cast_to_kern_ctx(skb);
	__u64 v = *((__u8 *)k + __builtin_preserve_field_info(k->ip_summed, 0)); /* BPF_FIELD_BYTE_OFFSET */

	v <<= __builtin_preserve_field_info(k->ip_summed, 4); /* BPF_FIELD_LSHIFT_U64 */
	return v >> __builtin_preserve_field_info(k->ip_summed, 5); /* BPF_FIELD_RSHIFT_U64 */
}

/* What has been verified, or is left to the card that sends it. */
static __always_inline int checksum_trusted(struct __sk_buff *skb)
{
	enum checksum known = checksum_known(skb);

	return known == CHECKSUM_UNNECESSARY || known == CHECKSUM_PARTIAL;
}

/* The sum of len bytes of the frame, not folded. -1: too many, or not there. */
static __always_inline __s64 sum_frame(struct __sk_buff *skb, __u32 off, __u32 len)
{
	__u32 zero = 0, n, i;
	__u32 *chunk = bpf_map_lookup_elem(&sum_chunk, &zero);
	__u64 sum = 0;

	for (i = 0; chunk && i < SUM_CHUNKS; i++) {
		if (len < SUM_CHUNK)
			break;
		if (bpf_skb_load_bytes(skb, off, chunk, SUM_CHUNK))
			return -1;
		sum = sum_of(chunk, SUM_CHUNK, sum);
		off += SUM_CHUNK;
		len -= SUM_CHUNK;
	}
	if (!chunk || len >= SUM_CHUNK)
		return -1;
	if (!len)
		return sum;
	n = (len - 1) / 4 & (SUM_CHUNK / 4 - 1); /* the last word, which may be shorter */
	chunk[n] = 0;
	if (bpf_skb_load_bytes(skb, off, chunk, within(len, SUM_CHUNK)))
		return -1;
	return sum_of(chunk, (n + 1) * 4, sum);
}

#include "crc32c.h"

/* Reports 1 if a received packet, whose checksum is not trusted, has one and that is wrong. */
__noinline int fw_checksum_wrong(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	__be16 check = 0;
	__u64 pseudo = 0;
	__s64 sum;
	__u32 len;

	if (!pkt || !cfg_checksums || pkt->frag || pkt->more_frags || pkt->malformed)
		return 0;
	if (pkt->proto != IPPROTO_TCP && pkt->proto != IPPROTO_UDP && pkt->proto != IPPROTO_SCTP && !is_icmp(pkt))
		return 0;
	if (pkt->proto == IPPROTO_SCTP)
		return checksum_known(skb) == CHECKSUM_NONE && crc_wrong(skb, pkt->l4_off, transport_len(pkt));
	if (pkt->proto == IPPROTO_UDP && (bpf_skb_load_bytes(skb, pkt->l4_off + 6, &check, sizeof(check)) || !check))
		return 0; /* the sender did without */
	len = transport_len(pkt);
	if (pkt->proto != IPPROTO_ICMP)
		pseudo = pseudo_sum(pkt->saddr, pkt->daddr, pkt->proto, len);
	sum = sum_frame(skb, pkt->l4_off, len);
	return sum >= 0 && fold(sum + pseudo) != 0xffff;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Builds the answer to a rejected packet in that packet's own buffer: a TCP reset, or an ICMP error that quotes it. */
#ifndef BPFWALL_ANSWER_H
#define BPFWALL_ANSWER_H

#define QUOTE4 548	/* RFC 1812 4.3.2.3: the whole error is at most 576 bytes */
#define QUOTE6 1232	/* RFC 4443 2.4: at most 1280 */
#define CHUNK 64	/* bytes summed at a time */

/* Who answers whom. */
struct answer {
	__be32 saddr[4];
	__be32 daddr[4];
};

/*
 * Whether the packet's transport checksum is still to be computed (CHECKSUM_PARTIAL): then its field holds the sum of the
 * pseudo-header. Such a field is filled in when the frame leaves, by a device that goes by the old packet's offsets.
 */
static __always_inline int checksum_is_due(struct __sk_buff *skb, const struct fw_pkt *pkt, __u16 *field)
{
	__u32 off = pkt->proto == IPPROTO_TCP ? 16 : 6;

	if ((pkt->proto != IPPROTO_TCP && pkt->proto != IPPROTO_UDP) || pkt->malformed)
		return 0;
	if (bpf_skb_load_bytes(skb, pkt->l4_off + off, field, sizeof(*field)))
		return 0;
	return *field == fold(pseudo_sum(pkt->saddr, pkt->daddr, pkt->proto, transport_len(pkt)));
}

static __always_inline int store_ip4(struct __sk_buff *skb, const struct fw_pkt *pkt, const struct answer *a, __u8 proto, __u32 len)
{
	struct iphdr h = {
		.version = 4,
		.ihl = 5,
		.tos = proto == IPPROTO_ICMP ? 0xc0 : 0, /* RFC 1812 4.3.2.5: internetwork control */
		.tot_len = bpf_htons(sizeof(h) + len),
		.frag_off = bpf_htons(0x4000), /* RFC 6864: DF, so the id means nothing */
		.ttl = 64,
		.protocol = proto,
		.saddr = a->saddr[0],
		.daddr = a->daddr[0],
	};

	h.check = ~fold(sum_of(&h, sizeof(h), 0));
	return bpf_skb_store_bytes(skb, pkt->l3_off, &h, sizeof(h), BPF_F_INVALIDATE_HASH);
}

static __always_inline int store_ip6(struct __sk_buff *skb, const struct fw_pkt *pkt, const struct answer *a, __u8 proto, __u32 len)
{
	struct ipv6hdr h = { .version = 6, .payload_len = bpf_htons(len), .nexthdr = proto, .hop_limit = 64 };

	__builtin_memcpy(&h.saddr, a->saddr, 16);
	__builtin_memcpy(&h.daddr, a->daddr, 16);
	return bpf_skb_store_bytes(skb, pkt->l3_off, &h, sizeof(h), BPF_F_INVALIDATE_HASH);
}

static __always_inline int store_ip(struct __sk_buff *skb, const struct fw_pkt *pkt, const struct answer *a, __u8 proto, __u32 len)
{
	return pkt->family == 4 ? store_ip4(skb, pkt, a, proto, len) : store_ip6(skb, pkt, a, proto, len);
}

static __always_inline __u32 ip_len(const struct fw_pkt *pkt)
{
	return pkt->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

/* A TCP segment of len bytes, a multiple of 4, in place of the one that it answers. */
static __always_inline int build_segment(struct __sk_buff *skb, const struct fw_pkt *pkt, const struct answer *a, struct tcp_wire *h,
					 const __u32 len)
{
	__u32 off = pkt->l3_off + ip_len(pkt);
	__u16 field;
	int due = checksum_is_due(skb, pkt, &field);
	__u64 sum = pseudo_sum(a->saddr, a->daddr, IPPROTO_TCP, len);

	h->check = due ? fold(sum) : (__u16)~fold(sum_of(h, len, sum));
	/* IP options and extension headers go: the transport header, and where the checksum is put if it is due, stays where it was. */
	if (pkt->l4_off != off && bpf_skb_adjust_room(skb, (__s32)(off - pkt->l4_off), BPF_ADJ_ROOM_NET, 0))
		return -1;
	if (bpf_skb_change_tail(skb, off + len, 0))
		return -1;
	if (store_ip(skb, pkt, a, IPPROTO_TCP, len))
		return -1;
	return bpf_skb_store_bytes(skb, off, h, len, 0);
}

/* RFC 9293 3.10.7.1: what the other end expects next. */
static __always_inline int build_reset(struct __sk_buff *skb, const struct fw_pkt *pkt, const struct answer *a)
{
	struct tcp_wire h = { bpf_htons(pkt->dport), bpf_htons(pkt->sport), 0, 0, 5 << 4, TCP_RST };

	if (pkt->tcp_flags & TCP_ACK) {
		h.seq = bpf_htonl(pkt->ack);
	} else {
		h.ack = bpf_htonl(segment_end(pkt));
		h.flags |= TCP_ACK;
	}
	return build_segment(skb, pkt, a, &h, sizeof(h));
}

/* The sum of len bytes at off. */
static __always_inline __u64 sum_packet(struct __sk_buff *skb, __u32 off, __u32 len)
{
	__u64 sum = 0;
	__u32 n;
	int i;

	for (i = 0; i < (QUOTE6 + CHUNK - 1) / CHUNK; i++) {
		__be32 buf[CHUNK / 4] = {};

		if (len == 0 || len > QUOTE6)
			break;
		n = len < CHUNK ? len : CHUNK;
		if (bpf_skb_load_bytes(skb, off, buf, within(n, CHUNK)))
			break;
		sum = sum_of(buf, sizeof(buf), sum);
		off += n;
		len -= n;
	}
	return sum;
}

/*
 * The sum of the quote as it will be on the wire. If the quoted packet's checksum is due, its transport part will sum up to
 * the complement of the field as it is now: R + ~R is 0, and the field is taken out of R.
 */
static __always_inline __u64 quote_sum(struct __sk_buff *skb, const struct fw_pkt *pkt, __u32 at, __u32 quote, int due, __u16 field)
{
	if (!due)
		return sum_packet(skb, at, quote);
	return sum_packet(skb, at, pkt->l4_off - pkt->l3_off) + (__u16)~field;
}

/* RFC 792, RFC 4443. Room for the new headers is made between link layer and packet, so that the quote stays in place. */
static __always_inline int build_error(struct __sk_buff *skb, const struct fw_pkt *pkt, const struct answer *a, __u8 code)
{
	struct icmp_wire h = { .type = pkt->family == 4 ? 3 : 1, .code = code };
	__u8 proto = pkt->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	__u32 max = pkt->family == 4 ? QUOTE4 : QUOTE6, quote = pkt->length < max ? pkt->length : max;
	__u32 off = pkt->l3_off + ip_len(pkt);
	__u16 field = 0;
	int due = checksum_is_due(skb, pkt, &field);
	__u64 sum;

	if (bpf_skb_change_tail(skb, pkt->l3_off + quote, 0))
		return -1;
	if (bpf_skb_adjust_room(skb, ip_len(pkt) + sizeof(h), BPF_ADJ_ROOM_MAC, 0))
		return -1;
	sum = quote_sum(skb, pkt, off + sizeof(h), quote, due, field);
	if (pkt->family == 6)
		sum += pseudo_sum(a->saddr, a->daddr, proto, sizeof(h) + quote);
	h.check = ~fold(sum_of(&h, sizeof(h), sum));
	if (store_ip(skb, pkt, a, proto, sizeof(h) + quote))
		return -1;
	return bpf_skb_store_bytes(skb, off, &h, sizeof(h), 0);
}

#endif

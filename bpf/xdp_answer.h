/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Makes a SYN its own answer in XDP. */
#ifndef BPFWALL_XDP_ANSWER_H
#define BPFWALL_XDP_ANSWER_H

static __always_inline int store_macs(struct xdp_md *frame)
{
	__u8 m[12], swapped[12];

	if (fetch(frame, 0, m, sizeof(m)))
		return -1;
	__builtin_memcpy(swapped, m + 6, 6);
	__builtin_memcpy(swapped + 6, m, 6);
	return bpf_xdp_store_bytes(frame, 0, swapped, sizeof(swapped));
}

static __always_inline int store_ip4(struct xdp_md *frame, const struct fw_pkt *pkt, __u32 len)
{
	struct iphdr h = {
		.version = 4,
		.ihl = 5,
		.tot_len = bpf_htons(sizeof(h) + len),
		.frag_off = bpf_htons(0x4000), /* RFC 6864: DF, so the id means nothing */
		.ttl = 64,
		.protocol = IPPROTO_TCP,
		.saddr = pkt->daddr[0],
		.daddr = pkt->saddr[0],
	};

	h.check = ~fold(sum_of(&h, sizeof(h), 0));
	return bpf_xdp_store_bytes(frame, pkt->l3_off, &h, sizeof(h));
}

static __always_inline int store_ip6(struct xdp_md *frame, const struct fw_pkt *pkt, __u32 len)
{
	struct ipv6hdr h = { .version = 6, .payload_len = bpf_htons(len), .nexthdr = IPPROTO_TCP, .hop_limit = 64 };

	__builtin_memcpy(&h.saddr, pkt->daddr, 16);
	__builtin_memcpy(&h.daddr, pkt->saddr, 16);
	return bpf_xdp_store_bytes(frame, pkt->l3_off, &h, sizeof(h));
}

/* The answer is in syn_work. Fails where the driver leaves no room behind the frame. */
static __always_inline int make_synack(struct xdp_md *frame, const struct fw_pkt *pkt)
{
	struct syn_work *w = syn_work();
	const __u32 len = sizeof(w->answer);
	__u32 off = pkt->l3_off + (pkt->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));

	if (!w || bpf_xdp_adjust_tail(frame, (int)(off + len - buffer_len(frame))))
		return -1;
	w->answer.tcp.check = ~fold(sum_of(&w->answer, len, pseudo_sum(pkt->daddr, pkt->saddr, IPPROTO_TCP, len)));
	if (store_macs(frame) || bpf_xdp_store_bytes(frame, off, &w->answer, len))
		return -1;
	return pkt->family == 4 ? store_ip4(frame, pkt, len) : store_ip6(frame, pkt, len);
}

#endif

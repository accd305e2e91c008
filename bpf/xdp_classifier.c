//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The prerouting rules of a generation in XDP, where a driver hands packets over before the kernel makes skbs of them. What is
 * dropped here costs least. Whatever XDP cannot see as tc does is left to tc ingress, which judges all that has no seal of ours.
 */
#include <linux/types.h>
#include <linux/stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <linux/rtnetlink.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "fw.h"
#include "kernel.h"
#include "switches.h"
#include "maps.h"
#include "exchange.h"
#include "limit.h"
#include "meter.h"
#include "recent.h"
#include "log.h"
#include "hooks.h"
#include "xdp_head.h"
#include "transport.h"
#include "parse.h"
#include "addr.h"
#include "meta.h"
#include "seal.h"
#include "sum.h"
#include "fib.h"
#include "synproxy.h"
#include "xdp_answer.h"

/* Drivers that keep no metadata let it begin behind the frame's first byte (xdp_set_data_meta_invalid). */
static __always_inline int keeps_metadata(const struct xdp_md *frame)
{
	return (void *)(long)frame->data_meta <= (void *)(long)frame->data;
}

/* Room for a seal; none if there is too little in front of the frame. */
static __always_inline struct seal *make_seal(struct xdp_md *frame)
{
	struct seal *s;

	if (bpf_xdp_adjust_meta(frame, -(int)sizeof(*s)))
		return NULL;
	s = (void *)(long)frame->data_meta;
	return (void *)(s + 1) <= (void *)(long)frame->data ? s : NULL;
}

/*
 * tc is to judge it. A veth hands on the metadata that an skb had before, so what is there is made empty, and where nothing is, so that
 * an older seal does not come to lie there.
 */
static __always_inline int leave(struct xdp_md *frame)
{
	struct seal *s = make_seal(frame);

	if (!s) {
		s = (void *)(long)frame->data_meta;
		if ((void *)(s + 1) > (void *)(long)frame->data)
			return XDP_PASS;
	}
	__builtin_memset(s, 0, sizeof(*s));
	return XDP_PASS;
}

/* Judged: tc goes by that. */
static __always_inline int seal(struct xdp_md *frame, const struct fw_pkt *pkt, int verdict)
{
	struct seal *s = make_seal(frame);

	if (!s) {
		count(FW_STAT_XDP_NO_ROOM); /* judged again, and counted again */
		return leave(frame);
	}
	s->key = own_seal;
	s->ifindex = pkt->in_ifindex;
	s->said = (verdict & SEAL_VERDICT) | (pkt->notrack ? SEAL_NOTRACK : 0) | (pkt->cookie ? SEAL_COOKIE : 0);
	return XDP_PASS;
}

/*
 * Fills pkt. Reports 0 for what tc sees better: fragments, super-packets, what the stack refuses, or does not take for its own. What comes
 * in by a port of a bond is the bond's, as at tc.
 */
static __always_inline int describe(struct xdp_md *frame, struct fw_pkt *pkt)
{
	const struct iface *i = iface_of(frame);
	__u32 to = i ? addressed_to(frame, i) : PACKET_OTHERHOST;

	if (to == PACKET_OTHERHOST)
		return 0;
	if (fw_parse(frame, pkt) != PARSE_OK || pkt->malformed || pkt->frag || pkt->more_frags)
		return 0;
	set_interfaces(pkt, i->bond ?: i->ifindex, 0);
	set_pkt_type(pkt, to);
	set_addr_types(pkt);
	set_source_mac(frame, pkt);
	pkt->hook = FW_HOOK_PREROUTING;
	return 1;
}

/* Back to where the SYN came from; tc answers it where that cannot be done here, and counts it once more. */
static __always_inline int answer(struct xdp_md *frame, const struct fw_pkt *pkt)
{
	return make_synack(frame, pkt) ? leave(frame) : XDP_TX;
}

SEC("xdp.frags")
int xdp_ingress(struct xdp_md *frame)
{
	struct fw_pkt *pkt = scratch_pkt();
	int verdict;

	if (!pkt)
		return XDP_PASS;
	keep_helpers(pkt);
	if (!keeps_metadata(frame)) {
		count(FW_STAT_XDP_NO_ROOM);
		return XDP_PASS;
	}
	if (!describe(frame, pkt))
		return leave(frame);
	verdict = fw_prerouting(pkt);
	if (verdict_kind(verdict) == FW_DROP)
		return XDP_DROP;
	if (is_proxied(pkt)) {
		switch (fw_synproxy(frame, pkt)) {
		case SYN_ANSWER:
			return answer(frame, pkt);
		case SYN_DROP:
			return XDP_DROP;
		}
	}
	return seal(frame, pkt, verdict);
}

char _license[] SEC("license") = "GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What head.h answers at tc, in XDP: there all is in the frame, which may be in several buffers (xdp.frags), and no skb tells more. */
#ifndef BPFWALL_XDP_HEAD_H
#define BPFWALL_XDP_HEAD_H

#define FRAME struct xdp_md

static __always_inline int is_head(const FRAME *frame) { return 0; }

/* Whether what headers are followed by can be walked. Without cfg_long_frames the verifier would have to follow each step: that is for tc. */
static __always_inline int can_walk(const FRAME *frame) { return cfg_long_frames; }

static __always_inline int load_bytes(FRAME *frame, __u32 off, void *to, __u32 len)
{
	return cfg_long_frames ? bpf_xdp_load_bytes(frame, off, to, len) : -1;
}

static __always_inline int fetch(FRAME *frame, __u32 off, void *to, const __u32 len)
{
	void *data = (void *)(long)frame->data, *end = (void *)(long)frame->data_end;

	asm volatile("" : "+r"(off)); /* as in head.h */
	if (off < 256 && data + off + len <= end) { /* 256: the verifier wants a bound */
		__builtin_memcpy(to, words(data + off), len);
		return 0;
	}
	return load_bytes(frame, off, to, len);
}

/* len: 1 to 40, known to the verifier. */
static __always_inline int load_options(FRAME *frame, __u32 off, void *to, __u32 len) { return load_bytes(frame, off, to, len); }

static __always_inline __u32 buffer_len(FRAME *frame)
{
	asm volatile("" : "+r"(frame)); /* else clang keeps data and data_end from here on as numbers, for fetch too */
	return cfg_long_frames ? bpf_xdp_get_buff_len(frame) : (void *)(long)frame->data_end - (void *)(long)frame->data;
}

/* A frame from the wire is one packet; a super-packet of a veth that does not say its length comes out malformed. */
static __always_inline int is_super(const FRAME *frame) { return 0; }

/* Only attached to interfaces with Ethernet headers. */
static __always_inline __u32 link_len(const FRAME *frame) { return sizeof(struct ethhdr); }

static __always_inline __be16 link_proto(FRAME *frame)
{
	__be16 proto = 0;

	fetch(frame, offsetof(struct ethhdr, h_proto), &proto, sizeof(proto));
	return proto;
}

/* Interfaces with VLANs whose tags are not in the frame are not for XDP. */
static __always_inline int in_vlan(const FRAME *frame) { return 0; }

/* Who the interface is that a frame has come in by. NULL: not known (yet). */
static __always_inline const struct iface *iface_of(const FRAME *frame)
{
	__u32 key = frame->ingress_ifindex & 0xffff;
	const struct iface *i = bpf_map_lookup_elem(&ifaces, &key);

	return i && i->ifindex == frame->ingress_ifindex ? i : NULL;
}

/* PACKET_*, as eth_type_trans of the kernel has it. */
static __always_inline __u32 addressed_to(FRAME *frame, const struct iface *i)
{
	__u64 to = 0, own = 0;

	if (fetch(frame, 0, &to, ETH_ALEN))
		return PACKET_OTHERHOST;
	__builtin_memcpy(&own, i->mac, ETH_ALEN);
	if (to == own)
		return PACKET_HOST;
	if (to == 0xffffffffffffULL)
		return PACKET_BROADCAST;
	return to & 1 ? PACKET_MULTICAST : PACKET_OTHERHOST;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a rule may ask that is not in the IP packet: interface names, address types, link layer. */
#ifndef BPFWALL_META_H
#define BPFWALL_META_H

/* Leaves the name empty if the interface is not known (yet). */
static __always_inline void name_of(__u32 ifindex, __u64 *name)
{
	__u32 key = ifindex & 0xffff;
	struct iface *i = bpf_map_lookup_elem(&ifaces, &key);

	if (ifindex && i && i->ifindex == ifindex)
		__builtin_memcpy(name, i->name, 16);
}

static __always_inline void set_interfaces(struct fw_pkt *pkt, __u32 in, __u32 out)
{
	pkt->in_ifindex = in;
	pkt->out_ifindex = out;
	if (!cfg_ifnames)
		return;
	name_of(in, pkt->in_name);
	name_of(out, pkt->out_name);
}

static __always_inline void set_addr_types(struct fw_pkt *pkt)
{
	if (!cfg_addrtypes)
		return;
	pkt->src_type = addr_type(pkt->family, pkt->saddr);
	pkt->dst_type = addr_type(pkt->family, pkt->daddr);
}

/* As nft_meta.c: copies of our own multicasts and broadcasts come in as PACKET_LOOPBACK; what is sent is as good as PACKET_HOST. */
static __always_inline void set_pkt_type(struct fw_pkt *pkt, __u32 addressee)
{
	int multicast = pkt->family == 6 || (pkt->daddr[0] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);

	switch (addressee) {
	case PACKET_BROADCAST:
		pkt->pkt_type = 2;
		break;
	case PACKET_MULTICAST:
		pkt->pkt_type = 4;
		break;
	case PACKET_LOOPBACK:
		pkt->pkt_type = multicast ? 4 : 2;
		break;
	default:
		pkt->pkt_type = 1;
	}
}

static __always_inline void set_source_mac(FRAME *skb, struct fw_pkt *pkt)
{
	__u8 m[6];

	if (!cfg_mac || link_len(skb) < 14 || load_bytes(skb, 6, m, sizeof(m)))
		return;
	pkt->smac = (__u64)m[0] << 40 | (__u64)m[1] << 32 | (__u64)m[2] << 24 | m[3] << 16 | m[4] << 8 | m[5];
}

static __always_inline void mac_key(struct mac_key *k, const struct fw_pkt *pkt)
{
	__builtin_memset(k, 0, sizeof(*k));
	__builtin_memcpy(k->saddr, pkt->saddr, 16);
	k->ifindex = pkt->in_ifindex;
	k->family = pkt->family;
}

/* Keeps the source MAC for the egress of a packet that passes through. */
static __always_inline void remember_mac(const struct fw_pkt *pkt)
{
	struct mac_key k;
	__u64 *known;

	if (!cfg_mac || pkt->smac == FW_ABSENT48)
		return;
	mac_key(&k, pkt);
	known = bpf_map_lookup_elem(&macs, &k);
	if (!known || *known != pkt->smac)
		bpf_map_update_elem(&macs, &k, &pkt->smac, BPF_ANY);
}

static __always_inline void recall_mac(struct fw_pkt *pkt)
{
	struct mac_key k;
	__u64 *known;

	if (!cfg_mac)
		return;
	mac_key(&k, pkt);
	known = bpf_map_lookup_elem(&macs, &k);
	if (known)
		pkt->smac = *known;
}

#endif

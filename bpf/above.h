/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Frames that interfaces on top of this one send by it. Where they are ours, they have been judged there; where they are a container's,
 * netfilter does not show them to the rules either.
 */
#ifndef BPFWALL_ABOVE_H
#define BPFWALL_ABOVE_H

#define ARPHRD_ETHER 1 /* linux/if_arp.h */

/* A macvlan's frames have its own source address (drivers/net/macvlan.c). What this host sends has that of the interface. */
static __always_inline int from_above(struct __sk_buff *skb)
{
	const struct ethhdr *eth = (void *)(long)skb->data;
	const struct net_device *dev;
	const __u8 *own;

	if (!cfg_casts || (void *)(eth + 1) > (void *)(long)skb->data_end)
		return 0;
	dev = ((struct sk_buff *)bpf_cast_to_kern_ctx(skb))->dev;
	if (!(dev->priv_flags & __builtin_preserve_enum_value(*(enum netdev_priv_flags *)IFF_MACVLAN_PORT, 1)) || dev->type != ARPHRD_ETHER)
		return 0;
	own = bpf_rdonly_cast(dev->dev_addr, __builtin_btf_type_id(*(struct ethhdr *)0, 1));
	return *(__u32 *)own != *(__u32 *)eth->h_source || *(__u16 *)(own + 4) != *(__u16 *)(eth->h_source + 4);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whether what user space has told of addresses still holds: the kernel counts the changes of its routes. */
#ifndef BPFWALL_EPOCH_H
#define BPFWALL_EPOCH_H

static __always_inline void read_epoch(struct net *net, struct route_epoch *e)
{
	e->ipv4 = net->ipv4.rt_genid.counter;
	e->ipv6 = net->ipv6.fib6_sernum.counter;
}

static __always_inline int epoch_holds(struct net *net)
{
	__u32 told = 0;
	struct route_epoch now, *then = bpf_map_lookup_elem(&epochs, &told);

	read_epoch(net, &now);
	return then && then->ipv4 == now.ipv4 && then->ipv6 == now.ipv6 && (now.ipv4 || now.ipv6);
}

#endif

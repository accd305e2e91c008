/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the routing table says of an address. */
#ifndef BPFWALL_ADDR_H
#define BPFWALL_ADDR_H

/* 1 << RTN_* of an address, as inet_addr_type of the kernel: some by value, others from the routing table. */
static __always_inline __u16 addr_type(__u8 family, const __be32 *addr)
{
	struct addr_key key = { .prefixlen = family == 4 ? 64 : 160, .family = family };
	__u16 *type;

	if (family == 4 && (addr[0] == 0 || addr[0] == 0xffffffff))
		return 1 << RTN_BROADCAST; /* inet_addr_type: zeronet and limited broadcast */
	if (family == 4 && (addr[0] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000))
		return 1 << RTN_MULTICAST;
	if (family == 6 && (addr[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000))
		return 1 << RTN_MULTICAST;
	__builtin_memcpy(key.addr, addr, 16);
	type = bpf_map_lookup_elem(&addr_types, &key);
	return type ? *type : 1 << RTN_UNICAST;
}

#endif

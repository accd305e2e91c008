/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Internet checksums (RFC 1071), at tc and in XDP. */
#ifndef BPFWALL_SUM_H
#define BPFWALL_SUM_H

/* n, which is from 1 to max, a power of two: clang knows that already and would leave it out, the verifiers of most kernels do not. */
static __always_inline __u32 within(__u32 n, const __u32 max)
{
	n--;
	asm volatile("" : "+r"(n));
	return (n & (max - 1)) + 1;
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Adds len bytes, a multiple of 4, to a sum in network byte order. */
static __always_inline __u64 sum_of(const void *p, __u32 len, __u64 sum)
{
	return sum + (__u32)bpf_csum_diff(0, 0, (__be32 *)p, len, 0);
}

/* The pseudo-header of RFC 9293 3.1 and RFC 8200 8.1; unused words of IPv4 addresses are 0 and add nothing. */
static __always_inline __u64 pseudo_sum(const __be32 *saddr, const __be32 *daddr, __u8 proto, __u32 len)
{
	__u64 sum = (__u64)bpf_htonl(len) + bpf_htonl(proto);
	int i;

	for (i = 0; i < 4; i++)
		sum += (__u64)saddr[i] + daddr[i];
	return sum;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Numbers that several CPUs change, where it matters what was there. Linux before 5.12 has no instructions for that: there, of two changes at
 * the same time one may be lost.
 */
#ifndef BPFWALL_EXCHANGE_H
#define BPFWALL_EXCHANGE_H

/* Puts now in place of was, if that is there. Reports what was there. */
static __always_inline __u64 replace_if(__u64 *at, __u64 was, __u64 now)
{
	__u64 had;

	if (cfg_exchanges)
		return __sync_val_compare_and_swap(at, was, now);
	had = *(volatile __u64 *)at;
	if (had == was)
		*(volatile __u64 *)at = now;
	return had;
}

/* Adds one. Reports what was there. */
static __always_inline __u64 count_up(__u64 *at)
{
	__u64 had;

	if (cfg_exchanges)
		return __sync_fetch_and_add(at, 1);
	had = *(volatile __u64 *)at;
	*(volatile __u64 *)at = had + 1;
	return had;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What is read of the kernel's own structures. Only the members that are used; the loader finds their places in the running
 * kernel's type information.
 */
#ifndef BPFWALL_KERNEL_H
#define BPFWALL_KERNEL_H

#define RELOCATED __attribute__((preserve_access_index))

struct sk_buff {
	__u8 ip_summed : 2;	/* enum checksum */
} RELOCATED;

/* Linux 6.2. Weak: a kernel without it runs everything but what cfg_checksums switches on. */
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

#endif

//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What only the kernel's own structures tell about a host: user space runs these programs on a packet that there never was. */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "kernel.h"

SEC("tc")
int defrag_users(struct __sk_buff *skb) { return ipv6_defrag_users(skb); }

char _license[] SEC("license") = "GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The word that says which generation decides, for everything that stays attached. 0: none. */
#ifndef BPFWALL_GENERATION_H
#define BPFWALL_GENERATION_H

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} gen SEC(".maps");

static __always_inline __u32 generation(void)
{
	__u32 zero = 0, *word = bpf_map_lookup_elem(&gen, &zero);

	return word ? *(volatile __u32 *)word : 0;
}

/*
 * Goes on with the program of a generation, if there is one. The JIT makes direct jumps of constant indices; of one computed index, which
 * clang likes to make of them, it makes an indirect jump, and where these need a retpoline that is 10 ns.
 */
#define GO_ON(ctx, progs, now) \
	do { \
		if ((now) & 1) \
			bpf_tail_call_static(ctx, &(progs), 1); \
		else \
			bpf_tail_call_static(ctx, &(progs), 0); \
	} while (0)

#endif

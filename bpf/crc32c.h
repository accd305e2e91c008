/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The CRC of SCTP: Castagnoli's, RFC 9260 appendix A. Eight bytes at a time, each with a table of what it does to the bytes after it. */
#ifndef BPFWALL_CRC32C_H
#define BPFWALL_CRC32C_H

#define CRC_CHUNK	128	/* bytes: a compromise of the verifier's work and ours */
#define CRC_CHUNKS	513	/* that a packet may have */

/* The CRC is linear: an entry is the sum of those of its bits. */
#define CRC_ENTRY(i, a, b, c, d, e, f, g, h) (((i) & 1 ? a : 0) ^ ((i) & 2 ? b : 0) ^ ((i) & 4 ? c : 0) ^ ((i) & 8 ? d : 0) ^ \
	((i) & 16 ? e : 0) ^ ((i) & 32 ? f : 0) ^ ((i) & 64 ? g : 0) ^ ((i) & 128 ? h : 0))
#define CRC_4(i, ...) CRC_ENTRY(i, __VA_ARGS__), CRC_ENTRY(i + 1, __VA_ARGS__), CRC_ENTRY(i + 2, __VA_ARGS__), CRC_ENTRY(i + 3, __VA_ARGS__)
#define CRC_16(i, ...) CRC_4(i, __VA_ARGS__), CRC_4(i + 4, __VA_ARGS__), CRC_4(i + 8, __VA_ARGS__), CRC_4(i + 12, __VA_ARGS__)
#define CRC_64(i, ...) CRC_16(i, __VA_ARGS__), CRC_16(i + 16, __VA_ARGS__), CRC_16(i + 32, __VA_ARGS__), CRC_16(i + 48, __VA_ARGS__)
#define CRC_TABLE(...) { CRC_64(0, __VA_ARGS__), CRC_64(64, __VA_ARGS__), CRC_64(128, __VA_ARGS__), CRC_64(192, __VA_ARGS__) }

/* [bytes that follow][byte] */
static const __u32 crc_table[8][256] = {
	CRC_TABLE(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78),
	CRC_TABLE(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9),
	CRC_TABLE(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743),
	CRC_TABLE(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
	CRC_TABLE(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c),
	CRC_TABLE(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6),
	CRC_TABLE(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
	CRC_TABLE(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664),
};

static __always_inline __u32 crc_byte(__u32 crc, __u8 byte) { return crc >> 8 ^ crc_table[0][(crc ^ byte) & 0xff]; }

static __always_inline __u32 crc_words(__u32 crc, __u32 first, __u32 second)
{
	first ^= crc;
	return crc_table[7][first & 0xff] ^ crc_table[6][first >> 8 & 0xff] ^ crc_table[5][first >> 16 & 0xff] ^ crc_table[4][first >> 24] ^
	       crc_table[3][second & 0xff] ^ crc_table[2][second >> 8 & 0xff] ^ crc_table[1][second >> 16 & 0xff] ^ crc_table[0][second >> 24];
}

/* What is still to be read. */
struct crc {
	struct __sk_buff *skb;
	__u32 off, len;
	__u32 crc;
	__u32 done;	/* 1: to the end */
};

/* The last bytes, fewer than eight: loaded anew, so that the verifier sees the same whatever came before. */
static __always_inline __u32 crc_tail(struct crc *c, __u32 crc, __u32 n)
{
	__u8 tail[8] = {};
	__u32 i;

	if (bpf_skb_load_bytes(c->skb, c->off - n, tail, n))
		return crc;
	for (i = 0; i < 7; i++)
		if (i < n)
			crc = crc_byte(crc, tail[i]);
	return crc;
}

/* Goes on by a chunk. The checksum itself counts as zero. */
static long crc_chunk(__u32 i, struct crc *c)
{
	__u32 zero = 0, n = c->len, j, crc = c->crc;
	__u32 *chunk = bpf_map_lookup_elem(&sum_chunk, &zero);

	if (n > CRC_CHUNK)
		n = CRC_CHUNK;
	if (!chunk || !n || bpf_skb_load_bytes(c->skb, c->off, chunk, within(n, CRC_CHUNK)))
		return 1;
	c->off += n;
	c->len -= n;
	if (!i)
		chunk[2] = 0;
	for (j = 0; j < CRC_CHUNK / 8 && n >= 8; j++, n -= 8)
		crc = crc_words(crc, chunk[2 * j], chunk[2 * j + 1]);
	if (!c->len && n && n < 8)
		crc = crc_tail(c, crc, within(n, 8));
	c->crc = crc;
	c->done = !c->len;
	return c->done;
}

/* Reports 1 if an SCTP packet of len bytes at off has a wrong CRC. */
static __always_inline int crc_wrong(struct __sk_buff *skb, __u32 off, __u32 len)
{
	struct crc c = { .skb = skb, .off = off, .len = len, .crc = 0xffffffff };
	__le32 said;

	if (bpf_skb_load_bytes(skb, off + 8, &said, sizeof(said)))
		return 0;
	bpf_loop(CRC_CHUNKS, crc_chunk, &c, 0);
	return c.done && ~c.crc != said;
}

#endif

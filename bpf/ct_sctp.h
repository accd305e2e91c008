/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* SCTP associations: the transitions and verification tags of nf_conntrack_proto_sctp.c (RFC 9260 8.5). */
#ifndef BPFWALL_CT_SCTP_H
#define BPFWALL_CT_SCTP_H

enum ct_sctp_state {
	SCTP_NONE, SCTP_CLOSED, SCTP_COOKIE_WAIT, SCTP_COOKIE_ECHOED, SCTP_ESTABLISHED, SCTP_SHUTDOWN_SENT, SCTP_SHUTDOWN_RECD,
	SCTP_SHUTDOWN_ACK_SENT, SCTP_HEARTBEAT_SENT, SCTP_STATES,
};

/* Beside states: XX invalid. */
enum { _N, CD, CK, EC, ET, SN, RD, AS, HS, XX };

/* [reply][chunk][state before]; more than there are, for the bounds */
static const __u8 sctp_next[2][16][16] = {
	{ /*             none CD  CK  EC  ET  SN  RD  AS  HS */
	{ 0 },
	/* init       */ { CD, CD, CK, EC, ET, CD, CD, AS, CK },
	/* init ack   */ { CD, CD, CK, EC, ET, SN, RD, AS, CD },
	/* abort      */ { CD, CD, CD, CD, CD, CD, CD, CD, CD },
	/* shutdown   */ { CD, CD, CK, EC, SN, SN, RD, AS, CD },
	/* its ack    */ { AS, CD, CK, EC, ET, AS, AS, AS, AS },
	/* error      */ { CD, CD, CK, EC, ET, SN, RD, AS, CD },
	/* cookie     */ { CD, CD, EC, EC, ET, SN, RD, AS, CD },
	/* its ack    */ { CD, CD, CK, ET, ET, SN, RD, AS, CD },
	/* complete   */ { CD, CD, CK, EC, ET, SN, RD, CD, CD },
	/* heartbeat  */ { HS, CD, CK, EC, ET, SN, RD, AS, HS },
	/* its ack    */ { CD, CD, CK, EC, ET, SN, RD, AS, HS },
	/* abort, T   */ { CD, CD, CD, CD, CD, CD, CD, CD, CD },
	/* complete, T*/ { CD, CD, CK, EC, ET, SN, RD, CD, CD },
	},
	{ /*             none CD  CK  EC  ET  SN  RD  AS  HS */
	{ 0 },
	/* init       */ { XX, CD, CK, EC, ET, SN, RD, AS, XX },
	/* init ack   */ { XX, CK, CK, EC, ET, SN, RD, AS, XX },
	/* abort      */ { XX, CD, CD, CD, CD, CD, CD, CD, XX },
	/* shutdown   */ { XX, CD, CK, EC, RD, SN, RD, AS, XX },
	/* its ack    */ { XX, CD, CK, EC, ET, AS, AS, AS, XX },
	/* error      */ { XX, CD, CK, CD, ET, SN, RD, AS, XX },
	/* cookie     */ { XX, CD, EC, EC, ET, SN, RD, AS, XX },
	/* its ack    */ { XX, CD, CK, ET, ET, SN, RD, AS, XX },
	/* complete   */ { XX, CD, CK, EC, ET, SN, RD, CD, XX },
	/* heartbeat  */ { XX, CD, CK, EC, ET, SN, RD, AS, HS },
	/* its ack    */ { XX, CD, CK, EC, ET, SN, RD, AS, ET },
	/* abort, T   */ { XX, CD, CD, CD, CD, CD, CD, CD, XX },
	/* complete, T*/ { XX, CD, CK, EC, ET, SN, RD, CD, XX },
	},
};

/* What of struct ct_flow is used: side[].end is the tag that this end's packets carry. */
enum { SCTP_SIDE_INIT = 1 /* side[].flags: sent an INIT */, SCTP_LAST_HEARTBEAT = 1 /* last_flags: one with a wrong tag */ };

static __always_inline int sctp_has(const struct fw_pkt *pkt, enum sctp_chunk c) { return pkt->wnd >> c & 1; }

/* A HEARTBEAT or its answer may bring a new tag: that of a path which was not seen before. Reports CT_IGNORE to skip the chunk. */
static __always_inline enum ct_result sctp_heartbeat(struct ct_flow *f, const struct fw_pkt *pkt, __u8 dir, __u8 chunk, int ignored)
{
	struct ct_side *me = dir ? &f->side[1] : &f->side[0], *peer = dir ? &f->side[0] : &f->side[1];

	if (!me->end) {
		me->end = pkt->seq;
		return CT_OK;
	}
	if (pkt->seq == me->end) {
		f->last_flags &= ~SCTP_LAST_HEARTBEAT;
		return CT_OK;
	}
	if (sctp_has(pkt, SCTP_DATA) || ignored)
		return CT_INVALID;
	if (chunk == SCTP_HEARTBEAT) {
		f->last_flags |= SCTP_LAST_HEARTBEAT;
		f->last_dir = dir;
		return CT_IGNORE;
	}
	if (!(f->last_flags & SCTP_LAST_HEARTBEAT) || f->last_dir == dir)
		return CT_INVALID;
	f->last_flags &= ~SCTP_LAST_HEARTBEAT;
	me->end = pkt->seq;
	peer->end = 0;
	return CT_OK;
}

/* The special rules for tags of RFC 9260 8.5.1. */
static __always_inline enum ct_result sctp_tag(struct ct_flow *f, const struct fw_pkt *pkt, __u8 dir, __u8 chunk, int ignored)
{
	struct ct_side *me = dir ? &f->side[1] : &f->side[0], *peer = dir ? &f->side[0] : &f->side[1];

	switch (chunk) {
	case SCTP_INIT:
		return pkt->seq ? CT_INVALID : CT_OK;
	case SCTP_ABORT_REFLECTED: case SCTP_COMPLETE_REFLECTED:
		return pkt->seq == peer->end ? CT_OK : CT_INVALID;
	case SCTP_ABORT: case SCTP_COMPLETE: case SCTP_COOKIE:
		return pkt->seq == me->end ? CT_OK : CT_INVALID;
	case SCTP_COOKIE_ACK:
		me->flags &= ~SCTP_SIDE_INIT;
		peer->flags &= ~SCTP_SIDE_INIT;
		return CT_OK;
	case SCTP_HEARTBEAT: case SCTP_HEARTBEAT_ACK:
		return sctp_heartbeat(f, pkt, dir, chunk, ignored);
	}
	return CT_OK;
}

/* INIT and INIT ACK say with which tag the other end is to answer. An INIT with a tag that is known is an old one, or sent again. */
static __always_inline enum ct_result sctp_init_tag(struct ct_flow *f, const struct fw_pkt *pkt, __u8 dir, __u8 chunk)
{
	struct ct_side *me = dir ? &f->side[1] : &f->side[0], *peer = dir ? &f->side[0] : &f->side[1];
	int mine = me->flags & SCTP_SIDE_INIT, theirs = peer->flags & SCTP_SIDE_INIT;

	if (chunk == SCTP_INIT_ACK) {
		if (peer->end != pkt->ack && ((!theirs && peer->end) || (mine && theirs)))
			return CT_INVALID;
	} else if (f->tcp_state == SCTP_NONE || peer->end != pkt->ack) {
		if (mine)
			peer->flags &= ~SCTP_SIDE_INIT;
		me->flags |= SCTP_SIDE_INIT;
	}
	peer->end = pkt->ack;
	return CT_OK;
}

/* Moves an association on by one chunk. fresh: the flow is not recorded yet. */
static __always_inline enum ct_result sctp_chunk(struct ct_flow *f, const struct fw_pkt *pkt, __u8 dir, __u8 chunk, int ignored, int fresh)
{
	enum ct_result rc = sctp_tag(f, pkt, dir, chunk, ignored);
	__u8 old = f->tcp_state, next;

	if (rc != CT_OK)
		return rc;
	next = sctp_next[dir & 1][chunk & 15][old & 15];
	if (next == XX)
		return CT_INVALID;
	if (chunk == SCTP_INIT || chunk == SCTP_INIT_ACK)
		rc = sctp_init_tag(f, pkt, dir, chunk);
	if (rc == CT_INVALID)
		return rc;
	f->tcp_state = next;
	if (next == SCTP_ESTABLISHED && old != next)
		f->flags |= CT_FLOW_ASSURED;
	return chunk == SCTP_INIT && next == SCTP_CLOSED && old == next && !fresh ? CT_IGNORE : CT_OK; /* sent again: buys no time */
}

/* Moves an association on by one packet. No helper calls: the caller may hold a lock. */
static __always_inline enum ct_result sctp_packet(struct ct_flow *f, const struct fw_pkt *pkt, __u8 dir, __u64 now, int fresh)
{
	const __u32 own_rules = 1 << SCTP_INIT | 1 << SCTP_COMPLETE | 1 << SCTP_COOKIE | 1 << SCTP_ABORT | 1 << SCTP_SHUTDOWN_ACK |
				1 << SCTP_HEARTBEAT | 1 << SCTP_HEARTBEAT_ACK;
	__u32 chunks = pkt->payload, ignored = 0, i;
	enum ct_result rc;

	if (sctp_has(pkt, SCTP_BAD))
		return CT_INVALID;
	if (!(pkt->wnd & own_rules) && pkt->seq != (dir ? f->side[1].end : f->side[0].end))
		return CT_INVALID;
	for (i = 0; i < SCTP_MOVES && chunks; i++, chunks >>= 4) {
		rc = sctp_chunk(f, pkt, dir, chunks & 15, ignored, fresh);
		if (rc == CT_INVALID)
			return rc;
		ignored |= rc != CT_OK;
		blur(ignored, pkt->seq);
	}
	if (ignored)
		return CT_IGNORE;
	f->expires = now + seconds(CT_TIME_SCTP + (f->tcp_state ? f->tcp_state : SCTP_CLOSED)) * 1000000000ULL;
	return CT_OK;
}

/* A first packet: INIT, or something out of an association that is not known (RFC 9260 8.4). Reports whether there is to be an entry. */
static __always_inline int sctp_open(struct ct_flow *f, const struct fw_pkt *pkt, __u64 now)
{
	if (pkt->wnd & (1 << SCTP_BAD | 1 << SCTP_OTHER | 1 << SCTP_ABORT | 1 << SCTP_COMPLETE | 1 << SCTP_COOKIE_ACK))
		return 0;
	if (sctp_has(pkt, SCTP_HEARTBEAT))
		f->side[0].end = pkt->seq;
	if (sctp_has(pkt, SCTP_INIT))
		f->side[1].end = pkt->ack;
	else if (sctp_has(pkt, SCTP_SHUTDOWN_ACK))
		f->side[1].end = pkt->seq;
	return sctp_packet(f, pkt, 0, now, 1) != CT_INVALID;
}

#endif

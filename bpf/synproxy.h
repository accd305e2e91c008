/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The SYN proxy: answers SYNs to listening sockets of this host with the kernel's own SYN cookies, so that a flood of them makes neither
 * flows nor half-open connections, nor even skbs where it is met in XDP. The ACK that answers a cookie goes on to the listening
 * socket, which knows its cookies and makes the connection (net/ipv4/syncookies.c). Other segments to a listening port that belong to
 * no connection are dropped. The rest of what a cookie has no room for is in the timestamp, as there.
 */
#ifndef BPFWALL_SYNPROXY_H
#define BPFWALL_SYNPROXY_H

#define COOKIE_SACK 16		/* in a timestamp; the other end's window scale is below it */
#define COOKIE_UNSCALED 15
#define COOKIE_BITS 64		/* all of these are less */
#define MILLISECOND 1000000
#define SOCK_RCVBUF_LOCK 2	/* linux/net.h of the kernel */

enum { TCPOPT_STAMP = 8 };
enum syn_offer { SYN_STAMP = 1, SYN_SCALE = 2, SYN_SACK = 4 };

/* What becomes of a packet. */
enum syn { SYN_GOES_ON, SYN_DROP, SYN_ANSWER /* with what is in syn_work */ };

struct synack {
	struct tcp_wire tcp;
	__u8 mss[4], sack[2], stamp[2];
	__be32 time, echo;
	__u8 scale[4];
};

struct syn_work {
	__u8 options[80];	/* of the SYN: 40 bytes, and what may be read behind them */
	__u32 stamp;		/* as on the wire */
	__u16 mss;		/* 0: not said */
	__u8 scale;
	__u8 offers;		/* enum syn_offer */
	__be32 ip[10];		/* what the kernel makes and checks cookies of: an IP header, */
	struct { struct tcp_wire tcp; __u8 mss[4]; } asked; /* and one of TCP */
	struct synack answer;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct syn_work);
} syn_scratch SEC(".maps");

static __always_inline struct syn_work *syn_work(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&syn_scratch, &zero);
}

/*
 * Reads one option, as tcp_parse_options does. Reports how long it is; 0: the rest does not count. A function, so that the verifier looks
 * at it once, and not once in each turn of the loop.
 */
__noinline int fw_read_offer(__u32 at, __u32 room)
{
	struct syn_work *w = syn_work();
	const __u8 *o;

	if (!w)
		return 0;
	o = &w->options[at & 63];
	if (o[0] == TCPOPT_NOP)
		return 1;
	if (o[0] == TCPOPT_END || room < 2 || o[1] < 2 || o[1] > room)
		return 0;
	if (o[0] == TCPOPT_MSS && o[1] == 4)
		w->mss = o[2] << 8 | o[3];
	if (o[0] == TCPOPT_WSCALE && o[1] == 3) {
		w->offers |= SYN_SCALE;
		w->scale = o[2] > 14 ? 14 : o[2];
	}
	if (o[0] == TCPOPT_SACK_PERM && o[1] == 2)
		w->offers |= SYN_SACK;
	if (o[0] == TCPOPT_STAMP && o[1] == 10) {
		w->offers |= SYN_STAMP;
		__builtin_memcpy(&w->stamp, o + 2, sizeof(w->stamp));
	}
	return o[1];
}

/* What a SYN offers. */
static __always_inline void read_offers(FRAME *frame, struct syn_work *w, struct fw_pkt *pkt)
{
	__u32 len, at = 0, n, i;
	__u8 off = 0;

	w->mss = w->offers = 0;
	fetch(frame, pkt->l4_off + offsetof(struct tcp_wire, off), &off, sizeof(off));
	len = (off >> 4 << 2) - sizeof(struct tcp_wire);
	if (len < 1 || len > 40 || load_options(frame, pkt->l4_off + sizeof(struct tcp_wire), w->options, len))
		return;
	for (i = 0; i < 40 && at < len; i++) {
		n = fw_read_offer(at, len - at);
		if (!n)
			break;
		at += n;
	}
}

/* The headers as the kernel wants them: of these, addresses, ports, sequence numbers and MSS make a cookie. Reports the IP header's length. */
static __always_inline __u32 ask_kernel(struct syn_work *w, const struct fw_pkt *pkt, __u16 mss)
{
	struct tcp_wire *h = &w->asked.tcp;

	h->sport = bpf_htons(pkt->sport);
	h->dport = bpf_htons(pkt->dport);
	h->seq = bpf_htonl(pkt->seq);
	h->ack = bpf_htonl(pkt->ack);
	h->off = sizeof(w->asked) / 4 << 4;
	h->flags = pkt->tcp_flags;
	w->asked.mss[0] = mss ? TCPOPT_MSS : TCPOPT_NOP;
	w->asked.mss[1] = mss ? 4 : TCPOPT_NOP;
	w->asked.mss[2] = mss ? mss >> 8 : TCPOPT_NOP;
	w->asked.mss[3] = mss ? mss : TCPOPT_NOP;
	if (pkt->family == 4) {
		struct iphdr *ip = (void *)w->ip;

		ip->version = 4;
		ip->ihl = sizeof(*ip) / 4;
		ip->saddr = pkt->saddr[0];
		ip->daddr = pkt->daddr[0];
		return sizeof(*ip);
	}
	w->ip[0] = bpf_htonl(6u << 28);
	__builtin_memcpy((void *)w->ip + offsetof(struct ipv6hdr, saddr), pkt->saddr, 16);
	__builtin_memcpy((void *)w->ip + offsetof(struct ipv6hdr, daddr), pkt->daddr, 16);
	return sizeof(struct ipv6hdr);
}

/* What we can take: the interface's MTU without headers. */
static __always_inline __u16 own_mss(const struct fw_pkt *pkt)
{
	__u32 key = pkt->in_ifindex & 0xffff, headers = (pkt->family == 4 ? 20 : 40) + 20;
	struct iface *i = bpf_map_lookup_elem(&ifaces, &key);
	__u32 mtu = i && i->ifindex == pkt->in_ifindex && i->mtu > headers ? i->mtu : 0;

	return mtu ? mtu - headers : pkt->family == 4 ? 536 : 1220;
}

/* As cookie_init_timestamp of the kernel: our clock, its lowest bits what the other end offered. */
static __always_inline __u32 cookie_time(const struct syn_work *w)
{
	__u32 now = bpf_ktime_get_ns() / MILLISECOND, bits, t;

	bits = w->offers & SYN_SCALE ? w->scale : COOKIE_UNSCALED;
	if (w->offers & SYN_SACK)
		bits |= COOKIE_SACK;
	t = (now & ~(COOKIE_BITS - 1)) | bits;
	return t > now ? t - COOKIE_BITS : t;
}

static __always_inline void write_synack(struct syn_work *w, const struct fw_pkt *pkt, __u32 cookie)
{
	struct synack *a = &w->answer;
	__u16 mss = own_mss(pkt);

	__builtin_memset(a, 0, sizeof(a->tcp));
	__builtin_memset(a->mss, TCPOPT_NOP, sizeof(*a) - sizeof(a->tcp));
	a->tcp.sport = bpf_htons(pkt->dport);
	a->tcp.dport = bpf_htons(pkt->sport);
	a->tcp.seq = bpf_htonl(cookie);
	a->tcp.ack = bpf_htonl(pkt->seq + 1);
	a->tcp.off = sizeof(*a) / 4 << 4;
	a->tcp.flags = TCP_SYN | TCP_ACK;
	a->tcp.window = bpf_htons(mss < 6553 ? 10 * mss : 0xffff); /* RFC 6928: nobody begins with more */
	a->mss[0] = TCPOPT_MSS;
	a->mss[1] = 4;
	a->mss[2] = mss >> 8;
	a->mss[3] = mss;
	if (!cfg_syn_options || !(w->offers & SYN_STAMP))
		return;
	if (w->offers & SYN_SACK) {
		a->sack[0] = TCPOPT_SACK_PERM;
		a->sack[1] = 2;
	}
	a->stamp[0] = TCPOPT_STAMP;
	a->stamp[1] = 10;
	a->time = bpf_htonl(cookie_time(w));
	a->echo = w->stamp;
	if (w->offers & SYN_SCALE) {
		a->scale[1] = TCPOPT_WSCALE;
		a->scale[2] = 3;
		a->scale[3] = cfg_syn_scale;
	}
}

/*
 * The program has said how much the socket takes, so that the kernel scales its windows in another way than for the rest. What is not known
 * is taken for such a socket.
 */
static __always_inline int has_own_window(struct bpf_sock *sk)
{
	struct tcp_sock *t = (void *)bpf_skc_to_tcp_sock(sk);
	struct sock *s = (void *)t;
	__u64 v;

	if (!t)
		return 1;
	v = *((__u8 *)s + __builtin_preserve_field_info(s->sk_userlocks, 0)); /* BPF_FIELD_BYTE_OFFSET */
	v <<= __builtin_preserve_field_info(s->sk_userlocks, 4); /* BPF_FIELD_LSHIFT_U64 */
	v >>= __builtin_preserve_field_info(s->sk_userlocks, 5); /* BPF_FIELD_RSHIFT_U64 */
	return (v & SOCK_RCVBUF_LOCK) || t->window_clamp;
}

/* A listening socket may take any address: what the routing table sends on is not for it. */
static __always_inline int is_ours(FRAME *frame, const struct fw_pkt *pkt)
{
	struct bpf_fib_lookup f;

	if (!cfg_forwarding)
		return 1;
	fib_from(&f, pkt, pkt->in_ifindex);
	return ends_here(frame, &f);
}

/* The kernel makes none if the socket's queue is full, or net.ipv4.tcp_syncookies not 2: then the SYN is the socket's. */
static __always_inline enum syn answer_syn(FRAME *frame, struct bpf_sock *sk, struct fw_pkt *pkt)
{
	struct syn_work *w = syn_work();
	__u32 len;
	__s64 cookie;

	if (!w || (cfg_syn_options && has_own_window(sk)))
		return SYN_GOES_ON;
	read_offers(frame, w, pkt);
	len = ask_kernel(w, pkt, w->mss);
	cookie = bpf_tcp_gen_syncookie(sk, w->ip, len, (void *)&w->asked, sizeof(w->asked));
	if (cookie < 0)
		return SYN_GOES_ON;
	write_synack(w, pkt, cookie);
	count(FW_STAT_SYN_COOKIES);
	return SYN_ANSWER;
}

static __always_inline enum syn check_ack(struct bpf_sock *sk, struct fw_pkt *pkt)
{
	struct syn_work *w = syn_work();
	__u32 len;

	if (!w)
		return SYN_GOES_ON;
	len = ask_kernel(w, pkt, 0);
	if (bpf_tcp_check_syncookie(sk, w->ip, len, (void *)&w->asked, sizeof(w->asked))) {
		count(FW_STAT_SYN_REFUSED);
		return SYN_DROP;
	}
	count(FW_STAT_SYN_ACCEPTED);
	pkt->cookie = 1;
	return SYN_GOES_ON;
}

/* The socket that the stack would find. To be released. */
static __always_inline struct bpf_sock *socket_of(FRAME *frame, const struct fw_pkt *pkt)
{
	struct bpf_sock_tuple t = {};

	if (pkt->family == 4) {
		t.ipv4.saddr = pkt->saddr[0];
		t.ipv4.daddr = pkt->daddr[0];
		t.ipv4.sport = bpf_htons(pkt->sport);
		t.ipv4.dport = bpf_htons(pkt->dport);
		return bpf_skc_lookup_tcp(frame, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(t.ipv6.saddr, pkt->saddr, 16);
	__builtin_memcpy(t.ipv6.daddr, pkt->daddr, 16);
	t.ipv6.sport = bpf_htons(pkt->sport);
	t.ipv6.dport = bpf_htons(pkt->dport);
	return bpf_skc_lookup_tcp(frame, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
}

/* On lo, egress has tracked the SYN already. */
static __always_inline int is_proxied(const struct fw_pkt *pkt)
{
	return cfg_synproxy && pkt->synproxy && pkt->proto == IPPROTO_TCP && !pkt->frag && !pkt->more_frags && !pkt->malformed &&
	       pkt->pkt_type == 1 && pkt->in_ifindex != 1;
}

/* Reports an enum syn. */
__noinline int fw_synproxy(FRAME *frame, struct fw_pkt *pkt)
{
	struct bpf_sock *sk;
	int becomes = SYN_GOES_ON;
	__u32 kind;

	if (!pkt)
		return SYN_GOES_ON;
	kind = pkt->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN);
	if (kind != TCP_SYN && (kind & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_ACK)
		return SYN_GOES_ON;
	sk = socket_of(frame, pkt);
	if (!sk)
		return SYN_GOES_ON;
	if (sk->state == BPF_TCP_LISTEN && is_ours(frame, pkt))
		becomes = kind == TCP_SYN ? answer_syn(frame, sk, pkt) : check_ack(sk, pkt);
	bpf_sk_release(sk);
	return becomes;
}

#endif
